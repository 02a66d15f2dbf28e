"""Whether rows are what a recipe's trainer and rewards read: the part of ``check.py`` that looks at rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from divmon.errors import InputError
from divmon.recipes.finish import rows_with
from divmon.recipes.recipe import Recipe
from divmon.recipes.sources import Source
from divmon.verifiers import OUTSIDE, check_ground_truth

_SCORING = ("verifiable", *OUTSIDE)
"""The rewards that go by a row's verifier; the others look at the form."""


def mapped(recipe: Recipe, source: Source, rows: Sequence[Mapping[str, Any]]) -> str:
    """Apply a source's mapping to rows of its real schema.

    Args:
        recipe: The recipe.
        source: One of its sources.
        rows: The rows.

    Returns:
        How many were kept, in words.

    Raises:
        InputError: If none is kept, a column is missing, or a think block is left where it was to be stripped.
    """
    made = rows_with(source, rows, str(recipe.trainer))
    if not made:
        raise InputError(f"{recipe.path}, data, {source.label}: its mapping leaves out all of {len(rows)} rows.")
    if source.strip_thinking:
        turns = [turn for row in made for key in ("messages", "chosen", "rejected") for turn in row.get(key) or ()]
        if any("<think>" in str(turn.get("content")) for turn in turns):
            raise InputError(f"{recipe.path}, data, {source.label}: strip_thinking left a <think> block.")
    return f"{source.label}: {len(made)} of {len(rows)} fixture rows mapped"


def scored(recipe: Recipe, dataset: Any) -> str:
    """Check that each row's verifier belongs to one of the rewards, and takes its ground truth.

    Args:
        recipe: A stage of GRPO.
        dataset: Its rows, as the trainer reads them.

    Returns:
        What is scored, in words.

    Raises:
        InputError: For a row that no reward scores, and a ground truth that its verifier does not take.
    """
    rewards = recipe.reward_names
    if not set(_SCORING) & set(rewards):
        return "rewards that look at the form alone"
    absent = [name for name in ("verifier", "ground_truth") if name not in dataset.column_names]
    if absent and {"verifiable", "code"} & set(rewards):
        raise InputError(
            f"{recipe.path}, data: rewards by a row's verifier need the column {absent[0]!r}, the rows have "
            f"{', '.join(dataset.column_names)}."
        )
    if absent:
        return "rows for the judge"
    names: dict[str, int] = {}
    for name, truth in zip(dataset["verifier"], dataset["ground_truth"], strict=True):
        owner = name if name in OUTSIDE else "verifiable"
        names[name or ""] = names.get(name or "", 0) + 1
        if name and owner not in rewards:
            raise InputError(
                f"{recipe.path}, rewards: rows with the verifier {name!r} need the reward {owner!r}, and there is only "
                f"{', '.join(rewards)}."
            )
        if name and name != "judge":
            check_ground_truth(name, truth)
    blank = names.pop("", 0)
    if not names and "judge" not in rewards:
        raise InputError(f"{recipe.path}, rewards: no row has a verifier, so that none is scored.")
    text = f"ground truths of {', '.join(names)} are understood" if names else "rows for the judge"
    return f"{text}; {blank} of {len(dataset)} rows {'has' if blank == 1 else 'have'} no verifier" if blank else text
