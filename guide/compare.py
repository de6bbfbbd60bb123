"""Commands that look at finished runs: compare, confusion, report, runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guide.matrices import Subset, class_named, show_images, show_matrix
from guide.views import MAIN, chosen_views, show_comparison
from models.engine.cli import Root
from utils import console
from utils.errors import LeukoBenchError, nearest
from utils.paths import runs_dir
from utils.runs import lookup, run_folder
from utils.runs.run_folder import FIGURES, Run
from utils.text import MISSING
from visualization.style import SUBSET_NAMES

if TYPE_CHECKING:
    from utils.runs.comparison import Comparison
    from utils.runs.records import Record

FOLDER = "comparison"
REPORT = "report.html"

Runs = Annotated[list[str] | None, typer.Argument(help="Runs or models; none: the latest of every model and variant.")]
Against = Annotated[str, typer.Option(help="Run that the best is held against, by its name in the tables.")]
AllSeeds = Annotated[bool, typer.Option("--all-seeds", help="Add the runs that differ only in their seed.")]


def compare(
    runs: Runs = None,
    figures: Annotated[bool, typer.Option(help="Draw the figures too.")] = True,
    all_seeds: AllSeeds = False,
    tables: Annotated[str, typer.Option(help="On screen: main, all, or names with commas; files hold all.")] = MAIN,
    baseline: Against = "cnn",
    root: Root = None,
) -> None:
    """Compare runs: quality, cost and seeds as tables on screen and in files, and as figures."""
    from utils.runs.comparison import group
    from utils.tables import comparison_views
    from visualization.report import published_claims

    wanted = chosen_views(tables)
    place = root or runs_dir()
    comparisons = group(_records(runs, place, all_seeds))
    _check_baseline(comparisons, baseline)
    for comparison, folder in _folders(comparisons, place):
        found = comparison_views.results(comparison, baseline)
        show_comparison(comparison, comparison_views.shown(found), wanted, len(comparisons) > 1)
        written = comparison_views.write(comparison, folder, found)
        if published_claims.concerns(comparison):
            written += published_claims.write(folder)
        else:
            comparison_views.remove(folder, published_claims.NAME)
        console.say(f"Tables: {', '.join(path.name for path in written if path.suffix == '.csv')} in {folder}")
        console.say("(and the same as .md, .tex and .html, with what the columns mean)")
        if figures:
            from visualization.report import figure_catalogue as pictures

            drawn, notes = pictures.draw_all(comparison, folder / FIGURES)
            for note in notes:
                console.warn(note)
            console.say(f"Figures: {len(drawn)} in {folder / FIGURES}")
    console.notice()


def confusion(
    run: Annotated[str, typer.Argument(help="Run, or a model's name for its latest run.")],
    true: Annotated[str, typer.Option(help="List the images of this class.")] = "",
    predicted: Annotated[str, typer.Option(help="List the images predicted as this class.")] = "",
    subset: Annotated[Subset, typer.Option(help="Images that were predicted.")] = Subset.TEST,
    root: Root = None,
) -> None:
    """Print a run's confusion matrix, or list and draw the images of one of its cells."""
    from utils.metrics import predictions

    chosen = lookup.open_run(run, root or runs_dir())
    classes = chosen.config()["classes"]
    true, predicted = (class_named(name, classes) for name in (true, predicted))
    table = chosen.predictions(subset)
    try:
        matrix = predictions.confusion(table).tolist()
    except LeukoBenchError as error:
        raise LeukoBenchError(f"Run {chosen.id}: {error}") from None
    show_matrix(f"{chosen.id}: {SUBSET_NAMES[subset]} images", classes, matrix)
    if true or predicted:
        show_images(chosen, table, classes, true, predicted, subset)
    console.notice()


def report(runs: Runs = None, all_seeds: AllSeeds = False, baseline: Against = "cnn", root: Root = None) -> None:
    """Write one self-contained HTML page with the tables, figures and heatmaps of the runs."""
    from utils.runs.comparison import group
    from visualization.report import report as page

    place = root or runs_dir()
    comparisons = group(_records(runs, place, all_seeds))
    _check_baseline(comparisons, baseline)
    path = page.write_report(comparisons, place / FOLDER / REPORT, place, baseline)
    console.say(f"Report: {path}")


def runs_(root: Root = None) -> None:
    """List the runs: finished, unfinished or damaged."""
    place = root or runs_dir()
    found = run_folder.find_runs(place)
    if not found:
        console.say(f"{place} holds no runs. Train one: python run_guide.py train cnn")
        return
    states = {run: _state(run) for run in found}
    rows = [(run.model, run.path.name, *state[:3]) for run, state in states.items()]
    console.table(f"Runs in {place}", ("Model", "Run folder", "State", "Dataset", "Seed"), rows)
    for run, (*_, note) in states.items():
        if note:
            console.say(f"{run.id}: {note}")


def _records(names: Sequence[str] | None, root: Path, all_seeds: bool) -> list["Record"]:
    """Measure the named runs, or the latest of every model, flavour and test set; say which ones had to be left out."""
    from utils.runs.comparison import add_seeds, latest
    from utils.runs.records import measure

    problems: list[str] = []
    if names:
        opened = [lookup.open_run(name, root) for name in names]
        records = [measure(run) for run in {run.path.resolve(): run for run in opened}.values()]
    else:
        records, problems = latest(root)
    if all_seeds:
        records, more = add_seeds(records, root)
        problems += more
    for problem in dict.fromkeys(problems):
        console.warn(problem)
    for manifest in sorted({record.unchecked for record in records if record.unchecked}):
        console.warn(f"{manifest} is missing, so that test images could not be held against it.")
    return records


def _folders(comparisons: Sequence["Comparison"], root: Path) -> list[tuple["Comparison", Path]]:
    """Give the first comparison <root>/comparison, each further test set a folder below it."""
    return [(c, root / FOLDER / c.short if index else root / FOLDER) for index, c in enumerate(comparisons)]


def _check_baseline(comparisons: Sequence["Comparison"], name: str) -> None:
    """Refuse a baseline that was asked for and is nowhere; the usual one may be missing."""
    from utils.tables import baseline_vs_best

    if name != baseline_vs_best.DEFAULT and all(
        baseline_vs_best.find(comparison, name) is None for comparison in comparisons
    ):
        names = [row["name"] for comparison in comparisons for row in comparison.rows]
        raise LeukoBenchError(f"Unknown baseline '{name}'.{nearest(name, names)} Valid: {', '.join(names)}.")


def _state(run: Run) -> tuple[str, str, str, str]:
    """Return state, dataset, seed and what is wrong or to be done, without reading the predictions."""
    from utils.runs import cache as run_cache
    from utils.runs.records import MADE_FROM

    about = MISSING, MISSING

    def read() -> list[str]:
        nonlocal about
        config = run.config()
        about = str(config["dataset"]), str(config["seed"])
        if not run.finished:
            todo = "evaluate" if run.file(run_folder.PREDICTIONS).is_file() else "train --resume"
            return ["unfinished", *about, f"go on with: python run_guide.py {todo} {run.id}"]
        for part in (run.environment, run.timing, run.history, run.metrics):
            part()
        if not run.file(run_folder.PREDICTIONS).is_file():
            run.predictions()  # says so without loading pandas for every run that has them
        return ["finished", *about, "" if run.file(run_folder.WEIGHTS).is_file() else f"without {run_folder.WEIGHTS}"]

    try:
        code = run_cache.code_of("guide.compare", "utils.runs.run_folder")
        return tuple(run_cache.kept(run, "state", (*MADE_FROM, run_folder.WEIGHTS), read, code))
    except (LeukoBenchError, OSError) as error:
        return "damaged", *about, str(error)
