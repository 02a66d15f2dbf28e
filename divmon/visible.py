"""Text that others wrote, as it may be shown: nothing in it hides, and nothing in it steers how it is shown."""

from __future__ import annotations

import re
import unicodedata

_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji are written with them
_SUSPECT = re.compile(r"[^\n\t\x20-\x7e\u00a1-\u00ac\u00ae-\u0377]")
_MARKS = 4  # combining marks on one letter; more of them climb over other lines


def visible(text: str) -> str:
    r"""``text`` with everything that would be unseen or would steer how it is shown written out.

    ASCII control characters become their pictures (``␛``, ``␀``); bidirectional and other format characters, line
    separators, halves of surrogate pairs and what Unicode has not assigned become ``[U+202E]``. Newlines and tabs
    stay; ``\r\n`` is a newline. Doing it twice changes nothing more.
    """
    return _SUSPECT.sub(_shown, text.replace("\r\n", "\n")) if text else ""


def cut(text: str, most: int) -> str:
    """The first ``most`` characters of ``text`` made `visible`, with a note of how many more there were.

    A run of combining marks counts as `_MARKS` of them at most.
    """
    shown = _calmed(visible(text[:most]))
    return shown if len(text) <= most else f"{shown} […{len(text) - most:,} more characters]"


def _shown(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    category = unicodedata.category(char)
    hidden = category in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp") and char not in _JOINERS
    return f"[U+{code:04X}]" if hidden else char


def _calmed(text: str) -> str:
    """``text`` with at most ``_MARKS`` combining marks in a row."""
    if text.isascii():
        return text
    kept, run = [], 0
    for char in text:
        run = run + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if run <= _MARKS:
            kept.append(char)
    return "".join(kept)
