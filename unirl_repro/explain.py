"""pydantic's findings in plain words: file, path, value, what is allowed.

A shared page: it decides how a mistake is reported, never what a run does.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ArgsKwargs

_ALLOWED = {
    "bool_type": "true or false",
    "dict_type": "a mapping, with keys and values",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping, with keys and values",
    "string_too_short": "text of {min_length} or more characters",
    "string_type": "text",
    "too_short": "a list with {min_length} or more entries",
    "tuple_type": "a list",
}
_NO_KEY = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument")
_NUMBERS = ("int_type", "float_type")
_EXPONENT_ALONE = re.compile(r"[+-]?\d+[eE][+-]?\d+")


class ConfigError(ValueError):
    """A mistake in the configuration; its text names the place, the value and what is allowed."""


def choices(value: object, allowed: Collection[str]) -> str:
    """What is allowed in place of `value`, and the nearest of it.

    Examples
    --------
    >>> choices("sca", ["sac", "ppo"])
    "Allowed: ppo, sac. Did you mean 'sac'?"
    """
    near = get_close_matches(str(value), allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"Allowed: {', '.join(sorted(allowed)) or 'nothing'}.{hint}"


def explain(
    error: ValidationError, file: str, values: Any, schema: Mapping[str, Any], where: str = ""
) -> str:
    """One line for each place of a file that holds a mistake.

    Parameters
    ----------
    error : ValidationError
        What pydantic found.
    file : str
        The file's name.
    values : Any
        What was checked, as read from the file.
    schema : mapping
        JSON schema of what was expected; keys that are allowed are looked up in it.
    where : str
        Path in the file at which `values` stand.
    """
    places: dict[str, list[Any]] = {}
    mistakes = error.errors(include_url=False)
    for mistake in mistakes:
        if mistake["type"] == "too_short" and len(mistakes) > 1 and mistake["input"]:
            continue  # a list seems short where one of its entries is wrong
        path = dotted(_inside(mistake, values), where)
        places.setdefault(path, []).append(mistake)
    return "\n".join(f"{file}: {_line(p, found, values, schema)}" for p, found in places.items())


def dotted(parts: list[str | int], where: str = "") -> str:
    """``studies.fig2.tasks[0]``, below `where`."""
    path = where + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)
    return path.removeprefix(".")


def _line(path: str, found: list[Any], values: Any, schema: Mapping[str, Any]) -> str:
    """`found` are the mistakes at one place: several where a union allows several things."""
    first = found[0]
    kind = first["type"]
    if kind in _NO_KEY:
        *parents, key = _inside(first, values)
        return f"{path} is not a key here. {choices(key, _keys_at(schema, parents))}"
    if kind in _MISSING:
        return f"{path} is missing. Add it."
    if kind == "invalid_key":
        return f"{path} is not a key here, since it is not text. Put it in quotes."
    if kind == "value_error" and isinstance(first["input"], Mapping | ArgsKwargs):
        return f"{path}: {_own_text(first)}"
    if "[key]" in first["loc"]:
        return f"{path} is not allowed as a key. {_allowed(found)}"
    return f"{path or 'the file'} is {_short(first['input'])}. {_allowed(found)}{_hint(found)}"


def _allowed(found: list[Any]) -> str:
    own = [_own_text(m) for m in found if m["type"] == "value_error"]
    if own:
        return own[0]
    words = [_words(mistake) for mistake in found]
    near = get_close_matches(str(found[0]["input"]), re.findall(r"'([^']*)'", " ".join(words)), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"Allowed: {', or '.join(words)}.{hint}"


def _words(mistake: Any) -> str:
    if mistake["type"] == "string_pattern_mismatch":
        return _pattern(mistake["ctx"]["pattern"])
    words = _ALLOWED.get(mistake["type"], mistake["msg"])
    return words.format(**mistake.get("ctx", {}))


def _pattern(pattern: str) -> str:
    if "@" in pattern:
        return (
            "a variant's name, with changed parameters after @ if any: sac@discount=0.9,polyak=0.01"
        )
    if pattern.startswith("^[\\w"):
        return f"letters, digits, _ and any of {' '.join(pattern[4:].partition(']')[0])}"
    return "a name of small letters, digits and _, with a letter first"


def _hint(found: list[Any]) -> str:
    """For a number that YAML, or the quotes around it, has turned into text; or the reverse."""
    text = found[0]["input"]
    if isinstance(text, int | float) and all(m["type"] == "string_type" for m in found):
        return f" Write it in quotes: '{text}'."
    if not isinstance(text, str) or not any(m["type"] in _NUMBERS for m in found):
        return ""
    if _EXPONENT_ALONE.fullmatch(text):
        return f" YAML takes it for text: write {text.lower().replace('e', '.0e')}."
    try:
        float(text)
    except ValueError:
        return ""
    return " Write it without quotes."


def _own_text(mistake: Any) -> str:
    text = mistake["msg"].removeprefix("Value error, ")
    return text if text.endswith((".", "?")) else text + "."


def _short(value: object) -> str:
    """A value as the file has it, cut if it is long."""
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _inside(mistake: Any, values: Any) -> list[str | int]:
    """A mistake's path in the file: pydantic's also names the branches of unions."""
    inside: list[str | int] = []
    node = values
    loc = [part for part in mistake["loc"] if part != "[key]"]
    for part in loc:
        known = isinstance(node, Mapping) and part in node
        if known or (isinstance(node, list) and isinstance(part, int) and part < len(node)):
            inside.append(str(part) if known else part)
            node = node[part]
    if mistake["type"] in _MISSING or (mistake["type"] in _NO_KEY and inside[-1:] != loc[-1:]):
        inside.append(loc[-1])
    return inside


def _keys_at(schema: Mapping[str, Any], parts: list[str | int]) -> list[str]:
    """The keys that a JSON schema allows at a place."""
    node = _resolve(schema, schema)
    for part in parts:
        below = node.get("properties", {}).get(part) or next(
            iter(node.get("patternProperties", {}).values()),
            node.get("additionalProperties") or node.get("items", {}),
        )
        node = _resolve(schema, below)
    return list(node.get("properties", {}))


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    for option in node.get("anyOf", []):
        if option.get("type") != "null":
            return _resolve(schema, option)
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
