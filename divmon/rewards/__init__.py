"""Reward functions for TRL's GRPO and RLOO trainers, by name.

``verifiable`` scores each row by its own columns ``verifier`` and ``ground_truth``; ``code`` and ``judge`` score the
rows whose verifier is theirs, by running programs and by asking a language model; ``format_think`` and ``length`` look
at the form. TRL calls them with ``prompts``, ``completions``, ``completion_ids``, the data set's other columns, and,
among others, ``log_metric(name, value)``; they give a value for each completion, None for one they do not concern.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from divmon.errors import InputError
from divmon.rewards.code import Code
from divmon.rewards.form import FormatThink, Length
from divmon.rewards.judge import JudgeReward
from divmon.rewards.verifiable import Verifiable
from divmon.verifiers.truth import check_arguments, unknown

# Classes, not closures: TRL's asynchronous rollout worker pickles its rewards.
RewardFunction = Verifiable | Code | JudgeReward | FormatThink | Length
_REWARDS: dict[str, type[RewardFunction]] = {
    "verifiable": Verifiable,
    "code": Code,
    "judge": JudgeReward,
    "format_think": FormatThink,
    "length": Length,
}
REWARDS = tuple(_REWARDS)


def reward_functions(spec: Any) -> tuple[list[RewardFunction], list[float]]:
    """Build rewards from their names.

    Args:
        spec: A list of names, or a mapping from each name to its ``weight`` (1) and its arguments; an element of a list
            may be such a mapping too: ``["verifiable", {"length": {"weight": 0.5, "max_length": 512, "margin": 64}}]``.

    Returns:
        The functions for ``reward_funcs`` and the weights for ``GRPOConfig.reward_weights``.

    Raises:
        InputError: For an unknown, missing or doubled name, an unknown or missing argument, with the near miss, and a
            value out of range.
    """
    functions: list[RewardFunction] = []
    weights: list[float] = []
    for name, settings in _named(spec):
        if name not in _REWARDS:
            raise unknown("reward", name, REWARDS)
        if name in [function.__name__ for function in functions]:
            raise InputError(f"The reward {name!r} is named twice.")
        arguments = dict(settings or {})
        weight = arguments.pop("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise InputError(f"{name}: weight: expected a number, got {weight!r}.")
        check_arguments(name, _REWARDS[name], arguments, also=["weight"])
        functions.append(_REWARDS[name](**arguments))
        weights.append(float(weight))
    if not functions:
        raise InputError(f"No reward: name at least one of {', '.join(REWARDS)}.")
    return functions, weights


def _named(spec: Any) -> Iterator[tuple[Any, Mapping[str, Any] | None]]:
    """The names of a spec with their settings."""
    entries = [spec] if isinstance(spec, str | Mapping) else spec
    for entry in entries if isinstance(entries, list | tuple) else [entries]:
        pairs = {entry: None} if isinstance(entry, str) else entry
        if not isinstance(pairs, Mapping) or not pairs:
            raise InputError(f"rewards: expected names, or {{name: {{weight: ..., arguments}}}}, got {entry!r}.")
        for name, settings in pairs.items():
            if settings is not None and not isinstance(settings, Mapping):
                raise InputError(f"{name}: expected {{weight: ..., arguments}}, got {settings!r}.")
            yield name, settings
