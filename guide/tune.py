"""Command `tune`: search hyperparameters of a model."""

from typing import Annotated, Any

import typer

import models
from models.engine import cli
from models.engine.layers import pretrained
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import split_spec
from utils.runs.run_folder import FIGURES

BEST_ROWS = 5


def tune(
    model: Annotated[str, typer.Argument(help="Model to tune.")],
    dataset: cli.Dataset = "",
    split: cli.Split = None,
    seed: cli.Seed = None,
    set_: cli.Settings = None,
    profile: cli.Profile = "",
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Total number of trials, earlier ones included.")] = 20,
    epochs: Annotated[int, typer.Option(min=0, max=10_000, help="Epochs per trial; 0: as in the configuration.")] = 0,
    timeout: Annotated[float, typer.Option(min=0, help="Minutes after which no trial starts; 0: no limit.")] = 0,
    root: cli.Root = None,
) -> int:
    """Search learning rate, dropout, head width, weight decay and augmentation strength of a model.

    Trials are compared on the validation images only. The same command continues a stopped search. Fields given by
    --set stay fixed. The best settings are written to best.json, for train --config.
    """
    from models.engine.tuning import study as tuning_study
    from visualization.displays import tuning as drawing

    config = models.config_for(
        model, profile, set_ or (), **cli.given({"dataset": dataset, "split": split, "seed": seed})
    )
    if config.split:
        split_spec.parse(config.split)
    if config.weights not in ("imagenet", "none"):
        pretrained.check_file(config.weights)
    study = tuning_study.open_study(config, set_ or (), epochs, (root or runs_dir()).resolve())
    before = len(study.rows())
    names = [each.name for each in study.space]
    console.say(f"Tuning {model} on {study.whole.dataset}, validation images only: {', '.join(names)}")
    console.say(f"  {study.path}" + (f", earlier trials: {before}" if before else ""))
    ended = study.search(trials, timeout)
    rows = study.rows()
    best = tuning_study.finished(rows)
    if best:
        _table(best[:BEST_ROWS], names, len(rows))
        if shares := study.importances():
            words = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
            console.say(f"Importance of each hyperparameter: {words}")
        console.say(f"  {drawing.write(study.path / tuning_study.TRIALS, study.path / FIGURES / 'tuning.png')}")
        console.say(f"  {study.path / tuning_study.BEST}")
        console.say(f"Train with them: python run_guide.py train {model} --config {study.path / tuning_study.BEST}")
    if ended and not best:
        raise LeukoBenchError(f"None of {len(rows)} trials finished, the last one: {rows[-1]['reason']}")
    if not ended:
        console.say("The same command continues the interrupted trial.")
        return console.STOPPED
    return 0


def _table(rows: list[dict[str, Any]], names: list[str], trials: int) -> None:
    """Print the best trials, one row each."""
    columns = ("trial", "val\naccuracy", "val\nloss", "epochs", *(name.replace("_", "\n") for name in names))
    cells = [
        [row["trial"], f"{row['val_accuracy']:.4f}", f"{row['val_loss']:.4f}", row["epochs"]]
        + [f"{row[name]:g}" for name in names]
        for row in rows
    ]
    console.table(f"The best of {trials} trials", columns, cells)
