"""MuJoCo tasks of gymnasium with the semantics of the papers' "-v2" (deviation E2).

Version 4 keeps v2's rewards, limits and models; version 5 changes them (Walker2d's friction, say).
"""

import importlib

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco.pusher_v5 import PusherEnv
from gymnasium.spaces import Box
from numpy.typing import NDArray

from unirl_repro.envs.tasks import Task

_Step = tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, np.float64]]
_MODULES = {
    "Hopper": "hopper_v4",
    "Walker2d": "walker2d_v4",
    "HalfCheetah": "half_cheetah_v4",
    "Ant": "ant_v4",  # 27 entries, without contact forces: deviation E4
    "Humanoid": "humanoid_v4",
    "InvertedPendulum": "inverted_pendulum_v4",
}


def make(task: Task) -> gymnasium.Env:
    """The environment in its own bounds, without time limit; its class directly, unregistered.

    The classes' defaults terminate when unhealthy, hence pay the healthy bonus at every step; tasks
    of fixed length keep that and drop `terminated` afterwards (deviation E3).
    """
    if task.name == "Pusher":
        return Pusher()
    module = importlib.import_module(f"gymnasium.envs.mujoco.{_MODULES[task.name]}")
    env = getattr(module, f"{task.name}Env")()
    return Leading(env, task.obs_dim) if task.name == "Humanoid" else env


class Leading(gymnasium.ObservationWrapper):
    """The first entries of the observation: of Humanoid's, positions and velocities (deviation E5)."""

    def __init__(self, env: gymnasium.Env, size: int):
        super().__init__(env)
        self._size = size
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation[: self._size].copy()


class Pusher(PusherEnv):
    """Pusher-v2 on today's MuJoCo (deviation E8): the light object, the reward before the step."""

    def __init__(self) -> None:
        super().__init__(xml_file="pusher.xml")
        restore_inverse_weights(self.model)

    def step(self, action: np.ndarray) -> _Step:
        reward, terms = self._get_rew(action)  # v2 looks at the distances before it moves
        self.do_simulation(action, self.frame_skip)
        return self._get_obs(), reward, False, False, terms


def restore_inverse_weights(model: mujoco.MjModel) -> None:
    """Inverse weights of Pusher's object and goal with the joints' armature, as before MuJoCo 3.

    MuJoCo 3 takes them from the bodies' mass alone, 1e-8 kg here: contacts then turn so soft that
    the arm passes through the object.
    """
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    mass = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, mass, data.qM)
    inverse = np.diag(np.linalg.inv(mass))  # dofs: seven of the arm, two each of object and goal
    for name in ("object", "goal"):
        body = model.body(name)
        dofs = slice(body.dofadr[0], body.dofadr[0] + body.dofnum[0])
        model.dof_invweight0[dofs] = inverse[dofs]
        model.body_invweight0[body.id, 0] = inverse[dofs].sum() / 3  # mean over three directions
