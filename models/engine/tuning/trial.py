"""The folder of one trial of `tune`: settings, log and run."""

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.engine import launcher
from models.engine.config.base import ModelConfig
from utils.console import console
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.history import best_epoch
from utils.runs.run_folder import Run

LOG = "output.txt"


@dataclass(frozen=True)
class TrialFolder:
    """The folder of a trial: config.json, output.txt and the run, as in any folder of runs."""

    path: Path

    @property
    def run(self) -> Run | None:
        """The run; None if the training ended before it was created."""
        return next(iter(run_folder.find_runs(self.path)), None)

    def train(self, config: ModelConfig, settings: Mapping[str, Any], title: str) -> int:
        """Train without evaluation, or resume after the last finished epoch; return the exit status.

        Args:
            config: source of the model and batch size.
            settings: fields for `--config`.
            title: shown on a terminal during training.
        """
        earlier = self.run
        options = ["--no-evaluate"]
        if earlier and earlier.file(run_folder.HISTORY).is_file():
            options += ["--resume", str(earlier.path.resolve())]
        else:
            shutil.rmtree(self.path, ignore_errors=True)  # interrupted before its first epoch ended
            path = self.path / run_folder.CONFIG
            files.write_json(path, dict(settings))
            options += ["--config", str(path.resolve()), "--root", str(self.path.resolve())]
        status = console.status(title) if console.is_terminal else nullcontext()

        def watch() -> None:
            if console.is_terminal and (rows := self._history()):
                status.update(f"{title}: epoch {rows[-1]['epoch']}, val accuracy {rows[-1]['val_accuracy']:.4f}")

        with status:
            return launcher.train_quietly(config.model, options, config.batch_size, self.path / LOG, watch)

    def result(self) -> dict[str, float]:
        """Return scores of the best epoch and the costs; {} without a finished epoch."""
        rows = self._history()
        if not rows:
            return {}
        best = best_epoch(rows)
        costs = {"epochs": len(rows), "seconds": sum(row["seconds"] for row in rows)}
        return {"val_accuracy": best["val_accuracy"], "val_loss": best["val_loss"]} | costs

    def reason(self) -> str:
        """Return the last error of the training."""
        log = self.path / LOG
        return launcher.error_of(log) or f"no error message; see {log}"

    def drop_weights(self) -> None:
        """Remove weights and checkpoints, which no later step needs."""
        if run := self.run:
            run.file(run_folder.WEIGHTS).unlink(missing_ok=True)
            shutil.rmtree(run.file(run_folder.STATE), ignore_errors=True)

    def _history(self) -> list[dict[str, Any]]:
        try:
            return self.run.history() if self.run else []
        except LeukoBenchError:  # missing or damaged
            return []
