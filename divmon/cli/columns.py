"""Rows of cells in columns as wide as they need, whatever the terminal's width: cells are never cut."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from divmon.cli.terminal import printable


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Rows as lines.

    Args:
        rows: Rows of equally many cells, the heading among them.
        right: Columns that are aligned to the right.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
