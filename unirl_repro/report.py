"""The report: everything numeric in it is written here from results, then LaTeX sets it.

Each ``write_*`` takes paths and writes one file that ``paper/main.tex`` inputs; none imports what
training needs.
"""

import json
import math
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from unirl_repro.analysis import latex
from unirl_repro.analysis.curves import CONFIDENCE, NUM_POINTS
from unirl_repro.analysis.frames import Status
from unirl_repro.analysis.latex import escape, macro_name, newcommand
from unirl_repro.analysis.statistics import NUM_RESAMPLES, SIGNIFICANCE
from unirl_repro.analysis.style import look
from unirl_repro.analysis.thirds import thirds_tex
from unirl_repro.deviations import DEVIATIONS
from unirl_repro.envs.table import rows  # the task list: imports no environment
from unirl_repro.files import write_bytes, write_text

SCALE_MEANING = {
    "smoke": "Networks are tiny and runs last a few episodes. This shows that every step from "
    "training to this page works; its numbers mean nothing.",
    "quick": "A chosen subset of the runs, each with a budget of its own at which learning is "
    "visible. These budgets are far below the papers': differences from published numbers are "
    "expected and decide nothing.",
    "paper": "The papers' tasks and seeds; budgets as argued in deviation R1, since the documents "
    "print no training lengths.",
}
REPORT_PACKAGES = ("numpy", "pandas", "scipy", "rliable", "matplotlib", "seaborn")
ROUNDING = 1e-9
LATEX_PACKAGES = "latexmk texlive-latex-recommended texlive-science lmodern"


class ReportError(RuntimeError):
    """The PDF could not be made; the text says why and what to do."""


def write_macros(
    scale: str,
    statuses: Sequence[Path],
    tables: Sequence[Path],
    out: Path,
    figures: Sequence[Path] = (),
) -> None:
    r"""Write a macro for each number that the prose may use.

    Parameters
    ----------
    scale : str
        Name of the scale.
    statuses : sequence of Path
        frames/<study>.json of each study.
    tables : sequence of Path
        tables/<study>.csv of each table.
    out : Path
        macros.tex. A study has ``\<Study>Planned``, ``Finished``, ``Missing``, ``Archive``,
        ``OtherCode`` and ``Short``, and ``Mixed``, a sentence for its caption where its runs were
        made with several images or versions, else nothing; a number of a table has
        ``\<Study><Statistic><Variant>[<Task>]``, with ``Published`` and so on behind it.
        ``\ShortRuns`` says how far runs went that stopped before their budget.
    figures : sequence of Path
        figures/<study>.csv of each figure; ``\<Study>Thirds`` is a table of its curves in numbers.
        Of a tabular study ``\<Study><Panel><Name><Variant>`` is a number that has no place, its mean
        over seeds, with ``Smallest`` and ``Largest`` behind it; and with ``Last`` the last of those
        that iterations have.
    """
    macros = {
        "Scale": escape(scale),
        "ScaleMeaning": escape(SCALE_MEANING[scale]),
        "ConfidencePercent": rf"{CONFIDENCE:.0%}".replace("%", r"\%"),
        "SignificancePercent": rf"{SIGNIFICANCE:.0%}".replace("%", r"\%"),
        "GridPoints": str(NUM_POINTS),
        "NumResamples": latex.thousands(NUM_RESAMPLES),
    }
    read = [_read(path) for path in statuses]
    macros["ShortRuns"] = escape(_short_line(read))
    for status in read:
        macros |= _status_macros(status)
    for path in tables:
        macros |= _table_macros(path.stem, pd.read_csv(path))
    tabular = [status["study"] for status in read if "seeds" in status]
    for path in figures:
        drawn = pd.read_csv(path)
        if path.stem in tabular:
            macros |= _tabular_macros(path.stem, drawn)
        else:
            macros[macro_name(path.stem, "thirds")] = thirds_tex(drawn)
    lines = [newcommand(name, content) for name, content in macros.items()]
    _write(out, lines)


def _status_macros(status: Status) -> dict[str, str]:
    lists = ("planned", "finished", "missing", "archive", "other_code", "short")
    mixed = _mixed(status)
    return {macro_name(status["study"], name): str(len(status[name])) for name in lists} | {
        macro_name(status["study"], "mixed"): f"Its runs mix {mixed}. " if mixed else ""
    }


def _mixed(status: Status) -> str:
    """What differs between the runs of a study: images, or versions; nothing if they are alike."""
    told = []
    if len(status["containers"]) > 1:
        images = [f"`{image[:19]}`" for image in status["containers"] if image]
        outside = ["runs in no image"] if None in status["containers"] else []
        told.append(f"{_count(len(images), 'image')} ({', '.join([*images, *outside])})")
    if len(status["versions"]) > 1:
        names = sorted({name for versions in status["versions"] for name in versions})
        kept = {n: {v[n] for v in status["versions"] if n in v} for n in names}
        several = (f"{n} {', '.join(sorted(kept[n]))}" for n in names if len(kept[n]) > 1)
        told.append(f"{_count(len(status['versions']), 'set')} of versions ({'; '.join(several)})")
    return escape(" and ".join(told))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _short_line(statuses: Sequence[Status]) -> str:
    """How many runs stop before their budget, and where; nothing if none does."""
    keys = ("task", "variant", "seed")
    finished = {tuple(run[k] for k in keys) for status in statuses for run in status["finished"]}
    archive = {tuple(run[k] for k in keys) for status in statuses for run in status["archive"]}
    short = {tuple(run[k] for k in keys) for status in statuses for run in status["short"]}
    if not short:
        return ""
    recorded = len(short & archive)
    origin = f" ({recorded} of them recorded runs)" if recorded else ""
    reached = [run["reached"] for status in statuses for run in status["short"]]
    return (
        f"{len(short)} of {len(finished)} runs{origin} stop before their budget and reach "
        f"{_span(reached)} of it: curves end there, and averages over training are over that part."
    )


def _span(shares: Sequence[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low} to {high}"


def _table_macros(study: str, rows: pd.DataFrame) -> dict[str, str]:
    """Of tables that list statistics by variant and task; others name their numbers themselves."""
    if not {"statistic", "variant", "against", "task"} <= set(rows.columns):
        return {}
    numbers = ("value", "low", "high", "published", "published_interval", "difference")
    macros: dict[str, str] = {}
    for row in rows.fillna({"against": ""}).to_dict("records"):
        task = "" if row["task"] == "average" else row["task"]
        name = (study, row["statistic"], row["variant"], row["against"], task)
        for number in numbers:
            suffix = "" if number == "value" else number
            macros[macro_name(*name, suffix)] = _formatted(row["statistic"], row[number])
        for count in ("num_seeds", "num_tasks"):
            if pd.notna(row[count]):
                macros[macro_name(*name, count)] = f"{row[count]:.0f}"
    return macros


def _tabular_macros(study: str, rows: pd.DataFrame) -> dict[str, str]:
    macros: dict[str, str] = {}
    for (panel, name, variant), group in rows[rows["row"] < 0].groupby(
        ["panel", "name", "variant"], sort=False
    ):
        last = group.sort_values("iteration").iloc[-1]
        place = (str(panel), str(name), str(variant))
        words = (study, *place, "last" if last["iteration"] >= 0 else "")
        for column, suffix in (("mean", ""), ("smallest", "smallest"), ("largest", "largest")):
            macros[macro_name(*words, suffix)] = _significant(last[column])
    return macros


def _significant(value: float) -> str:
    """Four digits; what is rounding of an exact zero is zero."""
    if pd.isna(value):
        return latex.DASH
    if abs(value) < ROUNDING:
        return "$0$"
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"${value:.{min(decimals, 4)}f}$"


def _formatted(statistic: str, value: float) -> str:
    if pd.isna(value):
        return latex.DASH
    if statistic.startswith("tasks_that"):
        return f"{value:.0f}"
    return latex.number(value) if statistic == "training_average" else latex.share(value)


def write_deviations(out: Path) -> None:
    """Write the list of deviations, by id."""
    lines = [
        rf"\item[{escape(name)}] \textbf{{{escape(deviation.title)}.}} {_filled(deviation.text)}"
        for name, deviation in sorted(DEVIATIONS.items(), key=lambda item: _id_order(item[0]))
    ]
    body = lines or [r"\item[--] None is recorded."]
    tight = r"\setlength{\itemsep}{1pt}\setlength{\parsep}{1pt}"
    _write(out, [r"\begin{description}" + tight, *body, r"\end{description}"])


def _filled(text: str) -> str:
    """A deviation's text with the code's constants filled in, and [@key] as a citation."""
    text = text.format(
        num_points=NUM_POINTS,
        num_resamples=f"{NUM_RESAMPLES:,}",
        confidence=f"{CONFIDENCE:.0%}",
        significance=f"{SIGNIFICANCE:.0%}",
    )
    return re.sub(r"\[@(\w+)\]", r"\\citep{\1}", escape(text))


def _id_order(name: str) -> tuple[str, int]:
    return name[0], int(name[1:])


def write_tasks(out: Path) -> None:
    """Write the table of tasks."""
    body = [
        [
            *(escape(f"`{row.task}`"), escape(row.environment), row.suite.replace("_", r"\_")),
            *(str(row.obs_dim), str(row.action_dim), str(row.horizon), row.termination),
            *(escape(row.source), ", ".join(sorted(row.deviations.split(", "), key=_id_order))),
        ]
        for row in rows()
    ]
    head = [r"Task & environment & suite & obs. & act. & horizon & ends & used in & deviations \\"]
    columns = r"lllrrrll>{\raggedright\arraybackslash}p{1.9cm}"
    _write(out, [latex.tabular(columns, head, body)])


def write_what_ran(statuses: Sequence[Path], out: Path) -> None:
    """Write how many of each study's planned runs are there, and which are not."""
    read = [_read(path) for path in statuses]
    body = [
        [
            escape(f"`{status['study']}`"),
            _runs_cell(status),
            str(len(status["archive"])),
            str(len(status["other_code"])),
            _short_cell(status),
            str(len(status["versions"])),
            _images_cell(status),
        ]
        for status in read
    ]
    head = [r"Study & runs & archived & other code & stop early & versions & images \\"]
    lines = [_missing_line(status) for status in read if status["missing"]]
    lines += [_mixed_line(status) for status in read if _mixed(status)]
    table = [r"\begin{center}", latex.tabular("lrrrrrr", head, body), r"\end{center}"]
    _write(out, table + ([r"\noindent " + " ".join(lines)] if lines else []))


def _runs_cell(status: Status) -> str:
    if "seeds" in status:
        there = int(status["seeds"])
        planned = int(status.get("planned_seeds", there))  # a tabular study is there as a whole
        of = f"{there} of " if there != planned else ""
        return f"none; {of}{_count(planned, 'seed')}"
    return f"{len(status['finished'])} of {len(status['planned'])}"


def _short_cell(status: Status) -> str:
    shares = [run["reached"] for run in status["short"]]
    return escape(f"{len(shares)} (at {_span(shares)})") if shares else "0"


def _images_cell(status: Status) -> str:
    images = [image for image in status["containers"] if image]
    if None not in status["containers"]:
        return str(len(images))
    return f"{len(images)} and none" if images else "none"


def _mixed_line(status: Status) -> str:
    return f"Runs of {escape('`' + status['study'] + '`')} mix {_mixed(status)}."


def _missing_line(status: Status) -> str:
    counts = Counter((run["task"], run["variant"]) for run in status["missing"])
    planned = Counter((run["task"], run["variant"]) for run in status["planned"])
    cells = [
        f"{escape(look(variant).name)} on {escape(f'`{task}`')} "
        f"{planned[task, variant] - count}/{planned[task, variant]}"
        for (task, variant), count in counts.items()
    ]
    return rf"Incomplete in {escape('`' + status['study'] + '`')} (seeds that are there): " + (
        ", ".join(cells) + "."
    )


def write_environment(manifests: Sequence[Path], out: Path) -> None:
    """Write with which versions, devices and commits the runs were made, and this report.

    Parameters
    ----------
    manifests : sequence of Path
        run.json of each run, archived ones too.
    out : Path
        environment.tex.
    """
    read = [_read(path) for path in manifests]
    ours = ", ".join(f"{name} {version(name)}" for name in REPORT_PACKAGES)
    lines = [rf"\noindent Statistics and figures: {escape(ours)}.", ""]
    lines += _conditions(read) if read else [r"\noindent No run has finished."]
    _write(out, lines)


def _conditions(manifests: list[dict[str, Any]]) -> list[str]:
    """A line for each distinct set of versions and device; a resumed run may count in several."""
    counts = Counter(
        condition
        for manifest in manifests
        for condition in {_condition(segment) for segment in manifest["segments"]}
    )
    names = sorted({name for versions, *_ in counts for name, _ in versions})
    body = [
        [escape(dict(versions).get(name, "–")) for name in names]
        + [escape(device), str(threads), str(count)]
        for (versions, device, threads), count in sorted(counts.items(), key=repr)
    ]
    head = [" & ".join([*map(escape, names), "device", "threads", "runs"]) + r" \\"]
    columns = "l" * len(names) + "lrr"
    return [
        *(r"\begin{center}\small\setlength{\tabcolsep}{4pt}",),
        *(latex.tabular(columns, head, body), r"\end{center}"),
        rf"\noindent {_origins(manifests)}",
    ]


def _condition(segment: dict[str, Any]) -> tuple[tuple[tuple[str, str], ...], str, int]:
    device = segment["device"]
    model = segment.get("device_model")
    named = f"{device} ({model})" if model else device
    return tuple(sorted(segment["versions"].items())), named, segment["threads"]


def _origins(manifests: list[dict[str, Any]]) -> str:
    commits = Counter(manifest["git"].get("commit") or "" for manifest in manifests)
    known = [f"`{commit[:10]}` ({count})" for commit, count in sorted(commits.items()) if commit]
    edited = sum(bool(manifest["git"].get("dirty")) for manifest in manifests)
    images = sorted({manifest["container"] for manifest in manifests if manifest.get("container")})
    text = f"Commits (runs): {', '.join(known) or 'none known'}. "
    text += f"Runs from a checkout with uncommitted changes: {edited}. "
    text += f"Containers: {', '.join(f'`{image}`' for image in images) or 'none'}."
    return escape(text)


def build_pdf(
    paper_dir: Path, results_dir: Path, out_pdf: Path, *, partial: bool = False
) -> list[str]:
    """Set the report.

    Parameters
    ----------
    paper_dir : Path
        main.tex, its sections and references.bib.
    results_dir : Path
        results/<scale>: figures/, tables/ and the generated .tex files.
    out_pdf : Path
        The PDF.
    partial : bool, default False
        Say on page one that runs may be missing or come from the archive.

    Returns
    -------
    list of str
        What LaTeX complained about without failing: overfull boxes, undefined references.

    Raises
    ------
    ReportError
        If LaTeX is missing or fails; the text holds its first error.
    """
    if shutil.which("latexmk") is None:
        raise ReportError(
            "latexmk is missing, so there is no PDF; figures and tables are built without it. "
            f"On Debian or Ubuntu: apt-get install --no-install-recommends {LATEX_PACKAGES}"
        )
    with TemporaryDirectory(prefix="unirl_report_") as folder:
        build = Path(folder)
        _copy_sources(paper_dir, results_dir, build)
        write_text(build / "build.tex", rf"\partial{'true' if partial else 'false'}" + "\n")
        log = _latexmk(build)
        out_pdf.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(out_pdf, (build / "main.pdf").read_bytes())
    return complaints(log)


def _copy_sources(paper_dir: Path, results_dir: Path, build: Path) -> None:
    shutil.copytree(paper_dir, build, dirs_exist_ok=True)
    for path in results_dir.glob("*.tex"):
        shutil.copy(path, build)
    for folder, pattern in (("figures", "*.pdf"), ("tables", "*.tex")):
        (build / folder).mkdir(exist_ok=True)
        for path in (results_dir / folder).glob(pattern):
            shutil.copy(path, build / folder)


def _latexmk(build: Path) -> str:
    """Run latexmk and return its log; dates are fixed, so equal sources give equal bytes."""
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error"]
    fixed = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
    done = subprocess.run(
        [*command, "main.tex"],
        cwd=build,
        env=os.environ | fixed,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    path = build / "main.log"
    log = path.read_text(errors="replace") if path.exists() else ""
    if done.returncode:
        raise ReportError(f"LaTeX failed: {first_error(log) or done.stdout[-500:].strip()}")
    return log


def first_error(log: str) -> str:
    """Return the first error of a LaTeX log with its file, line and context, or nothing."""
    lines = log.splitlines()
    for index, line in enumerate(lines):
        if re.match(r"(\./)?[^\s:]+:\d+: |! ", line):
            context = takewhile(_is_context, map(str.strip, lines[index + 1 : index + 5]))
            return "\n  ".join([line.removeprefix("! ").removeprefix("./"), *context])
    return ""


def _is_context(line: str) -> bool:
    return bool(line) and not line.startswith("Here is how much")


def complaints(log: str) -> list[str]:
    """Return what a LaTeX log says of a document that was set: boxes too full, names undefined."""
    pattern = r"Overfull \\[hv]box.*|.*[Ww]arning: (?:Citation|Reference|There were undefined).*"
    return re.findall(pattern, log)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _write(out: Path, lines: Sequence[str]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, "\n".join(lines) + "\n")
