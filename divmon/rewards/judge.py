"""``judge``: how good does a language model find the answer?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from divmon.checks import as_flag
from divmon.errors import InputError
from divmon.rewards.common import answer_of, prompt_text


class JudgeReward:
    """A language model's score of the answer, 0 to 1.

    Where the data have a column ``verifier``, the rows that are judged are those whose verifier is ``judge`` or empty;
    the others give None. The judge sees a reference beside the answer where there is one: the ``ground_truth`` of a row
    whose verifier is ``judge``, else the column ``reference``.

    None too where the judge cannot be asked or gives no verdict; the share of those goes to the log as
    ``judge/unjudged``. An answer that is not there (an open think block) gets 0 without being asked about.

    Args:
        model: Name that the server knows the judge by.
        base_url: OpenAI's, or a server with the same API.
        api_key_env: Environment variable that holds the key (`divmon.judge.OpenAIChat`).
        criteria: What makes an answer good; empty: `divmon.judge.verdict.CRITERIA`.
        concurrency: Requests at one time, of each process.
        max_tokens: Limit of the judge's reply.
        think_opened: As for ``verifiable``.
    """

    __name__ = "judge"

    def __init__(
        self,
        model: str,
        base_url: str = "https://api.openai.com/v1",
        api_key_env: str = "",
        criteria: str = "",
        concurrency: int = 8,
        max_tokens: int = 1024,
        think_opened: bool = False,
    ) -> None:
        from divmon.judge import Judge, OpenAIChat
        from divmon.judge.verdict import CRITERIA

        for name, value in (("base_url", base_url), ("api_key_env", api_key_env), ("criteria", criteria)):
            if not isinstance(value, str):
                raise InputError(f"judge: {name}: expected a text, got {value!r}.")
        chat = OpenAIChat(model, base_url, api_key_env=api_key_env, max_tokens=max_tokens)
        self.judge = Judge(chat, criteria=criteria or CRITERIA, concurrency=concurrency)
        self.think_opened = as_flag(think_opened, "judge: think_opened")

    def __call__(
        self,
        *,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        verifier: Sequence[str | None] | None = None,
        ground_truth: Sequence[Any] | None = None,
        reference: Sequence[str | None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """Score a batch, several requests at a time; see the class."""
        nothing = [None] * len(completions)
        columns = zip(
            prompts, completions, verifier or nothing, ground_truth or nothing, reference or nothing, strict=True
        )
        scores: list[float | None] = [None] * len(completions)
        asked: dict[int, tuple[str, str, str | None]] = {}
        for row, (prompt, completion, name, truth, good) in enumerate(columns):
            if name and name != "judge":
                continue
            answer, shown = answer_of(prompt, completion, self.think_opened), truth if name else good
            scores[row] = 0.0
            if answer is not None:
                asked[row] = prompt_text(prompt), answer, None if shown in (None, "") else str(shown)
        found = self.judge.scores(*zip(*asked.values(), strict=True)) if asked else []
        for row, score in zip(asked, found, strict=True):
            scores[row] = None if score is None else score / 10
            if log_metric is not None:
                log_metric("judge/unjudged", float(score is None))
        return scores
