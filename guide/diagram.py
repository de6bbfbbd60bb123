"""The command that draws how models are built."""

from enum import StrEnum
from typing import Annotated

import typer

from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder

# Those of visualization.diagrams, which loads all that draws: too slow for --help.
DETAILS = ("layers", "blocks")
Detail = StrEnum("Detail", {name.upper(): name for name in DETAILS})


def diagram(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Runs or models; none: the latest run of every model.")
    ] = None,
    detail: Annotated[
        Detail, typer.Option(help="A box for every layer, or for every block of layers.")
    ] = Detail.LAYERS,
    root: Root = None,
) -> None:
    """Draw the architecture of runs with the shapes of all layers, as SVG and PNG, without Keras."""
    from visualization.architecture import diagram as diagrams

    place = root or runs_dir()
    names = runs or list(dict.fromkeys(run.model for run in run_folder.find_runs(place)))
    if not names:
        raise LeukoBenchError(f"{place} holds no runs. Train one: python run_guide.py train cnn")
    for name in names:
        for path in diagrams.draw(lookup.open_run(name, place), detail.value):
            console.say(f"Drew {path}")
