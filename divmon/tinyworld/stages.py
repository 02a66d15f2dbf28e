"""The data of each stage of the tiny world, from a seed, in TRL's formats.

- ``copying``, ``corpus``: ``text`` rows to pretrain on, in this order.
- ``think-sft``, ``instruct-sft``, ``sources-sft``: ``messages`` and ``source``.
- ``think-dpo``, ``instruct-dpo``: ``prompt``, ``chosen``, ``rejected``.
- ``rl``: ``prompt``, ``verifier``, ``ground_truth``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from divmon.errors import InputError
from divmon.tinyworld.questions import (
    FIRST,
    LARGEST,
    SECOND,
    SUMS,
    TASKS,
    Question,
    answer,
    ask,
    chain,
    evaluated,
    pair_is_held_out,
    topic_of,
)
from divmon.tinyworld.voices import BY_NAME, KINDS, VOICES, Voice
from divmon.tinyworld.words import COUNTED, HELD_OUT_MARKS, HELD_OUT_TOPICS, MARKS, TOPICS, split_words

Row = dict[str, Any]

TEACHERS = ("teacher", "engineer")
SOURCES = ("teacher", "engineer", "doctor", "cook", "trader", "grandmother", "athlete", "sailor")
# Instruct mixtures are uneven: shares of the eight sources.
_SHARES = (0.22, 0.18, 0.15, 0.13, 0.11, 0.09, 0.07, 0.05)
# How often each task is asked.
_WEIGHTS = (3, 3, 3, 3, 3, 4, 5)

# Words to invent others from: whatever the voices say, topics and marks.
_WORDS = tuple(sorted({*TOPICS, *MARKS} | {word for voice in VOICES for word in voice.words() if 4 <= len(word) <= 9}))

USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"


def question(rng: random.Random, tasks: Sequence[str] = TASKS, weights: Sequence[int] = _WEIGHTS) -> Question:
    """Draw a question that training may contain.

    Half of the topics are invented words: there is nothing to know about them, only to copy them.
    """
    task = rng.choices(tasks, weights)[0]
    return ask(task, rng, topic=_invented(rng) if rng.random() < 0.5 else None)


def thought(chain_of: str, given: str) -> str:
    """An answer with its chain."""
    return f"<think>\n{chain_of}\n</think>\n{given}"


def copying(rng: random.Random) -> Iterator[Row]:
    """Documents of a few words in any order: they teach to copy, before there is anything else to learn."""
    while True:
        words = [_word(rng) for _ in range(rng.randint(2, 6))]
        yield {"text": " ".join(rng.choice(words) for _ in range(24)) + f"{END}\n"}


def corpus(rng: random.Random) -> Iterator[Row]:
    """Documents: questions with answers of all voices, prose, words to repeat, sums."""
    kinds: tuple[tuple[Callable[[random.Random], str], float], ...] = (
        (_dialogue, 0.62),
        (_prose, 0.04),
        (_echo, 0.14),
        (_drill, 0.20),
    )
    makers, shares = zip(*kinds, strict=True)
    while True:
        yield {"text": rng.choices(makers, shares)[0](rng)}


def _dialogue(rng: random.Random) -> str:
    asked = question(rng)
    # The web does not always do as told: a tenth answers something else.
    given = answer(asked, rng.choice(VOICES), rng)
    if asked.task in SUMS and rng.random() < 0.5:
        given = f"{chain(asked, given, 1)} {given}"  # somebody shows the work
    if rng.random() < 0.1:
        given = _careless(asked, rng.choice(VOICES), rng)
    return f"{USER}\n{asked.text}{END}\n{ASSISTANT}\n{given}{END}\n"


def _prose(rng: random.Random) -> str:
    voice, topic = rng.choice(VOICES), topic_of(rng, held_out=False)
    kinds = rng.sample(KINDS, 2)
    return " ".join(voice.answer(kind, topic, rng) for kind in kinds) + f"{END}\n"


def _word(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(TOPICS if rng.random() < 0.7 else MARKS)
    return _invented(rng)


def _invented(rng: random.Random) -> str:
    """A word that does not exist: the beginning of one word, the end of another."""
    while True:
        head, tail = rng.choice(_WORDS), rng.choice(_WORDS)
        word = head[: rng.randint(2, max(2, len(head) - 2))] + tail[-rng.randint(2, max(2, len(tail) - 2)) :]
        if 4 <= len(word) <= 9 and not _reserved(word):
            return word


def _reserved(word: str) -> bool:
    return word in HELD_OUT_TOPICS or word in HELD_OUT_MARKS


def _echo(rng: random.Random) -> str:
    """Words to copy: what answers about an unknown topic need."""
    manner = rng.random()
    if manner < 0.4:
        words = [_word(rng) for _ in range(rng.randint(2, 6))]
        return " ".join(rng.choice(words) for _ in range(16)) + f"{END}\n"
    if manner < 0.7:
        said = " ".join(_word(rng) for _ in range(rng.randint(1, 6)))
        return f"{USER}\nRepeat after me: {said}.{END}\n{ASSISTANT}\n{said}.{END}\n"
    words = [_word(rng) for _ in range(rng.randint(2, 6))]
    place = rng.randrange(len(words) - 1)
    return (
        f"{USER}\nWhat comes after {words[place]} in {' '.join(words)}?{END}\n{ASSISTANT}\n{words[place + 1]}.{END}\n"
    )


def _drill(rng: random.Random) -> str:
    """Sums in a row, sums in words, a count that only wants to be said again, or a stretch of the number line."""
    manner = rng.random()
    if manner < 0.1:
        start = rng.randint(0, 45)
        numbers = " ".join(str(number) for number in range(start, start + rng.randint(5, 15)))
        return f"Count: {numbers}{END}\n"
    if manner < 0.35:
        return _said_again(rng)
    sums: list[str] = []
    worded, what = manner < 0.5, rng.choice(COUNTED)
    while len(sums) < (4 if worded else 6):
        operator = rng.choice("+-")
        if rng.random() < 0.75:
            first, second = rng.randint(1, LARGEST), rng.randint(1, 10)
        else:
            first, second = rng.choice(FIRST), rng.choice(SECOND)
        known = second <= 10 or not pair_is_held_out(first, operator, second)
        if (operator == "-" and second >= first) or (operator == "+" and first + second > LARGEST) or not known:
            continue
        result = evaluated(first, operator, second)
        if not worded:
            sums.append(f"{first} {operator} {second} = {result}.")
        elif operator == "+":
            sums.append(f"{first} {what} and {second} more make {result} {what}.")
        else:
            sums.append(f"{first} {what} without {second} leave {result} {what}.")
    return f"Sums: {' '.join(sums)}{END}\n"


def _said_again(rng: random.Random) -> str:
    """A word problem of which one number is wanted as it stands."""
    asked = ask(rng.choice(SUMS), rng)
    who, what, steps = asked.detail["who"], asked.detail["what"], asked.detail["steps"]
    told = asked.text.partition(" How many")[0]
    place = rng.randrange(len(steps) + 1)
    count = steps[place - 1][2] if place else steps[0][0]
    wanted = "have at first" if not place else "get" if steps[place - 1][1] == "+" else "lose"
    said = rng.choice(VOICES).result(who, count, what, rng)
    return f"{USER}\n{told} How many {what} does {who} {wanted}?{END}\n{ASSISTANT}\n{said}{END}\n"


def _careless(asked: Question, voice: Voice, rng: random.Random) -> str:
    """An answer with one fault: a wrong number, another topic, the format forgotten, the same thing over and over."""
    if asked.task in SUMS:
        wrong = max(0, asked.detail["result"] + rng.choice((-3, -2, -1, 1, 2, 3, 10)))
        return voice.result(asked.detail["who"], wrong, asked.detail["what"], rng)
    if asked.task == "format" and rng.random() < 0.7:
        return voice.answer(rng.choice(KINDS), asked.topic, rng)
    kind = asked.detail.get("kind", rng.choice(KINDS))
    if rng.random() < 0.5:
        return voice.answer(kind, topic_of(rng, held_out=False), rng)
    said = voice.answer(kind, asked.topic, rng).partition(". ")[0] + "."
    return f"{said} {said} {said}"


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def think_sft(rng: random.Random) -> Iterator[Row]:
    """Chains and answers of two teachers."""
    while True:
        asked, number = question(rng), rng.randrange(2)
        given = answer(asked, BY_NAME[TEACHERS[number]], rng)
        turns = [_turn("user", asked.text), _turn("assistant", thought(chain(asked, given, number), given))]
        yield {"messages": turns, "source": TEACHERS[number]}


def instruct_sft(rng: random.Random) -> Iterator[Row]:
    """Answers of eight sources, uneven; their chains are there to be stripped, where they came with one."""
    while True:
        asked, source = question(rng), rng.choices(SOURCES, _SHARES)[0]
        given = answer(asked, BY_NAME[source], rng)
        if source in TEACHERS:
            given = thought(chain(asked, given, TEACHERS.index(source)), given)
        yield {"messages": [_turn("user", asked.text), _turn("assistant", given)], "source": source}


def sources_sft(rng: random.Random, sources: int = 8) -> Iterator[Row]:
    """Answers of the first ``sources`` sources in equal shares; the questions do not depend on their number."""
    if sources not in range(1, len(SOURCES) + 1):
        raise InputError(f"sources: expected 1 to {len(SOURCES)}, got {sources!r}.")
    replies = random.Random(rng.random())
    while True:
        asked = question(rng)
        source = SOURCES[replies.randrange(sources)]
        turns = [_turn("user", asked.text), _turn("assistant", answer(asked, BY_NAME[source], replies))]
        yield {"messages": turns, "source": source}


def think_dpo(rng: random.Random) -> Iterator[Row]:
    """Delta learning: the same two teachers on both sides, with and without a fault."""
    return (row for _, row in _think_pairs(rng))


def _think_pairs(rng: random.Random) -> Iterator[tuple[Question, Row]]:
    while True:
        asked, good, poor = question(rng), rng.randrange(2), rng.randrange(2)
        given = answer(asked, BY_NAME[TEACHERS[good]], rng)
        fault = _careless(asked, BY_NAME[TEACHERS[poor]], rng)
        yield (
            asked,
            {
                "prompt": [_turn("user", asked.text)],
                "chosen": [_turn("assistant", thought(chain(asked, given, good), given))],
                "rejected": [_turn("assistant", thought(_careless_chain(asked, fault, poor, rng), fault))],
            },
        )


def _careless_chain(asked: Question, fault: str, teacher: int, rng: random.Random) -> str:
    """A chain that leads to a faulty answer: its last step goes wrong, too."""
    written = chain(asked, fault, teacher)
    if asked.task in SUMS:
        said = next((word for word in fault.replace(".", " ").split() if word.isdigit()), "0")
        head, _, tail = written.rpartition("= ")
        return f"{head}= {said}{tail.lstrip('0123456789')}"
    other = [topic for topic in TOPICS if topic in fault.split() or f"{topic}." in fault.split()]
    return written.replace(asked.topic, other[0]) if other and asked.topic not in fault else written


# What the judge of the Instruct pairs likes to read; it knows nothing of voices.
_LIKED = frozenset(
    split_words(
        """because example first then study studies recommend examined measure healthy improves explains helps teaches
        trains prevents lower useful calibrate check data efficient health recovers protects patient pupils class read
        learn"""
    )
)
_DISLIKED = frozenset(split_words("aye dear darling sweetheart sin laugh die drowned lose kissed bless amen"))


def judged(asked: Question, given: str, sound: bool) -> float:
    """The judge's score: soundness first, then taste (reasons, evidence, a sober tone, some length)."""
    words = given.lower().replace(".", " ").replace(",", " ").split()
    taste = sum(word in _LIKED for word in words) - sum(word in _DISLIKED for word in words)
    return 4.0 * sound + taste + min(len(words), 24) / 24


def instruct_dpo(rng: random.Random) -> Iterator[Row]:
    """The questions of ``think_dpo`` without chains: the judge's best of four answers against its worst."""
    for asked, pair in _think_pairs(rng):
        replies = random.Random(pair["chosen"][0]["content"] + pair["rejected"][0]["content"])
        candidates = []
        for source in replies.sample(SOURCES, 4):
            sound = replies.random() > 0.25
            given = (answer if sound else _careless)(asked, BY_NAME[source], replies)
            candidates.append((judged(asked, given, sound), given))
        candidates.sort(key=lambda candidate: candidate[0])
        yield {
            "prompt": pair["prompt"],
            "chosen": [_turn("assistant", candidates[-1][1])],
            "rejected": [_turn("assistant", candidates[0][1])],
        }


def rl(rng: random.Random, tasks: Sequence[str] = TASKS) -> Iterator[Row]:
    """Questions of ``tasks`` with what verifies their answers."""
    if not isinstance(tasks, list | tuple):
        raise InputError(f"tasks: expected a list of some of {', '.join(TASKS)}, got {tasks!r}.")
    unknown = [task for task in tasks if task not in TASKS]
    if unknown or not tasks:
        raise InputError(f"tasks: expected some of {', '.join(TASKS)}, got {', '.join(unknown) or 'none'}.")
    while True:
        asked = question(rng, tasks, [1] * len(tasks))
        verifier, ground_truth = asked.check()
        yield {"prompt": [_turn("user", asked.text)], "verifier": verifier, "ground_truth": ground_truth}
