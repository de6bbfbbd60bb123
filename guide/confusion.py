"""Commands `confusion` and `classification`: results of one run by class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from guide.views import show_table
from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError, nearest
from utils.paths import raw_dir, runs_dir
from utils.runs import lookup, run_folder
from utils.runs.run_folder import FIGURES, Run
from utils.text import MISSING
from visualization.style import subset_name

if TYPE_CHECKING:
    import pandas as pd

Subset = Annotated[str, typer.Option(help="Subset of the images: test, val or test_<name>.")]


def confusion(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    true: Annotated[str, typer.Option(help="List the images of this true class.")] = "",
    predicted: Annotated[str, typer.Option(help="List the images predicted as this class.")] = "",
    subset: Subset = run_folder.TEST,
    root: Root = None,
) -> None:
    """Print a run's confusion matrix; with --true or --predicted also list and draw the images of a cell."""
    from utils.metrics import predictions

    chosen = lookup.open_run(run, root or runs_dir())
    classes = chosen.config()["classes"]
    true, predicted = (class_named(name, classes) for name in (true, predicted))
    table = chosen.predictions(subset)
    with chosen.named_in_errors():
        matrix = predictions.confusion(table).tolist()
    show_matrix(f"{chosen.id}: {subset_name(subset)} images", classes, matrix)
    if true or predicted:
        show_images(chosen, table, classes, true, predicted, subset)
    console.notice()


def classification(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    subset: Subset = run_folder.TEST,
    root: Root = None,
) -> None:
    """Print a run's classification report: scores by class with intervals and specificity, and averages."""
    from utils.tables.classification_report import Classification

    chosen = lookup.open_run(run, root or runs_dir())
    with chosen.named_in_errors():
        report = Classification.from_predictions(chosen.predictions(subset))
    heading = f"{chosen.label()}, run {chosen.id}: {subset_name(subset)} images"
    console.say(heading, style="bold")
    for table in report.tables():
        console.say()
        show_table(table)
    made = report.write(chosen.file(FIGURES), heading, subset)
    console.say(f"Tables: {', '.join(path.name for path in made)} in {made[0].parent}")
    console.notice()


def show_matrix(title: str, classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> None:
    """Print a confusion matrix (rows: true classes) as counts and row percentages, in two tables if it is wide."""
    shares = [[100 * count / sum(row) if sum(row) else None for count in row] for row in matrix]
    both = [
        [str(n) if s is None else f"{n} ({s:.1f})" for n, s in zip(*pair, strict=True)]
        for pair in zip(matrix, shares, strict=True)
    ]
    corner = "true \\ predicted"
    widths = [max(len(name), *(len(row[k]) for row in both)) for k, name in enumerate(classes)]
    if max(len(corner), *map(len, classes)) + sum(widths) + 3 * len(widths) + 4 <= console.WIDTH:
        rows = [[name, *row] for name, row in zip(classes, both, strict=True)]
        console.table(f"{title}, count (% of the true class)", (corner, *classes), rows)
        return
    counts = [[str(count or ".") for count in row] for row in matrix]
    rounded = [[MISSING if s is None else f"{s:.0f}" if s >= 0.5 else "." for s in row] for row in shares]
    for heading, cells in ((f"{title}, count", counts), ("In % of the true class, rounded", rounded)):
        _show_wide(heading, classes, cells)


def show_images(
    run: Run, table: "pd.DataFrame", classes: Sequence[str], true: str, predicted: str, subset: str
) -> None:
    """List and draw the images of a cell, or the errors of a row or column, worst first."""
    from utils.metrics import predictions

    found = predictions.cell(table, true, predicted)
    title = " ".join(filter(None, (true, subset_name(subset), "images", "predicted as", predicted or "another class")))
    if not true:
        title += " that are not"
    console.say()
    if not len(found):
        console.say(f"There are no {title}.")
        return
    hidden = {"label"} if true else set()
    hidden |= {"predicted"} if predicted else set()
    columns = [name for name in ("image", "label", "predicted") if name not in hidden]
    heads = [*columns, *classes] if len(classes) <= 5 else [*columns, "p true", "p predicted"]
    rows = []
    for record in found.to_dict("records"):
        wanted = classes if len(classes) <= 5 else (record["label"], record["predicted"])
        rows.append([*(record[name] for name in columns), *(f"{record[f'p_{name}']:.3f}" for name in wanted)])
    order = "least certain first" if true == predicted else "worst first"
    names = {"image": "Image", "label": "True", "predicted": "Predicted"}
    console.table(f"{len(found)} {title}, {order}", [names.get(head, head) for head in heads], rows)
    from visualization.images import mistake_sheets

    sheet = mistake_sheets.misclassified_sheet(run, true, predicted, run.file(FIGURES), subset)
    if sheet:
        console.say(f"Sheet: {sheet}")
    else:
        console.warn(f"No sheet: the images are not in {raw_dir(run.config()['dataset'])}.")


def class_named(name: str, classes: Sequence[str], owner: str = "this run") -> str:
    """Return the class with a name, ignoring case; "" stays "". `owner` names the run or dataset in the error.

    Raises:
        LeukoBenchError: there is no such class; the message names the nearest one and all classes.
    """
    if not name or name in classes:
        return name
    folded = {label.casefold(): label for label in classes}
    wanted = name.strip().casefold()
    if wanted in folded:
        return folded[wanted]
    close = nearest(wanted, folded)
    for low, label in folded.items():
        close = close.replace(f"'{low}'", f"'{label}'")
    raise LeukoBenchError(f"Unknown class '{name}'.{close} Classes of {owner}: {', '.join(classes)}.")


def _show_wide(heading: str, classes: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    # Many classes do not fit on a terminal: number the columns instead of naming them.
    labels = [f"{k} {name}" for k, name in enumerate(classes, 1)]
    first = max(map(len, labels))
    width = max(len(str(len(classes))), *(len(cell) for row in cells for cell in row)) + 1
    console.say(heading, style="bold")
    console.say("true \\ pred."[:first].ljust(first) + "".join(str(k).rjust(width) for k in range(1, len(classes) + 1)))
    for label, row in zip(labels, cells, strict=True):
        console.say(label.ljust(first) + "".join(cell.rjust(width) for cell in row))
    console.say()
