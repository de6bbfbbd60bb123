"""Command `diagram`: draw the architecture of models."""

from enum import StrEnum
from typing import Annotated

import typer

from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder

# As in visualization/architecture/diagram.py, whose import is too slow for --help.
DETAILS = ("layers", "blocks")
Detail = StrEnum("Detail", {name.upper(): name for name in DETAILS})


def diagram(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Runs or models. Default: the latest run of every model.")
    ] = None,
    detail: Annotated[Detail, typer.Option(help="Draw every layer, or blocks of layers.")] = Detail.LAYERS,
    root: Root = None,
) -> None:
    """Draw the layers of models with their shapes, as SVG and PNG."""
    from visualization.architecture import diagram as architecture_diagram

    place = root or runs_dir()
    names = runs or list(dict.fromkeys(run.model for run in run_folder.find_runs(place)))
    if not names:
        raise LeukoBenchError(f"{place} holds no runs. Train one: python run_guide.py train cnn")
    for name in names:
        for path in architecture_diagram.draw(lookup.open_run(name, place), detail.value):
            console.say(f"Drew {path}")
