"""Commands that train and evaluate models."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

import models
from data import catalog
from guide import repeating
from models.engine import cli, launcher, settings_file
from models.engine.config import recipes
from models.engine.layers import pretrained
from models.engine.tracking import tracker
from utils import console
from utils.console import STOPPED
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder, split_spec

Split = Annotated[
    str | None,
    typer.Option(
        help="Percent, kfold:K:I, grouped, grouped-kfold:K:I; kfold:5 is all five folds, one after another.",
        show_default=split_spec.DEFAULT,
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option(
        "--seed",
        min=0,
        max=cli.MAX_SEED,
        help="Seed of weights, order, augmentation, dropout; given again, one more training.",
        show_default="42",
    ),
]


def train(
    model: Annotated[list[str] | None, typer.Argument(help="Models to train, one after another.")] = None,
    dataset: cli.Dataset = "",
    split: Split = None,
    seed: Seeds = None,
    set_: cli.Settings = None,
    profile: cli.Profile = "",
    recipe: cli.Recipe = "",
    config: cli.ConfigFile = None,
    resume: cli.Resume = "",
    root: cli.Root = None,
    tensorboard: cli.TensorBoard = False,
    mlflow: cli.Mlflow = None,
    devices: cli.Devices = "",
) -> int:
    """Train models on a dataset and evaluate them on its test images."""
    place = (root or runs_dir()).resolve()
    flags = cli.given({"dataset": dataset, "split": split, "seed": seed or None, "recipe": recipe})
    if resume:
        run = lookup.open_run(resume, place)
        if set_ or profile or config or flags or (model and model != [run.model]):
            raise LeukoBenchError(f"--resume goes on with the settings of {run.id}: give no others beside it.")
        names = [run.model]
        tracker.check(tensorboard, mlflow)
        told = cli.tracking_options(tensorboard, mlflow)
        outcomes = launcher.train_each(names, ["--resume", str(run.path.resolve()), "--devices", devices, *told], {})
        return _ended(names, outcomes)
    named = settings_file.read(config).get("model") if config else None
    names = model or ([str(named)] if named else [])
    if not names:
        raise LeukoBenchError(f"Name at least one model: {', '.join(models.names())}.")
    # Every mistake is found before the first training starts.
    values = {field: value for field, value in flags.items() if field != "seed"}
    laid = {name: settings_file.settings(config, name, profile) if config else [] for name in names}
    configs = {name: models.config_for(name, profile, laid[name] + (set_ or []), **values) for name in names}
    repeats = repeating.repeats(configs, seed or [])
    for each in configs.values():
        if each.dataset:
            catalog.ensure_dataset(each.dataset)
        if each.weights not in ("imagenet", "none"):
            pretrained.check_file(each.weights)
    repeating.check_groups(configs.values())
    tracker.check(tensorboard, mlflow)
    options = ["--dataset", dataset, "--profile", profile, "--recipe", recipe]
    options += ["--config", str(config.resolve())] if config else []
    options += ["--root", str(place)] + [part for each in set_ or () for part in ("--set", each)]
    options += ["--devices", devices, *cli.tracking_options(tensorboard, mlflow)]
    batch_sizes = {name: each.batch_size for name, each in configs.items()}
    before = set(run_folder.find_runs(place))
    outcomes = []
    for number, repeat in enumerate(repeats, start=1):
        if len(repeats) > 1:
            console.say(f"[{number}/{len(repeats)}] {', '.join(map(repeat.label, repeat.names))}", style="bold")
        words = ["--split", repeat.split or split or ""]
        words += ["--seed", str(repeat.seed)] if repeat.seed is not None else []
        ended = launcher.train_each(repeat.names, options + words, batch_sizes)
        outcomes += [replace(outcome, name=repeat.label(outcome.name)) for outcome in ended]
        if outcomes and outcomes[-1].status == STOPPED:
            break
    if len(repeats) > 1:
        repeating.show([run for run in run_folder.find_runs(place, finished=True) if run not in before])
    return _ended([repeat.label(name) for repeat in repeats for name in repeat.names], outcomes)


def _ended(names: Sequence[str], outcomes: Sequence[launcher.Outcome]) -> int:
    """Say what was trained where there were several; return the exit code."""
    failed = [outcome for outcome in outcomes if outcome.status]
    if len(names) > 1:
        done = [outcome.name for outcome in outcomes if not outcome.status]
        console.say(f"Trained: {', '.join(done) or 'none'}.")
        if failed:
            console.error(f"Not finished: {', '.join(outcome.name for outcome in failed)}; the reasons stand above.")
        if len(outcomes) < len(names):
            console.say(f"Not begun: {', '.join(names[len(outcomes) :])}.")
    if not failed:
        return 0
    return 130 if failed[-1].status == 130 else failed[-1].status if len(names) == 1 and failed[-1].status == 2 else 1


def evaluate(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs; none: the latest of every model.")] = None,
    export: Annotated[
        str, typer.Option(help="Evaluate their export of that name (onnx-int8, ...), not the weights.")
    ] = "",
    root: cli.Root = None,
) -> int:
    """Evaluate runs again: predictions, timing and metrics.

    With --export, what comes out lies beside the files of the export, and the run's own files stay as they are.
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
        models.config_for(run.model)  # a run of a model that is not in this checkout is said before the first starts
    if export:
        return 1 if [run for run in chosen if not _evaluate_export(run, export)] else 0
    outcomes = launcher.evaluate_each(chosen)
    return max((outcome.status if outcome.status in (0, 130) else 1 for outcome in outcomes), default=0)


def _evaluate_export(run: run_folder.Run, name: str) -> bool:
    """Evaluate an export and say what came out, or why nothing did; return whether it could be."""
    from models.engine.export import store as export_store
    from models.engine.export import validation

    export_store.check_name(name)
    console.say(f"Evaluating {name} of {run.id}")
    try:
        found = validation.evaluate(run, name)
    except LeukoBenchError as problem:  # of this run: the next may have the export
        console.error(str(problem))
        return False
    timed, tested, before = found["timing"], found["metrics"]["test"], run.metrics()["test"]
    console.say(
        f"  test accuracy {100 * tested['accuracy']:.2f} % (weights {100 * before['accuracy']:.2f} %), one image "
        f"{timed['latency_ms_p50']:.2f} ms (p95 {timed['latency_ms_p95']:.2f})"
    )
    console.say(f"  {export_store.folder(run, name)}")
    return True


def models_() -> None:
    """List the models with what they start from and how they train."""
    from models import keras_applications

    rows = []
    for name in models.names():
        config = models.config_for(name)
        phases = " + ".join(f"{p.epochs} {p.name}" for p in config.phases())
        images = f"{config.image_size} px {config.variant.name}"
        rows.append((name, images, config.initialisation, phases, ", ".join(config.PROFILES)))
    console.table("Models", ("model", "images", "initialisation", "epochs", "profiles"), rows)
    console.say("Settings of one: python run_guide.py train MODEL --set FIELD=VALUE")
    console.say(f"Recipes for any of them: --recipe {' | '.join(recipes.names())}")
    console.say(f"\nAny architecture of keras.applications is a model too, as in: {keras_applications.EXAMPLE}")
    console.say(", ".join(keras_applications.names()))
