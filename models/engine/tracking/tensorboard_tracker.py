"""Write TensorBoard event files of a run into its folder: training and validation as two runs, as Keras does.

Uses the writer of TensorBoard, which works with and without TensorFlow.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from models.engine.tracking.redaction import flat
from utils.runs.run_folder import METRICS, Run

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

FOLDER = "tensorboard"
TRAINING, VALIDATION, TEST = "train", "validation", "test"  # runs of TensorBoard below that folder
# For each TensorBoard run, its tags and the columns of history.csv that they show.
SCALARS = {
    TRAINING: {
        "epoch_loss": "loss",
        "epoch_accuracy": "accuracy",
        "epoch_learning_rate": "learning_rate",
        "epoch_seconds": "seconds",
    },
    VALIDATION: {"epoch_loss": "val_loss", "epoch_accuracy": "val_accuracy"},
}
SCORES = ("accuracy", "balanced_accuracy", "log_loss", "auc_ovr_macro")  # of metrics.json


class TensorBoard:
    """Writes the event files of one run; an epoch that they hold already is not written again."""

    name = "The TensorBoard log"

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._writers: dict[str, Any] = {}

    def begin(self, run: Run) -> None:
        """Continue the log in the run folder, or start one with the configuration."""
        self._folder = run.file(FOLDER)
        if not _steps(self._folder):
            self._write("", 0, _settings(run))
        rows = run.epochs()
        for part, tags in SCALARS.items():
            last = max(_steps(self._folder / part), default=0)
            for row in rows:
                if row["epoch"] > last:
                    self._write(part, row["epoch"], _scalars(row, tags))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Add an epoch."""
        for part, tags in SCALARS.items():
            self._write(part, row["epoch"], _scalars(row, tags))

    def finish(self, run: Run) -> None:
        """Add missing epochs and, if present, the scores on the test images; close the files."""
        self.begin(run)
        if run.file(METRICS).is_file():
            shutil.rmtree(self._folder / TEST, ignore_errors=True)  # scores of an earlier evaluation
            self._write(TEST, len(run.epochs()), _test(run))
        self._close()

    def fail(self, status: str, reason: str) -> None:
        """Close the files."""
        self._close()

    def retry_hint(self, run: Run) -> str:
        """Return a sentence about how missing data are written later."""
        return "Training continues; missing data are written at the end if that is possible then."

    def location(self) -> str:
        """Return the command that shows the log."""
        return f"TensorBoard: tensorboard --logdir {self._folder}"

    def _write(self, part: str, step: int, summaries: "Sequence[Summary]") -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if part not in self._writers:
            self._writers[part] = EventFileWriter(str(self._folder / part))
        whole = Summary(
            value=[value for summary in summaries for value in summary.value]
        )  # one event, so that a kill leaves all or none
        self._writers[part].add_event(Event(wall_time=time(), step=step, summary=whole))
        self._writers[part].flush()

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def _steps(folder: Path) -> set[int]:
    """Return the steps in the event files of a folder, without a truncated last event."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    events = (event for path in sorted(folder.glob("*.tfevents.*")) for event in EventFileLoader(str(path)).Load())
    return {event.step for event in events if event.HasField("summary")}


def _scalars(row: Mapping[str, Any], tags: Mapping[str, str]) -> "list[Summary]":
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    return [scalar_pb(tag, row[column]) for tag, column in tags.items()]


def _settings(run: Run) -> "list[Summary]":
    """Return the configuration as a table, and as hyperparameters for the validation scores."""
    from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb
    from tensorboard.plugins.text.summary_v2 import text_pb

    fields = {name: value for name, value in flat(run.config()).items() if value not in (None, "")}
    shown = [Metric(tag, group=VALIDATION, display_name=f"validation {tag[6:]}") for tag in SCALARS[VALIDATION]]
    return [
        text_pb("config", _table(("field", "value"), fields.items())),
        hparams_config_pb([HParam(name) for name in fields], shown),
        hparams_pb(fields, trial_id=run.id),
    ]


def _test(run: Run) -> "list[Summary]":
    """Return the scores on the test images, and the confusion matrix as a table."""
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.plugins.text.summary_v2 import text_pb

    scores, classes = run.metrics()["test"], run.config()["classes"]
    known = [scalar_pb(name, scores[name]) for name in SCORES if scores.get(name) is not None]
    known += [scalar_pb(f"recall/{c['class']}", c["recall"]) for c in scores["per_class"] if c["recall"] is not None]
    rows = ((f"**{name}**", *counts) for name, counts in zip(classes, scores["confusion"], strict=True))
    return [*known, text_pb("confusion", _table(("true \\ predicted", *classes), rows))]


def _table(header: Sequence[Any], rows: Any) -> str:
    """Return a Markdown table, which TensorBoard renders."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)
