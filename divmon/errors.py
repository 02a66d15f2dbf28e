"""The errors divmon raises, all under one base class."""

from __future__ import annotations

import importlib
from types import ModuleType


class DivmonError(Exception):
    """Base of every error that divmon raises on purpose; its text says what to do."""


class InputError(DivmonError, ValueError):
    """A value, file or option that divmon cannot work with."""


class ModelNotFoundError(DivmonError, OSError):
    """An encoder, classifier or language model that is not to be had here."""


class MissingDependencyError(DivmonError, ImportError):
    """An optional package that is needed for what was asked is not installed."""


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
