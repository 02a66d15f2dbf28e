"""What a judge says of answers that no verifier can check: who wins against the baseline, what of a checklist is met.

A judge's opinions are biased: towards the answer in one place (so each pair is asked in both orders), towards long
answers (so it is counted how often the longer one won), and towards answers of its own kind (so take a judge of another
family). They compare models under one judge; they are no measure of quality by themselves.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from divmon.judge import Judge
from divmon.quality.estimates import Mean, mean_of

EVEN = 0.5


@dataclass(frozen=True)
class Answers:
    """The answers to one prompt, without their reasoning; None is none.

    Attributes:
        question: What was asked.
        ours: (S,) those to be judged.
        theirs: (S,) what they are compared with, sample by sample; empty where there is nothing.
        checklist: What a good answer meets; empty where the prompt has none.
        reference: A good answer, for comparisons; None without.
    """

    question: str
    ours: tuple[str | None, ...]
    theirs: tuple[str | None, ...] = ()
    checklist: tuple[str, ...] = ()
    reference: str | None = None


@dataclass(frozen=True)
class WinRate:
    """How often answers are preferred to others.

    Attributes:
        rate: Mean preference over prompts: 1 always, 0 never, 0.5 even.
        per_prompt: (P,) each prompt's; NaN where nothing was judged.
        pairs: Pairs of answers that have a verdict, those without an answer among them.
        unjudged: Pairs that have none.
        consistent: Share of the judge's pairs in which both orders say the same; a low one means that the judge looks
            at the place. NaN without any.
        longer: Share of the judge's decided pairs of different length in which the longer answer won; well above 0.5
            for a judge that likes length, or where the longer answers are the better ones. NaN without any.
    """

    rate: Mean
    per_prompt: tuple[float, ...]
    pairs: int
    unjudged: int
    consistent: float
    longer: float


@dataclass(frozen=True)
class ChecklistScore:
    """How much of their checklists answers meet.

    Attributes:
        score: Mean over prompts of the share of items that an answer meets, 0 to 1.
        per_prompt: (P,) each prompt's; NaN where nothing was judged.
        written: How many prompts have a checklist of the judge's writing.
        unjudged: Answers without a verdict.
    """

    score: Mean
    per_prompt: tuple[float, ...]
    written: int
    unjudged: int


def win_rate(judge: Judge, prompts: Sequence[Answers], *, seed: int = 0) -> WinRate:
    """Compare each answer with the one of the same number, in both orders.

    An answer that is not there loses against one that is, and ties with another that is not; the judge is not asked.

    Args:
        judge: Whom to ask.
        prompts: (P,) the answers.
        seed: Of the bootstrap over prompts.
    """
    pairs = [
        (place, ours, theirs)
        for place, prompt in enumerate(prompts)
        for ours, theirs in zip(prompt.ours, prompt.theirs, strict=bool(prompt.theirs))
    ]
    asked = [(prompts[place], ours, theirs) for place, ours, theirs in pairs if ours is not None and theirs is not None]
    replies = iter(
        judge.compare(
            [prompt.question for prompt, _, _ in asked],
            [ours for _, ours, _ in asked],
            [theirs for _, _, theirs in asked],
            [prompt.reference for prompt, _, _ in asked],
        )
    )
    values: list[list[float]] = [[] for _ in prompts]
    judged: list[tuple[float, bool, int]] = []  # who won, whether in both orders, and how much longer ours is
    unjudged = 0
    for place, ours, theirs in pairs:
        if ours is None or theirs is None:
            values[place].append(EVEN if ours is theirs else float(theirs is None))
            continue
        found = next(replies)
        if found.value is None:
            unjudged += 1
            continue
        values[place].append(found.value)
        judged.append((found.value, found.consistent, len(ours) - len(theirs)))
    per_prompt = tuple(statistics.fmean(each) if each else math.nan for each in values)
    decided = [(value > EVEN) == (longer > 0) for value, _, longer in judged if longer and value != EVEN]
    return WinRate(
        rate=mean_of(per_prompt, seed=seed),
        per_prompt=per_prompt,
        pairs=sum(map(len, values)),
        unjudged=unjudged,
        consistent=_share([consistent for _, consistent, _ in judged]),
        longer=_share(decided),
    )


def checklist_score(judge: Judge, prompts: Sequence[Answers], *, seed: int = 0) -> ChecklistScore:
    """Hold each answer against its prompt's checklist.

    Where the prompt has none the judge writes one from the question alone, once (`divmon.judge.Judge.checklists`): the
    same for every model that is graded with this judge. An answer that is not there meets nothing.

    Args:
        judge: Whom to ask.
        prompts: (P,) the answers.
        seed: Of the bootstrap over prompts.
    """
    bare = [place for place, prompt in enumerate(prompts) if not prompt.checklist]
    written = dict(zip(bare, judge.checklists([prompts[place].question for place in bare]), strict=True))
    items = [prompt.checklist or written.get(place) or () for place, prompt in enumerate(prompts)]
    asked = [
        (place, prompt.question, answer)
        for place, prompt in enumerate(prompts)
        for answer in prompt.ours
        if answer is not None and items[place]
    ]
    found = judge.met([q for _, q, _ in asked], [a for _, _, a in asked], [items[place] for place, _, _ in asked])
    values = [[0.0] * prompt.ours.count(None) if items[place] else [] for place, prompt in enumerate(prompts)]
    for (place, _, _), share in zip(asked, found, strict=True):
        if share is not None:
            values[place].append(share)
    per_prompt = tuple(statistics.fmean(shares) if shares else math.nan for shares in values)
    return ChecklistScore(
        score=mean_of(per_prompt, seed=seed),
        per_prompt=per_prompt,
        written=sum(checklist is not None for checklist in written.values()),
        unjudged=sum(len(prompt.ours) for prompt in prompts) - sum(map(len, values)),
    )


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else math.nan
