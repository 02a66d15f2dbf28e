"""Values that come from a file or a call, checked one by one."""

from __future__ import annotations

from typing import Any

from divmon.errors import InputError


def as_flag(value: Any, where: str) -> bool:
    """``value`` as true or false.

    Args:
        value: What was given.
        where: What it was given as, for the message.

    Raises:
        InputError: If it is something else.
    """
    if not isinstance(value, bool):
        raise InputError(f"{where}: expected true or false, got {shown(value)}.")
    return value


def as_count(value: Any, where: str, least: int = 1) -> int:
    """``value`` as a whole number of at least ``least``.

    Args:
        value: What was given.
        where: What it was given as, for the message.
        least: The smallest that is allowed.

    Raises:
        InputError: If it is something else, or less.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{where}: expected a whole number of at least {least}, got {shown(value)}.")
    return value


def shown(value: Any) -> str:
    """``value`` in a message."""
    return "nothing" if value is None else f"{value!r:.80}"
