"""Every place where a paper is silent and we chose, or where we differ: the report's appendix.

The code names the id where it happens (``deviation E1``); a test keeps the two in step.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """One choice: what the paper says, what we do, how large the effect is where it is known."""

    title: str
    text: str


DEVIATIONS: dict[str, Deviation] = {
    # --- E: environments
    # --- A: agents
    # --- R: runs
    # --- S: statistics
    # --- P: the report
}
