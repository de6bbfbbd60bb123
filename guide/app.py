"""The command line: one Typer app with the commands of guide/. Without a command it opens the menu."""

import os
import sys
from collections.abc import Sequence

import typer

from guide.steps import STEPS
from utils.console import run_app, run_safely
from utils.text import NOTICE

PROGRAM = "run_guide.py"
ABOUT = f"Train, evaluate and compare models on blood smear images. {NOTICE}. Without a command, the menu opens."
GROUPS = {"data": "Import, download, generate, check, split and draw datasets."}
# Plain help starts twice as fast as rich panels; utils/console.py prints errors as one line.
PLAIN = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "add_completion": False}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, or the menu if there is none.

    Args:
        arguments: words of the command line; None takes those of this process.

    Returns:
        The exit code: 0, 1 after an error, 2 after wrong usage, 130 after Ctrl-C.
    """
    # TensorFlow reads these at its first import, here or in a child process.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ABSL_MIN_LOG_LEVEL", "3")
    if not (sys.argv[1:] if arguments is None else arguments):
        from guide import menu

        return run_safely(menu.run)  # without Typer, which would import pydantic for an empty command line
    return run_app(make_app(sys.argv[1:] if arguments is None else arguments), arguments, PROGRAM)


def make_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """Build the Typer app from the steps; only commands named in the arguments are imported."""
    app = typer.Typer(help=ABOUT, **PLAIN)
    groups = {name: typer.Typer(help=text, **PLAIN) for name, text in GROUPS.items()}
    for name, group in groups.items():
        group.callback(invoke_without_command=True)(_help_without_command)
        app.add_typer(group, name=name)
    for step in STEPS:
        if step.command:
            group, _, name = step.command.rpartition(" ")
            function = step.function if name in arguments else _not_called
            (groups[group] if group else app).command(name, help=step.summary, short_help=step.summary)(function)
    return app


def _not_called() -> None:
    """Take the place of a command that is not called; importing all commands would double the start-up time."""


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
