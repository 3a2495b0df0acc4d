"""What readers of the claims call variants, tasks and policies, and what is compared."""

from collections.abc import Sequence

from unirl_repro.analysis.claims_register import METRIC_KEYS, TASK_KEYS, VARIANT_KEYS, listed
from unirl_repro.analysis.style import look, task_name

FEW = 2  # rivals that are named one by one
POLICIES = {
    "random": "random actions",
    "sac_untested": "untested SAC",
    "sac": "SAC",
    "sac_forced": "forced SAC",
    "mbrl": "MBRL",
}
SYMBOLS = {"delta": "Δ"}  # of metrics; others go by their names


def called(key: str, value: str) -> str:
    """Name of what a parameter of a test names.

    Examples
    --------
    >>> called("range_of", "ant-100"), called("ours", "sac_rlpd"), called("policies", "sac_forced")
    ('Ant', 'SAC', 'forced SAC')
    """
    if key in TASK_KEYS:
        return task_name(value)
    if key in METRIC_KEYS:
        return metric_name(value)
    return look(value).name if key in VARIANT_KEYS else POLICIES[value]


def metric_name(metric: str) -> str:
    """Name of a metric.

    Examples
    --------
    >>> metric_name("delta"), metric_name("model_shift")
    ('Δ', 'model shift')
    """
    return SYMBOLS.get(metric, metric.replace("_", " "))


def run_name(task: str, variant: str, seed: int) -> str:
    """Name of a run.

    Examples
    --------
    >>> run_name("ant-100", "sac_rlpd", 3)
    'SAC on Ant, seed 3'
    """
    return f"{look(variant).name} on {task_name(task)}, seed {seed}"


def against(ours: str, than: Sequence[str]) -> str:
    """Name of a comparison with the best of others.

    Examples
    --------
    >>> against("unified", ["mbrl"])
    'Unified RL against MBRL'
    >>> against("unified", ["sac_rlpd", "mbrl"])
    'Unified RL against the better of SAC and MBRL'
    """
    names = [look(variant).name for variant in than]
    if len(names) > FEW:
        rival = f"the best of {len(names)} others"
    else:
        rival = names[0] if len(names) == 1 else f"the better of {listed(names)}"
    return f"{look(ours).name} against {rival}"
