"""Commands on finished runs: compare, report and runs."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guide.views import MAIN, chosen_views, show_comparison
from models.engine.cli import Root
from utils import console, paths
from utils.errors import LeukoBenchError, NoPermission, nearest
from utils.runs import lookup, run_folder, seal
from utils.runs.run_folder import FIGURES, Run
from utils.text import MISSING

if TYPE_CHECKING:
    from utils.runs.comparison import Comparison
    from utils.runs.records import Record

FOLDER = "comparison"
REPORT = "report.html"

Runs = Annotated[
    list[str] | None, typer.Argument(help="Runs or models. Default: the latest of every model and variant.")
]
Baseline = Annotated[str, typer.Option(help="Name of the run that the best run is compared with.")]
AllSeeds = Annotated[bool, typer.Option("--all-seeds", help="Add runs that differ only in their seed.")]


def compare(
    runs: Runs = None,
    figures: Annotated[bool, typer.Option(help="Draw the figures.")] = True,
    all_seeds: AllSeeds = False,
    tables: Annotated[
        str, typer.Option(help="Tables to print: main, all, or names separated by commas. Files contain all.")
    ] = MAIN,
    baseline: Baseline = "cnn",
    root: Root = None,
) -> None:
    """Compare runs: quality, cost and seeds as tables and figures."""
    from utils.runs.comparison import group
    from utils.tables import comparison_views
    from visualization.report import published_claims

    wanted = chosen_views(tables)
    place = root or paths.runs_dir()
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
        console.say("(also as .md, .tex and .html, with explanations of the columns)")
        if figures:
            from visualization.report import figure_catalogue

            drawn, notes = figure_catalogue.draw_all(comparison, folder / FIGURES)
            for note in notes:
                console.warn(note)
            console.say(f"Figures: {len(drawn)} in {folder / FIGURES}")
    console.notice()


def report(runs: Runs = None, all_seeds: AllSeeds = False, baseline: Baseline = "cnn", root: Root = None) -> None:
    """Write one self-contained HTML page with tables, figures and heatmaps."""
    from utils.runs.comparison import group
    from visualization.report import report as page

    place = root or paths.runs_dir()
    comparisons = group(_records(runs, place, all_seeds))
    _check_baseline(comparisons, baseline)
    paths.check_inside(place / FOLDER, place)
    path = page.write_report(comparisons, place / FOLDER / REPORT, place, baseline)
    console.say(f"Report: {path}")


def runs_(root: Root = None) -> None:
    """List all runs and their state: finished, unfinished, changed since it was measured, or damaged."""
    place = root or paths.runs_dir()
    found = run_folder.find_runs(place)
    for folder in run_folder.unreadable(place):
        console.warn(str(NoPermission(folder)))
    if not found:
        console.say(f"{place} holds no runs. Train one: python run_guide.py train cnn")
        return
    states = {run: _state(run) for run in found}
    rows = [(run.model, run.path.name, *state[:4]) for run, state in states.items()]
    console.table(f"Runs in {place}", ("Model", "Run folder", "State", "Dataset", "Seed", "Seal"), rows)
    for run, (*_, note) in states.items():
        if note:
            console.say(f"{run.id}: {note}")


def _records(names: Sequence[str] | None, root: Path, all_seeds: bool) -> list["Record"]:
    """Read the named runs, or the latest of every model, variant and test set; warn about skipped runs."""
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
        console.warn(f"{manifest} is missing, so test images could not be checked against it.")
    return records


def _folders(comparisons: Sequence["Comparison"], root: Path) -> list[tuple["Comparison", Path]]:
    """Return the folder of each comparison: <root>/comparison, and a folder in it for each further test set."""
    paths.check_inside(root / FOLDER, root)
    return [(c, root / FOLDER / c.short if index else root / FOLDER) for index, c in enumerate(comparisons)]


def _check_baseline(comparisons: Sequence["Comparison"], name: str) -> None:
    """Raise an error if the requested baseline does not exist; the default one may be missing."""
    from utils.tables import baseline_vs_best

    if name != baseline_vs_best.DEFAULT and all(
        baseline_vs_best.find(comparison, name) is None for comparison in comparisons
    ):
        names = [row["name"] for comparison in comparisons for row in comparison.rows]
        raise LeukoBenchError(f"Unknown baseline '{name}'.{nearest(name, names)} Valid: {', '.join(names)}.")


def _state(run: Run) -> tuple[str, str, str, str, str]:
    """Return state, dataset, seed, whether it is sealed, and what is wrong or to do; predictions are only hashed."""
    from utils.runs import cache as run_cache
    from utils.runs.records import MADE_FROM, beside, check_seal

    about = MISSING, MISSING

    def read() -> list[Any]:
        nonlocal about
        config = run.config()
        about = str(config["dataset"]), str(config["seed"])
        if not run.finished:
            todo = "evaluate" if run.file(run_folder.PREDICTIONS).is_file() else "train --resume"
            return ["unfinished", *about, MISSING, f"continue with: python run_guide.py {todo} {run.id}", None]
        manifest = run.environment()["manifest"]
        for part in (run.timing, run.history, run.metrics):
            part()
        check_seal(run, manifest, run_folder.PREDICTIONS)
        if not run.file(run_folder.PREDICTIONS).is_file():
            run.predictions()  # raises the error; pandas is loaded only in this case
        sealed, shared = seal.read(run), beside(manifest)
        note = "" if run.weights.is_file() else f"without {run_folder.WEIGHTS}"
        held = [shared, *sealed[shared]] if sealed and shared in sealed else None
        return ["finished", *about, "unsealed" if sealed is None else "sealed", note, held]

    try:
        code = run_cache.code_of("guide.compare", *(f"utils.runs.{name}" for name in ("run_folder", "records", "seal")))
        *state, manifest = run_cache.kept(run, "state", (*MADE_FROM, run_folder.WEIGHTS, "."), read, code)
        if manifest and not _is(seal.place(run, manifest[0]), *manifest[1:]):
            run.check(manifest[0])
        return tuple(state)
    except seal.Changed as error:
        return "changed", *about, "changed", str(error)
    except NoPermission as error:
        return "unreadable", *about, MISSING, str(error)
    except (LeukoBenchError, OSError) as error:
        return "damaged", *about, MISSING, str(error)


@cache
def _is(manifest: Path, digest: str, size: int) -> bool:
    """Return whether a manifest, which many runs share, is the sealed one."""
    return not seal.differs(manifest, seal.Entry(digest, size))
