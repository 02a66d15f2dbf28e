"""What a decomposition says, in plain words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from divmon import stats

if TYPE_CHECKING:
    from divmon.quality.decomposition import Decomposition

_NEARLY_ALL = 0.85
_NEARLY_NONE = 0.15
_LITTLE = 0.25
_NARROWER = "the model says fewer different right things"


def reading(found: Decomposition) -> str:
    """A sentence or two, from the signs that the intervals leave certain.

    It is called a loss, a narrowing and so on only where the whole 95% interval is on one side of zero.
    """
    if found.prompts < stats.FEWEST_PROMPTS or math.isnan(found.total.interval[0]):
        return "Too few to tell."  # how many they are stands beside it wherever it is shown
    total, among_right = _sign(found.total.interval), _sign(found.genuine.interval)
    if total > 0:
        return _loss(found, among_right)
    if total < 0:
        return {
            -1: "Diversity rose, among right answers too.",
            0: "Diversity rose; among right answers no change can be told, so look at the wrong ones.",
            1: "Diversity rose although right answers grew alike: it is wrong answers that differ more.",
        }[among_right]
    return {
        -1: "No loss can be told over all answers; right ones became more various.",
        0: "No loss can be told.",
        1: f"No loss can be told over all answers, yet {_NARROWER}: wrong answers that differ more hide it.",
    }[among_right]


def _loss(found: Decomposition, among_right: int) -> str:
    """A loss for certain: how much of it is there among right answers."""
    share, rest = found.share.value, _sign(found.quality_control.interval)
    wrong = _wrong(found)
    percent = f"{100 * share:.0f}%"
    if among_right < 0:
        return f"All of the loss is {wrong}: right answers became more various."
    if among_right == 0:
        bounds = " to ".join(f"{100 * bound:.0f}%" for bound in found.share.interval)
        if rest > 0 and found.share.interval[1] < _LITTLE:
            return f"Nearly all of the loss is {wrong}; among right answers no narrowing can be told."
        if rest > 0:
            return f"Part of the loss is {wrong}; whether right ones grew alike too cannot be told ({bounds} of it)."
        return f"Diversity was lost; how much of it among right answers cannot be told ({bounds})."
    if rest < 0:
        return (
            f"More than all of the loss ({percent}) is there among right answers: {_NARROWER}, wrong ones differ more."
        )
    if rest == 0:
        return f"As far as can be told, all of the loss is there among right answers too ({percent}): {_NARROWER}."
    if share > _NEARLY_ALL:
        return f"Nearly all of the loss ({percent}) is there among right answers too: {_NARROWER}."
    if share < _NEARLY_NONE:
        return f"Nearly all of the loss is {wrong}; {percent} is there among right answers too."
    return f"{percent} of the loss is there among right answers too: {_NARROWER}. The rest is {wrong}."


def _wrong(found: Decomposition) -> str:
    """What wrong answers did: where no more are right than before, none went away."""
    before, now = found.accuracy
    return "wrong answers going away" if now > before else "wrong answers growing alike"


def _sign(interval: tuple[float, float]) -> int:
    """1 or -1 where the whole interval is above or below zero, else 0."""
    return int(interval[0] > 0) - int(interval[1] < 0)
