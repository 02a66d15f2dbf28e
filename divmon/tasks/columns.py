"""What the records of `divmon.tasks.catalogue` read from a row: right answers, and words for templates."""

from __future__ import annotations

import re
from typing import Any

from divmon.tasks.task import Row
from divmon.verifiers.math import last_boxed


def gsm8k_truth(row: Row) -> str:
    """The number behind the last ``####`` of the solution."""
    return row["answer"].rsplit("####", 1)[1].strip()


def math_truth(row: Row) -> str | None:
    r"""What stands in the last ``\boxed{}`` of the solution; None without one."""
    return last_boxed(row["solution"])


def humaneval_truth(row: Row) -> dict[str, Any]:
    """The tests, the function that is asked for, and the prompt that answers go on from."""
    return {name: row[name] for name in ("prompt", "test", "entry_point")}


def mbpp_truth(row: Row) -> dict[str, Any]:
    """The tests, and what has to run before them."""
    return {"test_list": list(row["test_list"]), "test_setup_code": row["test_setup_code"]}


def ifeval_truth(row: Row) -> dict[str, Any]:
    """The constraints by name, with their arguments."""
    return {
        "instruction_id": list(row["instruction_id_list"]),
        "kwargs": [dict(given or {}) for given in row["kwargs"]],
    }


def truthfulqa_truth(row: Row) -> dict[str, Any]:
    """The references, correct ones and incorrect ones."""
    return {"correct": list(row["correct_answers"]), "incorrect": list(row["incorrect_answers"])}


def with_input(row: Row) -> Row:
    """Alpaca's two templates: an input is announced and stands under a heading of its own."""
    if not row["input"]:
        return {**row, "announced": "", "block": ""}
    announced = ", paired with an input that provides further context"
    return {**row, "announced": announced, "block": f"### Input:\n{row['input']}\n\n"}


def stripped(row: Row) -> Row:
    """The texts without white space around them."""
    return {name: value.strip() for name, value in row.items() if isinstance(value, str)}


def first_turn(row: Row) -> Row:
    """The first turn of the conversation."""
    return {"request": row["conversation_input"][0]["content"].strip()}


def first_turn_checklist(row: Row) -> list[str]:
    """The checklist where the first turn is all there is; one of a longer conversation is for its last turn."""
    return list(row["checklist"]) if len(row["conversation_input"]) == 1 else []


def is_prism_prompt(row: Row) -> bool:
    """In the balanced subset, not just a greeting, and mostly in Latin letters: the paper's filter."""
    text = (row["opening_prompt"] or "").strip()
    if not row["included_in_balanced_subset"] or not text:
        return False
    if re.fullmatch(r"(hello|hi|hey|hola)[.!?,]*", text, re.IGNORECASE):
        return False
    return sum(not character.isascii() for character in text) <= 0.2 * len(text)
