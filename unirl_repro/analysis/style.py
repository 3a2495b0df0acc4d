"""How figures and tables look: one colour and one marker an algorithm, one name a task.

Colours are seaborn's colour-blind palette; markers differ too, so that no reading rests on colour.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from unirl_repro.envs.tasks import TASKS  # a page of names: imports no environment

TEXT_WIDTH = 6.69  # inches; the report's, so that a figure's 8 points are 8 points in print
_PALETTE = [mpl.colors.to_hex(colour) for colour in sns.color_palette("colorblind")]


@dataclass(frozen=True)
class Look:
    """Name, colour and marker of a variant."""

    name: str
    colour: str
    marker: str


# The paper's own three stay far apart under either kind of red-green blindness.
LOOKS = {
    "unified": Look("Unified RL", "#000000", "*"),
    "sac_rlpd": Look("SAC", _PALETTE[0], "o"),
    "mbrl": Look("MBRL", _PALETTE[1], "s"),
    "max(mbrl,sac_rlpd)": Look("max(MBRL,SAC)", _PALETTE[3], "1"),
    "alm": Look("ALM", _PALETTE[4], "D"),
    "ddpg": Look("DDPG", _PALETTE[5], "v"),
    "svg": Look("SVG", _PALETTE[6], "P"),
    "td3": Look("TD3", _PALETTE[7], "^"),
    "hl": Look("HL", _PALETTE[2], "X"),
    "ppo": Look("PPO", _PALETTE[9], "p"),
    "sac": Look("SAC (as published)", "#023e8a", "h"),
}

STYLE = {
    **sns.axes_style("ticks"),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same glyphs on each machine
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # TrueType; the default would embed bitmap-like Type 3
    "svg.hashsalt": "unirl_repro",  # ids in an SVG are random without it
    "savefig.dpi": 200,
}


def look(variant: str) -> Look:
    """Look of a variant; overrides (`cmlo@threshold=1.0`) keep that of what they override."""
    name = variant.split("@")[0]
    if name not in LOOKS:
        allowed = ", ".join(sorted(LOOKS))
        raise ValueError(
            f"variant {variant!r} has no name and colour. Known: {allowed}. "
            "Add it to LOOKS in unirl_repro/analysis/style.py"
        )
    return LOOKS[name]


def task_name(task: str) -> str:
    """What figures call a task."""
    return TASKS[task].title


@contextmanager
def styled() -> Iterator[None]:
    """Apply `STYLE` inside a block: where a figure is made, and again where it is saved."""
    with mpl.rc_context(STYLE):
        yield


def panels(count: int, columns: int = 3, panel_height: float = 2.0) -> tuple[Figure, list[Axes]]:
    """Make a figure of the report's width with `count` panels; call inside `styled`."""
    rows = -(-count // columns)
    size = (TEXT_WIDTH, rows * panel_height + 0.5)
    fig = Figure(figsize=size, layout="constrained")
    axes = list(fig.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    for ax in axes[:count]:
        sns.despine(ax=ax)
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_locator(MaxNLocator(5))
    return fig, axes[:count]
