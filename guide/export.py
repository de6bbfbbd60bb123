"""Command `export`: export a run to other runtimes."""

from enum import StrEnum
from typing import Annotated

import typer

from models.engine.cli import Root
from models.engine.export import store as export_store
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import lookup, run_folder

ALL = "all"
Format = StrEnum("Format", {name.upper(): name for name in (*export_store.PRECISIONS, ALL)})
Precision = StrEnum("Precision", {name.upper(): name for name in export_store.PRECISIONS["onnx"]})

COLUMNS = ("Export", "MB", "% of weights", "Same class, %", "Difference", "Accuracy, %", "of weights, %")


def export(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    format: Annotated[
        list[Format] | None, typer.Option(help="File format; repeat for several.", show_default="onnx")
    ] = None,
    precision: Annotated[
        list[Precision] | None,
        typer.Option(help="Precision of the weights; repeat for several.", show_default="float32"),
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Also write a model card.")] = False,
    root: Root = None,
) -> int:
    """Export a run to ONNX, LiteRT, OpenVINO or SavedModel, and check it against the run's predictions.

    Every export predicts the run's test images. It is rejected if its predictions differ too much from
    predictions.csv. With --card and no format, only the model card is written.
    """
    chosen = lookup.open_finished(run, root or runs_dir())
    wanted = _wanted([str(each) for each in format or ()], [str(each) for each in precision or ()])
    rejected = 0 if card and not format and not precision else _export(chosen, wanted)
    if card:
        from models.engine.model_card import card as model_card

        console.say(f"Written: {model_card.write(chosen)}")
    return 1 if rejected else 0


def _wanted(formats: list[str], precisions: list[str]) -> list[tuple[str, str]]:
    """Return the requested (format, precision) pairs; "all" skips pairs that do not exist, a named format does not."""
    precisions = list(dict.fromkeys(precisions)) or [export_store.FLOAT32]
    if ALL in formats:
        return [(f, p) for f, valid in export_store.PRECISIONS.items() for p in precisions if p in valid]
    pairs = [(f, p) for f in dict.fromkeys(formats or ["onnx"]) for p in precisions]
    for pair in pairs:
        export_store.check(*pair)
    return pairs


def _export(run: run_folder.Run, wanted: list[tuple[str, str]]) -> int:
    """Make exports and print them as a table; return the number of rejected ones."""
    for format, _ in wanted:
        export_store.need(format, to_make=True)
    from models.engine.export import exporter

    source = exporter.Source(run)
    made, rejected = [], []
    for number, (format, precision) in enumerate(wanted, start=1):
        console.say(f"[{number}/{len(wanted)}] {format}-{precision}")
        try:
            made.append(exporter.export(source, format, precision))
        except LeukoBenchError as problem:
            rejected.append(str(problem))
            console.error(str(problem))
    if made:
        images = made[0]["images"]
        console.table(f"Exports of {run.id}, checked on {images} test images", COLUMNS, list(map(_row, made)))
        console.say(f"  {run.file(export_store.FOLDER)}")
    return len(rejected)


def _row(made: dict) -> tuple[str, ...]:
    return (
        f"{made['format']}-{made['precision']}",
        f"{made['bytes'] / 1e6:.2f}",
        f"{100 * made['share_of_weights']:.1f}",
        f"{100 * made['agreement']:.2f}",
        f"{made['largest_difference']:.1e}",
        f"{100 * made['accuracy']:.2f}",
        f"{100 * made['accuracy_of_weights']:.2f}",
    )
