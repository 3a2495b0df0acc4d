"""Plain tables and quantities, as commands about many runs print them."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two blanks apart; those of numbers to the right.

    Examples
    --------
    >>> print(table(("task", "steps"), [("ant-100", "1,000"), ("hopper-200", "-")]))
    task        steps
    ant-100     1,000
    hopper-200      -
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [bool(rows) and all(map(_is_number, column[1:])) for column in columns]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in (header, *rows)
    ]
    return "\n".join(lines)


def number(value: float | None, digits: int = 0) -> str:
    """With thousands separators; a dash where there is none.

    Examples
    --------
    >>> number(1234.56), number(0.123, 2), number(None)
    ('1,235', '0.12', '-')
    """
    return "-" if value is None else f"{value:,.{digits}f}"


def duration(seconds: float | None) -> str:
    """In the unit that fits.

    Examples
    --------
    >>> duration(45), duration(600), duration(5400), duration(3 * 86400), duration(None)
    ('45 s', '10 min', '1.5 h', '3.0 d', '-')
    """
    if seconds is None:
        return "-"
    for unit, size, digits in (("d", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 2 * size or (unit == "h" and seconds >= size):
            return f"{seconds / size:,.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def mib(size: float) -> str:
    """A size in MiB, without the unit.

    Examples
    --------
    >>> mib(3 * 2**30)
    '3,072'
    """
    return number(size / 2**20)


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell[0].isdigit() or (cell[0] == "-" and cell[1].isdigit())
