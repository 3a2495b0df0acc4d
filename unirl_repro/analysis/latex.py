"""Text and numbers as LaTeX: escaping, macro names, table cells."""

import math
import re
from collections.abc import Sequence

DASH = "--"  # stands where there is no value
_DIGITS = dict(
    zip(
        "0123456789",
        ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"),
        strict=True,
    )
)
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": r"$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
    "→": r"$\rightarrow$",
    "°": r"$^\circ$",
    "²": r"$^2$",
    "³": r"$^3$",
    "′": r"$'$",
    "√": r"$\surd$",
    "∝": r"$\propto$",
    "∈": r"$\in$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "δ": r"$\delta$",
    "Δ": r"$\Delta$",
    "ε": r"$\epsilon$",
    "θ": r"$\theta$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "π": r"$\pi$",
    "σ": r"$\sigma$",
    "τ": r"$\tau$",
    "φ": r"$\phi$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "§": r"$^\S$",
    "¶": r"$^\P$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "’": "'",
    "“": "``",
    "”": "''",
}


def escape(text: str) -> str:
    r"""Plain text as LaTeX; what stands between backticks becomes typewriter type.

    Raises
    ------
    ValueError
        If a character has no LaTeX form here.

    Examples
    --------
    >>> print(escape("`sac` is 95% of α"))
    \texttt{sac} is 95\% of $\alpha$
    """
    parts = [_plain(part) for part in text.split("`")]
    return "".join(
        rf"\texttt{{{_breakable(part)}}}" if index % 2 else part for index, part in enumerate(parts)
    )


def _plain(text: str) -> str:
    for character in text:
        if character not in _SPECIAL and not 31 < ord(character) < 127 and character != "\n":
            raise ValueError(
                f"no LaTeX form for {character!r} in {text!r}; "
                "add it to unirl_repro/analysis/latex.py or write it differently"
            )
    return "".join(_SPECIAL.get(character, character) for character in text)


def _breakable(code: str) -> str:
    """Let a line break after the separators of a long name."""
    return re.sub(r"(\\_|[./=,@-])(?=.)", r"\1\\allowbreak{}", code)


def macro_name(*words: str) -> str:
    r"""Name of a macro, letters only: digits are spelled out.

    Examples
    --------
    >>> macro_name("unified_rl_table1", "average")
    'UnifiedRlTableOneAverage'
    """
    parts = re.findall(r"[a-zA-Z]+|\d", "_".join(words))
    return "".join(_DIGITS.get(part, part[:1].upper() + part[1:]) for part in parts)


def number(value: float, *, sign: bool = False) -> str:
    """A return: one decimal, none from 1,000 on; `DASH` for NaN.

    Examples
    --------
    >>> number(-704.51), number(12345.6), number(3.0, sign=True)
    ('$-704.5$', '$12346$', '$+3.0$')
    """
    if not math.isfinite(value):
        return DASH
    decimals = 0 if abs(value) >= 1000 else 1
    return f"${value:{'+' if sign else ''}.{decimals}f}$"


def share(value: float, *, sign: bool = False, decimals: int = 4) -> str:
    """A normalised return or a probability; `DASH` for NaN."""
    return f"${value:{'+' if sign else ''}.{decimals}f}$" if math.isfinite(value) else DASH


def interval(low: float, high: float, decimals: int = 3) -> str:
    """Limits in brackets; `DASH` where one is NaN."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return DASH
    return f"$[{low:.{decimals}f}, {high:.{decimals}f}]$"


def mean_cell(mean: float, half: float, *, bold: bool = False, asterisk: bool = False) -> str:
    r"""Mean ± half-width, the mean bold or starred; without a half-width the mean alone.

    Examples
    --------
    >>> print(mean_cell(493.1, 9.9, bold=True, asterisk=True))
    $\mathbf{493.1}\pm9.9^{*}$
    """
    if not math.isfinite(mean):
        return DASH
    decimals = 0 if abs(mean) >= 1000 or half >= 1000 else 1
    shown = f"{mean:.{decimals}f}"
    shown = rf"\mathbf{{{shown}}}" if bold else shown
    spread = rf"\pm{half:.{decimals}f}" if math.isfinite(half) else ""
    return f"${shown}{spread}{'^{*}' if asterisk else ''}$"


def thousands(value: int) -> str:
    """An integer with separators that are no decimal commas."""
    return f"{value:,}".replace(",", "{,}")


def tabular(
    columns: str, head: Sequence[str], body: Sequence[Sequence[str]], width: str = ""
) -> str:
    """A booktabs table, stretched to `width`; a head is a whole line, a body line its cells."""
    lines = [" & ".join(cells) + r" \\" for cells in body]
    begin, end = rf"\begin{{tabular}}[t]{{@{{}}{columns}@{{}}}}", r"\end{tabular}"
    if width:
        fill = r"@{}@{\extracolsep{\fill}}"
        begin = rf"\begin{{tabular*}}{{{width}}}[t]{{{fill}{columns}@{{}}}}"
        end = r"\end{tabular*}"
    return "\n".join([begin, r"\toprule", *head, r"\midrule", *lines, r"\bottomrule", end])


def newcommand(name: str, content: str) -> str:
    """Define a macro."""
    return rf"\newcommand{{\{name}}}{{{content}}}"
