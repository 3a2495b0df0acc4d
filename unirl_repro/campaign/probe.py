"""A job of a minute that looks at everything from where the runs will be: a compute node.

The login process holds a lock while the job runs, and the job says whether it sees it as held.
"""

import fcntl
import getpass
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unirl_repro.campaign import apptainer, container, slurm
from unirl_repro.campaign.finding import Finding, error, ok
from unirl_repro.campaign.image_checks import is_there
from unirl_repro.campaign.site import SITE, Site

PATIENCE = 300  # seconds, in which the queue must have started and ended the job
MARK = "preflight: "
# What can be told before any of our files is known to be there.
SCRIPT = f"""
echo "{MARK}host $(uname -n)"
cd "$1" && test -f config.yaml && echo "{MARK}checkout yes"
test -x "$2" && echo "{MARK}python yes" && exec "$2" -m unirl_repro.campaign.probe "$3" "$4"
"""
IMPORT = "import torch; print(torch.__version__, torch.cuda.is_available())"
SHARE = "keep the checkout, with .venv/ and results/, on a file system that all compute nodes share"


@dataclass(frozen=True)
class Answer:
    """What became of the job.

    Attributes
    ----------
    facts : mapping
        What it found; empty if it did not run.
    complaints : str
        What it or SLURM said of things that went wrong.
    """

    facts: Mapping[str, Any]
    complaints: str = ""


def probe(
    site: Site, root: Path, results: Path, *, gpu: bool, patience: float = PATIENCE
) -> list[Finding]:
    """Run the job where CPU or GPU runs go, and say what it saw.

    Parameters
    ----------
    site : Site
    root, results : Path
        The checkout, and the folder of results, which must be there.
    gpu : bool
        Whether to look at the GPU partition, with a GPU.
    patience : float
        Seconds until it must be done.
    """
    lock = results.resolve() / f".preflight-{uuid.uuid4().hex}"
    try:
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            answer = _run(site, root.resolve(), lock, gpu=gpu, patience=patience)
    finally:
        lock.unlink(missing_ok=True)
    return judge(answer, gpu=gpu, final=site.image is None or is_there(site, root))


def _run(site: Site, root: Path, lock: Path, *, gpu: bool, patience: float) -> Answer:
    name = f"preflight_{lock.name[-12:]}"
    asked = site.requests(gpu=gpu)
    options = {
        "--account": asked.get("slurm_account"),
        "--partition": asked.get("slurm_partition"),
        "--qos": asked.get("qos"),
        "--gres": asked.get("gres"),
    }
    image = str(site.image) if is_there(site, root) else ""
    arguments = (str(root), sys.executable, str(lock), image)
    command = [
        *("srun", "--quiet", "--ntasks=1", "--mem=2000", "--time=2", "--mpi=none"),
        *(f"--job-name={name}", f"--chdir={os.sep}"),
        *(f"{option}={value}" for option, value in options.items() if value),
        *("sh", "-c", SCRIPT, name, *arguments),
    ]
    # Inside another job, srun would start a step of it.
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith("SLURM_") or k == "SLURM_CONF"
    }
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience, check=False, env=inherited
        )
    except subprocess.TimeoutExpired:
        return Answer({}, f"not done within {patience:g} s; SLURM says: {_withdraw(name)}")
    try:
        return Answer(parse(done.stdout), done.stderr.strip())
    except slurm.SlurmError as problem:
        return Answer({}, f"{problem} {done.stderr}".strip())


def _withdraw(name: str) -> str:
    """Cancel the job; returns its state, and why it waits."""
    try:
        state = slurm.ask("squeue", "--noheader", f"--name={name}", "--format=%T, %r").strip()
        slurm.ask("scancel", f"--name={name}", f"--user={getpass.getuser()}")
    except slurm.SlurmError as problem:
        return str(problem)
    return state or "nothing"


def parse(told: str) -> dict[str, Any]:
    """The job's lines among all that a node may print.

    Raises
    ------
    SlurmError
        If its report has been cut.
    """
    rows = [line.removeprefix(MARK) for line in told.splitlines() if line.startswith(MARK)]
    facts: dict[str, Any] = {}
    for row in rows:
        key, _, value = row.partition(" ")
        try:
            facts |= json.loads(value) if key == "report" else {key: value}
        except json.JSONDecodeError:
            raise slurm.SlurmError(f"of its answer only this arrived: {row!r}") from None
    return facts


def judge(answer: Answer, *, gpu: bool, final: bool) -> list[Finding]:
    """What the job's answer means.

    Parameters
    ----------
    answer : Answer
    gpu : bool
        Whether it should have had a GPU.
    final : bool
        Whether runs will use the same torch; not while their image is yet to be built.
    """
    facts = answer.facts
    about = "GPU job" if gpu else "job"
    if not facts:
        return [
            error(
                about,
                f"a job of one minute did not run to its end: {answer.complaints or 'SLURM says nothing'}",
                f"see `squeue --me` and `sinfo`; what jobs ask for is in {SITE}. Where the queue is "
                "only busy, try again later, or go on without --probe",
            )
        ]
    about = f"{about} on {facts['host']}"
    if "checkout" not in facts or "python" not in facts:
        lacking = "this checkout" if "checkout" not in facts else sys.executable
        return [error(about, f"the node does not see {lacking}", SHARE)]
    if "torch" not in facts:
        own = [line for line in answer.complaints.splitlines() if not line.startswith("srun: ")]
        last = own[-1] if own else "it said nothing"
        return [error(about, f"our Python stopped there: {last}", SHARE)]
    findings = [_judge_torch(about, facts), _judge_lock(about, facts)]
    return findings + ([_judge_gpu(about, facts, final=final)] if gpu else [])


def _judge_torch(about: str, facts: Mapping[str, Any]) -> Finding:
    where, problem = facts["where"], facts["problem"]
    if problem and facts["in_image"]:
        return error(
            about,
            f"a container does not run there: {problem}",
            f"ask the administrators about Apptainer on that node, or set `container: none` in {SITE}",
        )
    if problem:
        return error(about, f"torch cannot be imported from {where}: {problem}", SHARE)
    return ok(about, f"sees the checkout; torch {facts['torch']} is imported from {where}")


def _judge_lock(about: str, facts: Mapping[str, Any]) -> Finding:
    match facts["lock"]:
        case "held":
            return ok(about, "sees the results folder, and our lock in it as held")
        case "missing":
            return error(about, "does not see a file of the results folder", SHARE)
        case "free":
            told = "gets a lock that we hold: two nodes could train the same run"
        case other:
            told = f"cannot lock a file in the results folder: {other}"
    mend = "keep the checkout where flock works across nodes (NFS without nolock or local_lock; Lustre with the option flock)"
    return error(about, told, mend)


def _judge_gpu(about: str, facts: Mapping[str, Any], *, final: bool) -> Finding:
    if not facts["gpus"]:
        return error(
            about,
            "was given no GPU: CUDA_VISIBLE_DEVICES is empty",
            f"name a partition with GPUs under gpu in {SITE}, or ask the administrators",
        )
    if final and not facts["cuda"]:
        return error(
            about,
            f"was given GPU {facts['gpus']}, but torch {facts['torch']} cannot use it",
            f"`build: {{torch: cuda}}` in {SITE} (without a container: make setup TORCH=cuda); if "
            "torch is built with CUDA already, the node's driver is too old or not there",
        )
    return ok(about, f"has GPU {facts['gpus']}" + (", and torch sees it" if facts["cuda"] else ""))


# From here on: in the job


def report(lock: Path, image: Path | None) -> dict[str, Any]:
    """What a compute node sees.

    Parameters
    ----------
    lock : Path
        A file that the login process has locked.
    image : Path, optional
        Container that jobs run in.
    """
    return {
        **_import_torch(image),
        "in_image": image is not None,
        "lock": _try_lock(lock),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
    }


def _import_torch(image: Path | None) -> dict[str, Any]:
    """As a trainer would: in the image, or else in the virtual environment."""
    facts: dict[str, Any] = {"where": str(image or sys.prefix), "torch": "", "cuda": False}
    if image and (obstacle := container.why_not()):
        return facts | {"problem": obstacle}
    python = ["apptainer", "exec", str(image), "python"] if image else [sys.executable]
    done = subprocess.run(
        [*python, "-c", IMPORT],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return facts | {"problem": (done.stderr.strip() or "no message").splitlines()[-1]}
    version, cuda = done.stdout.split()[-2:]
    return facts | {"problem": "", "torch": version, "cuda": cuda == "True"}


def _try_lock(lock: Path) -> str:
    try:
        with lock.open("r+") as file:  # NFS locks no file that is only read
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return "missing"
    except BlockingIOError:
        return "held"
    except OSError as problem:
        return str(problem)
    return "free"


if __name__ == "__main__":
    named = Path(sys.argv[2]) if sys.argv[2] else None
    if named:
        apptainer.set_environment()
    print(f"{MARK}report {json.dumps(report(Path(sys.argv[1]), named))}")
