"""Command `track`: send finished runs to MLflow."""

from typing import Annotated

import typer

from models.engine import cli
from models.engine.tracking import mlflow_client, mlflow_tracker, redaction
from models.engine.tracking import tracker as run_tracker
from utils.console import say
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup


def track(
    runs: Annotated[list[str], typer.Argument(help="Finished runs.")],
    mlflow: Annotated[
        str, typer.Option(metavar="URI", help="Tracking URI: http://HOST:PORT, sqlite:///FILE.db, file:FOLDER.")
    ],
    root: cli.Root = None,
) -> None:
    """Send finished runs to MLflow; for a run that is already there, only changes are sent."""
    chosen = [lookup.open_run(name, root or runs_dir()) for name in runs]
    for run in chosen:
        if not run.finished:
            raise LeukoBenchError(
                f"Run {run.id} is not finished. Continue with: python run_guide.py train --resume {run.id} "
                f"--mlflow {mlflow_client.shown(mlflow)}"
            )
    run_tracker.check(False, mlflow)
    tracker = mlflow_tracker.Mlflow(mlflow)
    for run in chosen:
        try:
            tracker.finish(run)
        except LeukoBenchError:
            raise
        except Exception as problem:  # of MLflow or the network
            raise LeukoBenchError(
                f"{tracker.name} did not accept all of {run.id}: {redaction.reason(problem)}. Run it again: only "
                "the rest is sent."
            ) from None
        say(f"{run.id}: {tracker.location()}")
