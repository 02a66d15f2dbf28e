"""Completions that were generated elsewhere: which files hold them, in which form, and of which prompts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from divmon.errors import InputError, near_miss
from divmon.formats import FORMATS, Format
from divmon.formats.file import File
from divmon.formats.jsonl import FIELDS
from divmon.formats.record import GenerationRecord, NoTextError, grouped

__all__ = ["FIELDS", "GenerationRecord", "Generations", "read_generations"]

_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_MOST_FILES = 10_000
_OTHERS_BASELINE = "baseline-"  # divmon's records of another run's completions, beside a run's own


def read_generations(
    paths: str | Path | Sequence[str | Path], *, form: str | None = None, step: int | None = None
) -> list[GenerationRecord]:
    """Read the completions of one model.

    Args:
        paths: Files or folders, or one. In a folder, and those below it, all that hold completions are read.
        form: One of `divmon.formats.FORMATS`: ``jsonl``, ``lm-eval``, ``lighteval`` or ``trl``; default: the one whose
            fields the files have.
        step: Of completions of several optimizer steps, the step; default: the last.

    Returns:
        A record a prompt. Of all forms but ``jsonl``, whose lines are a prompt each, completions of equal prompts of a
        task are put together, from whatever file they come.

    Raises:
        InputError: For files that cannot be read, hold no completions or not in one form, and a step that they do not
            have.
    """
    return Generations.find(paths, form).read(step)


@dataclass(frozen=True)
class Generations:
    """Files of completions, all in one form.

    Attributes:
        format: Their form.
        files: The files.
        passed_over: How many others of the folders were passed over, since they hold no completions of this form.
    """

    format: Format
    files: tuple[File, ...]
    passed_over: int = 0

    @classmethod
    def find(cls, paths: str | Path | Sequence[str | Path], form: str | None = None) -> Generations:
        """Find the files; arguments as for `read_generations`."""
        if form is not None and form not in FORMATS:
            raise InputError(f"Unknown format {form!r}: {near_miss(form, FORMATS)}")
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        if not given or any(str(path) == "" for path in given):
            raise InputError("Expected files or folders with completions, got an empty name.")
        every: dict[str, File] = {}
        for file in (file for path in given for file in _files(Path(path))):
            every.setdefault(os.path.realpath(file.path), file)
        files = list(every.values())
        forms = {file: _form(file, form) for file in files}
        known = [file for file in files if forms[file] is not None]
        names = Counter(forms[file].name for file in known)  # type: ignore[union-attr]
        if not known:
            raise InputError(_nothing(given, files))
        if len(names) > 1:
            listed = " and ".join(f"{count} of {FORMATS[name].title} ({name})" for name, count in names.items())
            raise InputError(f"Expected files of one form, got {listed}: choose with --format, or name the files.")
        return cls(FORMATS[next(iter(names))], tuple(known), len(files) - len(known))

    @cached_property
    def _steps_of(self) -> dict[File, frozenset[int]]:
        read = self.format.steps
        return {} if read is None else {file: frozenset(read(file)) for file in self.files}

    @property
    def steps(self) -> tuple[int, ...]:
        """The optimizer steps that there are completions of, ascending; empty where the files know of none."""
        return tuple(sorted(frozenset().union(*self._steps_of.values())))

    def read(self, step: int | None = None) -> list[GenerationRecord]:
        """The prompts of one step; arguments, value and errors as for `read_generations`."""
        files, steps = self.files, self.steps
        if steps:
            step = steps[-1] if step is None else step
            if step not in steps:
                raise InputError(f"No completions of step {step}: there are those of {_listed(steps)}.")
            for file in files:
                if not self._steps_of[file] and next(self.format.records(file), None):
                    raise InputError(f"{file.path} is of no optimizer step, unlike others: name files of one kind.")
            files = tuple(file for file in files if step in self._steps_of[file])
        elif step is not None:
            raise InputError(f"No completions of step {step}: {self.format.title} without steps.")
        found: list[GenerationRecord] = []
        runs: set[str] = set()
        without: NoTextError | None = None
        for file in files:
            try:
                records = [record for record in self.format.records(file) if record.step == step]
            except NoTextError as error:  # one of many tasks
                without = without or error
                continue
            found += records
            runs |= {record.run or file.folder for record in records}
        if len(runs) > 1:
            raise InputError(
                f"Expected the completions of one model or run, got those of {_listed(sorted(runs))}: name the folder "
                "of one, or each folder by itself to put their completions together."
            )
        if not found:
            raise without or InputError(f"{files[0].path} holds no record: expected {self.format.expected}.")
        return found if self.format.whole else grouped(found)


def _files(path: Path) -> Iterator[File]:
    """The file, or those of the folder that may hold completions."""
    if not path.is_dir():
        yield File.at(path)
        return
    count = 0
    for folder, inside, names in os.walk(path):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(_SUFFIXES) and not name.startswith((".", _OTHERS_BASELINE)):
                count += 1
                if count > _MOST_FILES:
                    raise InputError(f"{path} has over {_MOST_FILES} files: name a narrower folder.")
                yield File(Path(folder) / name, root=path)


def _form(file: File, asked: str | None) -> Format | None:
    """The form of a file; None for one of a folder that is of no form, or not of the one that is asked for.

    Raises:
        InputError: For a file that the user named and that is of no form.
    """
    named = file.root is None
    if named and asked is not None:
        return FORMATS[asked]
    try:
        parquet = file.is_parquet
        found = file.columns() if parquet else next((record for _, record in file.lines()), {})
    except InputError:
        if named:
            raise
        return None
    form = next((form for form in FORMATS.values() if form.parquet == parquet and form.fits(found)), None)
    if named:
        if form is None and parquet:
            expected = " or ".join(form.expected.removeprefix("parquet ") for form in FORMATS.values() if form.parquet)
            raise InputError(f"{file.path}: expected parquet {expected}, got {', '.join(found) or 'nothing':.200}.")
        return form or FORMATS["jsonl"]  # whose reader says what is wrong with it
    return form if asked in (None, form and form.name) else None


def _nothing(given: Sequence[str | Path], files: Sequence[File]) -> str:
    expected = "; ".join(f"{form.expected} ({form.title})" for form in FORMATS.values())
    where = ", ".join(map(str, given))
    others = f" (passed over: {_listed([file.path.name for file in files])})" if files else ""
    return f"{where} holds no completions{others}: expected {expected}."


def _listed(things: Sequence[object]) -> str:
    shown = [str(thing) or "the folder itself" for thing in things]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:6], "...", *shown[-5:]])
