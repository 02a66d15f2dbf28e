"""What goes to a terminal: text that cannot steer it, and a console that takes text as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def printable(text: str) -> str:
    r"""``text`` in one line, with what would steer a terminal (escape codes and the like) written as ``\x1b``."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in " ".join(text.split())
    )


def console() -> Console:
    """A console on standard output that reads no markup into names such as ``divmon[offline]``."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)
