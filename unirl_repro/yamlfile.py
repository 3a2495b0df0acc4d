"""A YAML file that people write: read with no key lost, mistakes told in plain words."""

from pathlib import Path
from typing import Any

import yaml

from unirl_repro.explain import ConfigError, dotted


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises
    ------
    ConfigError
        If it cannot be read, is not YAML, or holds a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _check_unique(yaml.compose(text, Loader=yaml.SafeLoader), path.name)
        return yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: is not text in UTF-8: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: is not valid YAML: {error}") from error


def _check_unique(node: yaml.Node | None, file: str, path: tuple[str | int, ...] = ()) -> None:
    """YAML lets a later key replace an earlier one without a word; here it is an error."""
    if isinstance(node, yaml.SequenceNode):
        for i, entry in enumerate(node.value):
            _check_unique(entry, file, (*path, i))
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            here = (*path, name)
            if name in seen:
                raise ConfigError(
                    f"{file}: {dotted(list(here))} stands there twice, the second time in line "
                    f"{key.start_mark.line + 1}. Allowed: each key once. Remove one of them."
                )
            seen.add(name)
            _check_unique(value, file, here)
