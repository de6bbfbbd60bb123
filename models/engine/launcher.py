"""Run trainings and evaluations as separate processes, one after another, so that one failure stops no other."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import models
from utils.console import ERROR_FILE, error, say
from utils.paths import PROJECT
from utils.runs.run_folder import Run

ATTACHED = "--attached"  # flag of a process that `end_with_parent`
OUT_OF_GPU_MEMORY = 75  # exit status of a training that may succeed with a smaller batch


@dataclass(frozen=True)
class Outcome:
    """How one process ended: status 0 is success, 130 is Ctrl-C, a negative one is a signal."""

    name: str
    status: int


def train_each(names: Sequence[str], options: Sequence[str], batch_sizes: dict[str, int]) -> list[Outcome]:
    """Train models one after another.

    Args:
        names: models.
        options: of `python -m models.<name>.train`.
        batch_sizes: images per step by model, halved when a GPU runs out of memory.

    Returns:
        One outcome per model, up to the one that was stopped with Ctrl-C.
    """
    outcomes = []
    for number, name in enumerate(names, start=1):
        if len(names) > 1:
            say(f"[{number}/{len(names)}] {name}")
        status = _train(name, options, batch_sizes.get(name, 1))
        if status < 0:
            error(f"{name} was ended by {ended_by(status)} Finished epochs are kept: continue with train --resume.")
        outcomes.append(Outcome(name, status))
        if status == 130:
            break
    return outcomes


def train_quietly(name: str, options: Sequence[str], batch_size: int, log: Path, watch: Callable[[], None]) -> int:
    """Train one model with its output in a file; return its exit status.

    Args:
        name: of the model.
        options: of `python -m models.<name>.train`.
        batch_size: images per step, halved when a GPU runs out of memory.
        log: file that the output is appended to.
        watch: called every second.
    """
    status = _train(name, options, batch_size, log, watch)
    if status < 0:
        error_file(log).write_text(f"The training was ended by {ended_by(status)}", encoding="utf-8")
    return status


def error_file(log: Path) -> Path:
    """Return the file beside a log to which a process writes its last error."""
    return log.with_suffix(".error")


def error_of(log: Path) -> str:
    """Return the last error of the process that wrote a log; "" if it reported none."""
    path = error_file(log)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _train(
    name: str, options: Sequence[str], batch_size: int, log: Path | None = None, watch: Callable[[], None] | None = None
) -> int:
    status = _run(name, "train", options, log, watch)
    while (
        status == OUT_OF_GPU_MEMORY and batch_size > 1 and "--resume" not in options
    ):  # a resumed run keeps its settings
        batch_size //= 2
        if log is None:
            say(f"  again with batch_size={batch_size}")
        status = _run(name, "train", [*options, "--set", f"batch_size={batch_size}"], log, watch)
    return status


def evaluate_each(runs: Sequence[Run]) -> list[Outcome]:
    """Evaluate runs one after another in processes with memory of their own; return one outcome per run."""
    outcomes = []
    for run in runs:
        say(f"Evaluating {run.id}")
        status = _run(run.model, "evaluate", [str(run.path.resolve())])
        if status < 0:
            error(f"{run.id} was ended by {ended_by(status)}")
        outcomes.append(Outcome(run.id, status))
        if status == 130:
            break
    return outcomes


def ended_by(status: int) -> str:
    """Return the signal of a negative exit status as the end of a sentence: "SIGKILL." and a hint."""
    hint = " The system was probably out of memory." if -status == signal.SIGKILL else ""
    return f"{signal.Signals(-status).name}.{hint}"


def environment(log: Path | None = None) -> dict[str, str]:
    """Return the environment variables of a process that imports the project, from any folder."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    if log is None:
        return os.environ | {"PYTHONPATH": path}
    error_file(log).unlink(missing_ok=True)
    return os.environ | {"PYTHONPATH": path, ERROR_FILE: str(error_file(log).resolve())}


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended and thereby closed the standard input."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(128 + signal.SIGTERM)

    Thread(target=wait, daemon=True).start()


def _run(
    name: str, script: str, options: Sequence[str], log: Path | None = None, watch: Callable[[], None] | None = None
) -> int:
    command = [sys.executable, *models.command(name, script), *options, ATTACHED]
    with open(log, "ab") if log else nullcontext() as handle:
        output = {"stdout": handle, "stderr": subprocess.STDOUT} if log else {}
        # Nothing is written to its input: its end tells the process that this one has ended.
        process = subprocess.Popen(command, env=environment(log), stdin=subprocess.PIPE, **output)
    while True:
        try:
            return process.wait(1 if watch else None)
        except subprocess.TimeoutExpired:
            watch()
        except KeyboardInterrupt:
            continue  # the process receives Ctrl-C too; a training ends after its step
