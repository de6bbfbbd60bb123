"""Command `purge`: accuracy without the neighbours of the test images."""

from dataclasses import asdict
from typing import Annotated

import typer

from guide.data import Dataset
from guide.views import show_table
from models.engine.cli import Root
from utils import console
from utils.io import transaction
from utils.paths import runs_dir
from utils.runs import run_folder
from utils.runs.split_spec import CAPTURE_FOLDS
from utils.tables import writers


def purge(
    dataset: Dataset = "",
    features: Annotated[
        str, typer.Option(help="What the classifier sees: a shortcut baseline of the audit.")
    ] = "colour histogram",
    folds: Annotated[int, typer.Option(min=2, max=100, help="Blocks of file numbers of each class.")] = CAPTURE_FOLDS,
    embargo: Annotated[
        list[int] | None, typer.Option(min=0, help="File numbers left out; may be repeated. Default: 0 to 74.")
    ] = None,
    root: Root = None,
) -> None:
    """Measure what neighbours by file number give away: accuracy without them, beside as many images fewer."""
    from data import catalog
    from data.auditing import purge as purges
    from data.auditing import purge_tables
    from visualization.displays import purge as figures

    name = catalog.ensure_dataset(dataset)
    with console.progress() as bar:
        task = bar.add_task("Measuring", total=None)
        curve = purges.curve(
            *(name, features, folds, embargo or purges.EMBARGOES),
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    table = purge_tables.table(curve)
    show_table(table)
    for sentence in purge_tables.sentences(curve):
        console.say(sentence)
    folder = purges.path((root or runs_dir()).resolve(), name)
    stem = features.replace(" ", "_")
    with transaction.together(folder) as stage:
        points = [asdict(point) for point in curve.points]
        writers.write_all(stage / stem, f"Purge curve of {name}", purge_tables.sentences(curve), [table], points)
    console.say(f"Drew {figures.save(curve, folder / run_folder.FIGURES / f'{stem}.png')}")
    console.say(f"Table: {folder}")
    console.notice()
