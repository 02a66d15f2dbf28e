"""What is asked in the tiny world: open questions, word problems and format instructions, each with what verifies it.

An item is a question, the answer that a voice gives to it, the chain that leads there and the check that a verifier of
``divmon.verifiers`` makes. Topics, operand pairs and marks of the evaluation come from ``held_out`` draws only.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from divmon.tinyworld.voices import KINDS, Voice
from divmon.tinyworld.words import COUNTED, HELD_OUT_MARKS, HELD_OUT_TOPICS, MARKS, NAMES, TOPICS

FORMATS = ("start", "end", "quotes", "one_sentence", "list")
SUMS = ("one_step", "two_steps")
TASKS = (*KINDS, *SUMS, "format")

_OPEN = {
    "explain": ("What is the use of {t}?", "Why do people care about {t}?", "Explain the purpose of {t}."),
    "advice": ("Give me some advice about {t}.", "What should I do with {t}?", "Teach me how to deal with {t}."),
    "story": ("Tell me a story about {t}.", "Write a short tale about {t}.", "Invent a little story of {t}."),
    "opinion": ("What do you think of {t}?", "How do you feel about {t}?", "Give me your opinion of {t}."),
}
_FORMAT = {
    "start": "Start with the word {w}.",
    "end": "Finish with the word {w}.",
    "quotes": "Put all of it in quotes.",
    "one_sentence": "Use one sentence only.",
}
# In chains.
_RULES = {
    "start": "begin with {w}",
    "end": "end with {w}",
    "quotes": "use quotes",
    "one_sentence": "use one sentence",
    "list": "list three things",
}
_WANTED = {"explain": "explanation", "advice": "advice", "story": "story", "opinion": "opinion"}
_SAY = ("Say something about {t}.", "Talk about {t}.", "Write about {t}.")
_LIST = ("Name three things that go with {t}, with commas.", "List three things for {t}, with commas.")
_GETS = ("{who} has {a} {what} and gets {b} more.", "{who} owns {a} {what} and finds {b} more.")
_GIVES = ("{who} has {a} {what} and gives away {b}.", "{who} owns {a} {what} and loses {b}.")
_THEN_GIVES = ("Then {who} gives away {c}.", "Later {who} loses {c}.")
_HOW_MANY = ("How many {what} does {who} have?", "How many {what} are left for {who}?")

# Operands of word problems. A second one is ten and some units: the chains take a held-out pair apart into sums that
# are in the data.
FIRST = range(5, 36)
SECOND = range(11, 20)
LARGEST = 54


def pair_is_held_out(first: int, operator: str, second: int) -> bool:
    """Whether ``first operator second`` is kept for the evaluation: every seventh pair, spread over the table."""
    return (5 * first + 3 * second + (operator == "-")) % 7 == 0


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        task: One of ``TASKS``.
        text: The question.
        topic: What it is about; empty for word problems.
        detail: What else an answer needs: the kind, the format and its mark, the operands.
    """

    task: str
    text: str
    topic: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    def check(self) -> tuple[str, str]:
        """The verifier and the ground truth of an answer; constraints as JSON, so that a column has one type."""
        if self.task in SUMS:
            return "math", str(self.detail["result"])
        about = [{"kind": "includes", "words": [self.topic]}]
        sound = [
            {"kind": "no_repeats", "n": 3},
            {"kind": "min_words", "count": 5},
            {"kind": "max_words", "count": 40},
        ]
        if self.task != "format":
            return "constraints", json.dumps([*about, *sound])
        kind, mark = self.detail["format"], self.detail.get("mark")
        asked: dict[str, list[dict[str, Any]]] = {
            "start": [{"kind": "starts_with", "text": mark}],
            "end": [{"kind": "ends_with", "text": mark}],
            "quotes": [{"kind": "quoted"}],
            "one_sentence": [{"kind": "num_sentences", "count": 1}],
            "list": [{"kind": "separated_by", "separator": ",", "count": 3}],
        }
        if kind == "list":
            return "constraints", json.dumps([*asked[kind], {"kind": "max_words", "count": 16}])
        return "constraints", json.dumps([*asked[kind], *about, *sound])


def topic_of(rng: random.Random, held_out: bool) -> str:
    """Draw a topic."""
    return rng.choice(HELD_OUT_TOPICS if held_out else TOPICS)


def ask(task: str, rng: random.Random, *, held_out: bool = False, topic: str | None = None) -> Question:
    """Draw a question of ``task``; ``held_out`` draws what no stage's data contain."""
    if task in SUMS:
        return _word_problem(task, rng, held_out)
    topic = topic or topic_of(rng, held_out)
    if task != "format":
        return Question(task, rng.choice(_OPEN[task]).format(t=topic), topic, {"kind": task})
    kind = rng.choice(FORMATS)
    if kind == "list":
        return Question(task, rng.choice(_LIST).format(t=topic), topic, {"format": kind})
    mark = rng.choice(HELD_OUT_MARKS if held_out else MARKS)
    text = f"{rng.choice(_SAY).format(t=topic)} {_FORMAT[kind].format(w=mark)}"
    return Question(task, text, topic, {"format": kind, "mark": mark, "kind": rng.choice(KINDS)})


def _word_problem(task: str, rng: random.Random, held_out: bool) -> Question:
    who, what = rng.choice(NAMES), rng.choice(COUNTED)
    if task == "one_step":
        operator = rng.choice("+-")
        first, second = _pair(operator, rng, held_out)
        steps = [(first, operator, second)]
        told = rng.choice(_GETS if operator == "+" else _GIVES).format(who=who, what=what, a=first, b=second)
    else:
        while True:
            first, second = _pair("+", rng, held_out)
            total = first + second
            third = rng.choice(SECOND)
            if third < total and pair_is_held_out(total, "-", third) == held_out:
                break
        steps = [(first, "+", second), (total, "-", third)]
        told = rng.choice(_GETS).format(who=who, what=what, a=first, b=second)
        told += f" {rng.choice(_THEN_GIVES).format(who=who, c=third)}"
    result = evaluated(*steps[-1])
    text = f"{told} {rng.choice(_HOW_MANY).format(who=who, what=what)}"
    return Question(task, text, "", {"who": who, "what": what, "steps": steps, "result": result})


def _pair(operator: str, rng: random.Random, held_out: bool) -> tuple[int, int]:
    while True:
        first, second = rng.choice(FIRST), rng.choice(SECOND)
        if (operator == "+" or second < first) and pair_is_held_out(first, operator, second) == held_out:
            return first, second


def evaluated(first: int, operator: str, second: int) -> int:
    """The value of ``first operator second``."""
    return first + second if operator == "+" else first - second


def worked(first: int, operator: str, second: int) -> list[str]:
    """``first operator second`` step by step: what is asked, the second number taken apart, its ten, its units."""
    units, halfway = second - 10, evaluated(first, operator, 10)
    return [
        f"{first} {operator} {second}",
        f"{second} = 10 + {units}",
        f"{first} {operator} 10 = {halfway}",
        f"{halfway} {operator} {units} = {evaluated(first, operator, second)}",
    ]


def answer(question: Question, voice: Voice, rng: random.Random) -> str:
    """A sound answer to ``question`` in the words of ``voice``."""
    if question.task in SUMS:
        return voice.result(question.detail["who"], question.detail["result"], question.detail["what"], rng)
    if question.task != "format":
        return voice.answer(question.task, question.topic, rng)
    kind, mark = question.detail["format"], question.detail.get("mark", "")
    if kind == "list":
        return ", ".join(rng.choice(voice.slots[slot]) for slot in "abc") + "."
    said = voice.answer(question.detail["kind"], question.topic, rng)
    if kind == "start":
        return f"{mark.capitalize()}, {said[0].lower()}{said[1:]}"
    if kind == "end":
        return f"{said} {mark.capitalize()}."
    if kind == "quotes":
        return f'"{said}"'
    # The first sentence names the topic in every template.
    return said.partition(". ")[0].rstrip(".") + "."


def chain(question: Question, given: str, teacher: int) -> str:
    """The thoughts that lead to ``given``, in the manner of one of two teachers, who calculate alike."""
    if question.task in SUMS:
        steps = [line for step in question.detail["steps"] for line in worked(*step)]
        return f"Sums: {'. '.join(steps)}."
    if question.task == "format":
        rule = _RULES[question.detail["format"]].format(w=question.detail.get("mark", ""))
        return f"Format: {rule}. Topic: {question.topic}." if teacher else f"I must {rule} about {question.topic}."
    wanted = _WANTED[question.task]
    return (
        f"Topic: {question.topic}. Wanted: {wanted}." if teacher else f"They want my {wanted} about {question.topic}."
    )
