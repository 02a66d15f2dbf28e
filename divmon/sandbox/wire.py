"""Messages between the side that asks and the launcher: 8 bytes of length, then that many of `marshal`.

Both run the same Python, neither side's bytes come from a program in the sandbox, and json would take the launcher
longer to import than its work takes. The tests of `divmon.sandbox.suite` reach its driver in this form too.
"""

from __future__ import annotations

import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pack(content: Any) -> bytes:
    """The message of ``content``, plain data."""
    data = marshal.dumps(content)
    return len(data).to_bytes(8, "little") + data


def unpack(data: bytes) -> dict[str, Any]:
    """The first message in ``data``; empty where it is not whole."""
    size = int.from_bytes(data[:8], "little")
    return marshal.loads(data[8:]) if size and len(data) >= 8 + size else {}


def read(descriptor: int) -> dict[str, Any]:
    """Read one message.

    Raises:
        EOFError: If it ends before its end.
    """
    data, wanted = b"", 8
    while len(data) < wanted:
        part = os.read(descriptor, wanted - len(data))
        if not part:
            raise EOFError("a message ended before its end")
        data += part
        if len(data) == 8:
            wanted += int.from_bytes(data, "little")
    return unpack(data)
