"""The report: generated files, and the PDF on synthetic results."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.analysis import claim_frames
from tests.analysis.frame_maker import make_study
from tests.figures.unified_runs import learning_study
from tests.tabular_frames import study_of
from unirl_repro import figures, report, tables
from unirl_repro.analysis import claims_tex
from unirl_repro.analysis.claims_register import load_register, measured
from unirl_repro.analysis.frames import METRIC_COLUMNS
from unirl_repro.campaign import claims
from unirl_repro.campaign.places import Places
from unirl_repro.campaign.planned import planned_settings
from unirl_repro.campaign.site import Site
from unirl_repro.config import load_config
from unirl_repro.deviations import DEVIATIONS
from unirl_repro.envs.tasks import TASKS
from unirl_repro.hyperparameters import MBRLParameters

PAPER = Path(__file__).parents[1] / "paper"
FIGURE, TABLE = "unified_rl_fig2", "unified_rl_table1"
CONFIG = load_config(PAPER.parent / "config.yaml")
MISSING = {("hopper-200", "sac_rlpd", 3)}

needs_latex = pytest.mark.skipif(
    shutil.which("latexmk") is None, reason=f"needs LaTeX: {report.LATEX_PACKAGES}"
)


def manifest(torch="2.13.0", device="cpu", dirty=False, commit="0123456789abcdef"):
    versions = {"python": "3.11.2", "torch": torch}
    segment = {"versions": versions, "device": device, "device_model": "x86_64", "threads": 1}
    return {
        "segments": [segment],
        "git": {"commit": commit, "dirty": dirty},
        "container": None,
    }


def write_manifests(folder, *manifests):
    paths = [folder / f"run{index}.json" for index in range(len(manifests))]
    for path, content in zip(paths, manifests, strict=True):
        path.write_text(json.dumps(content))
    return paths


def synthetic(study, content):
    """Frame and status: of FIGURE and TABLE one seed missing, one task archived, one cut short."""
    if not content.has_runs:
        return study_of(study)
    if study in (FIGURE, TABLE):
        return make_study(
            study, missing=MISSING, archive=("cartpole-200",), shorter=("dclaw_turn_fixed-40",)
        )
    settings = planned_settings(CONFIG, study, "paper")
    return learning_study(study, tuple(content.tasks), tuple(content.variants), settings=settings)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """results/<scale> as the workflow leaves it."""
    places = Places("quick", root=tmp_path_factory.mktemp("results"))
    root, studies = places.built, CONFIG.studies
    (root / "frames").mkdir(parents=True)
    writers = {"figure": figures.write, "table": tables.write}
    for study, content in studies.items():
        frame, status = synthetic(study, content)
        writers[content.kind](study, frame, status, root / f"{content.kind}s" / study)
        frame.to_parquet(places.frame(study))
        places.status(study).write_text(json.dumps(status))
    statuses = [places.status(study) for study in studies]
    csvs = {kind: sorted((root / f"{kind}s").glob("*.csv")) for kind in writers}
    report.write_macros("quick", statuses, csvs["table"], root / "macros.tex", csvs["figure"])
    register = load_register(CONFIG, PAPER / "claims.yaml")
    for study in measured(register):
        pd.DataFrame(columns=METRIC_COLUMNS).to_parquet(places.metrics(study))
    claims.write(claims.decide(CONFIG, places, Site()), places)
    report.write_what_ran(statuses, root / "what_ran.tex")
    (root / "claims.tex").write_text(claims_tex.tex(claim_frames.examples(register)))
    report.write_deviations(root / "deviations.tex")
    report.write_tasks(root / "tasks.tex")
    paths = write_manifests(root, manifest(), manifest(torch="2.12.0", dirty=True))
    report.write_environment(paths, root / "environment.tex")
    return root


def macros(results):
    return dict(
        re.findall(r"\\newcommand\{\\(\w+)\}\{(.*)\}", (results / "macros.tex").read_text())
    )


def test_macros_hold_what_ran(results):
    found = macros(results)
    assert found["Scale"] == "quick"
    assert "decide nothing" in found["ScaleMeaning"]
    assert (found["UnifiedRlFigTwoFinished"], found["UnifiedRlFigTwoPlanned"]) == ("29", "30")
    assert found["UnifiedRlTableOneArchive"] == "5"


def test_macros_hold_the_tables_numbers(results):
    found = macros(results)
    assert found["UnifiedRlTableOneAverageNormalisedRecomputedPpo"] == "$0.3994$"
    assert found["UnifiedRlTableOneAverageNormalisedRecomputedPpoPublished"] == "$0.3936$"
    assert found["UnifiedRlTableOneTrainingAverageSacRlpdHopperTwoZeroZeroNumSeeds"] == "4"
    assert found["UnifiedRlTableOneTrainingAverageMbrlHopperTwoZeroZero"] == "--"


def test_every_macro_is_defined_once(results):
    names = re.findall(r"\\newcommand\{\\(\w+)\}", (results / "macros.tex").read_text())
    assert len(names) == len(set(names))
    assert all(name.isalpha() for name in names)


def test_unknown_scale_has_no_banner(tmp_path):
    with pytest.raises(KeyError, match="huge"):
        report.write_macros("huge", [], [], tmp_path / "macros.tex")


def test_missing_seeds_are_named(results):
    text = (results / "what_ran.tex").read_text()
    assert "29 of 30" in text
    assert re.search(r"SAC on \\texttt\{hopper.*?200\} 4/5", text)


def test_short_runs_and_their_share_of_the_budget_are_named(results):
    line = macros(results)["ShortRuns"]
    assert re.match(r"5 of \d+ runs stop before their budget and reach 50\\% of it", line)
    assert r"& 5 (at 50\%) &" in (results / "what_ran.tex").read_text()


def mixed(tmp_path, containers=(None,), versions=({"torch": "2.13"},)):
    """What the report says of a study with runs like these: under its caption, and of what ran."""
    _, status = make_study(FIGURE, tasks=("hopper-200",))
    status |= {"containers": list(containers), "versions": list(versions)}
    path = tmp_path / "status.json"
    path.write_text(json.dumps(status))
    report.write_macros("quick", [path], [], tmp_path / "macros.tex")
    report.write_what_ran([path], tmp_path / "what_ran.tex")
    return macros(tmp_path)["UnifiedRlFigTwoMixed"], (tmp_path / "what_ran.tex").read_text()


ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.mark.parametrize(("containers", "cell"), [((None,), "none"), ((ONE,), "1")])
def test_runs_that_are_alike_mix_nothing(tmp_path, containers, cell):
    sentence, what_ran = mixed(tmp_path, containers)
    assert sentence == ""
    assert f"& 1 & {cell} " in what_ran
    assert "mix" not in what_ran


@pytest.mark.parametrize(
    ("containers", "told", "cell"),
    [
        ((ONE, None), r"1 image (\texttt{sha256:111111111111}, runs in no image)", "1 and none"),
        (
            (ONE, OTHER),
            r"2 images (\texttt{sha256:111111111111}, \texttt{sha256:222222222222})",
            "2",
        ),
    ],
)
def test_a_study_says_which_images_its_runs_mix(tmp_path, containers, told, cell):
    sentence, what_ran = mixed(tmp_path, containers)
    assert sentence == f"Its runs mix {told}. "
    assert f"mix {told}." in what_ran
    assert f"& 1 & {cell} " in what_ran


def test_a_study_says_which_versions_its_runs_mix(tmp_path):
    versions = ({"numpy": "2.4", "torch": "2.13"}, {"numpy": "2.4", "torch": "2.12"})
    sentence, what_ran = mixed(tmp_path, versions=versions)
    assert sentence == "Its runs mix 2 sets of versions (torch 2.12, 2.13). "
    assert "2 sets of versions (torch 2.12, 2.13)" in what_ran


def test_recorded_short_runs_are_named_and_whole_runs_are_not(tmp_path):
    def short_runs(**options):
        _, status = make_study(FIGURE, **options)
        (tmp_path / "status.json").write_text(json.dumps(status))
        report.write_macros("paper", [tmp_path / "status.json"], [], tmp_path / "macros.tex")
        return macros(tmp_path)["ShortRuns"]

    tasks = ("hopper-200",)
    recorded = short_runs(tasks=tasks, shorter=tasks, archive=tasks)
    assert recorded.startswith("5 of 5 runs (5 of them recorded runs) stop")
    assert short_runs(tasks=tasks, archive=tasks) == ""


def test_deviations_state_the_budgets_and_sizes_of_the_configuration():
    config = load_config(PAPER.parent / "config.yaml")
    budgets = {entry.steps for entry in config.budgets["unified_rl"].values()}
    taken = re.search(r"We take (.*?) for now", DEVIATIONS["R1"].text)
    assert taken
    numbers = re.findall(r"\d+,\d+", taken.group(1))
    assert {int(n.replace(",", "")) for n in numbers} == budgets
    smoke, quick = config.scales["smoke"], config.scales["quick"]
    sizes = {*smoke.parameters["sac"]["hidden"], *quick.parameters["sac"]["hidden"]}
    updates = quick.parameters["sac"]["updates_per_step"]
    assert quick.budgets is not None
    expected = sizes | {smoke.episodes, smoke.most_steps, updates, *quick.budgets.values()}
    said = re.findall(r"\d+(?:,\d+)?", DEVIATIONS["R2"].text)
    assert {int(n.replace(",", "")) for n in said} == expected


def test_the_model_based_settings_of_scale_quick_are_stated():
    quick = load_config(PAPER.parent / "config.yaml").scales["quick"].parameters
    sizes = ("model_hidden", "hidden", "critic_hidden")  # R2 has them
    settings = {v for name, v in quick["mbrl"].items() if name not in sizes}
    printed = load_config(PAPER.parent / "config.yaml").parameters("cartpole-200", "mbrl", "paper")
    assert isinstance(printed, MBRLParameters)
    expected = settings | set(quick["unified"].values()) | {printed.prior_strength}
    said = re.findall(r"(?<!U)\b\d+(?:\.\d+)?", DEVIATIONS["R3"].text)
    assert {float(number) for number in said} == expected


def test_deviations_are_filled_with_the_constants_and_cite(results):
    text = (results / "deviations.tex").read_text()
    assert "from 2,000 bootstrap resamples" in text
    assert "at most 100 equal cells" in text
    keys = set(re.findall(r"@\w+\{(\w+),", (PAPER / "references.bib").read_text()))
    cited = set(re.findall(r"\\citep\{(\w+)\}", text))
    assert {"ball2023efficient", "haarnoja2018applications"} <= cited <= keys


def test_all_deviations_and_tasks_are_listed(results):
    text = (results / "deviations.tex").read_text()
    assert re.findall(r"\\item\[(\w+)\]", text) == sorted(
        DEVIATIONS, key=lambda name: (name[0], int(name[1:]))
    )
    assert (results / "tasks.tex").read_text().count(r"\texttt") == len(TASKS)


def test_environment_counts_runs_by_versions(tmp_path):
    paths = write_manifests(
        tmp_path, manifest(), manifest(), manifest(torch="2.12.0", dirty=True, commit="fedcba98765")
    )
    report.write_environment(paths, tmp_path / "environment.tex")
    text = (tmp_path / "environment.tex").read_text()
    assert re.search(r"3\.11\.2 & 2\.13\.0 & cpu \(x86\\_64\) & 1 & 2 ", text)
    assert re.search(r"3\.11\.2 & 2\.12\.0 & cpu \(x86\\_64\) & 1 & 1 ", text)
    assert r"\texttt{0123456789} (2), \texttt{fedcba9876} (1)" in text
    assert "uncommitted changes: 1." in text


def test_environment_without_runs_says_so(tmp_path):
    report.write_environment([], tmp_path / "environment.tex")
    assert "No run has finished." in (tmp_path / "environment.tex").read_text()


def test_prose_types_no_number():
    # What is not a result: identifiers, the paper's own numbering, how seeds are shown, lengths.
    harmless = [
        *(
            r"\\begin\{equation\*\}[\s\S]*?\\end\{equation\*\}",
            r"%.*",
            r"\\[a-zA-Z]+(\[[^]]*\])?(\{[^}]*\})?",
            r"\$[^$]*\$",
            r"\b[A-Z](\.?\d)+\b",
            r"``.*?''",
        ),
        *(
            r"(Figure|Table|Section|Eq\.)~\d+[ab]?",
            r"[\d.]+pt",
            r"0\.96",
            r"TD3",
            r">0\b",
            r"to 0 and the highest to 1",
        ),
    ]
    for path in (PAPER / "sections").glob("*.tex"):
        text = re.sub("|".join(harmless), "", path.read_text())
        assert not re.findall(r"\d+(?:\.\d+)?", text), path.name


@needs_latex
@pytest.mark.parametrize("partial", [False, True])
def test_pdf_is_set_without_complaints(results, tmp_path, partial):
    out = tmp_path / "new" / "paper.pdf"
    assert report.build_pdf(PAPER, results, out, partial=partial) == []
    assert out.read_bytes().startswith(b"%PDF")
    assert [path.name for path in out.parent.iterdir()] == ["paper.pdf"]


@needs_latex
def test_same_results_give_the_same_pdf(results, tmp_path):
    for name in ("a.pdf", "b.pdf"):
        report.build_pdf(PAPER, results, tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


@needs_latex
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs poppler-utils")
@pytest.mark.parametrize("partial", [False, True])
def test_first_page_names_scale_and_kind(results, tmp_path, partial):
    report.build_pdf(PAPER, results, tmp_path / "paper.pdf", partial=partial)
    command = ["pdftotext", "-l", "1", str(tmp_path / "paper.pdf"), "-"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Scale: quick" in page
    assert ("partial report" in page) is partial
    assert ("Every planned run" in page) is not partial


@needs_latex
def test_latex_error_names_file_and_line(results, tmp_path):
    paper = tmp_path / "paper"
    shutil.copytree(PAPER, paper)
    section = paper / "sections" / "introduction.tex"
    section.write_text(section.read_text() + "\n\\nosuchmacro\n")
    line = len(section.read_text().splitlines())
    with pytest.raises(report.ReportError, match=r"introduction\.tex") as error:
        report.build_pdf(paper, results, tmp_path / "paper.pdf")
    assert f"sections/introduction.tex:{line}: Undefined control sequence." in str(error.value)
    assert r"\nosuchmacro" in str(error.value)
    assert not (tmp_path / "paper.pdf").exists()


@needs_latex
def test_missing_figure_is_named(results, tmp_path):
    copied = tmp_path / "results"
    shutil.copytree(results, copied)
    (copied / "figures" / f"{FIGURE}.pdf").unlink()
    with pytest.raises(report.ReportError, match=rf"figures/{FIGURE}"):
        report.build_pdf(PAPER, copied, tmp_path / "paper.pdf")


def test_without_latex_the_error_says_what_to_install(results, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(report.ReportError, match=r"apt-get install .* latexmk .* lmodern"):
        report.build_pdf(PAPER, results, tmp_path / "paper.pdf")


def test_complaints_are_boxes_and_undefined_names():
    log = (
        "Overfull \\hbox (16.0pt too wide) in paragraph at lines 1--10\n"
        "LaTeX Warning: Reference `tab:x' on page 1 undefined on input line 3.\n"
        "Underfull \\vbox (badness 1000)\nLaTeX Font Warning: Size substitutions\n"
    )
    assert len(report.complaints(log)) == 2
