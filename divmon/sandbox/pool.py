"""Many programs, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from divmon.sandbox.run import default_workers

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def finished(jobs: Mapping[K, Callable[[], V]], workers: int = 0) -> Iterator[tuple[K, V]]:
    """Do jobs that wait for programs, each key once.

    Args:
        jobs: Key -> job.
        workers: Jobs at one time; 0: half the processors, at most 8.

    Yields:
        Key and outcome of each job as it ends, in any order. What a job raises is raised here; then, and where the
        caller stops, no further job is begun.
    """
    if not jobs:
        return
    with ThreadPoolExecutor(workers or default_workers()) as pool:
        running = {pool.submit(job): key for key, job in jobs.items()}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
