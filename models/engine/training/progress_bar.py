"""Progress of a training: a bar of steps on a terminal, and one line per epoch everywhere."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from utils.console import console, say
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import keras


class Interrupted(KeyboardInterrupt):
    """Training was stopped with Ctrl-C, after the current step."""


class StopSignal:
    """Turns the first Ctrl-C into a flag that training checks after each step; a second one stops at once."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Raise Interrupted once Ctrl-C was pressed."""
        if self.requested:
            raise Interrupted

    @contextmanager
    def listening(self) -> Iterator["StopSignal"]:
        """Catch Ctrl-C while the block runs."""

        def note(signum: int, frame: Any) -> None:
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def training_bar(title: str, epochs: int) -> Iterator["Bar"]:
    """Show a bar that counts the steps of the current epoch."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("loss {task.fields[loss]:.3f} acc {task.fields[accuracy]:.3f}"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=not sys.stdout.isatty(),
    )
    with progress:
        yield Bar(progress, title, epochs)


class Bar:
    """The bar of one training run."""

    def __init__(self, progress: Progress, title: str, epochs: int) -> None:
        self._progress, self._title, self._epochs = progress, title, epochs
        self._task = progress.add_task(title, total=1, loss=float("nan"), accuracy=float("nan"))

    def begin(self, epoch: int, steps: int) -> None:
        """Reset the bar for an epoch."""
        title = f"{self._title} epoch {epoch}/{self._epochs}"
        self._progress.reset(self._task, total=steps, description=title, loss=float("nan"), accuracy=float("nan"))

    def step(self, done: int, logs: dict[str, float]) -> None:
        """Show the finished steps, and loss and accuracy so far."""
        self._progress.update(self._task, completed=done, loss=logs["loss"], accuracy=logs["accuracy"])

    def end(self, row: dict[str, Any]) -> None:
        """Print the line of a finished epoch."""
        say(
            f"  epoch {row['epoch']:>2}/{self._epochs} {row['phase']:<9} {row['seconds']:5.1f} s  "
            f"loss {row['loss']:.3f} acc {row['accuracy']:.3f}  "
            f"val loss {row['val_loss']:.3f} acc {row['val_accuracy']:.3f}"
        )


def advice(rate_field: str) -> str:
    """Return what to do about a loss that is not finite; `rate_field` is the field that set the learning rate."""
    return f"Try a lower --set {rate_field}, or --set precision=float32."


def step_callback(bar: Bar, stop: StopSignal, rate_field: str, pause: float = 0.0) -> "keras.callbacks.Callback":
    """Return the Keras callback that updates the bar, and stops after a step with a non-finite loss or Ctrl-C.

    Args:
        bar: shows steps, loss and accuracy.
        stop: checked after every step.
        rate_field: field that set the learning rate.
        pause: seconds between reads of the loss; a read waits for the device, which then idles until the next step.
    """
    import keras
    import numpy as np

    class Step(keras.callbacks.Callback):
        last_read = -float("inf")

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            stop.check()
            if perf_counter() - self.last_read < pause:
                return
            values = {name: float(value) for name, value in (logs or {}).items()}
            if not np.isfinite(values["loss"]):
                raise LeukoBenchError(
                    f"The loss became {values['loss']} at step {batch + 1}; training stops and the weights of the best "
                    f"finished epoch are kept. {advice(rate_field)}"
                )
            bar.step(batch + 1, values)
            self.last_read = perf_counter()
            stop.check()

    return Step()
