"""Command `predict`: predict new images with a run."""

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import runs_dir
from utils.runs import lookup
from utils.runs.run_folder import FIGURES, Run

SHOWN = 20  # rows printed
SHEET = 8  # images on one sheet of heatmaps


def predict(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    paths: Annotated[list[Path], typer.Argument(help="Images, folders, or patterns in quotes ('new/**/*.png').")],
    output: Annotated[Path | None, typer.Option(help="CSV file for all predictions; - for stdout.")] = None,
    heatmaps: Annotated[bool, typer.Option(help="Also draw heatmaps.")] = False,
    export: Annotated[str, typer.Option(help="Predict with this export (onnx-int8, ...). Default: Keras.")] = "",
    root: Root = None,
) -> int:
    """Predict new images: class and probabilities as a table and as CSV.

    Folders are searched with their subfolders, except those whose names begin with "." or "_". Unreadable files are
    skipped with a warning; the exit code is 1 only if no image could be read.
    """
    from models.engine.serving import predict as prediction

    chosen = lookup.open_run(run, root or runs_dir())
    classes = chosen.config()["classes"]
    to_stdout = output is not None and str(output) == "-"
    found = prediction.find_images(paths)
    first, counts, readable = [], Counter(), []
    bar = console.progress()
    bar.disable |= to_stdout
    with bar, _writer(output, prediction.columns(classes)) as write:
        task = bar.add_task("Predicting", total=len(found))
        for path, each in zip(found, prediction.predict_each(chosen, found, export), strict=True):
            bar.advance(task)
            if each.problem:
                console.warn(each.problem)
                continue
            write(each.row())
            counts[each.predicted] += 1
            readable += [path] if heatmaps else []
            first += [each] if len(first) < SHOWN else []
        if not counts:  # before an empty file would be written
            raise LeukoBenchError(f"None of the {len(found)} files could be read as an image.")
    say = console.warn if to_stdout else console.say
    if not to_stdout:
        _show(chosen, classes, first, counts.total())
        if output is not None:
            console.say(f"Written: {output}")
    by = f" ({export})" if export else ""
    say(
        f"{counts.total()} images with {chosen.id}{by}: "
        + ", ".join(f"{counts[name]} {name}" for name in classes)
        + "."
    )
    if heatmaps:
        for sheet in _sheets(chosen, readable):
            say(f"  {sheet}")
    console.notice(aside=to_stdout)
    return 0


def _show(run: Run, classes: list[str], predictions: list[Any], total: int) -> None:
    heads = ["Image", "Predicted", "Probability", *(classes if len(classes) <= 5 else ())]
    rows = []
    for each in predictions:
        values = each.probabilities if len(classes) <= 5 else ()
        rows.append([each.path, each.predicted, *(f"{value:.3f}" for value in (each.probability, *values))])
    rest = f", the first {len(rows)} of {total} images (--output FILE.csv writes all)" if total > len(rows) else ""
    console.table(f"{run.label()}{rest}", heads, rows)


def _sheets(run: Run, paths: list[Path]) -> Iterator[Path]:
    """Draw the images with heatmaps into the run's figures, SHEET images per sheet."""
    from models.engine.explain import explainer
    from visualization.images import heatmap_sheets

    for start in range(0, len(paths), SHEET):
        part = paths[start : start + SHEET]
        maps, probabilities = explainer.explain_images(run, part)
        path = run.file(FIGURES) / f"predict-{start // SHEET + 1:03d}.png"
        yield heatmap_sheets.draw_images(run, part, maps, probabilities, path)


@contextmanager
def _writer(output: Path | None, heads: list[str]) -> Iterator[Callable[[list[str]], Any]]:
    """Yield a function that writes a row: to a file (atomically), to stdout, or nowhere."""
    if output is None:
        yield lambda row: None
    elif str(output) == "-":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(heads)
        yield writer.writerow
    else:
        with files.atomic(output) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(heads)
            yield writer.writerow
