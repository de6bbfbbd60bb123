"""Command `evaluate`: predictions, timing and metrics of finished runs or of their exports."""

from typing import Annotated

import typer

import models
from models.engine import cli, launcher
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder


def evaluate(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs. Default: the latest run of every model.")] = None,
    export: Annotated[
        str, typer.Option(help="Evaluate this export of the runs (onnx-int8, ...) instead of the weights.")
    ] = "",
    root: cli.Root = None,
) -> int:
    """Evaluate runs: write predictions, timing and metrics.

    With --export, the results are written beside the files of the export; the run's own files do not change.
    """
    from utils.runs.comparison import latest

    place = root or runs_dir()
    if runs:
        chosen = [lookup.open_run(name, place) for name in runs]
    else:
        chosen, problems = latest(place, lambda run: run)
        for problem in problems:
            console.warn(problem)
    for run in chosen:
        run.check_inside()  # the process of an evaluation gets the path behind all links
        models.config_for(run.model)  # an unknown model is reported before the first evaluation starts
    if export:
        return 1 if [run for run in chosen if not _evaluate_export(run, export)] else 0
    outcomes = launcher.evaluate_each(chosen)
    return max((outcome.status if outcome.status in (0, 130) else 1 for outcome in outcomes), default=0)


def _evaluate_export(run: run_folder.Run, name: str) -> bool:
    """Evaluate an export and print the result or the error; return whether it succeeded."""
    from models.engine.export import store as export_store
    from models.engine.export import validation

    export_store.check_name(name)
    console.say(f"Evaluating {name} of {run.id}")
    try:
        found = validation.evaluate(run, name)
    except LeukoBenchError as problem:  # other runs may have the export
        console.error(str(problem))
        return False
    timing, exported, original = found["timing"], found["metrics"]["test"], run.metrics()["test"]
    console.say(
        f"  test accuracy {100 * exported['accuracy']:.2f} % (weights {100 * original['accuracy']:.2f} %), one image "
        f"{timing['latency_ms_p50']:.2f} ms (p95 {timing['latency_ms_p95']:.2f})"
    )
    console.say(f"  {export_store.folder(run, name)}")
    return True
