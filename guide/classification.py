"""The command that prints the scores of every class of one run."""

from typing import Annotated

import typer

from guide.matrices import Subset
from guide.views import show_table
from models.engine.cli import Root
from utils import console
from utils.paths import runs_dir
from utils.runs import lookup
from utils.runs.run_folder import FIGURES
from visualization.style import SUBSET_NAMES


def classification(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    subset: Annotated[Subset, typer.Option(help="Images that were predicted.")] = Subset.TEST,
    root: Root = None,
) -> None:
    """Print a run's classification report: scores of every class with interval and specificity, and averages."""
    from utils.tables.classification_report import Classification

    chosen = lookup.open_run(run, root or runs_dir())
    with chosen.named_in_errors():
        report = Classification.from_predictions(chosen.predictions(subset))
    heading = f"{chosen.label()}, run {chosen.id}: {SUBSET_NAMES[subset]} images"
    console.say(heading, style="bold")
    for table in report.tables():
        console.say()
        show_table(table)
    made = report.write(chosen.file(FIGURES), heading, subset)
    console.say(f"Tables: {', '.join(path.name for path in made)} in {made[0].parent}")
    console.notice()
