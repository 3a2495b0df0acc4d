"""What the next attempt at a run should be like, given how the last one ended."""

from functools import cache
from pathlib import Path
from typing import Any

from unirl_repro.campaign import plan, slurm
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.state import last_status, run_state
from unirl_repro.config import RunSpec
from unirl_repro.fingerprint import fingerprint
from unirl_repro.stopping import REFUSED

OUT_OF_MEMORY = "OUT_OF_MEMORY"
PATIENCE = 5  # seconds for SLURM; thousands of runs may be asked about while the DAG is built
# Times the need: three doublings. A run that eats all of this has a leak, and would end up
# asking for more than any node has.
MOST = 8


def is_settled(spec: RunSpec, places: Places) -> bool:
    """Whether a further attempt is in vain: the run cannot succeed, cannot even begin, or is done.

    One that is done counts where a job of several runs failed: it is not what to try again for.
    """
    refused = (places.checkpoints / fingerprint(spec) / REFUSED).exists()
    fatal = last_status(spec, places.checkpoints).get("state") == "fatal"
    return refused or fatal or run_state(spec, places).kind == "finished"


def memory_mb(spec: RunSpec, checkpoints: Path) -> int:
    """Memory to ask for: what the run needs, or twice what it had if that was not enough.

    Only running out of memory raises it, to `MOST` times the need at most; what was raised once
    stays so.

    Parameters
    ----------
    spec : RunSpec
        The run.
    checkpoints : Path
        Folder of all runs' checkpoints.
    """
    needed = plan.memory_mb(spec)
    status = last_status(spec, checkpoints)
    had = (status.get("segment") or {}).get("memory_limit_mb")
    if had is None:
        return needed
    asked = 2 * had if _ran_out_of_memory(status) else had
    return min(max(needed, asked), MOST * needed)


def _ran_out_of_memory(status: dict[str, Any]) -> bool:
    """Whoever is killed for memory leaves no word, so SLURM is asked about its job."""
    if status["state"] in ("failed", "fatal"):
        return status["reason"].startswith("MemoryError")
    job = status["segment"].get("job")
    silent = status["state"] == "running" and job is not None
    return silent and OUT_OF_MEMORY in _states(job)


@cache
def _states(job: str) -> frozenset[str]:
    return slurm.job_states(job, PATIENCE)
