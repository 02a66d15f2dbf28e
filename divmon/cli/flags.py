"""A command's own options: how they are spelt on the command line, and the command as it was given."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from divmon.errors import InputError

if TYPE_CHECKING:
    import typer


@contextmanager
def errors_name_flags(context: typer.Context) -> Iterator[None]:
    """``top_p: expected ...`` becomes ``--top-p: expected ...``, by the command's own parameters.

    The parameters are called like the library's options for that. Only what checks options belongs in here: a message
    that begins with a model's or a task's name might begin with a parameter's.
    """
    try:
        yield
    except InputError as error:
        name, colon, rest = str(error).partition(":")
        flags = {option.name: option.opts[0] for option in context.command.params if option.opts[0].startswith("-")}
        if colon and name in flags:
            raise InputError(f"{flags[name]}:{rest}") from error
        raise


def command_given(context: typer.Context, without: Collection[str] = ()) -> str:
    """The command as it was given, ready for a shell.

    Args:
        context: Of the command.
        without: Parameters to leave out.
    """
    words = context.command_path.split()
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name in without or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[option.name or ""]
        if not option.opts[0].startswith("-"):
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(option.opts[0])
        else:
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [option.opts[0], str(each)]
    return shlex.join(words)
