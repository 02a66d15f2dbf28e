"""``divmon eval --plan``: the units of an evaluation, what they are estimated to cost, and how to spread them."""

from __future__ import annotations

import math
import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from divmon.cli.columns import aligned
from divmon.cli.terminal import printable
from divmon.evaluation.wording import context_text, samples_text

if TYPE_CHECKING:
    from divmon.evaluation.cost import Assumptions, Cost
    from divmon.evaluation.request import Request

_WIDTH = 110


def document(request: Request, assumed: Assumptions) -> dict[str, Any]:
    """The plan as plain values: unit ids, limits, and the estimate by model."""
    from divmon.evaluation.cost import expected_tokens, nli_hours, sampling_cost

    pairs, scoring = nli_hours(request, assumed)
    return {
        "units": [unit.id for unit in request.units],
        "tasks": {
            task: {"prompts": n, "max_new_tokens": request.limit(task), "sample": task in request.samples}
            for task, n in request.counts.items()
        },
        "models": {
            label: {
                "context": request.subject(label).context,
                "units": cost.units,
                "completions": cost.completions,
                "tokens": cost.tokens,
                "gpu_hours": cost.gpu_hours,
            }
            for label, cost in sampling_cost(request, assumed).items()
        },
        "nli": {"pairs": pairs, "gpu_hours": scoring},
        "assumptions": {
            "tokens_per_second": assumed.tokens_per_second,
            "nli_pairs_per_second": assumed.nli_pairs_per_second,
            "tokens_per_completion": {
                subject.label: {task: expected_tokens(request, subject, task, assumed) for task in request.counts}
                for subject in request.subjects
            },
        },
    }


def print_plan(request: Request, assumed: Assumptions, command: str) -> None:
    """Print the plan.

    Args:
        request: What is asked for.
        assumed: What the estimate takes for granted.
        command: The command that would run it, without ``--plan``.
    """
    from divmon.evaluation.cost import Cost, nli_hours, sampling_cost

    costs = sampling_cost(request, assumed)
    total = sum(costs.values(), start=Cost(0, 0, 0.0, 0.0))
    pairs, scoring = nli_hours(request, assumed)
    rows = [("model", "parameters", "chain", "units", "completions", "million tokens", "GPU hours")]
    for subject in request.subjects:
        size = parameters_text(subject.parameters) if subject.parameters else "unknown"
        chain = "yes" if request.has_chain(subject) else "-"
        rows.append((subject.label, size, chain, *_cells(costs[subject.label])))
    if len(request.subjects) > 1:
        rows.append(("all", "", "", *_cells(total)))
    parts = [_amounts(request, total), _limits(request), aligned(rows, (1, 3, 4, 5, 6)), _scoring(pairs, scoring)]
    if assumed.gpu_price is not None:
        price = (total.gpu_hours + scoring) * assumed.gpu_price
        parts.append(f"At {assumed.gpu_price:g} a GPU hour that is {amount_text(price, 0)}.")
    texts = [part if part.count("\n") else textwrap.fill(part, _WIDTH) for part in [*parts, _assumed(assumed)]]
    print("\n\n".join([*texts, "\n".join(_spread(request, command))]))


def parameters_text(count: int) -> str:
    """A number of parameters: ``7.3 B``, ``135 M``, ``0.66 M``."""
    return f"{count / 1e9:.1f} B" if count >= 5e8 else f"{count / 1e6:.3g} M"


def amount_text(value: float, places: int = 1) -> str:
    """A number with so many places; of a small one its first two digits, down to a thousandth."""
    if value == 0 or value >= 10 or round(value, places) >= 1:
        return f"{value:,.{places}f}"
    digits = max(places, 1 - math.floor(math.log10(value)))
    return "<0.001" if value < 0.001 else f"{value:.{min(digits, 3)}f}"


def _amounts(request: Request, total: Cost) -> str:
    factors = (
        _many(len(request.subjects), "model"),
        f"{_many(sum(request.counts.values()), 'prompt')} ({_many(len(request.counts), 'task')})",
        _many(request.options.samples, "completion"),
    )
    units = f"{_many(total.units, 'unit')} of at most {request.unit_prompts:,} prompts"
    return f"{' x '.join(factors)} = {total.completions:,} completions in {units}."


def _limits(request: Request) -> str:
    """The commonest limit first, and without the names of its tasks."""
    limits = request.tasks_by_limit
    most, *others = sorted(limits, key=lambda limit: -len(limits[limit]))
    texts = [f"{most:,}", *(f"{limit:,} ({', '.join(limits[limit])})" for limit in others)]
    said = (f"Most tokens of a completion: {', '.join(texts)}.", context_text(request), samples_text(request.samples))
    return printable(" ".join(said))


def _scoring(pairs: int, hours: float) -> str:
    if not pairs:
        return "Scoring: no NLI; the sentence encoder's part is not counted."
    return (
        f"Scoring: at most {pairs:,} sentence pairs through the NLI classifier, {amount_text(hours)} GPU hours; the "
        "sentence encoder's part is not counted."
    )


def _assumed(assumed: Assumptions) -> str:
    return (
        "All of this is estimated, nothing was measured. Assumed are "
        f"{assumed.tokens_per_second:,.0f} tokens a second on a GPU for a model of 7.3 B parameters, and in inverse "
        f"proportion for others (--tokens-per-second); {assumed.nli_pairs_per_second:,.0f} sentence pairs a second; "
        "the mean tokens of a completion by kind of task, more where a model writes a chain of thought "
        "(divmon.evaluation.cost). Sample one unit to know better: its line says what it took."
    )


def _spread(request: Request, command: str) -> list[str]:
    command = printable(command)
    return [
        "Units are independent of each other, so they can be spread over machines that share the output folder.",
        "As job I of N, I from 1, in parts of about equal work:",
        f"  {command} --slice I/N",
        "A single unit (--plan --json lists them all):",
        f"  {command} --unit {printable(shlex.quote(request.units[0].id))}",
        "Once all are done:",
        f"  {command} --score-only",
        "Or the work shared between the GPUs of one machine:",
        f"  accelerate launch -m {command}",
    ]


def _cells(cost: Cost) -> tuple[str, str, str, str]:
    return (f"{cost.units:,}", f"{cost.completions:,}", amount_text(cost.tokens / 1e6), amount_text(cost.gpu_hours))


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}" + ("" if count == 1 else "s")
