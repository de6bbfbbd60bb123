"""The command lines `python -m models.<name>.train` and `.evaluate`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import models
from models.engine import launcher
from utils.console import STOPPED, error, run_app, say
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder, split_spec

if TYPE_CHECKING:
    from models.engine.config.base import ModelConfig
    from models.engine.tracking.tracker import Tracking

MAX_SEED = 2**31 - 1
Dataset = Annotated[str, typer.Option(help="Dataset in data/raw. Default: the only one, or synthetic smears.")]
# A flag that is not given leaves its field to profile, --config and --set; one that is given overrides them.
Split = Annotated[
    str | None,
    typer.Option(
        help="Percentages (64/16/20, 90/10), kfold:K:I, grouped, grouped-kfold:K:I or given.",
        show_default=split_spec.DEFAULT_WORDS,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=MAX_SEED, help="Seed of weights, image order, augmentation, dropout.", show_default="42"),
]
Recipe = Annotated[
    str,
    typer.Option(help="Training recipe against shortcuts: gray, stain_swap, strong ...; `models` lists them."),
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override a field of the config: field=value.")]
Profile = Annotated[str, typer.Option(help="Named settings of the model, such as demo.")]
Root = Annotated[Path | None, typer.Option(help="Folder of the runs.", show_default="runs")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="JSON file of fields, overridden by --set (best.json of tune)."),
]
Resume = Annotated[str, typer.Option(help="Continue this run after its last finished epoch.")]
Devices = Annotated[str, typer.Option(help="GPUs that share each batch: all, or a number.", show_default="1")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write a TensorBoard log into the run folder.")]
Mlflow = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Log the run to MLflow: http://HOST:PORT, sqlite:///FILE.db, file:FOLDER."),
]
Attached = Annotated[bool, typer.Option(launcher.ATTACHED, hidden=True)]  # started by another command


def run_train(name: str) -> None:
    """Train the model `name` as the command line says, then evaluate it, and exit."""

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
        attached: Attached = False,
    ) -> int:
        from models.engine import settings_file
        from models.engine.run_io import run_loader
        from models.engine.tracking import tracker

        if attached:
            launcher.end_with_parent()
        folder, unfinished = root or runs_dir(), None
        if resume:
            unfinished = _run_of(name, resume, folder)
            if unfinished.finished:
                say(f"Run {unfinished.id} is finished. Evaluate it with: python run_guide.py evaluate {unfinished.id}")
                return 0
            config, folder = run_loader.config_of(unfinished), unfinished.root
        else:
            from_file = settings_file.settings(config_file, name, profile) if config_file else []
            values = given({"dataset": dataset, "split": split, "seed": seed, "recipe": recipe})
            config = models.config_for(name, profile, [*from_file, *(set_ or ())], **values)
        tracking = tracker.choose(tensorboard, mlflow)
        say(f"Training {name} ({config.initialisation} initialisation, {config.image_size} px, seed {config.seed})")
        with tracking:  # how the block ends is recorded in MLflow
            run = _train(config, folder, unfinished, tracking, devices)
            if evaluate:  # not the trials of a search: the test images have no part in it
                _evaluate(run)
        return 0

    train.__doc__ = f"Train {name} and evaluate it."
    _exit(train)


def _train(
    config: "ModelConfig", folder: Path, unfinished: run_folder.Run | None, tracking: "Tracking", devices: str
) -> run_folder.Run:
    """Train; exit with OUT_OF_GPU_MEMORY where a smaller batch may help, with STOPPED after Ctrl-C."""
    from models.engine.backend import keras_backend
    from models.engine.training import progress_bar, trainer

    try:
        return trainer.train(config, folder, unfinished, tracking, devices)
    except keras_backend.OutOfMemory as problem:
        error(str(problem))
        sys.exit(1 if keras_backend.device_name() == "CPU" else launcher.OUT_OF_GPU_MEMORY)
    except progress_bar.Interrupted:
        sys.exit(STOPPED)  # the training has printed where it stopped; the command that started it prints "Stopped."


def _run_of(name: str, run: str, folder: Path) -> run_folder.Run:
    """Open a run of the model `name`.

    Raises:
        LeukoBenchError: there is no such run, or it is of another model.
    """
    found = lookup.open_run(run, folder)
    if found.model != name:
        raise LeukoBenchError(f"Run {found.id} is of {found.model}, not of {name}.")
    return found


def run_evaluate(name: str) -> None:
    """Evaluate runs of the model `name` as the command line says, and exit."""

    def evaluate(
        runs: Annotated[list[str] | None, typer.Argument(help="Runs; none: the latest.")] = None,
        root: Root = None,
        attached: Attached = False,
    ) -> None:
        if attached:
            launcher.end_with_parent()
        for run in [_run_of(name, each, root or runs_dir()) for each in runs or [name]]:
            _evaluate(run)

    evaluate.__doc__ = f"Evaluate runs of {name}."
    _exit(evaluate)


def tracking_options(tensorboard: bool, mlflow: str | None) -> list[str]:
    """Return the tracking flags for `python -m models.<name>.train`."""
    flags = ["--tensorboard"] if tensorboard else []
    return flags + (["--mlflow", mlflow] if mlflow is not None else [])


def given(values: dict[str, object]) -> dict[str, object]:
    """Return the values of the flags that were given; a profile, a file or --set decides the others."""
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
