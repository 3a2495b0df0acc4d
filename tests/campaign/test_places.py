"""The mark that says in which format results are written."""

import json

import pytest

from unirl_repro.campaign.places import FORMAT, check_format, claim
from unirl_repro.config import ConfigError


def test_a_folder_is_claimed_once_and_then_accepted(tmp_path):
    root = tmp_path / "results"
    check_format(root)
    claim(root)
    before = (root / "format.json").read_bytes()
    claim(root)
    assert (root / "format.json").read_bytes() == before


def test_results_of_another_format_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "format.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(ConfigError, match=rf"written in format {FORMAT + 1}.*allowed here: .*mv "):
        claim(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "{"])
def test_a_mark_that_says_nothing_is_an_error(content, tmp_path):
    (tmp_path / "format.json").write_text(content)
    with pytest.raises(ConfigError, match=r"format\.json: cannot be read"):
        check_format(tmp_path)
