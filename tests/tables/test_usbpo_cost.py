"""USB-PO's cost beside MBPO's, on frames made by hand."""

import numpy as np
import pandas as pd
import pytest

from unirl_repro import tables
from unirl_repro.campaign.gathering import learned_status
from unirl_repro.tables.usbpo_cost import COLUMNS, COUNTS, SECONDS, STUDY, rows, tex
from unirl_repro.tabular.frame import frame, numbers

MBPO = {"training": 8.0, "rollouts": 2.0, "policy": 9.0, "rest": 1.0, "model": 8.0, "whole": 20.0}
USBPO = MBPO | {"training": 4.0, "tuning": 12.0, "model": 16.0, "whole": 28.0}


def made(ratios=(1.0, 1.0, 1.0)):
    """A seed for each ratio, by which USB-PO's times are multiplied."""
    found = []
    for seed, ratio in enumerate(ratios):
        found += numbers(STUDY, "seconds", "mbpo", MBPO, seed=seed)
        scaled = {name: ratio * value for name, value in USBPO.items()}
        found += numbers(STUDY, "seconds", "usbpo", scaled, seed=seed)
        for period in range(2):
            where = {"seed": seed, "iteration": period}
            of_mbpo = {"epochs": 10 + 20 * period, "updates": 1000}
            found += numbers(STUDY, "training", "mbpo", of_mbpo, **where)
            of_usbpo = {"epochs": 10, "updates": 500, "tuning_updates": 40}
            found += numbers(STUDY, "training", "usbpo", of_usbpo, **where)
        found += numbers(STUDY, "measured", "both", {"before": 5250, "steps": 1500}, seed=seed)
    return frame(found)


def status(seeds=3, scale="paper"):
    return learned_status(STUDY, scale, seeds, 3, [{"torch": "2"}])


def cell(table, name, variant):
    return table[(table["name"] == name) & (table["variant"] == variant)].iloc[0]


def test_a_row_has_both_algorithms_and_their_ratio():
    table = rows(made(), status())
    assert list(table.columns) == COLUMNS
    assert list(dict.fromkeys(table["name"])) == [*SECONDS, *COUNTS, "before", "steps"]
    assert [cell(table, "training", v)["value"] for v in ("mbpo", "usbpo")] == [8.0, 4.0]
    assert cell(table, "whole", "ratio")["value"] == pytest.approx(1.4)
    assert set(table["num_seeds"]) == {3, 0}


def test_counts_are_means_over_trainings():
    table = rows(made(), status())
    assert cell(table, "epochs", "mbpo")["value"] == 20.0
    assert cell(table, "epochs", "ratio")["value"] == pytest.approx(0.5)


def test_what_mbpo_does_not_do_has_no_number_and_no_ratio():
    table = rows(made(), status())
    for name in ("tuning", "tuning_updates"):
        assert np.isnan(cell(table, name, "mbpo")["value"])
        assert np.isnan(cell(table, name, "ratio")["value"])
        assert cell(table, name, "usbpo")["value"] > 0
    assert "phase 2, fine-tuning & -- & $12.0$ & -- & -- \\\\" in tex(table, status())


def test_ratios_are_geometric_means_of_pairs():
    ratio = cell(rows(made((0.5, 1.0, 2.0)), status()), "training", "ratio")
    assert ratio["value"] == pytest.approx(0.5)
    assert ratio["low"] * ratio["high"] == pytest.approx(0.25)  # as far away in factors
    half = 4.302653 * np.log(2) / np.sqrt(3)
    assert ratio["high"] == pytest.approx(0.5 * np.exp(half), rel=1e-5)


def test_a_seed_that_one_of_them_lacks_is_in_no_ratio():
    whole = made((1.0, 1.0, 9.0))
    lacking = whole[(whole["seed"] < 2) | (whole["variant"] != "usbpo")]
    ratio = cell(rows(lacking, status(2)), "whole", "ratio")
    assert (ratio["value"], ratio["num_seeds"]) == (pytest.approx(1.4), 2)


@pytest.mark.parametrize(
    ("ratios", "phase", "told"),
    [
        ((1.0, 1.01, 1.02), "phase 1", "lowers the time of phase 1: 0.50 times"),
        ((1.0, 1.01, 1.02), "everything", "raises the time of everything: 1.41 times"),
        ((0.5, 2.0, 8.0), "phase 1", "neither lowers nor raises the time of phase 1 by"),
        ((1.0,), "phase 1", "lowers the time of phase 1 is open: fewer than two seeds"),
    ],
)
def test_the_verdict_is_the_interval_s(ratios, phase, told):
    done = status(len(ratios))
    assert told in tex(rows(made(ratios), done), done)


@pytest.mark.parametrize("scale", ["smoke", "quick"])
def test_small_networks_conclude_nothing(scale):
    written = tex(rows(made(), status(scale=scale)), status(scale=scale))
    assert rf"is open at scale \texttt{{{scale}}} (R2)" in written
    assert "USB-PO lowers" not in written


def test_macros_say_how_much_was_measured():
    written = tex(rows(made(), status()), status())
    assert r"\newcommand{\UsbpoCostSteps}{1{,}500}" in written
    assert r"\newcommand{\UsbpoCostBefore}{5{,}250}" in written
    assert r"\newcommand{\UsbpoCostSeeds}{3 of 3}" in written


def test_without_a_seed_all_is_open(tmp_path):
    paths = tables.write(STUDY, frame([]), status(0), tmp_path / STUDY)
    assert pd.read_csv(paths[1])["value"].isna().all()
    written = paths[0].read_text()
    assert "phase 1, maximum likelihood & -- & -- & -- & --" in written
    assert written.count("is open: fewer than two seeds are there.") == 3
    assert r"\UsbpoCostSteps}{--}" in written
