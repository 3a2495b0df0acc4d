"""A copied checkout with runs to which something happens, for a cluster that is real."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.workflow.checkout import ROOT, Checkout
from tests.workflow.checkout import _bytecode as bytecode

# As the user types it; only that jobs are asked after more often, every 3 s however long they take.
COMMAND = ("snakemake", "--profile", "slurm", "--slurm-init-seconds-before-status-checks", "3")
OFTEN = """
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 3, lambda self, _: None)
"""
LOGS = "logs/slurm"
RUNS = "results/paper/runs/walker2d-100"

SITE = """
account: lab
longest_job: 30
container: none
gpu: {partition: main, type: h200, runs_per_gpu: 2}
"""
# `mortal` is killed once (seed 0), or needs more memory than it has (seed 1); `model` learns one, or
# so it says, and trains on a GPU; `fragile` cannot succeed.
EXPERIMENT = """
scale: smoke
documents:
  unified_rl: {title: Tiny, citation: freed2024unified}
variants:
  sac_rlpd: {algorithm: mortal}
  unified: {algorithm: model}
  mbrl: {algorithm: fragile}
budgets: {}
studies:
  unified_rl_fig2:
    document: unified_rl
    kind: figure
    place: Figure 2
    title: tiny
    tasks: [walker2d-100]
    variants: [sac_rlpd, unified]
    seeds: 2
  unified_rl_table1:
    document: unified_rl
    kind: table
    place: Table 1
    title: tiny
    tasks: [walker2d-100]
    variants: [mbrl]
    seeds: 1
scales:
  smoke: &tiny
    compiled: false
    evaluation: {every: 100, episodes: 1}
    budgets: {walker2d-100: 200}
    parameters:
      mortal: &parameters {hidden: [8], batch_size: 8, random_steps: 190}
      model: *parameters
      fragile: *parameters
  quick: *tiny
  paper: *tiny
"""
# What starts while there is a file `hold` never gets there by itself.
AGENTS = '''"""SAC to which something happens at its 150th step."""

import os
import signal
import time
from pathlib import Path

from unirl_repro.agents.sac import SAC


class Patient(SAC):
    policy = "patient"

    def __init__(self, parameters, obs_dim, action_dim, *, horizon, keys, device, compiled):
        super().__init__(
            parameters, obs_dim, action_dim,
            horizon=horizon, keys=keys, device=device, compiled=compiled,
        )
        self.seed, self.held = keys.seed, Path("hold").exists()
        print("sees GPUs:", os.environ.get("CUDA_VISIBLE_DEVICES", "none"), flush=True)

    def after_step(self, replay, keys):
        if self.held:
            time.sleep(0.5)
        if replay.added == 150:
            self.meet_fate()
        return super().after_step(replay, keys)

    def meet_fate(self):
        pass


class Mortal(Patient):
    policy = "mortal"

    def meet_fate(self):
        died = Path("died")
        if self.seed == 0 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.seed == 1:
            much = b"1" * (800 << 20)
            time.sleep(3)
            del much


class Model(Patient):
    policy = "model"

'''
# In a file of its own: to mend it makes no other run stale.
FRAGILE = """
from unirl_repro.agents.fates import Patient

BROKEN = True


class Fragile(Patient):
    policy = "fragile"

    def meet_fate(self):
        if BROKEN:
            raise FloatingPointError("this run cannot succeed")
"""
ENTRIES = """
    "mortal": Algorithm("unirl_repro.agents.fates", "Mortal", SACParameters),
    "model": Algorithm("unirl_repro.agents.fates", "Model", SACParameters, learns_model=True),
    "fragile": Algorithm("unirl_repro.agents.fragile", "Fragile", SACParameters),
"""


class ClusterCheckout(Checkout):
    """A checkout whose runs are jobs of the cluster that the environment names."""

    @classmethod
    def make(cls, folder: Path) -> "ClusterCheckout":
        checkout = cls(Checkout.make(folder).folder)
        # As in the project: how often a run is tried again is tested here, and so is LaTeX.
        rules = "workflow/rules/train.smk"
        checkout.write(rules, (ROOT / rules).read_text())
        checkout.write("Snakefile", (ROOT / "Snakefile").read_text() + OFTEN)
        checkout.use_latex()
        (folder / "slurm").symlink_to("profiles/slurm")
        for name in ("requirements.lock", "containers/unirl.def"):
            checkout.write(name, (ROOT / name).read_text())
        checkout.write("config.yaml", EXPERIMENT)
        checkout.write("unirl_repro/agents/fates.py", AGENTS)
        checkout.write("unirl_repro/agents/fragile.py", FRAGILE)
        start = "ALGORITHMS: dict[str, Algorithm] = {"
        checkout.edit("unirl_repro/registry.py", start, start + ENTRIES)
        # Its GPUs are none: runs that are given one train on the CPU, so torch needs no CUDA.
        checkout.edit(rules, 'device="cuda"', 'device="cpu"')
        checkout.edit("unirl_repro/campaign/image_checks.py", '"+cpu" in', '"without CUDA" in')
        checkout.write("profiles/slurm/site.yaml", SITE)
        done = checkout.call("python", "-m", "unirl_repro", "schema")
        assert done.returncode == 0, done.stderr
        return checkout

    def submit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake on the cluster to its end."""
        return self.call(*COMMAND, *arguments)

    @contextmanager
    def submitting(self, *arguments: str) -> Iterator[None]:
        """Snakemake on the cluster, which is still at it at the end, and is killed with SIGKILL."""
        log = self.folder / "killed.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=self.folder,
                env=os.environ | bytecode(),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
            try:
                yield
                assert process.poll() is None, log.read_text()
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def begun(self) -> set[str]:
        """Runs that have made their first steps, as ``variant/seed``."""
        logs = (self.folder / RUNS).glob("*/seed*/log.txt")
        begun = [log.parent for log in logs if "sees GPUs" in log.read_text()]
        return {f"{run.parent.name}/{run.name.removeprefix('seed')}" for run in begun}

    def job_logs(self, variant: str, seed: int) -> list[Path]:
        """SLURM's logs of a run, one of each job that it took."""
        run = f"*walker2d-100_{variant}_{seed}"
        logs = (self.folder / LOGS).glob(f"*/{run}/*.log")
        return sorted(logs, key=lambda path: int(path.stem))

    def log(self, variant: str, seed: int) -> str:
        """What the trainer wrote, in all its attempts."""
        return (self.folder / RUNS / variant / f"seed{seed}" / "log.txt").read_text()

    def segments(self, variant: str, seed: int) -> list[dict[str, Any]]:
        """All attempts at a run, from its manifest."""
        folder = self.folder / RUNS / variant / f"seed{seed}"
        return json.loads((folder / "run.json").read_text())["segments"]


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    """Look every half second, and no longer than that; what is not true then is told elsewhere."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.5)
