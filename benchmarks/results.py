"""Results of a benchmark as numbers: claims with their targets, tables and plots, stored as one JSON file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import log, nan
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import PROJECT
from utils.system import environment

FOLDER = PROJECT / "docs" / "results" / "benchmarks"


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest value of repeated measurements."""

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Claim:
    """A target and the value that was measured.

    Attributes:
        text: what is measured, "20 epochs of resnet50's head, plain fit / LeukoBench".
        unit: "x" for a ratio, "%", "s", "MB".
        asked: the target.
        measured: the measured value.
        at_most: whether the target is an upper bound.
        why: reason why the target is missed, without a full stop; shown only where it is missed.
    """

    text: str
    unit: str
    asked: float
    measured: Spread
    at_most: bool = False
    why: str = ""

    @property
    def reached(self) -> bool:
        """Whether the median meets the target."""
        return self.measured.median <= self.asked if self.at_most else self.measured.median >= self.asked


@dataclass(frozen=True)
class Column:
    """A column of a sheet: key of its rows, heading, and decimals of its numbers; None for text."""

    key: str
    heading: str
    digits: int | None = None


@dataclass(frozen=True)
class Sheet:
    """A table of numbers: each row is a dict with the columns' keys."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    words_below: str = ""


@dataclass(frozen=True)
class Series:
    """A line or a set of points of a plot.

    `low` and `high` are the range of the repetitions at every x, if there were any. `names` label the points.
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
        title: title above the axes.
        x, y: labels of the axes, with units.
        series: lines and points.
        log: axes with logarithmic scale: "", "x", "y" or "xy".
        asked: target value of y, drawn as a dashed line; None for no line.
    """

    title: str
    x: str
    y: str
    series: Sequence[Series]
    log: str = ""
    asked: float | None = None


@dataclass(frozen=True)
class Result:
    """Everything that one benchmark measured.

    Attributes:
        title: heading of its section.
        about: what was compared and how: data, initialisation, split, seed, and the baseline.
        claims, sheets, plots: the numbers.
        notes: failures and limits, shown below the numbers.
    """

    title: str
    about: str
    claims: Sequence[Claim]
    sheets: Sequence[Sheet] = ()
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = field(default=())


def spread(values: Sequence[float]) -> Spread:
    """Return median and range of repeated measurements."""
    return Spread(median(values), min(values), max(values), len(values))


def ratios(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """Return the ratio of two times, computed for each repetition by itself."""
    return spread([one / other for one, other in zip(slow, fast, strict=True)])


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of log values over log sizes: 1 for linear growth, nan for fewer than two sizes."""
    if len(sizes) < 2:
        return nan
    return linear_regression([log(size) for size in sizes], [log(value) for value in values]).slope


def record(name: str, result: Result, folder: Path, command: str) -> Path:
    """Write a result and a description of the machine to <folder>/<name>.json; return the path."""
    about = environment.describe()
    machine = ("cpu", "vector_units", "cores", "memory_gb", "platform", "python", "packages")
    header = {
        "command": command,
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": about["git_commit"],
        "changed": about["git_dirty"],  # uncommitted changes
        "machine": {key: about[key] for key in machine},
    }
    path = folder / f"{name}.json"
    files.write_json(path, header | asdict(result))
    return path


def read(path: Path) -> tuple[dict[str, Any], Result]:
    """Read a stored result: how it was made, and what was measured.

    Raises:
        LeukoBenchError: the file is missing or damaged.
    """
    stored = files.read_json(path)
    try:
        claims = [Claim(**claim | {"measured": Spread(**claim["measured"])}) for claim in stored["claims"]]
        sheets = [Sheet(**sheet | {"columns": [Column(**c) for c in sheet["columns"]]}) for sheet in stored["sheets"]]
        plots = [Plot(**plot | {"series": [Series(**s) for s in plot["series"]]}) for plot in stored["plots"]]
        result = Result(stored["title"], stored["about"], claims, sheets, plots, stored["notes"])
        return {key: stored[key] for key in ("command", "made", "commit", "changed", "machine")}, result
    except (KeyError, TypeError) as error:
        raise LeukoBenchError(
            f"{path} is damaged ({error}). Measure again: python run_guide.py bench {path.stem}"
        ) from None
