"""Commands `train` and `models`: train models over folds and seeds, and list the models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import models
from data import catalog
from data.splitting import given_split, splits
from guide.splits import report
from guide.views import show_table
from models.engine import cli, launcher, settings_file
from models.engine.config import recipes
from models.engine.layers import pretrained
from models.engine.tracking import tracker
from utils import console
from utils.console import STOPPED
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder, split_spec
from utils.runs.run_folder import Run
from utils.system import optional_packages

if TYPE_CHECKING:
    from models.engine.config.base import ModelConfig

Split = Annotated[
    str | None,
    typer.Option(
        help="Percentages, kfold:K:I, grouped, grouped-kfold:K:I or given; kfold:5 trains all five folds.",
        show_default=split_spec.DEFAULT_WORDS,
    ),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option(
        "--seed",
        min=0,
        max=cli.MAX_SEED,
        help="Seed of weights, image order, augmentation and dropout; repeat for several trainings.",
        show_default="42",
    ),
]


@dataclass(frozen=True)
class Repeat:
    """Models trained with one split and one seed; "" and None leave split and seed to the configuration."""

    names: list[str]
    split: str
    seed: int | None

    def label(self, name: str) -> str:
        """Return a model's name with the split and seed of this repeat."""
        seed = f"seed {self.seed}" if self.seed is not None else ""
        return " ".join(filter(None, (name, self.split, seed)))


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
    tracking = cli.tracking_options(tensorboard, mlflow)
    values = cli.given({"dataset": dataset, "split": split, "recipe": recipe})
    if resume:
        run = lookup.open_run(resume, place)
        if set_ or profile or config or values or seed or (model and model != [run.model]):
            raise LeukoBenchError(
                f"--resume continues {run.id} with its own settings. Give no model, dataset, split, seed or setting."
            )
        tracker.check(tensorboard, mlflow)
        return _resume(run, ["--devices", devices, *tracking])
    # All errors of the user are found before the first training starts.
    names = _models(model, config)
    configs = _configurations(names, profile, config, set_ or [], values)
    if any(each.split == split_spec.GIVEN for each in configs.values()):
        split = split_spec.GIVEN
    plan = repeats(configs, seed or [])
    _check(configs.values())
    tracker.check(tensorboard, mlflow)
    options = ["--dataset", dataset, "--profile", profile, "--recipe", recipe]
    options += ["--config", str(config.resolve())] if config else []
    options += ["--root", str(place)] + [part for each in set_ or () for part in ("--set", each)]
    options += ["--devices", devices, *tracking]
    before = set(run_folder.find_runs(place))
    outcomes = _train_all(plan, options, split or "", {name: each.batch_size for name, each in configs.items()})
    if len(plan) > 1:
        show_repeats([run for run in run_folder.find_runs(place, finished=True) if run not in before])
    return _report([repeat.label(name) for repeat in plan for name in repeat.names], outcomes)


def _resume(run: Run, options: list[str]) -> int:
    outcomes = launcher.train_each([run.model], ["--resume", str(run.path.resolve()), *options], {})
    return _report([run.model], outcomes)


def _models(model: list[str] | None, config: Path | None) -> list[str]:
    """Return the models of the command line, or else the model that a file of settings names."""
    if model:
        return model
    named = settings_file.read(config).get("model") if config else None
    if not named:
        raise LeukoBenchError(f"Name at least one model: {', '.join(models.names())}.")
    return [str(named)]


def _configurations(
    names: Sequence[str], profile: str, file: Path | None, settings: list[str], values: dict[str, object]
) -> dict[str, "ModelConfig"]:
    """Return the configuration of every model: its profile, then the file, then --set, then the other options."""
    from_file = {name: settings_file.settings(file, name, profile) if file else [] for name in names}
    configs = {name: models.config_for(name, profile, from_file[name] + settings, **values) for name in names}
    return {name: c.replace(split=c.split or given_split.default(c.dataset)) for name, c in configs.items()}


def _check(configs: Iterable["ModelConfig"]) -> None:
    """Check datasets and weight files, and make the grouped and given splits, which are reported.

    Raises:
        LeukoBenchError: a dataset or a file is missing, or a split cannot be made.
    """
    configs = list(configs)
    for config in configs:
        if config.dataset:
            catalog.ensure_dataset(config.dataset)
        if config.weights not in ("imagenet", "none"):
            pretrained.check_file(config.weights)
    for dataset, text, seed in dict.fromkeys((c.dataset, c.split, c.split_seed) for c in configs):
        for split in split_spec.expand(text):
            if split_spec.parse(split).kind != split_spec.RANDOM:
                name = catalog.ensure_dataset(dataset)
                report(name, split, splits.prepare_split(name, split, seed).manifest)


def repeats(configs: Mapping[str, "ModelConfig"], seeds: Sequence[int]) -> list[Repeat]:
    """Return the trainings in their order: every fold with every seed.

    Raises:
        LeukoBenchError: a split is unknown.
    """
    by_folds: dict[tuple[str, ...], list[str]] = {}
    for name, config in configs.items():
        folds = split_spec.expand(config.split)
        by_folds.setdefault(() if folds == [config.split] else tuple(folds), []).append(name)
    all_seeds = list(dict.fromkeys(seeds)) or [None]
    return [
        Repeat(names, split, seed)
        for folds, names in by_folds.items()
        for split in folds or ("",)
        for seed in all_seeds
    ]


def _train_all(
    plan: Sequence[Repeat], options: list[str], split: str, batch_sizes: dict[str, int]
) -> list[launcher.Outcome]:
    """Train every repeat, each model in a process of its own; stop after Ctrl-C."""
    outcomes: list[launcher.Outcome] = []
    for number, repeat in enumerate(plan, start=1):
        if len(plan) > 1:
            console.say(f"[{number}/{len(plan)}] {', '.join(map(repeat.label, repeat.names))}", style="bold")
        words = ["--split", repeat.split or split]
        words += ["--seed", str(repeat.seed)] if repeat.seed is not None else []
        ended = launcher.train_each(repeat.names, options + words, batch_sizes)
        outcomes += [replace(outcome, name=repeat.label(outcome.name)) for outcome in ended]
        if outcomes and outcomes[-1].status == STOPPED:
            break
    return outcomes


def show_repeats(runs: Sequence[Run]) -> None:
    """Print mean and standard deviation of runs over folds and seeds."""
    from utils.runs.records import measure
    from utils.tables import leakage as leakage_tables

    for table in leakage_tables.tables(leakage_tables.summary([measure(run) for run in runs])):
        show_table(table)


def _report(names: Sequence[str], outcomes: Sequence[launcher.Outcome]) -> int:
    """Print which of several trainings finished; return the exit code."""
    failed = [outcome for outcome in outcomes if outcome.status]
    if len(names) > 1:
        done = [outcome.name for outcome in outcomes if not outcome.status]
        console.say(f"Trained: {', '.join(done) or 'none'}.")
        if failed:
            console.error(f"Not finished: {', '.join(outcome.name for outcome in failed)}. See the errors above.")
        if len(outcomes) < len(names):
            console.say(f"Not started: {', '.join(names[len(outcomes) :])}.")
    if not failed:
        return 0
    last = failed[-1].status
    wrong_usage = len(names) == 1 and last == 2
    return last if last == STOPPED or wrong_usage else 1


def models_() -> None:
    """List the models with image size, initialisation, epochs and profiles."""
    from models import keras_applications

    rows = []
    missing: dict[str, list[str]] = {}
    for name in models.names():
        config = models.config_for(name)
        if config.NEEDS and not optional_packages.installed(config.NEEDS.replace("-", "_")):
            missing.setdefault(config.NEEDS, []).append(name)
        phases = " + ".join(f"{p.epochs} {p.name}" for p in config.phases())
        images = f"{config.image_size} px {config.variant.name}"
        rows.append((name, images, config.initialisation, phases, ", ".join(config.PROFILES)))
    console.table("Models", ("model", "images", "initialisation", "epochs", "profiles"), rows)
    for package, needing in missing.items():
        console.say(f"Not installed: {package}, for {' and '.join(needing)}. Run: pip install {package}")
    console.say("Change a setting: python run_guide.py train MODEL --set FIELD=VALUE")
    console.say(f"Recipes for every model: --recipe {' | '.join(recipes.names())}")
    console.say(f"\nEvery architecture of keras.applications is a model, too: {keras_applications.EXAMPLE}")
    console.say(", ".join(keras_applications.names()))
