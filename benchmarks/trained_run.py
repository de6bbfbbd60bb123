"""Train a run as a person would, by the command line in a process of its own."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from models import launching
from utils import artifacts
from utils.artifacts import Run
from utils.errors import LeukoBenchError


def train(words: Sequence[str], root: Path) -> Run:
    """Run `train` with these words and return the finished run.

    Args:
        words: model, options and settings.
        root: folder of the runs.

    Raises:
        LeukoBenchError: the training failed.
    """
    before = set(artifacts.find_runs(root))
    done = subprocess.run(
        [sys.executable, "run_guide.py", "train", *words, "--root", str(root)],
        env=launching.environment(), cwd=launching.PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LeukoBenchError(f"train {' '.join(words)} failed: {done.stderr.strip()[-200:] or 'it said nothing'}")
    (run,) = set(artifacts.find_runs(root, finished=True)) - before
    return run
