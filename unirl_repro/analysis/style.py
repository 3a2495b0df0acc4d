"""How figures and tables look: one colour and one marker an algorithm, one name a task.

Colours are seaborn's colour-blind palette; markers differ too, so that no reading rests on colour.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from unirl_repro.envs.tasks import TASKS  # a page of names: imports no environment

TEXT_WIDTH = 6.69  # inches; the report's, so that a figure's 8 points are 8 points in print
PALETTE = [mpl.colors.to_hex(colour) for colour in sns.color_palette("colorblind")]


@dataclass(frozen=True)
class Look:
    """Name, colour and marker of a variant."""

    name: str
    colour: str
    marker: str


# The paper's own three stay far apart under either kind of red-green blindness.
LOOKS = {
    "unified": Look("Unified RL", "#000000", "*"),
    "sac_rlpd": Look("SAC", PALETTE[0], "o"),
    "mbrl": Look("MBRL", PALETTE[1], "s"),
    "max(mbrl,sac_rlpd)": Look("max(MBRL,SAC)", PALETTE[3], "1"),
    "alm": Look("ALM", PALETTE[4], "D"),
    "alm@windows=inside": Look("ALM, windows inside episodes", "#5b2a86", "d"),
    "ddpg": Look("DDPG", PALETTE[5], "v"),
    "svg": Look("SVG", PALETTE[6], "P"),
    "td3": Look("TD3", PALETTE[7], "^"),
    "hl": Look("HL", PALETTE[2], "X"),
    "ppo": Look("PPO", PALETTE[9], "p"),
    "sac": Look("SAC (as published)", "#023e8a", "h"),
    "mbpo": Look("MBPO", PALETTE[2], ">"),
    "usbpo": Look("USB-PO", "#000000", "*"),
    "usbpo@wasserstein=repo": Look("USB-PO, published code's distance", PALETTE[3], "1"),
    "usbpo@fine_tuning_learning_rate=1e-5": Look("USB-PO, 1e-5", PALETTE[0], "<"),
    "usbpo@fine_tuning_learning_rate=1e-3": Look("USB-PO, 1e-3", PALETTE[1], "H"),
    "cmlo": Look("CMLO", PALETTE[1], "s"),
    "cmlo@threshold=1.0": Look("CMLO, threshold 1", PALETTE[0], "v"),
    "cmlo@threshold=3.0": Look("CMLO, threshold 3 (published)", "#000000", "s"),
    "cmlo@threshold=5.0": Look("CMLO, threshold 5", PALETTE[3], "^"),
    "pdml": Look("PDML", PALETTE[6], "P"),
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


# Variants that look like another one, and what their name says of them.
LIKE = {"unified_high_entropy": ("unified", "high α")}
SYMBOLS = {"entropy_coefficient": "α"}  # of the papers, where a name would be too long for a legend


def look(variant: str) -> Look:
    """Look of a variant: that of what it changes, if it changes one; its name says what.

    Examples
    --------
    >>> look("sac_rlpd@entropy_coefficient=5.0").name
    'SAC (α = 5.0)'
    """
    if variant in LOOKS:
        return LOOKS[variant]
    named, _, overrides = variant.partition("@")
    name, change = LIKE.get(named, (named, ""))
    changes = [change, *map(_setting, filter(None, overrides.split(",")))]
    remark = ", ".join(filter(None, changes))
    if name not in LOOKS:
        allowed = ", ".join(sorted(LOOKS))
        raise ValueError(
            f"variant {variant!r} has no name and colour. Known: {allowed}. "
            "Add it to LOOKS in unirl_repro/analysis/style.py"
        )
    return replace(LOOKS[name], name=f"{LOOKS[name].name} ({remark})") if remark else LOOKS[name]


def _setting(override: str) -> str:
    parameter, _, value = override.partition("=")
    return f"{SYMBOLS.get(parameter, parameter.replace('_', ' '))} = {value}"


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
        dress(ax)
    return fig, axes[:count]


def panels_with_strips(
    count: int, columns: int = 3, width: float = TEXT_WIDTH, row_height: float = 2.5
) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Make a figure of `count` panels, each above a low strip with the same steps; see `panels`."""
    rows = -(-count // columns)
    fig = Figure(figsize=(width, rows * row_height + 0.5), layout="constrained")
    axes = fig.subplots(2 * rows, columns, squeeze=False, height_ratios=[3, 1] * rows)
    pairs = list(zip(axes[::2].flat, axes[1::2].flat, strict=True))
    for spare in (ax for pair in pairs[count:] for ax in pair):
        spare.remove()
    for panel, strip in pairs[:count]:
        panel.sharex(strip)
        dress(panel)
        dress(strip)
        panel.tick_params(labelbottom=False)
    return fig, pairs[:count]


def dress(ax: Axes) -> None:
    sns.despine(ax=ax)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(5))
