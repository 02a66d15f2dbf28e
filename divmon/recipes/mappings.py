"""Rows of the Dolci data sets as TRL's trainers and the verifiers read them.

A recipe names one with ``mapping:`` in a source of its data. A mapping makes a whole new row out of one of the hub's,
of whose columns most are provenance, nullable and different from set to set; or None for a row that is to be left out.

What the sets look like was read off their cards and off ``allenai/open-instruct``, which made them:

- SFT: ``messages``, whose turns may carry ``functions`` and ``function_calls``; where a row comes from is
  ``dataset_source`` (Think) or ``source_dataset`` (Instruct).
- DPO: ``chosen`` and ``rejected`` are whole conversations; Think has the prompt as a string besides, Instruct has not,
  and its turns carry columns of the chat log that they come from.
- RL: ``prompt`` is the conversation as a text, one ``role: content`` a turn; ``dataset`` names the verifier and
  ``ground_truth`` holds what it needs, both in lists of one; the RL-Zero sets have a verifier each and no ``dataset``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from divmon.checks import as_count
from divmon.errors import InputError
from divmon.recipes.document import as_mapping, refuse_unknown

Row = Mapping[str, Any]
Mapped = dict[str, Any] | None

_SOURCES = ("source", "dataset_source", "source_dataset", "original_dataset", "preference_type")
_TOOLS = ("functions", "function_calls")
_TURN = re.compile(r"^(system|user|assistant): ?", re.MULTILINE)
JUDGE = "judge"
"""The verifier of rows that a model is to judge."""

# What Olmo 3's RL-Zero puts around a problem: Figure 37 of the report, and open-instruct's templates
# olmo_thinker_rlzero (used for math and instruction following) and olmo_thinker_code_rlzero.
_PROBLEM = (
    "Solve the following problem step by step. The last line of your response should be the answer to the problem in "
    "form Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n{prompt}\n\n"
    'Remember to put your answer on its own line after "Answer:"'
)
_CODE = (
    "Solve the following code problem step by step. The last part of your response should be the solution to the "
    "problem in form ```\npython\nCODE\n``` where CODE is the solution for the problem.\n\n{prompt}\n\n"
    "Remember to put your solution inside the ```\npython\nCODE\n``` tags"
)

# The data sets' names of verifiers, and divmon's.
_VERIFIERS = {
    "math": "math",
    "ifeval": "constraints",
    "code": "code",
    "code_stdio": "code",
    "general-quality": JUDGE,
    "general-quality_ref": JUDGE,
}


def sft_row(row: Row, *, max_chars: int | None = None) -> Mapped:
    """A conversation and where it comes from.

    Args:
        row: A row of Dolci-Think-SFT or Dolci-Instruct-SFT.
        max_chars: Leave out conversations with more characters. A chain that is cut off at the trainer's ``max_length``
            would teach the model never to close it.
    """
    turns = _turns(row, "messages", _TOOLS)
    return _fitting({"messages": turns, "source": _source(row)}, turns, max_chars) if _answered(turns) else None


def dpo_row(row: Row, *, max_chars: int | None = None) -> Mapped:
    """A preference pair: the turns that both answers share, and the two answers.

    Args:
        row: A row of Dolci-Think-DPO or Dolci-Instruct-DPO.
        max_chars: Leave out pairs of which one conversation has more characters.
    """
    chosen, rejected = _turns(row, "chosen"), _turns(row, "rejected")
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared and not (chosen[shared:] and rejected[shared:]):
        return None  # the two are the same
    prompt = chosen[:shared]
    if not shared and isinstance(row.get("prompt"), str):
        prompt = [{"role": "user", "content": row["prompt"]}]
    chosen, rejected = chosen[shared:], rejected[shared:]
    if not prompt or not _answered(chosen) or not _answered(rejected):
        return None
    made = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "source": _source(row)}
    longest = max(chosen, rejected, key=lambda turns: sum(len(turn["content"]) for turn in turns))
    return _fitting(made, [*prompt, *longest], max_chars)


def rl_row(row: Row, *, verifiers: tuple[str, ...] | list[str] | None = None, max_chars: int | None = None) -> Mapped:
    """A prompt, the verifier of its answers and what that needs.

    Args:
        row: A row of Dolci-Think-RL or Dolci-Instruct-RL.
        verifiers: divmon's verifiers to keep the rows of; None for all.
        max_chars: Leave out prompts with more characters (the published runs: with more than 2,048 tokens).

    Returns:
        ``prompt`` (turns), ``verifier``, ``ground_truth`` and ``source``. ``ground_truth`` is the set's own text, which
        the verifiers read: the answer for ``math``; constraints as Python's repr of ``instruction_id`` and ``kwargs``;
        for ``code`` assertions, or inputs and outputs, in JSON or packed; for ``judge`` a reference, empty where there
        is none. None for a row that names no verifier of divmon's.
    """
    labels = row.get("dataset")
    label = labels[0] if isinstance(labels, list | tuple) and labels else labels
    verifier = _VERIFIERS.get(str(label))
    if verifier is None or (verifiers is not None and verifier not in verifiers):
        return None
    return _rl(row, verifier, "{prompt}", max_chars)


def rl_zero_math(row: Row, *, max_chars: int | None = None) -> Mapped:
    """A row of Dolci-RL-Zero-Math-7B, with the published words around the problem."""
    return _rl(row, "math", _PROBLEM, max_chars)


def rl_zero_code(row: Row, *, max_chars: int | None = None) -> Mapped:
    """A row of Dolci-RL-Zero-Code-7B, with the published words around the problem."""
    return _rl(row, "code", _CODE, max_chars)


def rl_zero_if(row: Row, *, max_chars: int | None = None) -> Mapped:
    """A row of Dolci-RL-Zero-IF-7B.

    Nothing is put around the prompt: the published words ask for a last line ``Answer:``, and the constraints would
    then be checked on it too.
    """
    return _rl(row, "constraints", "{prompt}", max_chars)


def rl_zero_general(row: Row, *, max_chars: int | None = None) -> Mapped:
    """A row of Dolci-RL-Zero-General-7B, which a model judges."""
    return _rl(row, JUDGE, "{prompt}", max_chars)


MAPPINGS: dict[str, Callable[..., Mapped]] = {
    "dolci-sft": sft_row,
    "dolci-dpo": dpo_row,
    "dolci-rl": rl_row,
    "dolci-rl-zero-math": rl_zero_math,
    "dolci-rl-zero-code": rl_zero_code,
    "dolci-rl-zero-if": rl_zero_if,
    "dolci-rl-zero-general": rl_zero_general,
}


def mapping(spec: Any) -> Callable[[Row], Mapped]:
    """The function that a recipe's ``mapping:`` means.

    Args:
        spec: A name in ``MAPPINGS``, or a mapping of one such name to its arguments.

    Raises:
        InputError: For anything else, with the nearest name or argument.
    """
    if isinstance(spec, Mapping) and len(spec) == 1:
        name, given = next(iter(spec.items()))
    else:
        name, given = spec, {}
    if not isinstance(name, str):
        raise InputError(f"mapping: expected one name, with or without arguments, got {spec!r:.80}.")
    refuse_unknown([name], MAPPINGS, "mapping")
    function, where = MAPPINGS[name], f"mapping {name}"
    arguments = as_mapping(given, where)
    refuse_unknown(arguments, function.__kwdefaults__ or (), where)
    if arguments.get("max_chars") is not None:
        as_count(arguments["max_chars"], f"{where}, max_chars")
    return lambda row: function(row, **arguments)


def _turns(row: Row, column: str, kept: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """A conversation: turns with role and content, and ``kept`` of their other keys; texts, empty where there is none.

    Empty and not None, because the first rows of a set decide a column's type.
    """
    turns = row.get(column) or ()
    if not isinstance(turns, list | tuple) or not all(isinstance(turn, Mapping) for turn in turns):
        raise InputError(f"mapping: expected turns with role and content in {column!r}, got {turns!r:.80}")
    return [{key: turn.get(key) or "" for key in ("role", "content", *kept)} for turn in turns]


def _answered(turns: list[dict[str, Any]]) -> bool:
    return bool(turns) and turns[-1]["role"] == "assistant" and bool(turns[-1]["content"])


def _source(row: Row) -> str:
    return next((str(row[name]) for name in _SOURCES if row.get(name)), "")


def _fitting(made: dict[str, Any], turns: list[dict[str, Any]], max_chars: int | None) -> Mapped:
    size = sum(len(str(value)) for turn in turns for key, value in turn.items() if key != "role")
    return made if max_chars is None or size <= max_chars else None


def _rl(row: Row, verifier: str, words: str, max_chars: int | None) -> Mapped:
    turns = _conversation(row)
    truth = _text(row.get("ground_truth"))
    if not turns or not (truth or verifier == JUDGE):
        return None
    turns[-1]["content"] = words.format(prompt=turns[-1]["content"])
    made = {"prompt": turns, "verifier": verifier, "ground_truth": truth, "source": _source(row)}
    return _fitting(made, turns, max_chars)


def _conversation(row: Row) -> list[dict[str, Any]]:
    """The turns of a prompt, up to the last of the user's.

    The sets' texts were made as ``role: content``, turn below turn. A text that does not begin with a role is one turn
    of the user's, whatever its lines begin with: nothing says then that they are turns.
    """
    prompt = row.get("prompt")
    if not isinstance(prompt, str):
        turns = _turns(row, "prompt")
    elif not (marks := list(_TURN.finditer(prompt))) or marks[0].start() != 0:
        turns = [{"role": "user", "content": prompt.strip()}]
    else:
        ends = [*(mark.start() for mark in marks[1:]), len(prompt)]
        turns = [
            {"role": mark[1], "content": prompt[mark.end() : end].strip()}
            for mark, end in zip(marks, ends, strict=True)
        ]
    while turns and (turns[-1]["role"] != "user" or not turns[-1]["content"]):
        turns.pop()
    return turns


def _text(truth: Any) -> str:
    """A ground truth as the set has it, out of its list of one; empty where there is none."""
    while isinstance(truth, list | tuple) and len(truth) == 1:
        truth = truth[0]
    if isinstance(truth, str | int | float) and not isinstance(truth, bool):
        return str(truth).strip()
    return json.dumps(truth) if truth else ""
