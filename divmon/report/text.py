"""Text that others wrote, as it may stand in a page: nothing in it acts, and nothing in it hides."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from divmon.measurement import to_plain
from divmon.report.bounds import MOST_OF_A_LINE
from divmon.visible import cut as visible_cut
from divmon.visible import visible

_IN_JSON = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def cut(text: str, most: int = MOST_OF_A_LINE) -> str:
    """`divmon.visible.cut`, by default at the length of a line."""
    return visible_cut(text, most)


def without_folders(name: str) -> str:
    """The last part of a local path, for a report that is handed on; any other name as it is."""
    path = PurePath(name)
    return path.name if path.is_absolute() or name.startswith("~") else name


def embedded(value: Any) -> str:
    """``value`` as JSON that is safe inside a ``<script>`` element, whatever its strings hold.

    ``<``, ``>``, ``&`` and the line separators are escaped, so that neither an end tag nor a comment can begin; strings
    (names of fields too) are made `visible`; floats keep four significant digits, NaN and infinities are null.
    """
    text = json.dumps(_compact(to_plain(value)), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_IN_JSON)


def _compact(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float):
        return _short(value)
    if isinstance(value, Mapping):
        return {visible(key): _compact(item) for key, item in value.items()}
    return [_compact(item) for item in value] if isinstance(value, list) else value


def _short(value: float) -> float | int:
    """``value`` with four significant digits, or as many as its whole part has."""
    if value == 0:
        return 0
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    short = round(value, digits)
    return int(short) if short == int(short) else short
