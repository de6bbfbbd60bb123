"""The command that prints the scores of every class of one run."""

from typing import Annotated

import typer

from guide.matrices import Subset
from guide.views import show_table
from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import runs_dir
from utils.runs import run_folder
from utils.runs.run_folder import FIGURES
from visualization.style import SUBSET_NAMES


def classification(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    subset: Annotated[Subset, typer.Option(help="Images that were predicted.")] = Subset.TEST,
    root: Root = None,
) -> None:
    """Print a run's classification report: scores of every class with interval and specificity, and averages."""
    from utils.tables.classification_report import Classification

    chosen = run_folder.open_run(run, root or runs_dir())
    try:
        report = Classification.from_predictions(chosen.predictions(subset))
    except LeukoBenchError as error:
        raise error if chosen.id in str(error) else LeukoBenchError(f"Run {chosen.id}: {error}") from None
    heading = f"{chosen.label()}, run {chosen.id}: {SUBSET_NAMES[subset]} images"
    console.say(heading, style="bold")
    for table in report.tables():
        console.say()
        show_table(table)
    made = report.write(chosen.file(FIGURES), heading, subset)
    console.say(f"Tables: {', '.join(path.name for path in made)} in {made[0].parent}")
    console.notice()
