"""The errors divmon raises, all under one base class."""

from __future__ import annotations

import contextlib
import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType


class DivmonError(Exception):
    """Base of every error that divmon raises on purpose; its text says what to do."""


class InputError(DivmonError, ValueError):
    """A value, file or option that divmon cannot work with."""


class ModelNotFoundError(DivmonError, OSError):
    """An encoder, classifier or language model that is not to be had here."""


class MissingDependencyError(DivmonError, ImportError):
    """An optional package that is needed for what was asked is not installed."""


def near_miss(name: object, known: Iterable[str]) -> str:
    """The end of an error about a name that is not among ``known``: the nearest one that is, else what there is."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    listed = ", ".join(names) if len(names) <= 30 else f"{len(names)} others"
    return f"known are {listed or 'none'}."


def in_a_line(error: BaseException) -> str:
    """Class and first line of another library's error, without its full stop, at most 200 characters of it."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.'):.200}" if lines else type(error).__name__


@contextlib.contextmanager
def said_as(kind: type[DivmonError], sentence: Callable[[str], str]) -> Iterator[None]:
    """Say whatever another library raises as one of divmon's errors; those of divmon's own pass through.

    For calls that raise more than any list of classes holds: transformers' loaders pass on what the hub, safetensors
    and a model's own code raise (tokenizers: ``Exception`` itself), and a chat template is a program of its own.

    Args:
        kind: The error to raise.
        sentence: Makes its text, with the remedy, of the library's class and words (`in_a_line`).
    """
    try:
        yield
    except DivmonError:
        raise
    except Exception as error:
        raise kind(sentence(in_a_line(error))) from error


def import_optional(module: str, extra: str) -> ModuleType:
    """Import ``module`` or say which extra brings it.

    Args:
        module: Dotted name of the module.
        extra: Name of the divmon extra that installs it.

    Raises:
        MissingDependencyError: If the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"This needs the package of {module!r}, which is not installed: pip install 'divmon[{extra}]'."
        ) from error
