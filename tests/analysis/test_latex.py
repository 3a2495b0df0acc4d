"""Numbers and text as LaTeX."""

import pytest

from unirl_repro.analysis import latex

NAN = float("nan")


def test_special_characters_are_escaped():
    assert latex.escape("50% of_x & {y} ~ ^") == (
        r"50\% of\_x \& \{y\} \textasciitilde{} \textasciicircum{}"
    )


def test_code_is_set_in_typewriter_and_may_break():
    assert latex.escape("see `a_b.c`") == r"see \texttt{a\_\allowbreak{}b.\allowbreak{}c}"


def test_character_without_a_latex_form_is_named():
    with pytest.raises(ValueError, match="no LaTeX form for '☃'"):
        latex.escape("a ☃")


@pytest.mark.parametrize(
    ("mean", "half", "marks", "cell"),
    [
        (12.34, 5.67, {}, r"$12.3\pm5.7$"),
        (12.34, NAN, {}, "$12.3$"),
        (NAN, NAN, {}, "--"),
        (-1234.5, 99.9, {}, r"$-1234\pm100$"),
        (1.0, 0.1, {"bold": True, "asterisk": True}, r"$\mathbf{1.0}\pm0.1^{*}$"),
    ],
)
def test_mean_cells(mean, half, marks, cell):
    assert latex.mean_cell(mean, half, **marks) == cell


def test_what_does_not_exist_is_a_dash():
    assert latex.number(NAN) == latex.share(NAN) == latex.interval(NAN, 1.0) == "--"


def test_macro_names_have_letters_only():
    assert latex.macro_name("unified_rl_fig2", "max(mbrl,sac_rlpd)", "ant-100") == (
        "UnifiedRlFigTwoMaxMbrlSacRlpdAntOneZeroZero"
    )
