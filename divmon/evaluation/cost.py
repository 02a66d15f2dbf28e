"""What an evaluation costs, estimated from stated assumptions.

Tokens are completions times an assumed mean length, at most the task's limit; GPU hours are tokens over an assumed
rate. The rate is for a model of 7.3 billion parameters (Olmo 3 7B), all rows of a batch together, with transformers'
``generate``; it is taken to be inversely proportional to the number of parameters. 1,000 tokens a second is some 70
rows at 2.2 ms a layer and step, as `divmon.recipes.hours` has it, no row idle. An H100 gave 523 with 80 rows of 256
tokens, before attention was kept off cuDNN and memory was taken in few blocks (``scripts/measure_recipes.py``). The one
way to know is to sample a unit: its line says how long its completions were and how long it took.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from divmon.tasks import TASKS

if TYPE_CHECKING:
    from divmon.evaluation.request import Request
    from divmon.evaluation.subject import Subject
    from divmon.evaluation.units import Unit

ANSWER_TOKENS = {
    "summarization": 100,
    "code": 300,
    "reasoning": 300,
    "instruction_following": 400,
    "creative_writing": 800,
    "value_pluralism": 500,
}
"""Mean tokens of an answer, by category of the task; assumed."""
CHAIN_TOKENS = {
    "summarization": 600,
    "code": 3000,
    "reasoning": 2500,
    "instruction_following": 1500,
    "creative_writing": 1200,
    "value_pluralism": 1000,
}
"""Mean tokens of the chain of thought before it, of models that write one; assumed, and whatever the task."""
OTHER_ANSWER, OTHER_CHAIN = 400, 1500
REFERENCE_PARAMETERS = 7.3e9


@dataclass(frozen=True)
class Assumptions:
    """What an estimate takes for granted.

    Attributes:
        tokens_per_second: Completion tokens a second and GPU, of a model of 7.3 billion parameters.
        nli_pairs_per_second: Sentence pairs a second and GPU through the NLI classifier, each in one direction.
        gpu_price: Price of a GPU hour, in whatever currency; None for none.
    """

    tokens_per_second: float = 1000.0
    nli_pairs_per_second: float = 2000.0
    gpu_price: float | None = None
    answer_tokens: Mapping[str, int] = field(default_factory=lambda: ANSWER_TOKENS)
    chain_tokens: Mapping[str, int] = field(default_factory=lambda: CHAIN_TOKENS)


@dataclass(frozen=True)
class Cost:
    """What sampling takes.

    Attributes:
        units: How many units.
        completions: How many completions.
        tokens: Completion tokens, estimated.
        gpu_hours: Hours of one GPU, estimated.
    """

    units: int
    completions: int
    tokens: float
    gpu_hours: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.units + other.units,
            self.completions + other.completions,
            self.tokens + other.tokens,
            self.gpu_hours + other.gpu_hours,
        )


def mean_tokens(request: Request, subject: Subject, task: str, assumed: Assumptions | None = None) -> float:
    """Assumed mean tokens of a completion, at most the limit."""
    assumed = assumed or Assumptions()
    category = TASKS[task].category if task in TASKS else ""
    answer = assumed.answer_tokens.get(category, OTHER_ANSWER)
    limit, budget = request.limit(task), 0
    if request.options.thinking == "full":
        budget = request.options.max_think_tokens
    chain = assumed.chain_tokens.get(category, OTHER_CHAIN) if request.has_chain(subject) else 0
    return float(min(answer + chain, limit + budget))


def expected_tokens(request: Request, subject: Subject, task: str, assumed: Assumptions) -> float:
    """Likewise, and no more than the model's context where that is at hand: for figures, not for cutting slices."""
    return min(mean_tokens(request, subject, task, assumed), float(subject.context or "inf"))


def weight(unit: Unit, request: Request) -> float:
    """How much work a unit is, in tokens of a model of its size; the same wherever the same plan is cut."""
    subject = request.subject(unit.model)
    size = (subject.checkpoint.parameters if subject.checkpoint else REFERENCE_PARAMETERS) / REFERENCE_PARAMETERS
    return size * (unit.stop - unit.start) * request.options.samples * mean_tokens(request, subject, unit.task)


def sampling_cost(request: Request, assumed: Assumptions) -> dict[str, Cost]:
    """Label of each model -> what sampling it takes."""
    return {subject.label: _of_model(request, subject, assumed) for subject in request.subjects}


def _of_model(request: Request, subject: Subject, assumed: Assumptions) -> Cost:
    rate = assumed.tokens_per_second * REFERENCE_PARAMETERS / (subject.parameters or REFERENCE_PARAMETERS)
    total = Cost(0, 0, 0.0, 0.0)
    for unit in request.units:
        if unit.model == subject.label:
            completions = (unit.stop - unit.start) * request.options.samples
            tokens = completions * expected_tokens(request, subject, unit.task, assumed)
            total += Cost(1, completions, tokens, tokens / rate / 3600)
    return total


def nli_hours(request: Request, assumed: Assumptions) -> tuple[int, float]:
    """Sentence pairs of NLI's scoring, at the most and both directions counted, and GPU hours for them.

    With ``nli_pairs="all"`` it depends on the answers' lengths: then the paper's three are counted.
    """
    options = request.options
    if "nli" not in options.metrics or options.preset == "code":
        return 0, 0.0
    prompts = sum(n for task, n in request.counts.items() if task not in TASKS or "nli" not in TASKS[task].without)
    aligned = 3 if options.nli_pairs == "all" else options.nli_pairs
    pairs = len(request.subjects) * prompts * options.samples * (options.samples - 1) // 2 * aligned * 2
    return pairs, pairs / assumed.nli_pairs_per_second / 3600
