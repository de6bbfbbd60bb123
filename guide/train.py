"""Commands that train and evaluate models."""

from typing import Annotated

import typer

import models
from models import launching, scripts
from utils import artifacts, console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir


def train(
    model: Annotated[list[str] | None, typer.Argument(help="Models to train, one after another.")] = None,
    dataset: scripts.Dataset = "",
    split: scripts.Split = "64/16/20",
    seed: scripts.Seed = 42,
    set_: scripts.Settings = None,
    profile: scripts.Profile = "",
    resume: scripts.Resume = "",
    root: scripts.Root = None,
) -> int:
    """Train models on a dataset and evaluate them on its test images."""
    place = (root or runs_dir()).resolve()
    if resume:
        run = artifacts.open_run(resume, place)
        names, options = [run.model], ["--resume", str(run.path.resolve())]
        batch_sizes = {}
    else:
        names = model or []
        if not names:
            raise LeukoBenchError(f"Name at least one model: {', '.join(models.names())}.")
        # Every mistake is found before the first training starts.
        batch_sizes = {name: models.config_for(name, profile, set_ or ()).batch_size for name in names}
        options = ["--dataset", dataset, "--split", split, "--seed", str(seed), "--profile", profile]
        options += ["--root", str(place)] + [part for each in set_ or () for part in ("--set", each)]
    outcomes = launching.train_each(names, options, batch_sizes)
    failed = [outcome for outcome in outcomes if outcome.status]
    if len(names) > 1:
        done = [outcome.model for outcome in outcomes if not outcome.status]
        console.say(f"Trained: {', '.join(done) or 'none'}.")
        if failed:
            console.error(f"Not finished: {', '.join(outcome.model for outcome in failed)}; the reasons stand above.")
    if not failed:
        return 0
    return 130 if failed[-1].status == 130 else failed[-1].status if len(names) == 1 and failed[-1].status == 2 else 1


def evaluate(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs; none: the latest of every model.")] = None,
    root: scripts.Root = None,
) -> None:
    """Evaluate runs again: predictions, timing and metrics."""
    from models import evaluation

    place = root or runs_dir()
    chosen = [artifacts.open_run(name, place) for name in runs] if runs else artifacts.latest_runs(place)
    for run in chosen:
        console.say(f"Evaluating {run.id}")
        summary = evaluation.evaluate(run).metrics()["test"]
        console.say(f"  test accuracy {summary['accuracy']:.4f} on {summary['images']} images")


def models_() -> None:
    """List the models with what they start from and how they train."""
    rows = []
    for name in models.names():
        config = models.config_for(name)
        phases = " + ".join(f"{p.epochs} {p.name}" for p in config.phases())
        rows.append((name, f"{config.image_size} px", config.initialisation, phases, ", ".join(config.PROFILES)))
    console.table("Models", ("model", "images", "initialisation", "epochs", "profiles"), rows)
    console.say("Settings of one: python run_guide.py train MODEL --set FIELD=VALUE")
