"""``code``: does the program in the answer pass the row's tests? It is run in `divmon.sandbox`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from divmon.checks import as_count, as_flag
from divmon.errors import InputError
from divmon.rewards.verifiable import ByVerifier


class Code(ByVerifier):
    """The share of its tests that the program in the answer passes, for rows whose verifier is ``code``.

    See `ByVerifier`; several programs run at a time.

    Args:
        execute_code: Must be true: this runs programs that the model wrote, in a sandbox (`divmon.sandbox`).
        threshold: Shares below this give 0: 1 asks for all tests (Olmo 3's scripts: 0 for RL-Zero, 0.99 for Think and
            Instruct).
        seconds: Wall clock of one test.
        workers: Programs at one time, of each process; 0: half the processors, at most 8.
        allow_weaker: Accept a weaker sandbox where this machine gives no namespaces.
        think_opened: As for ``verifiable``.
    """

    __name__ = "code"

    def __init__(
        self,
        execute_code: bool = False,
        threshold: float = 1.0,
        seconds: float = 6.0,
        workers: int = 0,
        allow_weaker: bool = False,
        think_opened: bool = False,
    ) -> None:
        from divmon.sandbox import isolation
        from divmon.verifiers import code

        if not as_flag(execute_code, "code: execute_code"):
            raise InputError(
                "The reward 'code' runs programs that the model writes, in a sandbox: say that you want that with "
                "`execute_code: true`."
            )
        options: dict[str, Any] = {
            "execute_code": True,
            "threshold": threshold,
            "seconds": seconds,
            "allow_weaker": as_flag(allow_weaker, "code: allow_weaker"),
        }
        super().__init__(think_opened, options)
        self.workers = as_count(workers, "code: workers", least=0)
        code.checker(["assert True"], **options)  # the values in range, before a training begins
        isolation(allow_weaker=allow_weaker)  # and the sandbox there

    def concerns(self, verifier: str) -> bool:
        """``code``."""
        return verifier == "code"

    def scored(self, rows: Sequence[Any]) -> Iterable[float | InputError]:
        """As `ByVerifier.scored`, several rows at a time; of rows that say the same one."""
        from divmon.sandbox.pool import finished

        keys = [(repr(row.prompt), repr(row.completion), repr(row.ground_truth)) for row in rows]
        jobs = {key: partial(self.score, row) for key, row in zip(keys, rows, strict=True)}
        scores = dict(finished(jobs, self.workers))
        return [scores[key] for key in keys]
