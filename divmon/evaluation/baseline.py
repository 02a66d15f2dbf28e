"""What an evaluation is compared with, looked at before anything is sampled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divmon.comparison import sampling_of
from divmon.errors import InputError
from divmon.evaluation.kept import differences

if TYPE_CHECKING:
    from divmon.evaluation.request import Request
    from divmon.measurement import Measurement
    from divmon.prompts import PromptSet

_REMEDY = "Give the same options, or leave --baseline out."


def baseline_in(folder: Path) -> Measurement:
    """The measurement that ``folder`` is a baseline by: of an evaluation, or of a run's start.

    Raises:
        InputError: If it holds neither.
    """
    from divmon.trainer.baseline import baseline_of_run

    try:
        found = baseline_of_run(folder)
    except (InputError, OSError) as error:
        raise InputError(
            f"--baseline: expected the folder of an evaluation or a run, got {folder} ({str(error).rstrip('.')})."
        ) from error
    if found is None:
        what = "holds a model" if folder.exists() else "is not there"
        raise InputError(f"--baseline: expected the folder of an evaluation or a run, got {folder}, which {what}.")
    return found


def check_baseline(request: Request) -> None:
    """Refuse a baseline that is none, or that was sampled otherwise: no number would be comparable.

    The encoders are compared when there are values, since what is loaded may be a stand-in.

    Raises:
        InputError: With everything that differs.
    """
    if request.baseline is None:
        return
    from divmon.facts import sampling_protocol

    there = sampling_of(baseline_in(request.baseline).protocol.get("sampling"), request.counts)
    asked = json.loads(json.dumps(sampling_protocol(request.monitor_options, request.limits), default=str))
    now = sampling_of(asked, request.counts)
    differing = list(differences(_in_words(there), _in_words(now), "sampling"))
    if differing:
        raise InputError(
            f"--baseline: nothing could be compared with {request.baseline}, which was sampled otherwise: "
            f"{'; '.join(differing)}. {_REMEDY}"
        )


def check_prompts(request: Request, prompts: Iterable[PromptSet]) -> None:
    """Refuse a baseline that lacks prompts of this evaluation; it may have more.

    Raises:
        InputError: With the tasks that it lacks prompts of.
    """
    if request.baseline is None:
        return
    known = set(baseline_in(request.baseline).prompts.keys)
    lacking = [
        f"{count} of {len(found)} of {found.source}"
        for found in prompts
        if (count := sum(prompt.key not in known for prompt in found))
    ]
    if lacking:
        raise InputError(
            f"--baseline: nothing could be compared with {request.baseline}, which lacks prompts that are asked now: "
            f"{'; '.join(lacking)}. {_REMEDY}"
        )


def _in_words(sampling: Any) -> Any:
    """Sampling settings under names for people."""
    if not isinstance(sampling, Mapping):
        return sampling
    named = {name.replace("_", " "): value for name, value in sampling.items() if name != "limits"}
    return named | {f"limit of {task}": limit for task, limit in dict(sampling.get("limits") or {}).items()}
