"""What a program must do: the ground truths of ``code``, in every form that data sets give them in.

Each also as the text of its JSON, or as a list that holds that text alone (Dolci-RL-Zero-Code's way):

- a list of tests, Python source, mostly ``assert`` statements (Dolci, AceCoder);
- a list of ``{"input", "output"}``: the program reads the one and must print the other (open-instruct's
  ``code_stdio``);
- either of them pickled, compressed and in base64, as open-instruct stores long ones: read without running anything;
- ``{"test", "entry_point"}``, and ``prompt`` where answers may go on from it (HumanEval);
- ``{"test_list"}``, with ``test_setup_code`` or ``test_imports`` where there is one (MBPP).
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divmon.errors import InputError
from divmon.verifiers.truth import parsed

_MOST_BYTES = 64 << 20  # of a packed ground truth when it is unpacked


@dataclass(frozen=True)
class CodeTests:
    """What a program must do.

    Attributes:
        tests: Python sources that must run through; empty where ``pairs`` is not.
        pairs: (standard input, what must be printed).
        prompt: Source that an answer may go on from, or repeat.
        entry_point: Name of the function that is asked for; empty where it is not known.
    """

    tests: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    prompt: str = ""
    entry_point: str = ""


def read_tests(ground_truth: Any) -> CodeTests:
    """Read the tests in any of the forms of this module.

    Raises:
        InputError: For anything else.
    """
    if isinstance(ground_truth, str):
        return _read_text(ground_truth)
    if isinstance(ground_truth, Mapping):
        return _read_mapping(ground_truth)
    if not isinstance(ground_truth, Sequence) or not ground_truth:
        raise _unknown(ground_truth)
    if all(isinstance(item, str) for item in ground_truth):
        if len(ground_truth) == 1 and not _is_source(ground_truth[0]):
            return _read_text(ground_truth[0])
        return CodeTests(tests=tuple(ground_truth))
    if all(isinstance(item, Mapping) and {"input", "output"} <= set(item) for item in ground_truth):
        if any(item.get("fn_name") for item in ground_truth):
            raise InputError("code: tests that name a function to call (fn_name) are not supported; write assertions.")
        return CodeTests(pairs=tuple((_lines(item["input"]), _lines(item["output"])) for item in ground_truth))
    raise _unknown(ground_truth)


def _lines(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _is_source(text: str) -> bool:
    """Whether a text is a test, and not JSON or base64."""
    return text.strip()[:1] not in ("", "[", "{") and ("(" in text or " " in text.strip())


def _read_mapping(truth: Mapping[str, Any]) -> CodeTests:
    if "test_list" in truth:
        tests = truth["test_list"]
        setup = _lines(truth.get("test_setup_code") or truth.get("test_imports") or "")
        if not isinstance(tests, list | tuple) or not tests or not all(isinstance(test, str) for test in tests):
            raise _unknown(truth)
        return CodeTests(tests=tuple(f"{setup}\n{test}" if setup else test for test in tests))
    if {"test", "entry_point"} <= set(truth):
        test, name, prompt = truth["test"], truth["entry_point"], truth.get("prompt") or ""
        if not (isinstance(test, str) and isinstance(prompt, str) and isinstance(name, str) and name.isidentifier()):
            raise _unknown(truth)
        return CodeTests(tests=(f"{test}\n\ncheck({name})\n",), prompt=prompt, entry_point=name)
    if {"input", "output"} <= set(truth):
        return read_tests([truth])
    raise _unknown(truth)


def _read_text(text: str) -> CodeTests:
    if _is_source(text):
        return CodeTests(tests=(text,))
    try:
        content = parsed(text) if text.lstrip()[:1] in ("[", "{") else _unpack(text)
    except ValueError as error:
        raise InputError(
            f"code: expected tests, their JSON or open-instruct's packed form, got {text[:80]!r} ({error})."
        ) from error
    return read_tests(content)


def _unpack(text: str) -> Any:
    """Undo base64, zlib and pickle; a pickle of anything but plain data raises ValueError."""
    try:
        packed = base64.b64decode(text, validate=True)
        stream = zlib.decompressobj()
        data = stream.decompress(packed, _MOST_BYTES)
        if stream.unconsumed_tail:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
    except (binascii.Error, zlib.error, MemoryError) as error:
        raise ValueError(str(error)) from error
    try:
        content = _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle raises whatever its instructions lead to
        raise ValueError(str(error)) from error
    return parsed(content) if isinstance(content, str) else content


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, strings and collections; a pickle that names anything else could run code and is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds {module}.{name}, not plain data")


def _unknown(truth: Any) -> InputError:
    return InputError(
        "code: expected a list of tests or of {input, output}, {test, entry_point} or {test_list}, "
        f"got {type(truth).__name__}: {str(truth)[:80]!r}."
    )
