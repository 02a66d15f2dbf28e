"""The ``divmon`` command: a thin layer over the library."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException  # typer carries its own click; the package click has other classes

from divmon.cli import decompose, doctor, grade, lineage, models, recipe, report, score, tasks, wandb_workspace
from divmon.cli import eval as evaluation
from divmon.cli.terminal import printable
from divmon.errors import DivmonError

app = typer.Typer(
    name="divmon",
    help="Watch output diversity while you post-train a language model with TRL.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("score")(score.score)
app.command("eval")(evaluation.evaluate)
app.command("models")(models.models)
app.command("grade")(grade.grade)
app.command("lineage")(lineage.lineage)
app.command("decompose")(decompose.decompose)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)
app.command("tasks")(tasks.tasks)
app.command("wandb-workspace")(wandb_workspace.wandb_workspace)
app.add_typer(recipe.app, name="recipe")


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        from divmon import __version__

        print(f"divmon {__version__}")
        raise typer.Exit()
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; what the user can mend is one sentence on standard error and exit status 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to die
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            status = app(args=arguments, prog_name="divmon", standalone_mode=False)
            if sys.stdout is not None:  # None where the caller closed it
                sys.stdout.flush()
        except TyperException as error:
            _complain(_usage(error))
        except DivmonError as error:
            _complain(str(error))
        except (typer.Abort, KeyboardInterrupt):
            sys.exit(130)
        except BrokenPipeError:  # the reader (head, less) has gone
            _give_up_stdout()
            sys.exit(141)
        except OSError as error:
            _give_up_stdout()
            _complain(f"{error}: the result could not be written, or a file not be read.")
    sys.exit(status if isinstance(status, int) else 0)


def _give_up_stdout() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: Any) -> str:
    command = error.ctx.command_path if getattr(error, "ctx", None) else "divmon"
    message = error.format_message().strip()
    return f"{message}{'' if message.endswith(('.', '?')) else '.'} See '{command} --help'."


def _complain(message: str) -> NoReturn:
    print(f"divmon: {printable(message)}", file=sys.stderr)
    sys.exit(2)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(printable(str(message)), file=sys.stderr)
