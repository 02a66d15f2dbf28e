"""Asks a judge about many answers at a time, and keeps what it said."""

from __future__ import annotations

import collections
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from divmon.errors import InputError
from divmon.judge.chat import ChatModel, JudgeError, Message
from divmon.judge.replies import Replies, user_folder
from divmon.judge.verdict import CRITERIA, Checklist, Question

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_PATIENCE = 3  # requests in a row that may fail for a lasting reason before the rest of a batch is given up


class _Asked(Protocol[T_co]):
    """What is put to the judge, and what is read from its reply (`divmon.judge.verdict`)."""

    @property
    def messages(self) -> tuple[Message, ...]: ...

    def again(self, reply: str) -> tuple[Message, ...]: ...

    def read(self, reply: str) -> T_co | None: ...


@dataclass(frozen=True)
class Preference:
    """Which of two answers a judge prefers, asked in both orders.

    Attributes:
        value: 1 for the first answer, 0 for the second, 0.5 for neither; .75 and .25 where one order says a tie; 0.5
            too where each order prefers the answer in the same place. None where an order has no verdict.
        consistent: Both orders say the same.
    """

    value: float | None
    consistent: bool


class Judge:
    """A language model that scores and compares answers.

    No JudgeError raises here: a question without a verdict is None, is counted, and is warned of once for each reason.
    `check` asks one question and does raise; call it before a training begins. Replies are kept on disk under what was
    asked of whom, so a second run asks only what is new.

    Args:
        model: Whom to ask.
        criteria: What makes an answer good.
        cache: Folder of the replies; default: ``judge`` in the user's cache folder. None keeps none.
        concurrency: Requests at one time, of each process.
        most_characters: Longer texts are cut.

    Attributes:
        counts: How many questions were ``asked``, answered from the ``cached`` ones, ``unparsable`` and ``failed``.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        criteria: str = CRITERIA,
        cache: Path | str | Literal["user"] | None = "user",
        concurrency: int = 8,
        most_characters: int = 24_000,
    ) -> None:
        for name, value in (("concurrency", concurrency), ("most_characters", most_characters)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name}: expected a whole number of at least 1, got {value!r}.")
        self.model = model
        self.counts: collections.Counter[str] = collections.Counter()
        self._criteria = criteria
        self._replies = Replies(user_folder() if cache == "user" else None if cache is None else Path(cache))
        self._concurrency = concurrency
        self._most_characters = most_characters
        self._warned: set[str] = set()

    def check(self) -> None:
        """Ask one easy question.

        Raises:
            JudgeError: If the model cannot be asked, with what to do, or gives no verdict.
        """
        reply, value = self._reply(Question("What is 2 + 2?", ["4"], criteria=self._criteria))
        if value is None:
            raise JudgeError(f"The judge's replies hold no verdict of the form that was asked for: {reply[-200:]!r}.")

    def scores(
        self,
        questions: Sequence[str],
        answers: Sequence[str],
        references: Sequence[str | None] | None = None,
    ) -> list[float | None]:
        """Score each answer from 0 (useless) to 10, beside a reference where there is one; None without a verdict.

        Args:
            questions: What was to be answered.
            answers: What was answered, without its reasoning.
            references: Good answers.

        Returns:
            One value an answer.

        Raises:
            ValueError: If these are not as many questions as answers (and references).
        """
        references = references if references is not None else [None] * len(questions)
        rows = zip(questions, answers, references, strict=True)
        return self._ask([self._question(question, [answer], reference) for question, answer, reference in rows])

    def compare(
        self,
        questions: Sequence[str],
        firsts: Sequence[str],
        seconds: Sequence[str],
        references: Sequence[str | None] | None = None,
    ) -> list[Preference]:
        """Compare two answers to each question, in both orders, since judges lean towards a place.

        Args:
            questions: What was to be answered.
            firsts: What was answered, without its reasoning.
            seconds: The other answers.
            references: Good answers.

        Returns:
            One preference a question.

        Raises:
            ValueError: If these are not equally many.
        """
        references = references if references is not None else [None] * len(questions)
        asked: list[Question] = []
        for question, first, second, reference in zip(questions, firsts, seconds, references, strict=True):
            asked.append(self._question(question, [first, second], reference))
            asked.append(self._question(question, [second, first], reference))
        values = self._ask(asked)
        preferences: list[Preference] = []
        for forth, back in zip(values[::2], values[1::2], strict=True):
            if forth is None or back is None:
                preferences.append(Preference(None, consistent=False))
            else:
                preferences.append(Preference((forth + 1 - back) / 2, consistent=forth == 1 - back))
        return preferences

    def checklists(self, questions: Sequence[str]) -> list[tuple[str, ...] | None]:
        """Have a checklist written for each question, 2 to 10 items; None where there is none to be had.

        Kept like a verdict, so that every answer to a question is held against the same one.
        """
        return self._ask([Checklist(question, most_characters=self._most_characters) for question in questions])

    def met(
        self, questions: Sequence[str], answers: Sequence[str], checklists: Sequence[Sequence[str]]
    ) -> list[float | None]:
        """Hold each answer against a checklist: the share of its items that it meets, 0 to 1; None without a verdict.

        Args:
            questions: What was to be answered.
            answers: What was answered, without its reasoning.
            checklists: The items for each, at least one.

        Raises:
            InputError: For a checklist without an item.
            ValueError: If these are not equally many.
        """
        asked = []
        for question, answer, items in zip(questions, answers, checklists, strict=True):
            if not items:
                raise InputError("Expected a checklist of at least one item, got none.")
            most = self._most_characters
            asked.append(Question(question, [answer], items=items, criteria=self._criteria, most_characters=most))
        return self._ask(asked)

    def _question(self, question: str, answers: list[str], reference: str | None) -> Question:
        return Question(question, answers, reference, criteria=self._criteria, most_characters=self._most_characters)

    def _ask(self, questions: Sequence[_Asked[T]]) -> list[T | None]:
        failures: list[str] = []  # lasting ones in a row; appending and clearing are safe from threads

        def one(question: _Asked[T]) -> tuple[T | None, str, str]:
            if len(failures) >= _PATIENCE:
                return None, "failed", failures[0]
            try:
                value, kind = self._verdict(question)
            except JudgeError as error:
                if error.lasting:
                    failures.append(str(error))
                return None, "failed", str(error)
            failures.clear()
            return value, kind, "" if value is not None else "The judge's reply holds no verdict."

        with ThreadPoolExecutor(self._concurrency) as pool:
            answers = list(pool.map(one, questions))
        for _, kind, reason in answers:
            self.counts[kind] += 1
            if reason and reason not in self._warned:
                self._warned.add(reason)
                logger.warning("divmon: an answer is left unjudged. %s", reason)
        return [value for value, _, _ in answers]

    def _verdict(self, question: _Asked[T]) -> tuple[T | None, str]:
        kept = self._replies.get(self.model.identity, question.messages)
        if kept is not None and (value := question.read(kept)) is not None:
            return value, "cached"
        reply, value = self._reply(question)
        if value is None:
            return None, "unparsable"
        self._replies.put(self.model.identity, question.messages, reply)
        return value, "asked"

    def _reply(self, question: _Asked[T]) -> tuple[str, T | None]:
        """The model's last word and the verdict in it, which is asked for once more where the first reply lacks it."""
        reply = self.model.complete(question.messages)
        value = question.read(reply)
        if value is None:
            reply = self.model.complete(question.again(reply))
            value = question.read(reply)
        return reply, value
