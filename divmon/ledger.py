"""The ledger of a run: measurements as JSON lines, completions as compressed JSON lines."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divmon.errors import InputError
from divmon.measurement import Measurement

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
        start: The run's first record (settings).
    """

    run_id: str
    baseline: Measurement | None
    measurements: tuple[Measurement, ...]
    gaps: tuple[Mapping[str, Any], ...]
    start: Mapping[str, Any]


class Ledger:
    """A folder with ``measurements.jsonl`` and ``completions/step-*.jsonl.gz``.

    Lines of ``measurements.jsonl`` carry a ``kind``: ``run`` (a start), ``resume``, ``measurement``, ``baseline``
    (a measurement of another model) and ``gap`` (a measurement that failed).

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
        raise InputError(f"No divmon ledger in {path}: expected {FOLDER}/{FILE} there.")

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line and flush it to the disk; a torn line that a killed process left is cut off first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str) + "\n"
        with self.path.open("a+b") as file:
            _cut_torn_line(file)
            file.write(line.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines as dictionaries; a torn last line is passed over.

        Raises:
            InputError: For a broken line that is not the last, named by its number.
        """
        if not self.path.is_file():
            return
        lines = self.path.read_bytes().split(b"\n")
        while lines and not lines[-1].strip():
            lines.pop()
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
            except ValueError as error:
                if number == len(lines):
                    return
                raise InputError(f"{self.path}, line {number}: not JSON ({error}).") from error
            yield record

    def read(self) -> RunRecord | None:
        """The newest run of the ledger, or None where nothing was recorded."""
        start: Mapping[str, Any] | None = None
        baseline: Measurement | None = None
        measurements: dict[int, Measurement] = {}
        gaps: list[Mapping[str, Any]] = []
        for record in self.records():
            kind = record.get("kind")
            if kind == "run":
                start, baseline, measurements, gaps = record, None, {}, []
            elif kind == "resume":
                measurements = {step: m for step, m in measurements.items() if step <= record["step"]}
                gaps = [gap for gap in gaps if gap["step"] <= record["step"]]
            elif kind == "baseline":
                baseline = Measurement.from_json(record)
            elif kind == "measurement":
                measurement = Measurement.from_json(record)
                measurements[measurement.step] = measurement
                if baseline is None:
                    baseline = measurement
            elif kind == "gap":
                gaps.append(record)
        if start is None:
            return None
        ordered = tuple(measurements[step] for step in sorted(measurements))
        return RunRecord(start["run_id"], baseline, ordered, tuple(gaps), start)

    def move_aside(self) -> Path | None:
        """Move what an earlier run left into ``earlier/<run id>``; the new place, or None where there was nothing."""
        if not self.path.is_file():
            return None
        name = next((str(record["run_id"]) for record in self.records() if record.get("run_id")), "unnamed")
        target = self.folder / "earlier" / name
        number = 1
        while target.exists():
            number += 1
            target = self.folder / "earlier" / f"{name}-{number}"
        target.mkdir(parents=True)
        for part in (self.path, self.folder / COMPLETIONS):
            if part.exists():
                shutil.move(str(part), target / part.name)
        return target

    def completions_path(self, step: int, label: str = "step") -> Path:
        """Where the completions of one measurement are."""
        return self.folder / COMPLETIONS / f"{label}-{step:08d}.jsonl.gz"

    def write_completions(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write completions, a prompt a line, whole or not at all.

        Args:
            path: One of ``completions_path``.
            rows: With ``task``, ``input_id``, ``prompt``, ``outputs`` (the field names of the paper's code) and more.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with gzip.open(partial, "wt", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        partial.replace(path)


def _cut_torn_line(file: Any) -> None:
    """Leave an append-mode binary file ending in a newline: complete a whole last line, cut off a torn one."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    tail_start, block = end, b""
    while tail_start > 0 and b"\n" not in block:
        size = min(1 << 16, tail_start)
        tail_start -= size
        file.seek(tail_start)
        block = file.read(size) + block
    cut = block.rfind(b"\n") + 1
    try:
        json.loads(block[cut:])
    except ValueError:
        file.truncate(tail_start + cut)
    else:
        file.write(b"\n")
