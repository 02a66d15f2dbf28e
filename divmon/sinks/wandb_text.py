"""Text that a model or a data set wrote, as it may stand in W&B: bounded, and nothing in it acts or hides.

W&B shows strings in tables as plain text (its own interface escapes them; Markdown is read only where a person asks for
it in a column's settings), but a cell that is one address becomes a link. Alerts go out as Markdown, to mail and chat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from divmon.visible import cut

_ADDRESS = re.compile(r"\s*https?://\S*\s*", re.IGNORECASE)
_MARK = " […]"


def inert(text: str, most: int) -> str:
    """``text`` made `divmon.visible.visible` in at most ``most`` characters, ``[…]`` at its end where it goes on."""
    shown = cut(text[:most], most)
    return shown if len(text) <= most and len(shown) <= most else shown[: most - len(_MARK)] + _MARK


def cell(text: str, most: int) -> str:
    """`inert` for a table's cell: in quotes where W&B would make a link of it."""
    shown = inert(text, most)
    return f'"{shown}"' if _ADDRESS.fullmatch(shown) else shown


def fenced(text: str, most: int) -> str:
    """`inert` as a block of code in Markdown that nothing in it ends; a mention (``<!channel>``) is none any more."""
    tamed = re.sub(r"<(?=[!@#])", "< ", text[: most + 1].replace("```", "'''"))
    return f"```\n{inert(tamed, most)}\n```"


def inert_values(value: Any, most: int) -> Any:
    """Plain values (mappings, lists, numbers) with every string in them made `inert`."""
    if isinstance(value, str):
        return inert(value, most)
    if isinstance(value, Mapping):
        return {inert(str(key), most): inert_values(item, most) for key, item in value.items()}
    return [inert_values(item, most) for item in value] if isinstance(value, list | tuple) else value
