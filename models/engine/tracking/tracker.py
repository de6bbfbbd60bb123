"""Tell other programs of a training while it runs: TensorBoard, MLflow. Off unless asked for; changes no result."""

import re
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from utils.console import STOPPED, say, warn
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs.run_folder import Run
from utils.system import optional_packages

KILLED, FAILED = "KILLED", "FAILED"  # how a training ended that did not end well, in MLflow's words


class Tracker(Protocol):
    """One program that is told of a run. Any exception but LeukoBenchError is no defect here: the program is gone."""

    name: str  # as a person reads it: "MLflow at http://127.0.0.1:5000"

    def begin(self, run: Run) -> None:
        """Open the record of a run, the one of before if there is one, and send the epochs that it lacks."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Send one row of history.csv."""

    def finish(self, run: Run) -> None:
        """Send all that the record still lacks, and close it. Works without `begin`, and twice."""

    def fail(self, status: str, reason: str) -> None:
        """Close the record as KILLED or FAILED."""

    def later(self, run: Run) -> str:
        """Say in a clause how to send later what the program missed."""

    def done(self) -> str:
        """Say in a line where to look at the run."""


class Tracking:
    """The programs that are told of one training: none, unless asked for.

    A program that fails is left alone until the training has ended: one Note says so, and what it missed is sent then.

    As a context manager it closes the records: well where the block ends well, else as KILLED after Ctrl-C or FAILED.
    """

    def __init__(self, *trackers: Tracker) -> None:
        self._trackers, self._lost = trackers, set[str]()
        self._run: Run | None = None

    def begin(self, run: Run) -> None:
        """Take up a run whose folder has its configuration and, where it goes on, its history."""
        self._run = run
        for tracker in self._trackers:
            self._try(tracker, lambda tracker=tracker: tracker.begin(run))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Tell of an epoch that is finished and kept."""
        for tracker in self._trackers:
            if tracker.name not in self._lost:
                self._try(tracker, lambda tracker=tracker: tracker.epoch(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is None:
            return  # it ended before there was anything to tell of
        stopped = isinstance(problem, KeyboardInterrupt) or (
            isinstance(problem, SystemExit) and problem.code == STOPPED
        )
        for tracker in self._trackers:
            if problem is None:
                self._finish(tracker, self._run)
            elif tracker.name not in self._lost:
                cause = problem.__context__ or problem if isinstance(problem, SystemExit) else problem
                how = (KILLED, "") if stopped else (FAILED, f"{type(cause).__name__}: {cause}")
                self._try(tracker, lambda tracker=tracker, how=how: tracker.fail(*how))

    def _finish(self, tracker: Tracker, run: Run) -> None:
        missed = tracker.name in self._lost
        if self._try(tracker, lambda: tracker.finish(run)):
            say(f"  {tracker.done()}{'; it is back, and has what it missed' if missed else ''}")

    def _try(self, tracker: Tracker, send: Callable[[], None]) -> bool:
        """Call and return whether that went well; the first time that it does not is said."""
        try:
            send()
            return True
        except Exception as problem:  # of networks, servers and disks: none of them may end a training
            if tracker.name not in self._lost:
                self._lost.add(tracker.name)
                warn(f"{tracker.name} no longer takes what it is told ({reason(problem)}). {tracker.later(self._run)}")
            return False


def check(tensorboard: bool, mlflow: str | None) -> None:
    """Find out before any training starts whether what was asked for can be had.

    Raises:
        LeukoBenchError: a package is missing, or the URI is none or not answered.
    """
    if tensorboard:
        optional_packages.need("tensorboard", "--tensorboard")
    if mlflow is not None:
        from models.engine.tracking import mlflow_client

        optional_packages.need("mlflow", "--mlflow")
        mlflow_client.reach(mlflow)


def choose(tensorboard: bool, mlflow: str | None) -> Tracking:
    """Return the tracking that was asked for, once the programs have answered.

    Args:
        tensorboard: write event files into the run's folder.
        mlflow: tracking URI of MLflow; None: none.

    Raises:
        LeukoBenchError: a package is missing, or MLflow cannot be reached or refuses.
    """
    check(tensorboard, mlflow)
    trackers: list[Tracker] = []
    if tensorboard:
        from models.engine.tracking.tensorboard_tracker import TensorBoard

        trackers.append(TensorBoard())
    if mlflow is not None:
        from models.engine.tracking.mlflow_tracker import Mlflow

        trackers.append(Mlflow(mlflow))
    return Tracking(*trackers)


def flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names, lists as JSON: {"variant.name": "rgb", "filters": "[4,8]"}."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = files.compact(value) if isinstance(value, list | tuple) else value
    return found


def without_secrets(text: str) -> str:
    """Return a text of another program on one line, without the names, passwords and queries of URIs in it.

    A password may hold any character but a space: what stands before the last @ of a word goes.
    """
    text = re.sub(r"//\S*@", "//", " ".join(text.split()))
    return re.sub(r"\?[^\s=]*=\S*", "", re.sub(r"\S+@", "...@", text))


def reason(problem: BaseException) -> str:
    """Return in a few words, on one line, why another program or its machine could not be used."""
    text = without_secrets(str(problem))
    if isinstance(problem, LeukoBenchError):
        return text.rstrip(".")
    known = {
        "Failed to parse": "it is no valid URL; in a name or password write / ? # @ as %2F %3F %23 %40",
        "refused": "connection refused",
        "timed out": "no answer in time",
        "Timeout": "no answer in time",
        "resolve": "no such host",
        "translate host name": "no such host",
        "Remote end closed": "the connection was cut",
        "Connection reset": "the connection was cut",
        "Connection aborted": "the connection was cut",
    }
    for mark, words in known.items():
        if mark in text:
            return words
    return getattr(problem, "strerror", None) or text.rstrip(".")[:160] or type(problem).__name__
