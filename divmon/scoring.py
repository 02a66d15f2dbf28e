"""From completions to scores: each answer is extracted and embedded once, then given to every metric."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from divmon.errors import InputError
from divmon.metrics import KNOWN, METRICS, ead, nli, sbert, vendi
from divmon.metrics.ast_subtrees import mean_distances, select, subtrees
from divmon.protocols import FloatArray, ModelIdentity, NliClassifier, SentenceEncoder
from divmon.text import extract_answer, extract_code, has_unclosed_think


@dataclass(frozen=True)
class ScoringSettings:
    """What is computed, and how; two scores are comparable only under equal settings.

    Attributes:
        metrics: Names out of `divmon.metrics.KNOWN`.
        vocab_size: The tokenizer's, for EAD; keep it for all models that are compared.
        nli_pairs: Sentence positions scored for a pair of completions, or ``"all"``.
        unclosed: ``"drop"`` leaves out a completion without answer; ``"keep"`` does as the paper's code.
        keep_think: Score the reasoning too.
        code: The answers are programs: their code (`divmon.text.extract_code`) is measured in their place, and there
            is no NLI.
        seed: Chooses NLI's sentence positions.

    Raises:
        InputError: If a metric is unknown, named twice or NLI on code, or an option is out of range.
    """

    metrics: tuple[str, ...] = METRICS
    vocab_size: int | None = None
    nli_pairs: int | Literal["all"] = 3
    unclosed: Literal["drop", "keep"] = "drop"
    keep_think: bool = False
    code: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.metrics, str):
            raise InputError(f"Expected metrics as a list of names, got the string {self.metrics!r}.")
        unknown = [name for name in self.metrics if name not in KNOWN]
        if unknown:
            raise InputError(f"Unknown metrics {unknown}: choose from {', '.join(KNOWN)}.")
        if len(set(self.metrics)) < len(self.metrics):
            raise InputError(f"A metric is named twice in {self.metrics}.")
        if self.code and "nli" in self.metrics:
            raise InputError("NLI means nothing on code: leave out 'nli', or say that the answers are no code.")
        if self.nli_pairs != "all" and (isinstance(self.nli_pairs, str) or self.nli_pairs < 1):
            raise InputError(f"Expected nli_pairs of at least 1 or 'all', got {self.nli_pairs!r}.")
        if self.unclosed not in ("drop", "keep"):
            raise InputError(f"Expected unclosed to be 'drop' or 'keep', got {self.unclosed!r}.")
        if self.seed < 0:
            raise InputError(f"Expected a seed that is not negative, got {self.seed}.")


@dataclass(frozen=True)
class TextValidity:
    """Whether the texts are fit to be scored: a diversity value means little without it.

    Attributes:
        completions: Number of completions, over all prompts.
        empty: How many have an answer that is empty or white space, though no think block is open.
        unclosed: How many end inside a think block; counted whether they are dropped or kept.
        repeated: Share of completions whose whole text is exactly that of an earlier completion of the same
            prompt, 0 to 1; NaN without completions.
        mean_length_words: Mean whitespace-separated words of the answers that are scored; NaN without any.
        unmeasured_prompts: Prompts with fewer than two answers, whose values are NaN.
        unparsed: Answers in which AST found no program, of those that it was given; None where it is not measured.
    """

    completions: int
    empty: int
    unclosed: int
    repeated: float
    mean_length_words: float
    unmeasured_prompts: int
    unparsed: int | None = None


@dataclass(frozen=True)
class Scores:
    """The values of one set of completions.

    Attributes:
        per_prompt: Metric -> (P,) float64 values, NaN where a prompt could not be measured.
        across: Metric -> its value over the first answer of every prompt that has one (across-input
            diversity); NaN with fewer than two such prompts.
        validity: Counts that say how far the values can be trusted.
        sentence_encoder: What SBERT and Vendi were computed with, if they were.
        nli: Likewise for NLI.
    """

    per_prompt: dict[str, FloatArray]
    across: dict[str, float]
    validity: TextValidity
    sentence_encoder: ModelIdentity | None = None
    nli: ModelIdentity | None = None


class Scorer:
    """Scores completions under fixed settings; holds no state between calls."""

    def __init__(
        self,
        settings: ScoringSettings,
        sentence_encoder: SentenceEncoder | None = None,
        nli: NliClassifier | None = None,
    ) -> None:
        """Check that everything the settings ask for is there.

        Args:
            settings: What is computed.
            sentence_encoder: Needed for sbert and vendi.
            nli: The classifier, needed for nli.

        Raises:
            InputError: If a metric lacks its encoder, its classifier or the vocab_size.
        """
        if "ead" in settings.metrics and settings.vocab_size is None:
            raise InputError("EAD needs vocab_size: pass tokenizer.vocab_size, or leave out 'ead'.")
        for name in ("sbert", "vendi"):
            if name in settings.metrics and sentence_encoder is None:
                raise InputError(f"Metric {name!r} needs a sentence encoder: pass one, or leave it out.")
        if "nli" in settings.metrics and nli is None:
            raise InputError("Metric 'nli' needs an NLI classifier: pass one, or leave the metric out.")
        self.settings = settings
        self._encoder = sentence_encoder
        self._nli = nli

    def score(
        self,
        groups: Sequence[Sequence[str]],
        opened_in_prompt: bool | Sequence[bool] = False,
        without: Sequence[Collection[str]] | None = None,
        correct: Sequence[Sequence[bool]] | None = None,
    ) -> Scores:
        """Score the completions of each prompt.

        Args:
            groups: For each of P prompts its completions, as the model wrote them.
            opened_in_prompt: Whether the prompts, or each of them, ended inside a think block.
            without: For each prompt the metrics that mean nothing on it, which are NaN there and computed without it
                across prompts; default: none.
            correct: For each completion whether it is right: AST leaves out wrong ones. The other metrics see all; to
                have them on the right ones, give those as ``groups``.

        Returns:
            Values for each prompt and across prompts, and the texts' validity; from one call of each encoder.

        Raises:
            InputError: If ``groups`` is not lists of strings, ``correct`` is not of their form, or what an encoder or
                classifier gives is unfit.
        """
        _check_groups(groups)
        opened = [opened_in_prompt] * len(groups) if isinstance(opened_in_prompt, bool) else list(opened_in_prompt)
        answers = [self._answers(*pair) for pair in zip(groups, opened, strict=True)]
        texts = [list(map(extract_code, group)) for group in answers] if self.settings.code else answers
        names = [()] * len(answers) if without is None else without

        def scored(metric: str, texts: Sequence[Sequence[str]] = texts) -> list[Sequence[str]]:
            """The answers that a metric is computed on. Across-input diversity is one more group, so it shares the
            embeddings and the classifier's call.
            """
            kept = [[] if metric in left_out else group for group, left_out in zip(texts, names, strict=True)]
            return [*kept, [group[0] for group in kept if group]]

        settings, values = self.settings, dict[str, FloatArray]()
        if settings.vocab_size is not None and "ead" in settings.metrics:
            values["ead"] = ead(scored("ead"), settings.vocab_size)
        if self._encoder is not None and {"sbert", "vendi"} & set(settings.metrics):
            embedded = _embed([*scored("sbert"), *scored("vendi")], self._encoder)
            half = len(answers) + 1
            values["sbert"], values["vendi"] = sbert(embedded[:half]), vendi(embedded[half:])
        if self._nli is not None and "nli" in settings.metrics:
            values["nli"] = nli(scored("nli"), self._nli, settings.nli_pairs, settings.seed)
        unparsed = None
        if "ast" in settings.metrics:
            right = groups if correct is None else select(groups, correct)
            programs = scored("ast", [self._answers(*pair) for pair in zip(right, opened, strict=True)])
            trees = [[subtrees(text) for text in group] for group in programs]
            values["ast"] = mean_distances(trees)
            unparsed = sum(tree is None for group in trees[:-1] for tree in group)
        return Scores(
            per_prompt={name: values[name][:-1] for name in settings.metrics},
            across={name: float(values[name][-1]) for name in settings.metrics},
            validity=_validity(groups, answers, opened, unparsed),
            sentence_encoder=None if self._encoder is None else self._encoder.identity,
            nli=None if self._nli is None else self._nli.identity,
        )

    def _answers(self, group: Sequence[str], opened_in_prompt: bool) -> list[str]:
        unclosed, keep_think = self.settings.unclosed, self.settings.keep_think
        answers = (
            extract_answer(text, unclosed=unclosed, opened_in_prompt=opened_in_prompt, keep_think=keep_think)
            for text in group
        )
        return [answer for answer in answers if answer is not None]


def _embed(groups: Sequence[Sequence[str]], encoder: SentenceEncoder) -> list[FloatArray]:
    """Embed each distinct text once and hand every group its rows."""
    index: dict[str, int] = {}
    rows = [[index.setdefault(text, len(index)) for text in group] for group in groups]
    if not index:
        return [np.empty((0, 0)) for _ in groups]
    table = np.asarray(encoder.encode(list(index)))
    if table.ndim != 2 or len(table) != len(index):
        raise InputError(f"Expected {len(index)} embeddings, one a text, got shape {table.shape}.")
    return [table[np.array(group, dtype=np.int64)] for group in rows]


def _check_groups(groups: Sequence[Sequence[str]]) -> None:
    for prompt, group in enumerate(groups):
        if isinstance(group, str) or not all(isinstance(text, str) for text in group):
            raise InputError(
                f"Expected a list of strings for each prompt, got {group!r:.80} for prompt {prompt}: put a "
                "single completion in a list, and pass the content of chat messages."
            )


def _validity(
    groups: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], opened: Sequence[bool], unparsed: int | None
) -> TextValidity:
    texts = [(text, inside) for group, inside in zip(groups, opened, strict=True) for text in group]
    closed = [pair for pair in texts if not has_unclosed_think(pair[0], opened_in_prompt=pair[1])]
    lengths = [len(answer.split()) for group in answers for answer in group]
    repeats = sum(len(group) - len(set(group)) for group in groups)
    return TextValidity(
        completions=len(texts),
        empty=sum(extract_answer(text, opened_in_prompt=inside) is None for text, inside in closed),
        unclosed=len(texts) - len(closed),
        repeated=repeats / len(texts) if texts else math.nan,
        mean_length_words=sum(lengths) / len(lengths) if lengths else math.nan,
        unmeasured_prompts=sum(len(group) < 2 for group in answers),
        unparsed=unparsed,
    )
