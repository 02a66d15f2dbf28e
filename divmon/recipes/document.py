"""YAML as recipes are written in it, and the checks that every section of one shares."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from divmon.checks import shown
from divmon.errors import InputError, near_miss


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars, and no key twice.

    PyYAML reads YAML 1.1, in which ``learning_rate: 5e-5`` is a string, ``save_strategy: no`` is False and ``1:30`` is
    90. Each of the three is a silent mistake in a recipe.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own type)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def read_yaml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a file and the mapping that it holds.

    Raises:
        InputError: For a file that cannot be read or holds something else, with the line where it is known.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"Cannot read the recipe {path} ({reason}): expected a YAML file.") from error
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not YAML ({getattr(error, 'problem', None) or error}).") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping such as 'description: ...', got {type(content).__name__}.")
    return text, content


def refuse_unknown(keys: Iterable[Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that are not known, and name the nearest that is.

    Args:
        keys: What was given.
        known: What may be given.
        where: The file and section, for the message.

    Raises:
        InputError: For the first unknown key.
    """
    known = list(known)
    for key in keys:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}: {near_miss(key, known)}")


def as_mapping(value: Any, where: str) -> dict[str, Any]:
    """``value`` as a mapping with strings for keys; an empty section is an empty one.

    Raises:
        InputError: If it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{where}: expected a mapping of names to values, got {shown(value)}.")
    return dict(value)


def as_text(value: Any, where: str) -> str:
    """``value`` as a string that is not empty.

    Raises:
        InputError: If it is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: expected a string, got {shown(value)}.")
    return value


def near_path(path: Path) -> str:
    """The nearest recipe or folder beside a path that does not exist, as a hint."""
    try:
        beside = {entry.name: entry for entry in path.parent.iterdir()}
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, beside, 1) or difflib.get_close_matches(f"{path.name}.yaml", beside, 1)
    return f" Did you mean {beside[near[0]]}?" if near else ""
