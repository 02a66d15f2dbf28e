"""What a task is, and how a row of its data set becomes a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from divmon.errors import InputError
from divmon.prompt import Prompt
from divmon.verifiers import OUTSIDE, check_ground_truth

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """One evaluation task of the paper: where its prompts come from and what may be done with the answers.

    Attributes:
        name: Its name in the paper's tables, and in ``divmon/<name>/<metric>``.
        title: Its name for people.
        category: The paper's category, one of six.
        dataset: The data set on the hub.
        config: Its configuration; None for the default one.
        split: Its split.
        revision: Its revision; None for the newest.
        count: The paper's number of prompts.
        fields: The columns that are read.
        template: What the model is given, with the row's columns in braces: as it is where the model has no chat
            template, else as the user's turn. The paper's wording, the same for both.
        bare: The row's own words, likewise; by them a prompt is found again in training data.
        stop: Where a completion ends, if the model has no chat template; one that has ends its turn by itself.
        max_new_tokens: The paper's limit of a completion, in tokens.
        without: Metrics that mean nothing on its answers: where they are no programs, AST.
        verifier: What tells a right answer (a name of `divmon.verifiers`); empty where nothing does.
        ground_truth: The right answer in a row, in the verifier's form.
        checklist: What a good answer meets, in a row, for a judge.
        arrange: The columns as the template takes them, from those of the row.
        keep: Whether a row is used at all.
        notes: What a user should know, with what was not checked against the hub.
    """

    name: str
    title: str
    category: str
    dataset: str
    split: str
    count: int
    fields: tuple[str, ...]
    template: str
    bare: str
    config: str | None = None
    revision: str | None = None
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 32_768
    without: tuple[str, ...] = ("ast",)
    verifier: str = ""
    ground_truth: Callable[[Row], Any] | None = field(default=None, repr=False)
    checklist: Callable[[Row], Sequence[str]] | None = field(default=None, repr=False)
    arrange: Callable[[Row], Row] | None = field(default=None, repr=False)
    keep: Callable[[Row], bool] | None = field(default=None, repr=False)
    notes: str = ""

    def prompt(self, row: Row, place: int) -> Prompt:
        """The prompt of a row.

        Where the verifier does not know a row's ground truth (a constraint on the language, say), the prompt has none.

        Args:
            row: The row, with the columns ``fields``.
            place: Its place in the split, which names the prompt: ``gsm8k/17``.

        Raises:
            InputError: If a column is missing or holds something else than it should.
        """
        name = f"{self.name}/{place}"
        try:
            if empty := [column for column in self.fields if row[column] is None]:
                raise TypeError(f"{' and '.join(empty)} null")
            columns = self.arrange(row) if self.arrange else row
            text, bare = self.template.format_map(columns), self.bare.format_map(columns)
            truth = self.ground_truth(row) if self.ground_truth else None
            items = tuple(str(item) for item in self.checklist(row)) if self.checklist else ()
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise InputError(
                f"{name}: a row of {self.dataset} is not as expected ({type(error).__name__}: {error}); "
                f"its columns should be {', '.join(self.fields)}, they are {', '.join(row)}."
            ) from error
        verifier = self.verifier
        if verifier and verifier not in OUTSIDE:
            try:
                check_ground_truth(verifier, truth)
            except InputError:
                verifier, truth = "", None
        return Prompt(
            id=name,
            text=text,
            category=self.category,
            task=self.name,
            verifier=verifier,
            ground_truth=truth,
            stop=self.stop,
            without=self.without,
            checklist=items,
            bare=bare,
        )
