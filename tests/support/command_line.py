"""Run run_guide.py inside the test's own process, which saves the start of Python for each command."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from utils.paths import PROJECT


def run_guide(*arguments: object, cwd: Path = PROJECT, **variables: str) -> subprocess.CompletedProcess:
    """Run a command as `python run_guide.py ARGUMENTS` would: same exit code, stdout and stderr.

    Args:
        arguments: of the command line; none opens the menu.
        cwd: working folder.
        variables: environment variables to set for the command.
    """
    from guide.app import main

    line = [str(argument) for argument in arguments]
    stdout, stderr = io.StringIO(), io.StringIO()
    environment = {"NO_COLOR": "1", "COLUMNS": "80"} | variables
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", ["run_guide.py", *line]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            code = main(line)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return subprocess.CompletedProcess(["run_guide.py", *line], code, stdout.getvalue(), stderr.getvalue())
