"""Run commands inside the test's own process, which saves the start of Python, or in a process of their own."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from utils.paths import PROJECT


def run_guide(
    *arguments: object, cwd: Path = PROJECT, text: str = "", merged: bool = False, **variables: str
) -> subprocess.CompletedProcess:
    """Run a command as `python run_guide.py ARGUMENTS` would: same exit code, stdout and stderr.

    Args:
        arguments: words of the command line; none opens the menu.
        cwd: working folder.
        text: standard input.
        merged: whether stderr goes to stdout, in the order of a terminal.
        variables: environment variables to set for the command.
    """
    from guide.app import main

    line = [str(argument) for argument in arguments]
    return _captured(lambda: main(line), ["run_guide.py", *line], cwd, text, merged, variables)


def run_train(model: str, *options: object) -> subprocess.CompletedProcess:
    """Train a model as `python -m models.MODEL.train OPTIONS` would: same exit code, stdout and stderr."""
    from models.engine import cli

    line = [f"models.{model}.train", *(str(option) for option in options)]
    return _captured(lambda: cli.run_train(model), line, PROJECT, "", False, {})


def run_python(*words: object, text: str | bytes = "", limit: Callable[[], None] | None = None, **variables: str):
    """Run `python WORDS` in the project's folder and in a process of its own, for at most five minutes.

    Args:
        words: of the command line, `-c` and a program for example.
        text: standard input; bytes make stdout and stderr bytes too.
        limit: called in the new process before Python starts, whose coverage is then not measured: a limit of the size
            of files damages the measurements.
        variables: environment variables.
    """
    unmeasured = {"COVERAGE_PROCESS_CONFIG": ""} if limit else {}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=PROJECT,
        env=os.environ | unmeasured | variables,
        input=text,
        capture_output=True,
        text=isinstance(text, str),
        preexec_fn=limit,
        timeout=300,
        check=False,
    )


def run_code(program: str, *words: object, **options: str) -> str:
    """Run a Python program as `run_python` does; assert that it succeeds and return its output."""
    done = run_python("-c", program, *words, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_as_nobody(program: str, *words: object, **options: str) -> str:
    """Run a Python program as another user, as `run_code` does; it cannot read files of mode 0 even if root tests.

    The program starts with its imports, a line each; the user changes after them.
    """
    lines = program.split("\n")
    first = next(number for number, line in enumerate(lines) if not line.startswith(("import ", "from ")))
    change = "import os; os.getuid() or os.setuid(65534)"
    return run_code("\n".join([*lines[:first], change, *lines[first:]]), *words, **options)


def as_nobody(work: Callable[[], str]) -> str:
    """Do some work as another user and return its text; files of mode 0 cannot be read there even if root tests.

    A child of this process does it, with the modules that are imported by now: Python itself may be unreadable there.
    """
    from multiprocessing import Pipe

    receiver, sender = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        try:
            os.getuid() or os.setuid(65534)
            sender.send(work())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    sender.close()
    return receiver.recv()


def packages_of(program: str, *words: object, **options: str) -> tuple[str, set[str]]:
    """Run a Python program as `run_python` does; return its output and the packages that it has imported."""
    end = "\nimport sys; print('PACKAGES', *{name.partition('.')[0] for name in sys.modules})"
    output, _, names = run_code(program + end, *words, **options).rpartition("PACKAGES ")
    return output, set(names.split())


def _captured(
    run: Callable[[], int | None], line: list[str], cwd: Path, text: str, merged: bool, variables: dict[str, str]
) -> subprocess.CompletedProcess:
    stdout = io.StringIO()
    stderr = stdout if merged else io.StringIO()
    environment = {"NO_COLOR": "1", "COLUMNS": "80"} | variables
    with (
        _width(int(environment["COLUMNS"])),
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", line),
        mock.patch.object(sys, "stdin", io.StringIO(text)),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            code = run()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    errors = "" if merged else stderr.getvalue()
    return subprocess.CompletedProcess(line, code, stdout.getvalue(), errors)


@contextlib.contextmanager
def _width(columns: int) -> Iterator[None]:
    """Set the width of the terminal, which the console reads from COLUMNS only when it is made."""
    from utils.console import console

    before, console.width = console.width, columns
    yield
    console.width = before
