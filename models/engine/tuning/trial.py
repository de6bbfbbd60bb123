"""One trial of `tune`: a folder with its settings, what its training said, and its run."""

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.engine import launcher
from models.engine.config.base import ModelConfig
from models.engine.training import schedule
from utils.console import console
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_folder import Run

LOG = "output.txt"


@dataclass(frozen=True)
class TrialFolder:
    """The folder of a trial: config.json, output.txt, and below it the run, as below any root."""

    path: Path

    @property
    def run(self) -> Run | None:
        """The run, where the training came so far as to open one."""
        return next(iter(run_folder.find_runs(self.path)), None)

    def train(self, config: ModelConfig, settings: Mapping[str, Any], title: str) -> int:
        """Train without evaluation, or go on after the last finished epoch; return the exit status.

        Args:
            config: gives model and batch size.
            settings: fields, as `--config` takes them.
            title: shown on a terminal while it trains.
        """
        begun = self.run
        options = ["--no-evaluate"]
        if begun and begun.file(run_folder.HISTORY).is_file():
            options += ["--resume", str(begun.path.resolve())]
        else:
            shutil.rmtree(self.path, ignore_errors=True)  # cut off before its first epoch ended
            given = self.path / run_folder.CONFIG
            files.write_json(given, dict(settings))
            options += ["--config", str(given.resolve()), "--root", str(self.path.resolve())]
        status = console.status(title) if console.is_terminal else nullcontext()

        def watch() -> None:
            if console.is_terminal and (rows := self._history()):
                status.update(f"{title}: epoch {rows[-1]['epoch']}, val accuracy {rows[-1]['val_accuracy']:.4f}")

        with status:
            return launcher.train_quietly(config.model, options, config.batch_size, self.path / LOG, watch)

    def result(self) -> dict[str, float]:
        """Return what the best epoch reached and what it cost; nothing where there is no finished epoch."""
        rows = self._history()
        if not rows:
            return {}
        best = schedule.best_epoch(rows)
        costs = {"epochs": len(rows), "seconds": sum(row["seconds"] for row in rows)}
        return {"val_accuracy": best["val_accuracy"], "val_loss": best["val_loss"]} | costs

    def reason(self) -> str:
        """Return the last error that the training printed."""
        path = self.path / LOG
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        errors = [line for line in text.splitlines() if line.startswith("Error: ")]
        return errors[-1].removeprefix("Error: ") if errors else f"no reason was given; see {path}"

    def drop_weights(self) -> None:
        """Remove what takes space and no later step needs."""
        if run := self.run:
            run.file(run_folder.WEIGHTS).unlink(missing_ok=True)
            shutil.rmtree(run.file(run_folder.STATE), ignore_errors=True)

    def _history(self) -> list[dict[str, Any]]:
        try:
            return self.run.history() if self.run else []
        except LeukoBenchError:  # none yet, or damaged
            return []
