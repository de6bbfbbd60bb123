"""What a benchmark measured, as numbers: claims with what was asked, tables, plots; kept as one JSON file each."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import log, nan
from pathlib import Path
from statistics import linear_regression, median
from time import perf_counter
from typing import Annotated, Any

import typer

from utils import console
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import PROJECT
from utils.system import environment

FOLDER = PROJECT / "docs" / "results" / "benchmarks"
Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Spread:
    """The median of repetitions, and the lowest and highest of them."""

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Claim:
    """A figure that was asked for, and what was measured.

    Attributes:
        text: what is measured, "20 epochs of resnet50's head, plain fit / ours".
        unit: of the figure: "x" for a ratio, "%", "s", "MB".
        asked: the bound.
        measured: what came out.
        at_most: whether less is better, so that the bound is an upper one.
        why: what keeps it from being reached, without a full stop; told where it is not reached.
    """

    text: str
    unit: str
    asked: float
    measured: Spread
    at_most: bool = False
    why: str = ""

    @property
    def reached(self) -> bool:
        """Whether the median keeps the bound."""
        return self.measured.median <= self.asked if self.at_most else self.measured.median >= self.asked


@dataclass(frozen=True)
class Column:
    """A column of a sheet: key of its rows, heading, and decimals of its numbers; None for words."""

    key: str
    heading: str
    digits: int | None = None


@dataclass(frozen=True)
class Sheet:
    """A table as numbers: rows are dicts by the keys of the columns."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    words_below: str = ""


@dataclass(frozen=True)
class Series:
    """A line, or points, of a plot; `low` and `high` are the range of the repetitions at every x, where there is one.

    `names` stand beside the points.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    line: bool = True
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Plot:
    """Axes with series.

    Attributes:
        title: above it.
        x, y: labels of the axes, with units.
        series: what is drawn.
        log: axes with logarithmic scale: "", "x", "y" or "xy".
        asked: a level of y that was asked for, drawn as a dashed line; None for none.
    """

    title: str
    x: str
    y: str
    series: Sequence[Series]
    log: str = ""
    asked: float | None = None


@dataclass(frozen=True)
class Result:
    """All that one benchmark measured.

    Attributes:
        title: heading of its section.
        about: what was compared and how: data, initialisation, split, seed, what counts as the straightforward way.
        claims, sheets, plots: the figures.
        notes: what is to be said below them: failures, limits, differences of accuracy.
    """

    title: str
    about: str
    claims: Sequence[Claim]
    sheets: Sequence[Sheet] = ()
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Options:
    """What a benchmark is asked: the dataset, "" for the only one or synthetic smears, and whether to be quick."""

    dataset: str = ""
    quick: bool = False

    def pick(self, usual: Any, quick: Any) -> Any:
        """Return the one value, or the other where the benchmark shall be quick."""
        return quick if self.quick else usual


def alternate(ways: Mapping[str, Callable[[], float | None]], repetitions: int) -> Seconds:
    """Time ways side by side: each once in every repetition, so that a slow moment of the machine meets all of them.

    A way that returns a number has timed itself, in seconds.
    """
    seconds: Seconds = {name: [] for name in ways}
    for number in range(1, repetitions + 1):
        for name, call in ways.items():
            start = perf_counter()
            own = call()
            seconds[name].append(perf_counter() - start if own is None else own)
            console.say(f"  [{number}/{repetitions}] {name}: {seconds[name][-1]:.3g} s")
    return seconds


def spread(values: Sequence[float]) -> Spread:
    """Return the median of repetitions with their range."""
    return Spread(median(values), min(values), max(values), len(values))


def ratios(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """Return how many times longer the one took, of each repetition by itself."""
    return spread([one / other for one, other in zip(slow, fast, strict=True)])


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of log values over log sizes, 1 for what grows as its size does; nan of fewer than two."""
    if len(sizes) < 2:
        return nan
    return linear_regression([log(size) for size in sizes], [log(value) for value in values]).slope


def record(name: str, result: Result, folder: Path, command: str) -> Path:
    """Write what was measured, with the machine, as <folder>/<name>.json and return the path."""
    about = environment.describe()
    kept = ("cpu", "vector_units", "cores", "memory_gb", "platform", "python", "packages")
    held = {
        "command": command,
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": about["git_commit"],
        "changed": about["git_dirty"],  # the program since that commit
        "machine": {key: about[key] for key in kept},
    }
    path = folder / f"{name}.json"
    files.write_json(path, held | asdict(result))
    return path


def read(path: Path) -> tuple[dict[str, Any], Result]:
    """Read a written benchmark: how it was made, and what it measured.

    Raises:
        LeukoBenchError: the file is missing or damaged.
    """
    held = files.read_json(path)
    try:
        result = Result(
            held["title"], held["about"],
            [Claim(**claim | {"measured": Spread(**claim["measured"])}) for claim in held["claims"]],
            [Sheet(**sheet | {"columns": [Column(**each) for each in sheet["columns"]]}) for sheet in held["sheets"]],
            [Plot(**plot | {"series": [Series(**each) for each in plot["series"]]}) for plot in held["plots"]],
            held["notes"],
        )  # fmt: skip
        return {key: held[key] for key in ("command", "made", "commit", "changed", "machine")}, result
    except (KeyError, TypeError) as error:
        raise LeukoBenchError(
            f"{path} is damaged ({error}). Measure it again: python run_guide.py bench {path.stem}"
        ) from None


def entry(name: str, measure: Callable[[Options], Result]) -> None:
    """Run a benchmark as its command line asks: [--quick] [--dataset NAME] [--output DIR]."""

    def main(
        dataset: Annotated[
            str, typer.Option(help="Dataset below data/raw; empty: the only one, or synthetic smears.")
        ] = "",
        quick: Annotated[
            bool, typer.Option(help="Small and soon over: shows that it runs, says nothing of speed.")
        ] = False,
        output: Annotated[
            Path | None, typer.Option(help="Folder for the figures.", show_default="docs/results/benchmarks")
        ] = None,
    ) -> None:
        from benchmarks import page

        result = measure(Options(dataset, quick))
        for table in page.tables(result):
            console.table(table.title, table.columns, table.rows)
        for note in result.notes:
            console.say(note)
        if quick and output is None:
            return
        on = os.environ.get("KERAS_BACKEND", "tensorflow")
        backend = f"KERAS_BACKEND={on} " if on != "tensorflow" else ""
        command = f"{backend}python run_guide.py bench {name}" + (f" --dataset {dataset}" if dataset else "")
        path = record(name, result, output or FOLDER, command + (" --quick" if quick else ""))
        console.say(f"Written: {path}")
        if output is None:
            console.say(f"Written: {page.write()}")

    main.__doc__ = sys.modules["__main__"].__doc__
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    sys.exit(console.run_app(app, name=f"python -m benchmarks.{name}"))
