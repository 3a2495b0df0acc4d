"""The faults of the campaign: each injected when what it needs is seen, and written to a log.

Nothing here waits for a moment: it waits for a state, so that a busy machine only takes longer.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.slurm.campaign_checkout import CampaignCheckout, Run
from tests.slurm.cluster import Cluster

COMMAND = [sys.executable, "-m", "snakemake", "--profile", "slurm"]
PATIENCE = 300.0  # seconds until a state that should come counts as missed
HOLDER = re.compile(r"process (\d+) on \S+ \(SLURM job (\d+)\)")


class CampaignError(RuntimeError):
    """The campaign cannot go on; the text says what it waited for."""


@dataclass(frozen=True)
class Fault:
    """Something that was done to the campaign.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    began, ended : float
        Seconds since the epoch.
    jobs : tuple of str
        Ids of the SLURM jobs that it hit while they trained.
    """

    kind: str
    began: float
    ended: float
    jobs: tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """A trainer at work, past a checkpoint."""

    run: Run
    process: int
    job: str


class Driver:
    """Starts Snakemake, and does to it and to its jobs what clusters do.

    Parameters
    ----------
    place : CampaignCheckout
        What it trains.
    cluster : Cluster
        Where; its settings must be in this process's environment.
    """

    def __init__(self, place: CampaignCheckout, cluster: Cluster):
        self.place, self.cluster = place, cluster
        self.faults: list[Fault] = []
        self.outputs: list[Path] = []  # of each Snakemake, the latest last
        self.foreign = self._start_foreign_job()
        self.snakemake = self.start_snakemake()

    # Snakemake

    def start_snakemake(self) -> subprocess.Popen[bytes]:
        """The command that a user types, with its output in a file."""
        path = self.place.folder / f"snakemake_{len(self.outputs)}.txt"
        self.outputs.append(path)
        return self.place.start(path, *COMMAND)

    def _start_foreign_job(self) -> str:
        """A job of somebody's other checkout; its name is like those of this campaign's."""
        elsewhere = self.place.folder / "elsewhere"
        elsewhere.mkdir()
        options = ["--job-name=unirl_other", f"--chdir={elsewhere}", "--output=/dev/null"]
        return self._submit(*options, "--partition=scavenge", "--requeue", "--wrap=sleep infinity")

    def _submit(self, *options: str) -> str:
        return self.cluster.call("sbatch", "--parsable", "--mem=50", *options).stdout.strip()

    def running(self) -> set[str]:
        """Ids of this campaign's jobs that run."""
        told = self.cluster.call("squeue", "-h", "-t", "RUNNING", "-o", "%i %j").stdout
        jobs = [line.split() for line in told.splitlines()]
        return {job for job, name in jobs if name.startswith("unirl_") and job != self.foreign}

    # What there is to see

    def training(self) -> list[Training]:
        """Trainers that have saved since the last fault, without the run that breaks.

        So what ends next was not ended by the fault before.
        """
        running = self.running()
        since = self.faults[-1].ended if self.faults else 0.0
        found = (_trainer(run) for run in self.place.runs if not run.breaks)
        return [t for t in found if t and t.job in running and t.run.saved_at > since]

    def unfinished(self) -> list[Run]:
        runs = self.place.runs
        return [run for run in runs if not run.breaks and not (run.folder / "run.json").exists()]

    def note_time_limits(self) -> None:
        """Trainers that `timeout` ended: nobody does that to them but their time limit."""
        known = {job for fault in self.faults if fault.kind == "time limit" for job in fault.jobs}
        for run in self.place.runs:
            status = run.status
            job = (status.get("segment") or {}).get("job")
            if job and status.get("reason") == "SIGUSR1" and job not in known:
                self.note("time limit", time.time(), [job])

    def note(self, kind: str, began: float, jobs: list[str]) -> None:
        fault = Fault(kind, began, time.time(), tuple(jobs))
        self.faults.append(fault)
        with (self.place.folder / "faults.jsonl").open("a") as log:
            log.write(json.dumps(asdict(fault)) + "\n")

    def wait_for(
        self, what: str, condition: Callable[[], bool], patience: float = PATIENCE
    ) -> None:
        """Wait until `condition` holds.

        Raises
        ------
        CampaignError
            If it does not in time, or Snakemake ended.
        """
        deadline = time.monotonic() + patience
        while not condition():
            self.note_time_limits()
            if self.snakemake.poll() is not None:
                raise CampaignError(f"Snakemake ended before there was {what}{self._last_words()}")
            if time.monotonic() > deadline:
                raise CampaignError(f"waited {patience:.0f} s in vain for {what}")
            time.sleep(0.5)

    def _last_words(self) -> str:
        return "; it said:\n" + self.outputs[-1].read_text(errors="replace")[-2000:]

    def victims(self, count: int) -> list[Training]:
        """The first `count` trainers past a checkpoint."""
        self.wait_for(f"{count} trainers past a checkpoint", lambda: len(self.training()) >= count)
        return self.training()[:count]

    # Faults

    def kill_trainers(self, count: int = 2) -> None:
        victims, began = self.victims(count), time.time()
        for victim in victims:
            os.kill(victim.process, signal.SIGKILL)
        self.note("trainer killed", began, [victim.job for victim in victims])

    def requeue_jobs(self, count: int = 2) -> None:
        victims, began = self.victims(count), time.time()
        for victim in victims:
            self.cluster.call("scontrol", "requeue", victim.job)
        self._until_gone(victims)
        self.note("requeued", began, [victim.job for victim in victims])

    def preempt_jobs(self) -> None:
        """Ask for more CPUs in the better partition than are free, until a trainer gives way."""
        for _ in range(5):
            before, began = self.victims(2), time.time()
            idle = self.cluster.call("sinfo", "-h", "-p", "main", "-o", "%C").stdout.split("/")[1]
            preemptor = self._submit(
                "--partition=main", f"--cpus-per-task={int(idle) + 2}", "--output=/dev/null",
                "--wrap=sleep 2",
            )  # fmt: skip
            self._until_done(preemptor)
            hit = [v for v in before if self._preempted_since(v.job, began)]
            if hit:
                self.note("preempted", began, [victim.job for victim in hit])
                return
        raise CampaignError("five jobs in partition main, and none preempted a trainer")

    def take_node_down(self) -> None:
        """Drain the node, as an administrator does, then lose it; and bring it back."""
        victims, began = self._all_training(3), time.time()
        node = self.cluster.call("sinfo", "-h", "-o", "%n").stdout.split()[0]
        for state in ("drain", "down"):
            self._set_node(node, state)
        self._until_gone(victims)
        self._set_node(node, "resume")
        self.note("node down", began, [victim.job for victim in victims])

    def restart_controller(self) -> None:
        """End it as a crash would; trainers do not notice."""
        victims, began = self._all_training(2), time.time()
        self.cluster.kill_controller()
        time.sleep(2)
        self.cluster.start_controller()
        back = time.time()
        self.wait_for(
            "a trainer that goes on saving",
            lambda: any(_alive(v) and v.run.saved_at > back + 2 for v in victims),
        )
        self.note("controller restarted", began, [victim.job for victim in victims])

    def kill_snakemake(self) -> None:
        """End it as a crash would, and do what README says then."""
        victims, began = self._all_training(3), time.time()
        self.snakemake.kill()
        self.snakemake.wait()
        orphans = self.running()
        refused = self.place.checkout.call(*COMMAND)
        if refused.returncode == 0 or "--unlock" not in refused.stdout + refused.stderr:
            raise CampaignError(f"no word of --unlock: {refused.stdout}{refused.stderr}"[-1000:])
        unlocked = self.place.checkout.call(sys.executable, "-m", "snakemake", "--unlock")
        if unlocked.returncode != 0:
            raise CampaignError(f"snakemake --unlock: {unlocked.stderr[-1000:]}")
        self.snakemake = self.start_snakemake()
        self.wait_for("an end of the orphans", lambda: not self.running() & orphans)
        self.note("snakemake killed", began, [victim.job for victim in victims])

    def fill_disk(self) -> None:
        """Leave no room for results until some trainers have failed of it."""
        victims, began = self._all_training(2), time.time()

        def two_failed() -> bool:
            self.place.fill()
            return sum(not _alive(victim) for victim in victims) >= 2

        try:
            self.wait_for("two trainers that fail on a full disk", two_failed)
        finally:
            self.place.free()
        failed = [victim.job for victim in victims if not _alive(victim)]
        self.note("disk full", began, failed)

    def _all_training(self, at_least: int) -> list[Training]:
        self.victims(at_least)
        return self.training()

    def _until_gone(self, victims: list[Training]) -> None:
        self.wait_for("an end of trainers that SLURM ends", lambda: not any(map(_alive, victims)))

    def _set_node(self, node: str, state: str) -> None:
        self.cluster.call(
            "scontrol", "update", f"nodename={node}", f"state={state}", "reason=campaign"
        )

    def _in_queue(self, job: str) -> bool:
        told = self.cluster.call("squeue", "-h", "-o", "%i").stdout
        return job in told.split()

    def _until_done(self, job: str) -> None:
        self.wait_for(f"an end of job {job}", lambda: not self._in_queue(job))

    def _preempted_since(self, job: str, began: float) -> bool:
        told = self.cluster.call("scontrol", "-o", "show", "job", job, check=False).stdout
        found = re.search(r" PreemptTime=(\d\S+)", told)
        if found is None:
            return False
        return time.mktime(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")) >= began - 1

    # The campaign

    def each_fault_once(self) -> None:
        """In an order in which each leaves work for the next."""
        self.kill_trainers()
        self.requeue_jobs()
        self.preempt_jobs()
        self.restart_controller()
        self.fill_disk()
        # Snakemake shuns a node once it was down; a new one has forgotten that.
        self.take_node_down()
        self.kill_snakemake()
        self.wait_for("a run over its time limit", lambda: "time limit" in self.seen())

    def more_faults(self, seed: int, until: int) -> None:
        """Faults at random moments, until so few runs are left."""
        moments = random.Random(seed)
        again: list[list[Callable[[], None]]] = [
            [self.kill_trainers],
            [self.requeue_jobs],
            [self.preempt_jobs],
            [self.restart_controller],
            [self.fill_disk],
            [self.take_node_down, self.kill_snakemake],  # in that order: see above
        ]
        while len(self.unfinished()) > until:
            self._let_pass(moments.uniform(10, 60))
            for fault in moments.choice(again):
                fault()

    def _let_pass(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.wait_for("time to pass", lambda: time.monotonic() > end)

    def seen(self) -> set[str]:
        return {fault.kind for fault in self.faults}

    def finish(self, patience: float = 900.0) -> str:
        """Let all runs finish; what Snakemake said at its end."""
        self.place.let_go()
        try:
            self.snakemake.wait(patience)
        except subprocess.TimeoutExpired:
            left = [run.name for run in self.unfinished()]
            raise CampaignError(
                f"after {patience:.0f} s without faults Snakemake still ran; not finished: {left}"
            ) from None
        return self.outputs[-1].read_text(errors="replace")

    def foreign_job_lives(self) -> bool:
        return self._in_queue(self.foreign)

    def stop(self) -> None:
        """End Snakemake, however the campaign went."""
        if self.snakemake.poll() is None:
            self.snakemake.kill()
            self.snakemake.wait()


def _trainer(run: Run) -> Training | None:
    """Who trains a run, if somebody does."""
    try:
        found = HOLDER.search((run.checkpoints / "lock").read_text())
    except FileNotFoundError:
        return None
    status = run.status
    if found is None or status.get("state") != "running":
        return None
    trainer = Training(run, int(found[1]), found[2])
    same = (status.get("segment") or {}).get("job") == trainer.job
    return trainer if same and _alive(trainer) else None


def _alive(trainer: Training) -> bool:
    """Whether the process is there and still trains that run: its number may be another's now."""
    try:
        words = Path(f"/proc/{trainer.process}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    wanted = [b"unirl_repro", b"train", trainer.run.variant.encode(), b"%d" % trainer.run.seed]
    return all(word in words for word in wanted)
