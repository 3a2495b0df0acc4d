"""What the fault campaign trains: a copied checkout with runs that last, a full disk to be, and
the same runs undisturbed.

Its algorithms are SAC with tiny networks. They pause in each step, so that a run lasts a minute at
little cost; the pauses end when the campaign lets go. Each trainer notes the moments of its steps:
what was really done, whatever the manifests say.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.workflow.checkout import ROOT, Checkout

SCALE = "paper"
LONGEST_JOB = 3  # minutes; less the 90 s in which `timeout` lets a trainer save: segments of 90 s
SLOW_SEEDS = 2  # runs that need more than one such segment
BUDGET = 800

# Names that figures and tables know, for runs of our own algorithms.
STEADY, SLOW, BROKEN = "sac_rlpd", "mbrl", "unified"

EXPERIMENT = f"""
scale: smoke
documents:
  unified_rl: {{title: Campaign, citation: freed2024unified}}
variants:
  {STEADY}: {{algorithm: steady}}
  {SLOW}: {{algorithm: slow}}
  {BROKEN}: {{algorithm: broken}}
budgets: {{}}
studies:
  unified_rl_fig2:
    document: unified_rl
    kind: figure
    place: Figure 2
    title: campaign
    tasks: [walker2d-100]
    variants: [{STEADY}]
    seeds: SEEDS
  unified_rl_table1:
    document: unified_rl
    kind: table
    place: Table 1
    title: campaign
    tasks: [walker2d-100]
    variants: [{SLOW}]
    seeds: {SLOW_SEEDS}
  unified_rl_broken:
    document: unified_rl
    kind: table
    place: Table 1
    title: a run that cannot succeed
    tasks: [walker2d-100]
    variants: [{BROKEN}]
    seeds: 1
scales:
  smoke: &tiny
    compiled: false
    evaluation: {{every: 400, episodes: 1}}
    budgets: {{walker2d-100: {BUDGET}}}
    parameters:
      steady: &parameters {{hidden: [8], batch_size: 8, random_steps: 90}}
      slow: *parameters
      broken: *parameters
  quick: *tiny
  paper: *tiny
"""

AGENTS = f'''"""SAC that takes its time while the campaign holds it, and notes when it made which step."""

import os
import time
from pathlib import Path

from unirl_repro.agents.sac import SAC

NOTES = Path("steps")
HOLD = Path("hold")


class Steady(SAC):
    policy = "steady"
    variant = "{STEADY}"
    pause = 0.1

    def __init__(self, parameters, obs_dim, action_dim, *, horizon, keys, device, compiled):
        super().__init__(
            parameters, obs_dim, action_dim,
            horizon=horizon, keys=keys, device=device, compiled=compiled,
        )
        NOTES.mkdir(exist_ok=True)
        name = f"{{self.variant}}-{{keys.seed}}-{{os.environ.get('SLURM_JOB_ID', 0)}}-{{time.time_ns()}}"
        self.notes = (NOTES / name).open("a", buffering=1)

    def after_step(self, replay, keys):
        self.notes.write(f"{{time.time():.3f}}\\n")
        if HOLD.exists():
            time.sleep(self.pause)
        return super().after_step(replay, keys) if keys.integer("campaign") % 5 == 0 else {{}}


class Slow(Steady):
    policy = "slow"
    variant = "{SLOW}"
    pause = 0.2


class Broken(Steady):
    policy = "broken"
    variant = "{BROKEN}"

    def after_step(self, replay, keys):
        if replay.added == 120:
            raise FloatingPointError("this run cannot succeed")
        return super().after_step(replay, keys)
'''
ENTRIES = "".join(
    f'\n    "{name.lower()}": Algorithm("unirl_repro.agents.campaign", "{name}", SACParameters),'
    for name in ("Steady", "Slow", "Broken")
)
SITE = f"""partition: scavenge  # which jobs in main preempt
longest_job: {LONGEST_JOB}
container: none
"""
# A file system that is full, where none can be mounted: writing says what a full one says.
FULL_BY_FLAG = """    if Path("full").exists():
        raise OSError(28, "No space left on device", str(path))
    temporary ="""
UNDISTURBED = """
import sys
from pathlib import Path
import unirl_repro.agents.campaign as agents
from unirl_repro.config import load_config
from unirl_repro.run import Options, train
agents.NOTES = Path("steps_undisturbed")
agents.HOLD = Path("nobody holds these")
for (task, variant, seed), spec in load_config("config.yaml").runs("paper").items():
    if variant != sys.argv[1]:
        out = Path(f"undisturbed/{variant}-{seed}")
        train(spec, Path("undisturbed/checkpoints"), out, Options())
"""
RUNS = """
import json
from unirl_repro.config import load_config
from unirl_repro.fingerprint import fingerprint
runs = load_config("config.yaml").runs("paper").values()
print(json.dumps([[*spec.key, spec.budget, fingerprint(spec)] for spec in runs]))
"""


@dataclass(frozen=True)
class Run:
    """One run of the campaign, and where it lies."""

    task: str
    variant: str
    seed: int
    budget: int
    checkpoints: Path
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.task}/{self.variant}/seed{self.seed}"

    @property
    def breaks(self) -> bool:
        """Whether it is the one that cannot succeed."""
        return self.variant == BROKEN

    @property
    def manifest(self) -> dict[str, Any] | None:
        path = self.folder / "run.json"
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def finished(self) -> bool:
        return (self.folder / "run.json").exists()

    @property
    def saved(self) -> tuple[float, int]:
        """When the newest checkpoint was written, in seconds since the epoch, and its step."""
        try:
            path = max(self.checkpoints.glob("step-*.json"))
            return path.stat().st_mtime, int(path.stem.removeprefix("step-"))
        except (FileNotFoundError, ValueError):  # removed for a newer one, or none yet
            return 0.0, 0

    @property
    def status(self) -> dict[str, Any]:
        """What the trainer says; empty before it starts, or if a full disk cut it."""
        try:
            return json.loads((self.checkpoints / "status.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}


@dataclass(frozen=True)
class CampaignCheckout:
    """A copied checkout in which faults happen.

    Parameters
    ----------
    checkout : Checkout
        The copy.
    mounted : bool
        Whether its results lie on a small file system of their own.
    """

    checkout: Checkout
    mounted: bool

    @classmethod
    def make(cls, folder: Path, jobs: int) -> "CampaignCheckout":
        """A checkout with about `jobs` runs at scale paper."""
        checkout = Checkout.make(folder)
        for name in ("requirements.lock", "containers/unirl.def"):  # the preflight looks at both
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        # That one retries less: here a run survives many faults.
        source = (ROOT / "workflow/rules/train.smk").read_text()
        checkout.write("workflow/rules/train.smk", source)
        steady = max(1, jobs - SLOW_SEEDS - 1)
        checkout.write("config.yaml", EXPERIMENT.replace("SEEDS", str(steady)))
        checkout.write("unirl_repro/agents/campaign.py", AGENTS)
        start = "ALGORITHMS: dict[str, Algorithm] = {"
        checkout.edit("unirl_repro/registry.py", start, start + ENTRIES)
        table = (ROOT / "unirl_repro/tables/unified_rl_table1.py").read_text()
        checkout.write("unirl_repro/tables/unified_rl_broken.py", table)
        checkout.write("profiles/slurm/site.yaml", SITE)
        checkout.edit("workflow/rules/train.smk", "--wait 60", "--wait 60 --checkpoint-every 2")
        wait = "slurm-init-seconds-before-status-checks: "
        checkout.edit("profiles/slurm/config.v8+.yaml", f"{wait}30", f"{wait}5")
        (folder / "slurm").symlink_to("profiles/slurm")
        mounted = _mount(folder / "results", 64 + jobs // 2)
        if not mounted:
            checkout.edit("unirl_repro/files.py", "    temporary =", FULL_BY_FLAG)
        made = checkout.call(sys.executable, "-m", "unirl_repro", "schema")
        assert made.returncode == 0, made.stderr
        campaign = cls(checkout, mounted)
        campaign.hold()
        return campaign

    @property
    def folder(self) -> Path:
        return self.checkout.folder

    @cached_property
    def runs(self) -> list[Run]:
        """All runs, the broken one included."""
        done = self.checkout.call(sys.executable, "-c", RUNS)
        assert done.returncode == 0, done.stderr
        home = self.folder / "results" / SCALE
        return [
            Run(
                task, variant, seed, budget,
                home / "checkpoints" / mark,
                home / "runs" / task / variant / f"seed{seed}",
            )
            for task, variant, seed, budget, mark in json.loads(done.stdout)
        ]  # fmt: skip

    def hold(self) -> None:
        """Runs take their time: as long as there are faults to come, there is work for them."""
        (self.folder / "hold").touch()

    def let_go(self) -> None:
        (self.folder / "hold").unlink(missing_ok=True)

    def start(self, output: Path, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in the checkout, as a user would from an active environment."""
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        # Where no bytecode is written, each of hundreds of processes would compile all it imports.
        bytecode = {
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
        }
        env = os.environ | bytecode | {"PATH": path, "OMP_NUM_THREADS": "1"}
        with output.open("wb") as file:
            return subprocess.Popen(
                command, cwd=self.folder, env=env, stdout=file, stderr=subprocess.STDOUT
            )

    def undisturbed(self) -> subprocess.Popen[bytes]:
        """Train the same runs one after the other, at low priority, in one process."""
        output = self.folder / "undisturbed.txt"
        return self.start(output, "nice", sys.executable, "-c", UNDISTURBED, BROKEN)

    # The full disk

    def fill(self) -> None:
        """Leave no byte free where results are; to be called again for what was freed since."""
        if not self.mounted:
            (self.folder / "full").touch()
            return
        with (self.folder / "results" / "filler").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        for name in ("results/filler", "full"):
            (self.folder / name).unlink(missing_ok=True)

    def leave_mount(self) -> None:
        """Put the results into the checkout itself, and end their small file system."""
        if self.mounted:
            results, kept = self.folder / "results", self.folder / "results_kept"
            self.free()
            shutil.copytree(results, kept)
            subprocess.run(["umount", "--lazy", results], check=True)
            results.rmdir()
            kept.rename(results)


def _mount(folder: Path, megabytes: int) -> bool:
    """A small file system of its own, where this user may mount one."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "unirl_campaign", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
