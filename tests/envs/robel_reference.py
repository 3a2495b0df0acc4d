"""robel's own classes over small shims for the packages that no longer exist: the tests' oracle."""

import collections
import collections.abc
import importlib
import re
import shutil
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium.spaces
import gymnasium.utils.seeding
import mujoco

CLASSES = {
    "turn_fixed": ("turn", "DClawTurnFixed"),
    "turn_random": ("turn", "DClawTurnRandom"),
    "screw_fixed": ("screw", "DClawScrewFixed"),
    "screw_random": ("screw", "DClawScrewRandom"),
    "pose_fixed": ("pose", "DClawPoseFixed"),
    "pose_random": ("pose", "DClawPoseRandom"),
}


@contextmanager
def reference(folder: Path) -> Iterator[dict[str, type]]:
    """The classes by task name, while the shims are in place; models are cleaned in a folder."""
    before = set(sys.modules)
    sys.modules.update(_gym())
    collections.Mapping = collections.abc.Mapping  # type: ignore[attr-defined]
    try:
        scenes = importlib.import_module("robel.simulation.sim_scene")
        scenes.SimScene.create = staticmethod(_scene_factory(scenes.SimScene, _cleaned(folder)))
        yield {
            task: getattr(importlib.import_module(f"robel.dclaw.{module}"), name)
            for task, (module, name) in CLASSES.items()
        }
    finally:
        del collections.Mapping  # type: ignore[attr-defined]
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("gym", "robel"):
                del sys.modules[name]


def _gym() -> dict[str, types.ModuleType]:
    """The few names of gym that robel uses."""
    names = ("gym", "gym.utils", "gym.envs", "gym.envs.registration")
    gym = {name: types.ModuleType(name) for name in names}
    gym["gym"].Env = object  # type: ignore[attr-defined]
    gym["gym"].Space = gymnasium.spaces.Space  # type: ignore[attr-defined]
    gym["gym"].spaces = gymnasium.spaces  # type: ignore[attr-defined]
    gym["gym.utils"].seeding = gymnasium.utils.seeding  # type: ignore[attr-defined]
    registration = gym["gym.envs.registration"]
    registration.registry = types.SimpleNamespace(env_specs={})  # type: ignore[attr-defined]
    registration.register = lambda *args, **kwargs: None  # type: ignore[attr-defined]
    gym["gym.envs"].registration = registration  # type: ignore[attr-defined]
    return gym


def _cleaned(folder: Path) -> Path:
    """A copy of the package's models without the comments before their XML declarations."""
    spec = find_spec("robel")
    assert spec is not None
    package = Path(str(spec.origin)).parent
    for part in ("robel-scenes", "dclaw/assets"):
        shutil.copytree(package / part, folder / part)
    for path in folder.rglob("*.xml"):
        path.write_text(re.sub(r"\A<!--.*?-->\s*<\?xml[^>]*\?>", "", path.read_text(), flags=re.S))
    return folder


def _scene_factory(base: type, models: Path) -> Any:
    """SimScene.create for a scene on the mujoco package, where robel has mujoco_py."""

    class Scene(base):
        def _load_simulation(self, model_handle: str) -> "_Sim":
            return _Sim(models / model_handle.rpartition("/robel/")[2])

        def _create_renderer(self, sim: "_Sim") -> Any:
            return types.SimpleNamespace(refresh_window=lambda: None, close=lambda: None)

        copy_model = save_binary = upload_height_field = get_handle = get_mjlib = None

    return lambda model, backend, frame_skip: Scene(model, frame_skip=frame_skip)


class _Model:
    """MuJoCo's model with mujoco_py's way to find a body."""

    def __init__(self, path: Path):
        self.raw = mujoco.MjModel.from_xml_path(str(path))

    def body_name2id(self, name: str) -> int:
        return self.raw.body(name).id

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


class _Sim:
    """mujoco_py's MjSim, as far as robel uses it."""

    def __init__(self, path: Path):
        self.model = _Model(path)
        self.data = mujoco.MjData(self.model.raw)

    def reset(self) -> None:
        mujoco.mj_resetData(self.model.raw, self.data)

    def forward(self) -> None:
        mujoco.mj_forward(self.model.raw, self.data)

    def step(self) -> None:
        mujoco.mj_step(self.model.raw, self.data)
