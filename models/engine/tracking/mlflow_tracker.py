"""Send a run to MLflow: parameters, metrics of each epoch, tags, files and the final status."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any

from models.engine.model_card import card as model_card
from models.engine.tracking import mlflow_client
from models.engine.tracking.redaction import flat
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    from mlflow.entities import Metric

FILE = "tracking.json"  # in the run folder: ids of the MLflow runs of this run, by server
UPLOADED = (
    *(run_folder.CONFIG, run_folder.ENVIRONMENT, run_folder.HISTORY, run_folder.PREDICTIONS, run_folder.METRICS),
    *(run_folder.TIMING, run_folder.ARCHITECTURE, run_folder.WEIGHTS),
)
EPOCH = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")  # columns of history.csv
EPOCH_MARK = "val_loss"  # the metric that shows which epochs MLflow holds
PARAMETERS_AT_ONCE = 100  # limit of MLflow


class Mlflow:
    """Sends one run to MLflow; data that MLflow holds already are not sent again."""

    def __init__(self, uri: str) -> None:
        """Connect, and create the experiment if it is missing.

        Raises:
            LeukoBenchError: MLflow cannot be reached, or refuses the connection.
        """
        self._place, self._id = mlflow_client.place(uri), ""
        self.name = f"MLflow at {mlflow_client.shown(uri)}"
        self._client, self._experiment = mlflow_client.connect(uri)

    def begin(self, run: Run) -> None:
        """Continue the MLflow run whose id is in the run folder, or create one; send the epochs that it lacks."""
        self._open(run)
        rows = run.epochs()
        known = self._client.get_metric_history(self._id, EPOCH_MARK) if rows else []
        held, at = {point.step for point in known}, max((p.timestamp for p in known), default=_started(run))
        for row in rows:
            if row["epoch"] not in held:
                at += int(1000 * row["seconds"])  # as if there were no breaks, and after the last point
                self._client.log_batch(self._id, metrics=_of_epoch(row, at))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Send the metrics of an epoch."""
        self._client.log_batch(self._id, metrics=_of_epoch(row, int(1000 * time())))

    def finish(self, run: Run) -> None:
        """Send missing scores, files and the model card; close the MLflow run as FINISHED.

        A run that is complete and closed in MLflow is not changed. The end time is that of metrics.json. A file is sent
        where MLflow has none of its name and size, or where a score has changed.

        Raises:
            LeukoBenchError: a file has changed since the run was measured.
        """
        from mlflow.entities import Metric

        run.check(*UPLOADED)
        self._id = self._known(run)
        about = self._client.get_run(self._id) if self._id else None
        held = about.data.metrics if about else {}
        scores = {name: value for name, value in _scores(run).items() if held.get(name) != value}
        sizes = {each.path: each.file_size for each in self._client.list_artifacts(self._id)} if about else {}
        paths = [path for name in UPLOADED if (path := run.file(name)).is_file()]
        paths += [model_card.write(run)] if run.finished else []
        missing = [path for path in paths if scores or sizes.get(path.name) != path.stat().st_size]
        if about and about.info.status == "FINISHED" and not scores and not missing:
            return
        self.begin(run)
        end = int(1000 * run.file(run_folder.METRICS).stat().st_mtime) if run.finished else int(1000 * time())
        if scores:
            step = len(run.epochs())
            self._client.log_batch(self._id, metrics=[Metric(n, v, end, step) for n, v in scores.items()])
        for path in missing:
            self._client.log_artifact(self._id, str(path))
        self._client.set_terminated(self._id, "FINISHED", end_time=end)

    def fail(self, status: str, reason: str) -> None:
        """Close the MLflow run as KILLED or FAILED, with the reason as a tag."""
        if self._id:
            if reason:
                self._client.set_tag(self._id, "failure", reason[:500])
            self._client.set_terminated(self._id, status)

    def retry_hint(self, run: Run) -> str:
        """Return a sentence about how missing data are sent later."""
        return (
            "Training continues; missing data are sent at the end if it is available again, otherwise run: "
            f"python run_guide.py track {run.id} --mlflow {self._place}"
        )

    def location(self) -> str:
        """Return a line with the id of the run in MLflow."""
        return f"{self.name}: run {self._id} of the experiment {mlflow_client.EXPERIMENT}"

    def _known(self, run: Run) -> str:
        """Return the id of this run in MLflow; "" where there is none, or it was deleted."""
        from mlflow.exceptions import MlflowException

        known = _ids(run).get(self._place, "")
        try:
            return known if known and self._client.get_run(known).info.lifecycle_stage == "active" else ""
        except MlflowException as problem:
            if problem.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return ""

    def _open(self, run: Run) -> None:
        from mlflow.entities import Param

        self._id = self._known(run)
        if self._id:
            self._client.update_run(self._id, status="RUNNING")
            return
        made = self._client.create_run(self._experiment, _started(run), _tags(run), run.id)
        self._id = made.info.run_id
        files.write_json(run.file(FILE), {"mlflow": _ids(run) | {self._place: self._id}})
        fields = [Param(name, str(value)) for name, value in flat(run.config()).items()]
        for start in range(0, len(fields), PARAMETERS_AT_ONCE):
            self._client.log_batch(self._id, params=fields[start : start + PARAMETERS_AT_ONCE])


def _ids(run: Run) -> dict[str, str]:
    """Read tracking.json: ids of this run in MLflow, by `mlflow_client.place`."""
    path = run.file(FILE)
    held = files.read_json(path) if path.is_file() else {"mlflow": {}}
    ids = held.get("mlflow") if isinstance(held, dict) else None
    if not isinstance(ids, dict) or not all(isinstance(each, str) for each in ids.values()):
        raise LeukoBenchError(f"{path} is damaged. Remove it, and the run is sent as a new one.")
    return ids


def _tags(run: Run) -> dict[str, str]:
    config, about = run.config(), run.environment()
    machine = ", ".join(str(about[key]) for key in ("cpu", "device") if about.get(key))
    tags = {
        "model": run.model,
        "label": run.label(),
        "dataset": config["dataset"],
        "split": config.get("split"),
        "manifest": about["manifest"],
        "test_identity": about.get("test_identity"),
        "seed": config["seed"],
        "initialisation": config.get("initialisation"),
        "machine": f"{machine}, {about.get('threads')} threads",
        "precision": about.get("precision"),
        "mlflow.source.name": f"models.{run.model}",
        "mlflow.source.git.commit": about.get("git_commit"),
    }
    return {name: str(value) for name, value in tags.items() if value not in (None, "")}


def _of_epoch(row: Mapping[str, Any], milliseconds: int) -> "list[Metric]":
    from mlflow.entities import Metric

    return [Metric(name, row[name], milliseconds, row["epoch"]) for name in EPOCH if name in row]


def _started(run: Run) -> int:
    """Return the start time of a run in milliseconds since 1970."""
    said = str(run.environment().get("started", ""))
    try:
        return int(1000 * datetime.strptime(said, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return int(1000 * time())


def _scores(run: Run) -> dict[str, float]:
    """Return the numbers of metrics.json and timing.json under flat names."""
    found: dict[str, Any] = {}
    if run.file(run_folder.METRICS).is_file():
        for subset, scores in run.metrics().items():
            subset = "best_val" if subset == "val" else subset  # "val_accuracy" is the metric of an epoch
            found |= {f"{subset}_{name}": value for name, value in flat(scores).items()}
            found |= {f"{subset}_recall_{each['class']}": each["recall"] for each in scores.get("per_class", ())}
    if run.file(run_folder.TIMING).is_file():
        for part, numbers in files.read_json(run.file(run_folder.TIMING)).items():
            found |= {f"{part}_{name}": value for name, value in flat(numbers).items()}
    numbers = {n: v for n, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {re.sub(r"[^\w\-. /]", "_", name): float(value) for name, value in numbers.items()}
