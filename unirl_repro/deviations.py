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
    "S1": Deviation(
        "Confidence intervals",
        "unified_rl prints 95% intervals and does not say how they were made. We use Student's t "
        "interval over seeds, and read the printed intervals as t intervals of five seeds.",
    ),
    "S2": Deviation(
        "Curves on a grid",
        "unified_rl does not say how curves of different seeds were aligned or smoothed. We take "
        "the mean of each curve over each of at most 100 equal cells of the budget; nothing else "
        "is smoothed. At each point the mean is over the seeds that reached it.",
    ),
    "S3": Deviation(
        "Average over training",
        "Each environment step counts once: the mean episode return is weighted by episode length. "
        "A run that stopped before its budget is averaged over the steps it has, and is marked.",
    ),
    "S4": Deviation(
        "The t-test of Table 1",
        "unified_rl names a Student t-test, not its kind. We use the unpaired, two-sided test at "
        "5%. Bold type needs at least two algorithms that ran. Whether published rows are bold is "
        "computed from their printed means and intervals.",
    ),
    "S5": Deviation(
        "Normalised returns",
        "The paper's rule (lowest row of a task 0, highest 1) is undefined for a single algorithm, "
        "and changes with the rows that ran. We print it, and beside it our returns on the range "
        "of the published rows, over the tasks that ran. The rule reproduces the printed column "
        "from the printed means to rounding, except for PPO: 0.3994, not 0.3936.",
    ),
    "S6": Deviation(
        "The row max(MBRL,SAC)",
        "As the printed numbers do, we take on each task the one of the two algorithms with the "
        "higher mean over seeds, not the better of each pair of seeds.",
    ),
    "S7": Deviation(
        "Statistics beside the paper's",
        "Interquartile mean and probability of improvement with percentile intervals from 2,000 "
        "bootstrap resamples of the seeds within each task; Welch's test with Holm's correction. "
        "unified_rl has none of these.",
    ),
    # --- P: the report
    "P1": Deviation(
        "Published values in Figure 2",
        "The paper's curves are an image without numbers. Our figure shows, as a dotted line, the "
        "published average over training (Table 1), which lies below where a curve ends.",
    ),
    "P2": Deviation(
        "Layout of Table 1",
        "One block a task with ours, published and difference, in place of one wide table.",
    ),
}
