"""Run run_guide.py inside the test's own process, which saves the start of Python for each command."""

import contextlib
import io
import os
import subprocess
import sys
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
    stdout = io.StringIO()
    stderr = stdout if merged else io.StringIO()
    environment = {"NO_COLOR": "1", "COLUMNS": "80"} | variables
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", ["run_guide.py", *line]),
        mock.patch.object(sys, "stdin", io.StringIO(text)),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            code = main(line)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    errors = "" if merged else stderr.getvalue()
    return subprocess.CompletedProcess(["run_guide.py", *line], code, stdout.getvalue(), errors)
