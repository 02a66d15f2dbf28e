"""The claims that the tiny reproduction tests, written down before its final seeds were run.

Unless a claim says otherwise it is about SBERT in percent of the base model, averaged over the tasks without word
problems. Those have one right answer, and the base writes its sums into the answer, where the metrics see them, while
the chains of Think are taken off: their percentages stand in a table of their own. ``margin``
is by how much a claim holds in one seed, in percent points: above 0 it holds. Over seeds a claim *holds* where it holds
in every seed, is *mixed* where it holds in some, and *fails* where it holds in none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Percent = Mapping[tuple[str, str], Any]
"""(metric, stage) -> percent of base; ``accuracy`` in percent of completions, not of base."""

RL_ZERO = ("rl-zero-math", "rl-zero-if", "rl-zero-general")
RL_ZERO_FLOOR = 85
NOT_BACK = 1.1


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        name: Its number.
        says: What it says.
        needs: The (metric, stage) that it compares.
        margin: By how much it holds.
    """

    name: str
    says: str
    needs: tuple[tuple[str, str], ...]
    margin: Callable[[Percent], Any]


def _sbert(*stages: str) -> tuple[tuple[str, str], ...]:
    return tuple(("sbert", stage) for stage in stages)


def _lexical(lineage: str, number: str) -> Claim:
    last = f"{lineage}-rl"
    return Claim(
        number,
        f"the collapse is semantic rather than lexical: {last} keeps more of EAD than of SBERT",
        (("ead", last), ("sbert", last)),
        lambda p: p["ead", last] - p["sbert", last],
    )


def _kl(lineage: str, number: str) -> Claim:
    free, tied = f"{lineage}-rl", f"{lineage}-rl-kl"
    return Claim(
        number,
        f"KL-free RL after DPO moves diversity less down (or more up) than the same RL with KL: {lineage}",
        _sbert(free, tied),
        lambda p: p["sbert", free] - p["sbert", tied],
    )


def _suppressed(number: str, what: str) -> Claim:
    full, without = "think-rl", "think-rl-suppressed"
    if what == "accuracy":
        return Claim(
            number,
            "suppressing the chain at generation costs accuracy (think-rl)",
            (("accuracy", full), ("accuracy", without)),
            lambda p: p["accuracy", full] - p["accuracy", without],
        )
    return Claim(
        number,
        f"suppressing the chain at generation does not bring diversity back: at most {NOT_BACK} times think-rl's",
        _sbert(full, without),
        lambda p: NOT_BACK * p["sbert", full] - p["sbert", without],
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "1",
        "after SFT, Think keeps a smaller fraction of base than Instruct",
        _sbert("think-sft", "instruct-sft"),
        lambda p: p["sbert", "instruct-sft"] - p["sbert", "think-sft"],
    ),
    Claim(
        "2",
        "Instruct-DPO takes more than Think-DPO",
        _sbert("think-sft", "think-dpo", "instruct-sft", "instruct-dpo"),
        lambda p: (
            (p["sbert", "instruct-sft"] - p["sbert", "instruct-dpo"])
            - (p["sbert", "think-sft"] - p["sbert", "think-dpo"])
        ),
    ),
    Claim(
        "3",
        f"RL-Zero keeps at least {RL_ZERO_FLOOR}% (mean of math, if and general)",
        _sbert(*RL_ZERO),
        lambda p: sum(p["sbert", stage] for stage in RL_ZERO) / len(RL_ZERO) - RL_ZERO_FLOOR,
    ),
    _lexical("think", "4a"),
    _lexical("instruct", "4b"),
    _kl("think", "5a"),
    _kl("instruct", "5b"),
    Claim(
        "6a",
        "more sources keep more diversity at equal size: two more than one",
        _sbert("sft-1-source", "sft-2-sources"),
        lambda p: p["sbert", "sft-2-sources"] - p["sbert", "sft-1-source"],
    ),
    Claim(
        "6b",
        "more sources keep more diversity at equal size: eight more than two",
        _sbert("sft-2-sources", "sft-8-sources"),
        lambda p: p["sbert", "sft-8-sources"] - p["sbert", "sft-2-sources"],
    ),
    _suppressed("7a", "diversity"),
    _suppressed("7b", "accuracy"),
)
