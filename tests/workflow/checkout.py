"""A checkout of its own for each test, with a tiny experiment, and Snakemake run on it for real."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDERS = ("unirl_repro", "workflow", "profiles", "paper", "resources")
FILES = ("Snakefile", "config.yaml")

# Three algorithms: SAC, one that uses it, and one that does not.
EXPERIMENT = """
scale: smoke
documents:
  unified_rl: {title: Tiny, citation: freed2024unified}
variants:
  sac_rlpd: {algorithm: sac}
  unified: {algorithm: user}
  mbrl: {algorithm: idle}
budgets: {}
studies:
  unified_rl_fig2:
    document: unified_rl
    kind: figure
    place: Figure 2
    title: tiny
    tasks: [walker2d-100]
    variants: [sac_rlpd, unified]
    seeds: 1
  unified_rl_table1:
    document: unified_rl
    kind: table
    place: Table 1
    title: tiny
    tasks: [walker2d-100]
    variants: [mbrl]
    seeds: 2
scales:
  smoke: &tiny
    compiled: false
    evaluation: {every: 100, episodes: 1}
    budgets: {walker2d-100: 100}
    parameters:
      sac: &parameters {hidden: [8], batch_size: 8, random_steps: 90}
      user: *parameters
      idle: *parameters
  quick: *tiny
  paper: *tiny
"""
# On runs that every such experiment has.
CLAIMS = """
claims:
  unified_rl_tiny:
    document: unified_rl
    where: nowhere
    claim: Nothing is learnt.
    runs:
      - {study: unified_rl_fig2, tasks: [walker2d-100], variants: [sac_rlpd], seeds: 1}
    test:
      name: fails
      parameters: {variant: sac_rlpd, margin: 0.1, window: [0.5, 1.0]}
      rule: Gains less than {margin:.0%}.
"""
USER = '''"""An algorithm that uses SAC."""

from unirl_repro.agents.sac import SAC


class User(SAC):
    policy = "user"
'''
IDLE = '''"""An algorithm that does nothing."""

import torch


class Idle:
    policy = "idle"
    random_steps = 0

    def __init__(self, parameters, obs_dim, action_dim, *, horizon, keys, device, compiled):
        self.action_dim, self.seed = action_dim, keys.seed

    def act(self, obs, rng, *, explore):
        return torch.zeros(len(obs), self.action_dim)

    def before_episode(self, replay, keys):
        return {}

    def after_step(self, replay, keys):
        return {}

    def after_episode(self, replay, keys):
        return {}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
'''
ENTRIES = """
    "user": Algorithm("unirl_repro.agents.user", "User", SACParameters),
    "idle": Algorithm("unirl_repro.agents.idle", "Idle", SACParameters),
"""
# Stands in for LaTeX: what is tested here is when the report is set, not how.
LATEXMK = """#!/bin/sh
cp what_ran.tex main.pdf
touch main.log
"""


@cache
def _bytecode() -> dict[str, str]:
    """Where no bytecode is written, each of many processes would compile all that it imports."""
    if not sys.dont_write_bytecode:
        return {}
    folder = tempfile.mkdtemp(prefix="unirl_bytecode_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder}


@dataclass(frozen=True)
class Checkout:
    """A copy of the project in `folder`."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Checkout":
        """Copy the project, and put the tiny experiment and its algorithms into it."""
        checkout = cls(folder)
        ignored = shutil.ignore_patterns("__pycache__", "archive", "site.yaml")
        for name in FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in FILES:
            shutil.copy(ROOT / name, folder / name)
        checkout.write("config.yaml", EXPERIMENT)
        checkout.write("paper/claims.yaml", CLAIMS)
        checkout.write("unirl_repro/agents/user.py", USER)
        checkout.write("unirl_repro/agents/idle.py", IDLE)
        start = "ALGORITHMS: dict[str, Algorithm] = {"
        checkout.edit("unirl_repro/registry.py", start, start + ENTRIES)
        checkout.edit("workflow/rules/train.smk", "retries: 20", "retries: 2")
        checkout.write("bin/latexmk", LATEXMK)
        (folder / "bin" / "latexmk").chmod(0o755)
        checkout.call(sys.executable, "-m", "unirl_repro", "schema")
        return checkout

    def use_latex(self) -> None:
        """LaTeX itself, for the report without the sections of studies that are not here."""
        (self.folder / "bin" / "latexmk").unlink()
        parts = ("switching", "robustness", "alm", "overhead", "settings", "recomputed")
        for section in (*(f"unified_rl_{part}" for part in parts), "mnm", "usbpo", "mbpo_blog"):
            self.edit("paper/main.tex", f"\\input{{sections/{section}}}\n", "")

    def copy(self, folder: Path) -> "Checkout":
        """Another one in the same state; times of files are kept."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Checkout(folder)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the one place in a file that reads `old`."""
        text = (self.folder / name).read_text()
        assert text.count(old) == 1, f"{name} holds {text.count(old)} times: {old}"
        self.write(name, text.replace(old, new))

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout, as a user would from an active environment."""
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = os.environ | _bytecode() | {"PATH": path, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.call(sys.executable, "-m", "snakemake", "-c2", *arguments)

    def planned(self, *arguments: str) -> set[str]:
        """Messages of the jobs that Snakemake would run."""
        done = self.snakemake("-n", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return set(re.findall(r"^Job \d+: (.*)$", done.stdout, flags=re.MULTILINE))

    def trains(self, *arguments: str) -> set[str]:
        """Runs that Snakemake would train, as ``variant/seed``."""
        found = (
            re.match(r"Train (\S+) on \S+, seed (\d+)", job) for job in self.planned(*arguments)
        )
        return {f"{match[1]}/{match[2]}" for match in found if match}

    def manifest(self, variant: str, seed: int = 0) -> dict[str, Any]:
        folder = f"results/smoke/runs/walker2d-100/{variant}/seed{seed}"
        return json.loads((self.folder / folder / "run.json").read_text())
