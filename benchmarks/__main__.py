"""Runs every measurement, or those that are named, and writes results/bench/bench.json.

To add one, write a function that returns a list of `Entry` and name it in `MEASUREMENTS`.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import (
    baselines_speed,
    cluster,
    dyna_speed,
    engine,
    mbrl_speed,
    sac_speed,
    tabular_speed,
)
from benchmarks.measure import Entry
from unirl_repro.files import write_json

MEASUREMENTS: tuple[Callable[[], list[Entry]], ...] = (
    sac_speed.measurements,
    baselines_speed.measurements,
    mbrl_speed.measurements,
    dyna_speed.measurements,
    tabular_speed.measurements,
    engine.measurements,
    cluster.measurements,
)
BENCH = Path("results/bench/bench.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = {measure.__module__.rpartition(".")[2]: measure for measure in MEASUREMENTS}
    parser.add_argument("only", nargs="*", help=f"some of: {', '.join(names)}")
    parser.add_argument("--out", type=Path, default=BENCH, help="where the JSON goes")
    arguments = parser.parse_args()
    out, chosen = arguments.out, arguments.only or list(names)
    if unknown := set(chosen) - set(names):
        parser.error(f"no measurement {min(unknown)!r}. Allowed: {', '.join(names)}")
    console = Console(width=None if sys.stdout.isatty() else 150)
    out.parent.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    for name in chosen:
        console.print(f"measuring: {name}")
        entries += names[name]()
        write_json(out, [asdict(entry) for entry in entries])  # what is measured is not lost
    console.print(table(entries))
    console.print(f"written to {out}")


def table(entries: list[Entry]) -> Table:
    """All entries, those that miss their goal marked."""
    made = Table(title="Speed, side by side (median of 5, alternating)")
    for column in ("measurement", "ours", "peer", "unit", "against", "ratio", "goal", ""):
        made.add_column(column, justify="right" if column in ("ours", "peer", "ratio") else "left")
    for e in entries:
        verdict = "met" if e.ratio >= e.goal else "[bold red]missed[/]"
        numbers = (f"{e.ours:.4g}", f"{e.peer:.4g}", e.unit, e.peer_name, f"{e.ratio:.2f}")
        made.add_row(e.name, *numbers, f"{e.goal:.2f}", verdict)
    return made


if __name__ == "__main__":
    main()
