"""Terminal output: text, tables, progress bars, errors; and the exit codes of commands."""

import errno
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from utils.errors import LeukoBenchError
from utils.text import MISSING, NOTICE

if TYPE_CHECKING:
    from rich.progress import Progress

ERROR_FILE = "LEUKOBENCH_ERROR_FILE"  # variable: a file that receives the last error, for the process that reads it
STOPPED = 130  # exit code of a command that Ctrl-C ended
WIDTH = 80  # columns of the narrowest supported terminal
PIPE_WIDTH = 10_000  # characters: more than any table needs
LONG = 200  # rows; longer tables in a pipe are printed without Rich, which needs a millisecond per row

# File and class names are data: no markup, emoji codes or highlighting in them.
console = Console(markup=False, emoji=False, highlight=False)
_stderr = Console(markup=False, emoji=False, highlight=False, stderr=True)


def say(text: str = "", style: str = "") -> None:
    """Print text on stdout: wrapped between words on a terminal, unwrapped in a pipe."""
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def error(text: str) -> None:
    """Print "Error: ..." on stderr, in red where there is colour, on one line in a pipe; also write ERROR_FILE."""
    _stderr.print(Text(_one_line(f"Error: {text}"), style="red"), soft_wrap=not _stderr.is_terminal)
    if path := os.environ.get(ERROR_FILE):
        Path(path).write_text(_one_line(text), encoding="utf-8")


def warn(text: str) -> None:
    """Print the warning "Note: ..." in yellow on stderr."""
    _stderr.print(Text(_one_line(f"Note: {text}"), style="yellow"), soft_wrap=not _stderr.is_terminal)


def notice(aside: bool = False) -> None:
    """Print the research-only notice; `aside`: on stderr, if stdout is read by a program."""
    (warn if aside else say)(f"{NOTICE}.")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table: columns of numbers aligned right, None as a dash; never cut in a pipe.

    Args:
        title: line above it; "" for none.
        columns: headings.
        rows: one cell per column; floats as formatted text.
    """
    cells = [[MISSING if cell is None else cell for cell in row] for row in rows]
    numeric = [bool(cells) and all(_numeric(row[position]) for row in cells) for position in range(len(columns))]
    if len(cells) > LONG and not console.is_terminal:
        from tabulate import tabulate

        say(title, style="italic")
        sides = ["right" if right else "left" for right in numeric]
        text = tabulate(cells, columns, tablefmt="simple_outline", colalign=sides, disable_numparse=True)
        console.file.write(f"{text}\n")
        return
    shown = Table(header_style="bold")
    for heading, right in zip(columns, numeric, strict=True):
        shown.add_column(Text(str(heading)), justify="right" if right else "left", overflow="fold")
    for row in cells:
        shown.add_row(*(Text(str(cell)) for cell in row))
    if title:  # not as the table's own title, which is wrapped to the width of the columns
        say(title, style="italic")
    if not console.is_terminal:  # no line width to respect: give every column its natural width
        natural = Console(width=PIPE_WIDTH).measure(shown).maximum
        with_room = Console(width=max(console.width, natural), file=console.file, markup=False, emoji=False)
        with_room.print(shown)
    else:
        console.print(shown)


def progress() -> "Progress":
    """Return a progress display: description, bar, count, time left.

    Use it as a context manager: `with progress() as bar: task = bar.add_task("Decoding", total=n); bar.advance(task)`.
    It shows nothing in a pipe, so print results with `say`.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=console if console.is_terminal else Console(quiet=True),  # Rich 13 ends with an empty line in a pipe
        disable=not console.is_terminal,
    )


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None, name: str | None = None) -> int:
    """Run a Typer app with `run_safely` and return the exit code.

    Args:
        app: the command line.
        arguments: instead of those of this process.
        name: of the program in help and errors.
    """
    options = {} if name is None else {"prog_name": name}
    return run_safely(lambda: app(arguments, standalone_mode=False, **options))


def run_safely(function: Callable[[], Any]) -> int:
    """Call a function, print expected errors as one line on stderr, and return an exit code.

    Returns:
        0 on success (or the code that the function returns or exits with), 1 after an error, 2 after wrong usage,
        130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # characters that the terminal cannot show are escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        result = function()
        sys.stdout.flush()
        code = result if type(result) is int else 0
        if code == STOPPED:  # Typer turns Ctrl-C into this
            _stopped()
        return code
    except LeukoBenchError as problem:
        error(str(problem))
    except typer.TyperException as problem:
        error(_usage(problem))
        return 2
    except KeyboardInterrupt:
        _stopped()
        return STOPPED
    except (EOFError, typer.Abort):
        return 0
    except BrokenPipeError:
        # The reader has closed the pipe (`| head`). Python flushes stdout at exit: redirect that to devnull.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as problem:
        error(_of_the_system(problem))
    except MemoryError:
        error("Out of memory. Use a smaller batch_size or image_size, or close other programs.")
    except ModuleNotFoundError as problem:
        error(f"The package '{problem.name}' is not installed. Run: make venv (or: pip install -r requirements.txt)")
    return 1


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)


def _numeric(cell: object) -> bool:
    return bool(re.fullmatch(rf"{MISSING}|[+-]?\d[\d,.]*( ?[%\w/]{{1,5}})?( \([\d.]+ ?%?\))?", str(cell)))


def _stopped() -> None:
    _stderr.print("Stopped.")


def _usage(problem: Exception) -> str:
    text = problem.format_message() if hasattr(problem, "format_message") else str(problem)
    text = text.replace("Value error, ", "")  # pydantic's words
    context = getattr(problem, "ctx", None)
    if context is None:
        return text
    text = text.rstrip(".") + ("" if text.endswith("?") else ".")
    commands = getattr(context.command, "commands", None)
    if commands and text.startswith(("No such command", "Missing command")):
        text += f" Commands: {', '.join(name for name, command in commands.items() if not command.hidden)}."
    return f"{text} Help: {context.command_path} --help"


def _of_the_system(problem: OSError) -> str:
    reason = problem.strerror or str(problem) or type(problem).__name__
    where = f"{problem.filename}: " if problem.filename else ""
    remedy = {
        errno.ENOSPC: " Free space and run it again; what was finished is kept.",
        errno.EDQUOT: " Free space and run it again; what was finished is kept.",
        errno.EROFS: " Choose a folder you may write to.",
        errno.EACCES: " Give yourself the permission, or use another folder.",
    }.get(problem.errno, "")
    return f"{where}{reason}.{remedy}"
