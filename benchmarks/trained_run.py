"""Train a run as a person would, by the command line in a process of its own."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from models.engine import launcher
from utils.errors import LeukoBenchError
from utils.runs import run_folder
from utils.runs.run_folder import Run


def train(words: Sequence[str], root: Path) -> Run:
    """Run `train` with these words and return the finished run.

    Args:
        words: model, options and settings.
        root: folder of the runs.

    Raises:
        LeukoBenchError: the training failed.
    """
    before = set(run_folder.find_runs(root))
    done = subprocess.run(
        [sys.executable, "run_guide.py", "train", *words, "--root", str(root)],
        env=launcher.environment(), cwd=launcher.PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LeukoBenchError(f"train {' '.join(words)} failed: {done.stderr.strip()[-200:] or 'it said nothing'}")
    (run,) = set(run_folder.find_runs(root, finished=True)) - before
    return run
