"""The ``divmon`` command: a thin layer over the library."""

from __future__ import annotations

import sys

import click
import typer

from divmon.cli import doctor, score
from divmon.errors import DivmonError

app = typer.Typer(
    name="divmon",
    help="Watch output diversity while you post-train a language model with TRL.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("score")(score.score)
app.command("doctor")(doctor.doctor)


@app.callback()
def _main() -> None:
    """Keep the commands subcommands, however many there are."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command; what the user can mend is one sentence on standard error and exit status 2."""
    try:
        status = app(args=arguments, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _complain(error.format_message())
    except DivmonError as error:
        _complain(str(error))
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    sys.exit(status if isinstance(status, int) else 0)


def _complain(message: str) -> None:
    print(f"divmon: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
