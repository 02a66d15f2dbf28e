"""The ledger of a run: measurements as JSON lines, completions as compressed JSON lines."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from divmon.errors import InputError
from divmon.measurement import SCHEMA, Measurement, to_plain

FOLDER = "divmon"
FILE = "measurements.jsonl"
COMPLETIONS = "completions"


@dataclass(frozen=True)
class RunRecord:
    """What a ledger says of its newest run.

    Attributes:
        run_id: Its id.
        baseline: The measurement that the others are compared with, or None before there is one.
        measurements: Those on the branch that the run is on now, by step; a branch that was abandoned by resuming
            from an older checkpoint is passed over.
        gaps: Measurements that failed: step, error.
        alerts: What was warned of, in the order of the file (`divmon.alerts.Alert` as JSON).
        start: The run's first record (settings).
    """

    run_id: str
    baseline: Measurement | None
    measurements: tuple[Measurement, ...]
    gaps: tuple[Mapping[str, Any], ...]
    start: Mapping[str, Any]
    alerts: tuple[Mapping[str, Any], ...] = ()


class Ledger:
    """A folder with ``measurements.jsonl`` and ``completions/step-*.jsonl.gz``.

    Lines of ``measurements.jsonl`` carry a ``kind``: ``run`` (a start), ``resume``, ``measurement``, ``baseline``
    (a measurement of another model), ``alert`` (what a measurement warns of) and ``gap`` (a measurement that failed).

    Args:
        folder: The folder, made when something is first written. ``of`` finds it from a run's output folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / FILE

    @classmethod
    def of(cls, path: str | Path) -> Ledger:
        """The ledger at ``path``: an output folder, its ``divmon`` folder, or the file itself.

        Raises:
            InputError: If there is none.
        """
        path = Path(path)
        candidates = [path.parent] if path.name == FILE else [path / FOLDER, path]
        for folder in candidates:
            if (folder / FILE).is_file():
                return cls(folder)
        if not path.exists():
            raise InputError(f"There is no folder {path}: expected one with {FOLDER}/{FILE}.")
        raise InputError(f"No divmon ledger in {path}: expected {FOLDER}/{FILE} there.{_below(path)}")

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line and flush it to the disk; a torn line that a killed process left is cut off first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json_line(record).encode("utf-8", "backslashreplace")
        with self.path.open("a+b") as file:
            mend_last_line(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines as dictionaries; a torn last line is passed over.

        Raises:
            InputError: For a broken line that is not the last, or one of a newer schema, named by its number.
        """
        return (record for _, record in self._numbered())

    def _numbered(self) -> Iterator[tuple[int, dict[str, Any]]]:
        if not self.path.is_file():
            return
        lines = self.path.read_bytes().rstrip().split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = read_line(line)
            except ValueError as error:
                if number == len(lines):
                    return
                raise InputError(f"{self.path}, line {number}: not a record ({error}); mend or remove it.") from error
            if record.get("schema", 0) > SCHEMA:
                raise InputError(
                    f"{self.path}, line {number}: schema {record['schema']}, this divmon reads up to {SCHEMA}: "
                    "upgrade divmon."
                )
            yield number, record

    def read(self) -> RunRecord | None:
        """The newest run of the ledger, or None where nothing was recorded.

        Raises:
            InputError: As ``records``, and for a line that lacks what its kind must have.
        """
        run: RunRecord | None = None
        for number, record in self._numbered():
            try:
                run = _followed(run, record)
            except (InputError, KeyError, TypeError) as error:
                reason = f"no {error}" if isinstance(error, KeyError) else error
                raise InputError(f"{self.path}, line {number}: {reason}; mend or remove it.") from error
        return run and replace(run, measurements=tuple(sorted(run.measurements, key=lambda m: m.step)))

    def move_aside(self) -> Path | None:
        """Move what an earlier run left into ``earlier/<run id>``; the new place, or None where there was nothing."""
        parts = [part for part in (self.path, self.folder / COMPLETIONS) if part.exists()]
        if not parts:
            return None
        name = self._first_run_id()
        target, number = self.folder / "earlier" / name, 1
        while target.exists():
            number += 1
            target = self.folder / "earlier" / f"{name}-{number}"
        target.mkdir(parents=True)
        for part in parts:
            shutil.move(str(part), target / part.name)
        return target

    def _first_run_id(self) -> str:
        """The first run id of the file as a folder's name, whatever the rest of the file is like."""
        try:
            run_id = next((str(record["run_id"]) for record in self.records() if record.get("run_id")), "")
        except InputError:
            run_id = ""
        return re.sub(r"[^\w.-]", "_", run_id)[:100].strip(".") or "unnamed"

    def completions_path(self, step: int, label: str = "step") -> Path:
        """Where the completions of one measurement are."""
        return self.folder / COMPLETIONS / f"{label}-{step:08d}.jsonl.gz"

    def completions(self, measurement: Measurement, run_id: str) -> list[dict[str, Any]]:
        """The completions of a measurement, a prompt a row (`divmon.recording.completion_rows`).

        Args:
            measurement: One of the ledger's.
            run_id: The ledger's run; a measurement of another run is here as its baseline.

        Returns:
            The rows; empty where they were not kept.

        Raises:
            InputError: For a file that cannot be read.
        """
        foreign = measurement.kind == "baseline" or measurement.run_id != run_id
        path = self.completions_path(measurement.step, "baseline" if foreign else "step")
        if not path.is_file():
            return []
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return [json.loads(line) for line in file]
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise InputError(f"{path}: not completions of divmon ({error}); restore or remove it.") from error

    def write_completions(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write completions, a prompt a line, whole or not at all.

        Args:
            path: One of ``completions_path``.
            rows: With ``task``, ``input_id``, ``prompt``, ``outputs`` (the field names of the paper's code) and more.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        try:
            with gzip.open(partial, "wt", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(json_line(row) for row in rows)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _below(path: Path) -> str:
    """Up to five of the folders in ``path`` that have a ledger, in words."""
    try:
        found = [folder for folder in sorted(path.iterdir()) if (folder / FOLDER / FILE).is_file()]
    except OSError:
        return ""
    if not found:
        return ""
    names = ", ".join(map(str, found[:5])) + f" and {len(found) - 5} more" * (len(found) > 5)
    return f" Folders in it have one: {names}."


def _followed(run: RunRecord | None, record: Mapping[str, Any]) -> RunRecord | None:
    """The state of the newest run after one more line."""
    kind = record.get("kind")
    if kind == "run":
        return RunRecord(record["run_id"], None, (), (), record)
    if run is None or (kind != "baseline" and record.get("run_id", run.run_id) != run.run_id):
        return run  # a line of another run that wrote into the same file
    if kind == "resume":
        step = record["step"]
        kept = tuple(m for m in run.measurements if m.step <= step)
        gaps, alerts = (tuple(line for line in lines if line["step"] <= step) for lines in (run.gaps, run.alerts))
        return replace(run, measurements=kept, gaps=gaps, alerts=alerts)
    if kind == "baseline":
        return replace(run, baseline=Measurement.from_json(record))
    if kind == "measurement":
        made = Measurement.from_json(record)
        others = tuple(m for m in run.measurements if m.step != made.step)
        return replace(run, baseline=run.baseline or made, measurements=(*others, made))
    if kind == "gap":
        return replace(run, gaps=(*run.gaps, {"step": record["step"], **record}))
    if kind == "alert":
        return replace(run, alerts=(*run.alerts, {"step": record["step"], **record["alert"]}))
    return run


def json_line(record: Mapping[str, Any]) -> str:
    """A record as a line of strict JSON, to be encoded with ``backslashreplace``: JSON's way to write half a pair."""
    return json.dumps(to_plain(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str) + "\n"


def read_line(line: bytes) -> dict[str, Any]:
    """The record of a line; ValueError for one that holds none."""
    record = json.loads(line)
    if not isinstance(record, dict) or not isinstance(record.get("schema", 0), int):
        raise ValueError("expected an object with a schema number")
    return record


def mend_last_line(file: Any) -> None:
    """Leave an append-mode binary file ending in a whole line: end one that lacks its newline, cut off a torn one."""
    start, block = file.seek(0, os.SEEK_END), b""
    while start > 0 and b"\n" not in block.strip():
        size = min(1 << 16, start)
        start -= size
        file.seek(start)
        block = file.read(size) + block
    last = block.rstrip()
    begin = last.rfind(b"\n") + 1
    try:
        if last:
            read_line(last[begin:])
    except ValueError:
        file.truncate(start + begin)
    else:
        if block and not block.endswith(b"\n"):
            file.write(b"\n")
