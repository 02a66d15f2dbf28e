"""How much of a run the page carries, so that it opens fast whatever the ledger's size; the page says what it left out.

Together they keep the file below `MOST_BYTES`, however long or hostile the texts of a ledger are.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST_BYTES = 10_000_000
MOST_RUNS = 14
MOST_POINTS = 200
"""Measurements of a run on a curve; of several runs, fewer each (`most_points`)."""
MOST_COLUMNS = 80
"""Measurements of the per-prompt map."""
MOST_PROMPTS = 600
"""Prompts of the per-prompt map and of the search."""
MOST_PROMPTS_WITH_COMPLETIONS = 80
MOST_OF_A_CATEGORY = 4
"""Prompts of each category and task that are among them whatever they lost."""
MOST_COMPLETIONS = 32
"""Completions of a prompt in one column."""
MOST_CHARACTERS = 1_200
"""Characters of one completion."""
MOST_OF_A_PROMPT = 600
"""Characters of a prompt; the search looks at these."""
MOST_COMPLETION_BYTES = 3_000_000
"""All completions together, as they stand in the file."""
MOST_PROMPT_BYTES = 600_000
"""The prompts' texts together; once they are full, a prompt has `FEWEST_OF_A_PROMPT` characters."""
FEWEST_OF_A_PROMPT = 60
MOST_ALERTS = 40
"""Of all runs together."""
MOST_GAPS = 100
"""Of all runs together."""
MOST_OF_A_NAME = 80
"""Characters of the name of a run, a task, a category or a prompt."""
MOST_ROWS = 60
"""Rows of a table of provenance."""
MOST_GROUPS = 60
"""Rows of the table by task and category."""
MOST_OF_A_LINE = 300
"""Characters of any other text out of a ledger."""


def most_points(runs: int) -> int:
    """Measurements on the curve of each of ``runs`` runs."""
    return min(MOST_POINTS, max(20, 2 * MOST_POINTS // runs))


def thinned(count: int, most: int, keep: Sequence[int] = ()) -> list[int]:
    """Places of at most ``most`` of ``count`` things, spread evenly, the first and the last among them.

    Args:
        count: How many there are.
        most: How many may stay, at least 2.
        keep: Places that stay before others; at most half of ``most`` of them.
    """
    if count <= most:
        return list(range(count))
    kept = {0, count - 1, *list(keep)[: min(most // 2, most - 2)]}
    room = most - len(kept)
    evenly = {round(number * (count - 1) / (room + 1)) for number in range(1, room + 1)}
    return sorted(kept | evenly)
