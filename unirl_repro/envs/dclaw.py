"""ROBEL's DClaw tasks on today's MuJoCo, from the robel package's models (deviation E10).

The package itself cannot be imported any more; its classes, over shims, are the tests' reference.
"""

import importlib.util
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box
from numpy.random import Generator

from unirl_repro.envs.tasks import Task

Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]

# Single precision throughout, as robel keeps its limits: results then agree to the bit.
POSITION_LIMITS = np.array(
    [(-0.48, 0.48), (-np.pi / 3, np.pi / 3), (-np.pi / 2, np.pi / 2)] * 3, np.float32
).T  # [2, 9] rad: top, middle and bottom joint of each finger
MAX_VELOCITY = np.float32(2 * np.pi / 3)  # of a commanded joint [rad/s]
NOMINAL_POSE = np.array([0, -np.pi / 3, np.pi / 3] * 3)
MAX_TARGET_VELOCITY = np.pi / 6  # of PoseRandom's target [rad/s]

# (generator) -> initial angle, target angle [rad], velocity of the target [rad/s]
_STARTS = {
    "turn_fixed": lambda rng: (0.0, np.pi, 0.0),
    "turn_random": lambda rng: (
        rng.uniform(-np.pi / 3, np.pi / 3),
        np.pi + rng.uniform(-np.pi / 3, np.pi / 3),
        0.0,
    ),
    "screw_fixed": lambda rng: (0.0, 0.0, 0.5),
    "screw_random": lambda rng: (*[rng.uniform(-np.pi, np.pi)] * 2, rng.uniform(-0.75, 0.75)),
}


def make(task: Task) -> gymnasium.Env:
    """Turn, screw or pose task, fixed or random."""
    if task.name in _STARTS:
        return Turn(task.name)
    if task.name in ("pose_fixed", "pose_random"):
        return Pose(moving=task.name == "pose_random")
    allowed = ", ".join([*_STARTS, "pose_fixed", "pose_random"])
    raise ValueError(f"task {task.id}: name is {task.name!r}. Allowed: {allowed}.")


class Claw:
    """Three fingers of three joints under position control; joints 0-8 of a scene.

    Parameters
    ----------
    scene : str
        Path of a model below the robel package.
    frame_skip : int
        Simulation steps in an environment step.
    """

    def __init__(self, scene: str, frame_skip: int):
        self.model = load(scene)
        self.data = mujoco.MjData(self.model)
        self.frame_skip = frame_skip
        self.dt = self.model.opt.timestep * frame_skip  # [s]
        self._low, self._high = POSITION_LIMITS
        self._centre = POSITION_LIMITS.mean(axis=0)
        self._half = np.float32(0.5) * (self._high - self._low)

    @property
    def position(self) -> np.ndarray:
        return self.data.qpos[:9].copy()

    @property
    def velocity(self) -> np.ndarray:
        return self.data.qvel[:9].copy()

    def reset(self) -> None:
        """The model's initial state, and no memory of what was before, warm starts included."""
        mujoco.mj_resetData(self.model, self.data)

    def place(self, pose: np.ndarray) -> None:
        """Set the joints, at rest."""
        self.data.qpos[:9] = np.clip(pose, self._low, self._high)
        self.data.qvel[:9] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def move(self, action: np.ndarray) -> None:
        """Command joint positions, [-1, 1] spanning the limits, at limited velocity."""
        now = self.position
        wanted = np.clip(self._centre + action * self._half, self._low, self._high)
        velocity = np.clip((wanted - now) / self.dt, -MAX_VELOCITY, MAX_VELOCITY)
        self.data.ctrl[:] = now + velocity * self.dt
        mujoco.mj_step(self.model, self.data, nstep=self.frame_skip)


class Turn(gymnasium.Env):
    """Turn a valve to a target angle (turn) or keep it at one that moves (screw).

    Observation: joints (9), cosine and sine of the valve, last action (9), error of the angle.
    """

    def __init__(self, name: str):
        self._start = _STARTS[name]
        self.claw = Claw("dclaw/assets/dclaw3xh_valve3_v0.xml", frame_skip=40)
        self.observation_space = Box(-np.inf, np.inf, (21,), np.float64)
        self.action_space = Box(-1.0, 1.0, (9,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        angle, target, velocity = self._start(self.np_random)
        self._target = np.float32(_wrapped(target))
        self._moves = np.float32(velocity * self.claw.dt)  # in an environment step [rad]
        self._last_action = np.zeros(9)
        self.claw.reset()
        self.claw.data.qpos[-1] = np.clip(angle, -np.float32(np.pi), np.float32(np.pi))
        self.claw.place(NOMINAL_POSE)
        return self._observe(), {}

    def step(self, action: np.ndarray) -> Step:
        self._target = self._target + self._moves
        self.claw.move(action)
        self._last_action = action.copy()
        return self._observe(), self._reward(), False, False, {}

    def _error(self) -> float:
        return _wrapped(float(self._target) - self.claw.data.qpos[-1])

    def _observe(self) -> np.ndarray:
        valve = self.claw.data.qpos[-1:]
        angle = (np.cos(valve), np.sin(valve))
        return np.concatenate([self.claw.position, *angle, self._last_action, [self._error()]])

    def _reward(self) -> float:
        velocity, distance = self.claw.velocity, abs(self._error())
        terms = (
            -5 * distance,
            -np.linalg.norm(self.claw.position - NOMINAL_POSE),
            -np.linalg.norm(velocity[np.abs(velocity) >= 0.5]),
            10 * (distance < 0.25),
            50 * (distance < 0.1),
        )
        return float(np.sum(np.array(terms, dtype=np.float64)))


class Pose(gymnasium.Env):
    """Bring the claw to a random pose (fixed) or along one that swings (random).

    Observation: joints (9), last action (9), error of the joints (9).
    """

    def __init__(self, *, moving: bool):
        self._moving = moving
        self.claw = Claw("robel-scenes/dclaw/dclaw3xh.xml", frame_skip=20)
        self.observation_space = Box(-np.inf, np.inf, (27,), np.float64)
        self.action_space = Box(-1.0, 1.0, (9,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self._last_action = np.zeros(9)
        self.claw.reset()
        a, b = _random_pose(self.np_random), _random_pose(self.np_random)
        if self._moving:
            start = self._centre = 0.5 * (a + b)
            self._frequency = self.np_random.uniform(0.5, 2.0, 9)  # [rad/s]; robel calls it period
            limit = MAX_TARGET_VELOCITY / self._frequency
            self._amplitude = np.minimum(0.5 * np.abs(b - a), limit)
            self._aim(self._swing())
        else:
            start = a
            self._aim(b)
        self.claw.place(start)
        return self._observe(), {}

    def step(self, action: np.ndarray) -> Step:
        self.claw.move(action)
        self._last_action = action.copy()
        if self._moving:
            self._aim(self._swing())
        return self._observe(), self._reward(), False, False, {}

    def _swing(self) -> np.ndarray:
        return self._centre + self._amplitude * np.sin(self._frequency * self.claw.data.time)

    def _aim(self, pose: np.ndarray) -> None:
        """Set the target, and the ghost that shows it: its joints are in the solver's equations."""
        self._target = pose
        self.claw.data.qpos[9:18] = pose

    def _observe(self) -> np.ndarray:
        now = self.claw.position
        return np.concatenate([now, self._last_action, self._target - now])

    def _reward(self) -> float:
        velocity = self.claw.velocity
        too_fast = velocity[np.abs(velocity) >= np.pi]
        error = np.linalg.norm(self._target - self.claw.position)
        return float(-error + -0.1 * np.linalg.norm(too_fast))


def load(scene: str) -> mujoco.MjModel:
    """Load a model of the robel package, which is found but not imported."""
    found = importlib.util.find_spec("robel")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("robel is not installed; its wheel holds the DClaw models")
    package = Path(next(iter(found.submodule_search_locations)))
    root = _inlined(package / scene)
    files = str(package / "robel-scenes" / "dclaw")
    # Without the geometry that is only seen: loads in half the time, and steps 10% faster.
    seen = {"discardvisual": "true", "meshdir": files, "texturedir": files}
    root.append(ElementTree.Element("compiler", seen))
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))


def _inlined(path: Path) -> ElementTree.Element:
    """A model's elements, includes replaced by what they name.

    The licence comment before the XML declaration, which no parser accepts, is skipped.
    """
    text = path.read_text()
    root = ElementTree.fromstring(text[text.index("<mujoco") :])
    for parent in list(root.iter()):
        for place, child in reversed(list(enumerate(parent))):
            if child.tag == "include":
                parent[place : place + 1] = list(_inlined(path.parent / child.attrib["file"]))
    return root


def _random_pose(rng: Generator) -> np.ndarray:
    """Within the limits; middle joints outwards only, so that fingers do not entangle."""
    low, high = POSITION_LIMITS.copy()
    high[1::3] = 0.0
    return rng.uniform(low, high)


def _wrapped(angle: float) -> float:
    """The angle in [-pi, pi)."""
    return float(np.mod(angle + np.pi, 2 * np.pi) - np.pi)
