"""A file to read: JSON lines, gzip-compressed or not, or parquet; a part at a time."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from divmon.errors import InputError, in_a_line

_ROWS = 256  # of a parquet file that are in memory at a time


@dataclass(frozen=True)
class File:
    """A file.

    Attributes:
        path: Where it is.
        data: What it holds, of one that can be read once only (a pipe).
        root: The folder that it was found in, or in one below it; None where the user named the file.
    """

    path: Path
    data: bytes | None = None
    root: Path | None = None

    @classmethod
    def at(cls, path: Path) -> File:
        """The file of a path that the user named.

        Raises:
            InputError: If there is none, or it cannot be read.
        """
        with _readable(path):
            path.stat()
            return cls(path, None if path.is_file() else path.read_bytes())

    @property
    def folder(self) -> str:
        """Its place below the folder that was named; empty where it is right in it, or was named itself."""
        return "" if self.root is None else "/".join(self.path.parent.relative_to(self.root).parts)

    @property
    def is_parquet(self) -> bool:
        """Whether it begins as a parquet file does."""
        with _readable(self.path), self._open() as stream:
            return stream.read(4) == b"PAR1"

    def lines(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Each record with the number of its line; blank lines are passed over.

        Raises:
            InputError: If the file cannot be read, or a line is no JSON object; it is named by number.
        """
        with _readable(self.path), self._open() as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
            for number, line in enumerate(stream, 1):
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if text.strip():
                    with self.line(number):
                        record = _parsed(text)
                    yield number, record

    @contextmanager
    def line(self, number: int) -> Iterator[None]:
        """Say of which line an error is."""
        try:
            yield
        except InputError as error:
            raise type(error)(f"{self.path}, line {number}: {error}") from error
        except RecursionError as error:
            raise InputError(f"{self.path}, line {number}: nested too deeply to be a record.") from error

    def columns(self) -> dict[str, Any]:
        """Name and type of each column of a parquet file.

        Raises:
            InputError: If it is none.
        """
        with self._table() as table:
            schema = table.schema_arrow
            return dict(zip(schema.names, schema.types, strict=True))

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The rows of a parquet file, with some of its columns.

        Args:
            columns: Names; ``doc.query`` for a field of a structure. One that is not there is absent from the rows.

        Raises:
            InputError: If it is no parquet file, or damaged.
        """
        with self._table() as table:
            for batch in table.iter_batches(batch_size=_ROWS, columns=list(columns)):
                yield from batch.to_pylist()

    @contextmanager
    def _table(self) -> Iterator[Any]:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        with _readable(self.path), self._open() as stream:
            try:
                yield ParquetFile(stream)
            except (ArrowException, UnicodeDecodeError) as error:
                raise InputError(f"{self.path}: no sound parquet file ({in_a_line(error)}).") from error

    def _open(self) -> IO[bytes]:
        return io.BytesIO(self.data) if self.data is not None else self.path.open("rb")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InputError(f"Cannot read {path}: {reason}.") from error


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"), parse_int=_integer)
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text ({error.reason}, byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON ({error.msg}, column {error.colno}).") from error
    if not isinstance(record, Mapping):
        raise InputError(f"expected an object, got {type(record).__name__}.")
    return record


def _integer(digits: str) -> int | float:
    """An integer of any length: Python refuses thousands of digits, but a field of no interest may hold them."""
    return int(digits) if len(digits) < 1000 else float(digits)
