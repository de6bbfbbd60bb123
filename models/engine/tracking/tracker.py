"""Report a training to TensorBoard and MLflow while it runs. Off by default; no result depends on it."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from models.engine.tracking.redaction import reason
from utils.console import STOPPED, say, warn
from utils.runs.run_folder import Run
from utils.system import optional_packages

KILLED, FAILED = "KILLED", "FAILED"  # MLflow's statuses of a training that did not finish


class Tracker(Protocol):
    """Records one run in another program. Any exception that it raises means that the program is not available."""

    name: str  # for messages: "MLflow at http://127.0.0.1:5000"

    def begin(self, run: Run) -> None:
        """Open the existing record of a run, or create one, and send the epochs that it lacks."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Send one row of history.csv."""

    def finish(self, run: Run) -> None:
        """Send everything the record still lacks and close it. Works without `begin`, and repeatedly."""

    def fail(self, status: str, reason: str) -> None:
        """Close the record as KILLED or FAILED."""

    def retry_hint(self, run: Run) -> str:
        """Return a sentence about how missing data are sent later."""

    def location(self) -> str:
        """Return a line about where to see the run."""


class Tracking:
    """The trackers of one training; none by default.

    A tracker that fails is skipped until the training has ended: one Note reports it, and the missing data are sent at
    the end. As a context manager it closes the records: as finished, as KILLED after Ctrl-C, or as FAILED.
    """

    def __init__(self, *trackers: Tracker) -> None:
        self._trackers, self._lost = trackers, set[str]()
        self._run: Run | None = None

    def begin(self, run: Run) -> None:
        """Start to track a run whose folder holds its configuration and, if it is resumed, its history."""
        self._run = run
        for tracker in self._trackers:
            self._try(tracker, lambda tracker=tracker: tracker.begin(run))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Report an epoch that is finished and saved."""
        for tracker in self._trackers:
            if tracker.name not in self._lost:
                self._try(tracker, lambda tracker=tracker: tracker.epoch(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is None:
            return  # it ended before there was a run to report
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
            say(f"  {tracker.location()}{'; it is available again, missing data were sent' if missed else ''}")

    def _try(self, tracker: Tracker, send: Callable[[], None]) -> bool:
        """Call `send` and return whether it succeeded; print a Note on the first failure of a tracker."""
        try:
            send()
            return True
        except Exception as problem:  # of networks, servers and disks: none of them may end the training
            if tracker.name not in self._lost:
                self._lost.add(tracker.name)
                warn(f"{tracker.name} is not available ({reason(problem)}). {tracker.retry_hint(self._run)}")
            return False


def check(tensorboard: bool, mlflow: str | None) -> None:
    """Check before any training starts that the chosen trackers can be used.

    Raises:
        LeukoBenchError: a package is missing, the URI is not valid, or the server does not answer.
    """
    if tensorboard:
        optional_packages.need("tensorboard", "--tensorboard")
    if mlflow is not None:
        from models.engine.tracking import mlflow_client

        optional_packages.need("mlflow", "--mlflow")
        mlflow_client.reach(mlflow)


def choose(tensorboard: bool, mlflow: str | None) -> Tracking:
    """Connect to the chosen trackers.

    Args:
        tensorboard: write event files into the run's folder.
        mlflow: tracking URI of MLflow; None for no MLflow.

    Raises:
        LeukoBenchError: a package is missing, or MLflow cannot be reached or refuses the connection.
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
