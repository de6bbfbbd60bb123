"""The command lines `python -m models.<name>.train` and `.evaluate`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import models
from models.engine.launcher import OUT_OF_GPU_MEMORY
from utils.console import STOPPED, error, run_app, say
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder, split_spec

MAX_SEED = 2**31 - 1
Dataset = Annotated[str, typer.Option(help="Dataset below data/raw; empty: the only one, or synthetic smears.")]
# A flag that is not given leaves its field to profile, --config and --set; one that is given decides, whatever it says.
Split = Annotated[
    str | None,
    typer.Option(
        help="Percent (64/16/20, 90/10), kfold:K:I, grouped, grouped-kfold:K:I.", show_default=split_spec.DEFAULT
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=MAX_SEED, help="Seed of weights, order, augmentation, dropout.", show_default="42"),
]
Recipe = Annotated[
    str,
    typer.Option(help="Way out of the shortcuts: gray, stain_swap, strong ...; `models` lists them."),
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override a field of the config: field=value.")]
Profile = Annotated[str, typer.Option(help="Named settings of the model, such as demo.")]
Root = Annotated[Path | None, typer.Option(help="Folder of the runs.", show_default="runs")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="JSON file of fields, laid under --set (best.json of tune)."),
]
Resume = Annotated[str, typer.Option(help="Go on with this run after its last finished epoch.")]
Devices = Annotated[
    str, typer.Option(help="GPUs of this machine that share each batch: all, or how many.", show_default="1")
]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's log into the run's folder.")]
Mlflow = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Tell MLflow there of the run: http://HOST:PORT, sqlite:///FILE.db, file:FOLDER."),
]


def run_train(name: str) -> None:
    """Train the model `name` as the command line asks, then evaluate it, and exit."""

    def train(
        dataset: Dataset = "",
        split: Split = None,
        seed: Seed = None,
        set_: Settings = None,
        profile: Profile = "",
        recipe: Recipe = "",
        config_file: ConfigFile = None,
        root: Root = None,
        resume: Resume = "",
        tensorboard: TensorBoard = False,
        mlflow: Mlflow = None,
        devices: Devices = "",
        evaluate: Annotated[bool, typer.Option(hidden=True)] = True,
    ) -> int:
        from models.engine import settings_file
        from models.engine.backend import keras_backend
        from models.engine.run_io import run_loader
        from models.engine.tracking import tracker
        from models.engine.training import progress_bar, trainer

        started = None
        if resume:
            started = lookup.open_run(resume, root or runs_dir())
            if started.model != name:
                raise LeukoBenchError(f"Run {started.id} is of {started.model}, not of {name}.")
            if started.finished:
                say(f"Run {started.id} is finished. Evaluate it again with: python run_guide.py evaluate {started.id}")
                return 0
            config = run_loader.config_of(started)
        else:
            values = {"dataset": dataset, "split": split, "seed": seed, "recipe": recipe}
            laid = settings_file.settings(config_file, name, profile) if config_file else []
            config = models.config_for(name, profile, [*laid, *(set_ or ())], **given(values))
        told = tracker.choose(tensorboard, mlflow)
        say(f"Training {name} ({config.initialisation} initialisation, {config.image_size} px, seed {config.seed})")
        with told:  # how it is left is how the run ends in MLflow
            try:
                place = started.root if started else root or runs_dir()
                run = trainer.train(config, place, started, told, devices)
            except keras_backend.OutOfMemory as problem:
                error(str(problem))
                sys.exit(1 if keras_backend.device_name() == "CPU" else OUT_OF_GPU_MEMORY)
            except progress_bar.Interrupted:
                sys.exit(STOPPED)  # where it stopped has been said; "Stopped." comes from the command that started this
            if evaluate:  # trials of a search are not: the test images take no part in it
                _evaluate(run)
        return 0

    train.__doc__ = f"Train {name} and evaluate it."
    _exit(train)


def run_evaluate(name: str) -> None:
    """Evaluate runs of the model `name` as the command line asks, and exit."""

    def evaluate(
        runs: Annotated[list[str] | None, typer.Argument(help="Runs; none: the latest.")] = None, root: Root = None
    ) -> None:
        chosen = [lookup.open_run(run, root or runs_dir()) for run in runs or [name]]
        for run in chosen:
            if run.model != name:
                raise LeukoBenchError(f"Run {run.id} is of {run.model}, not of {name}.")
        for run in chosen:
            _evaluate(run)

    evaluate.__doc__ = f"Evaluate runs of {name}."
    _exit(evaluate)


def tracking_options(tensorboard: bool, mlflow: str | None) -> list[str]:
    """Return the flags that hand the wish for a tracker through to `python -m models.<name>.train`."""
    return ["--tensorboard"] * tensorboard + (["--mlflow", mlflow] if mlflow is not None else [])


def given(values: dict[str, object]) -> dict[str, object]:
    """Keep the values of the flags that were given; a profile, a file or --set decides the others."""
    return {field: value for field, value in values.items() if value not in (None, "")}


def _evaluate(run: run_folder.Run) -> None:
    from models.engine.evaluation import evaluator

    summary = evaluator.evaluate(run).metrics()["test"]
    say(f"  test accuracy {summary['accuracy']:.4f} on {summary['images']} images")
    say(f"  {run.path}")


def _exit(command: object) -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    sys.exit(run_app(app))
