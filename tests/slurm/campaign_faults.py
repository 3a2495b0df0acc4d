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
NOWHERE = "--output=/dev/null"
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
        options = ["--job-name=unirl_other", f"--chdir={elsewhere}", NOWHERE, "--requeue"]
        return self._submit(*options, "--partition=scavenge", "--wrap=sleep infinity")

    def _submit(self, *options: str) -> str:
        return self.cluster.call("sbatch", "--parsable", "--mem=50", *options).stdout.strip()

    def running(self) -> set[str]:
        """Ids of this campaign's jobs that run."""
        told = self.cluster.call("squeue", "-h", "-t", "RUNNING", "-o", "%i %j").stdout
        jobs = [line.split() for line in told.splitlines()]
        return {job for job, name in jobs if name.startswith("unirl_") and job != self.foreign}

    # What there is to see

    def training(self) -> list[Training]:
        """Trainers that have saved since the last fault and have work left, but of no broken run.

        So one that ends next was neither ended by the fault before nor at its end anyway.
        """
        running = self.running()
        since = self.faults[-1].ended if self.faults else 0.0
        found = []
        for run in self.place.runs:
            saved_at, step = run.saved
            if not run.breaks and saved_at > since and step < 0.9 * run.budget:
                trainer = _trainer(run)
                if trainer and trainer.job in running:
                    found.append(trainer)
        return found

    def unfinished(self) -> list[Run]:
        return [run for run in self.place.runs if not run.breaks and not run.finished]

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
        """Ask for CPUs in the better partition: so many that a trainer must give way."""
        for _ in range(5):
            victims, began = self._all_training(2), time.time()
            cpus = self.cluster.call("sinfo", "-h", "-p", "main", "-o", "%C").stdout.split("/")
            others = len(self.running()) - len(victims) + 1  # not training yet; and the foreign job
            wanted = f"--cpus-per-task={min(int(cpus[1]) + others + 2, int(cpus[3]))}"
            self._until_done(self._submit("--partition=main", wanted, NOWHERE, "--wrap=sleep 2"))
            told_to_go = [v for v in victims if self._preempted_since(v.job, began)]
            hit = [v.job for v in told_to_go if not v.run.finished]
            if hit:
                self.note("preempted", began, hit)
                return
        raise CampaignError("five jobs in partition main, and none preempted a trainer")

    def take_node_down(self) -> None:
        """Drain the node, as an administrator does, then lose it; and bring it back."""
        victims, began = self._all_training(3), time.time()
        jobs = self.running()
        node = self.cluster.call("sinfo", "-h", "-o", "%n").stdout.split()[0]
        # A node that is down comes back by itself, and must not before the last job is off it:
        # SLURM would find that one beside its next attempt and hold it for good.
        for state in ("drain", "down", "drain"):
            self._set_node(node, state)
        self.wait_for("an empty node", lambda: not jobs & self._jobs_on_node())
        self._set_node(node, "resume")
        self.note("node down", began, [victim.job for victim in victims])

    def restart_controller(self) -> None:
        """End it as a crash would; trainers do not notice.

        Of what happened in its last five seconds it may have saved nothing, and starts jobs twice;
        SLURM then drains their node. That is for administrators, so it is not done here.
        """
        self._wait_for_quiet(8)
        victims, began = self._all_training(2), time.time()
        self.cluster.kill_controller()
        time.sleep(2)
        self.cluster.start_controller()
        back = time.time()
        self.wait_for(
            "a trainer that goes on saving",
            lambda: any(_alive(v) and v.run.saved[0] > back + 2 for v in victims),
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

    def _wait_for_quiet(self, seconds: float) -> None:
        """Wait until no job was submitted, started or ended for so long."""
        before, since = "", time.monotonic()

        def quiet() -> bool:
            nonlocal before, since
            now = self.cluster.call("squeue", "-h", "-o", "%i %t").stdout
            if now != before:
                before, since = now, time.monotonic()
            return time.monotonic() - since > seconds

        self.wait_for(f"{seconds} s in which no job starts or ends", quiet)

    def _jobs_on_node(self) -> set[str]:
        """Jobs that have processes, whatever the controller believes."""
        told = self.cluster.call("scontrol", "listpids", check=False).stdout
        return {line.split()[1] for line in told.splitlines()}

    def _in_queue(self, job: str) -> bool:
        told = self.cluster.call("squeue", "-h", "-o", "%i").stdout
        return job in told.split()

    def _until_done(self, job: str) -> None:
        self.wait_for(f"an end of job {job}", lambda: not self._in_queue(job))

    def _preempted_since(self, job: str, began: float) -> bool:
        """Whether a job was told to give way: if it left in time it failed, else it is requeued."""
        told = self.cluster.call("scontrol", "-o", "show", "job", job, check=False).stdout
        moments = re.findall(r" PreemptTime=(\d\S+)", told)
        fields = ("--duplicates", "--format=State,End")
        for line in self.cluster.call("sacct", "-XnPj", job, *fields).stdout.splitlines():
            state, _, end = line.partition("|")
            if state == "PREEMPTED":
                moments.append(end)
        return any(_seconds(moment) >= began - 1 for moment in moments)

    # The campaign

    def each_fault_once(self) -> None:
        """In an order in which each leaves work for the next."""
        self.restart_controller()
        self.kill_trainers()
        self.requeue_jobs()
        self.preempt_jobs()
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


def _seconds(moment: str) -> float:
    """SLURM's local time in seconds since the epoch."""
    return time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S"))


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
