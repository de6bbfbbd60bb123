"""What `stress` measured, from the runs' stress.csv alone: headline figures and tables, defined in docs/stress.md."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import predictions
from utils.runs.comparison import Comparison
from utils.runs.run_folder import Run
from utils.tables import shortcuts as shortcuts_tables
from utils.tables.table import Table, difference, name_lines, number, percent

FILE = "stress.csv"
ANSWERS = "stress_answers.csv"  # under other stains: how many images of a label got which answer
HEADER = (
    *("family", "change", "severity", "donor", "images", "accuracy", "balanced_accuracy", "ece", "flip_rate"),
    "heatmap_similarity",
)
ANSWERS_HEADER = ("family", "change", "donor", "label", "answer", "images")
NUMBERS = HEADER[5:]
NONE = "none"  # family of the unchanged test images
SWAP, GREY, CONTROL = "stain swap", "grey", "cells removed"
NO_TEST = (NONE, CONTROL)  # families that say nothing of robustness
REFERENCE = "stain reference"  # made in two ways, of which a run may have trained on one
REFERENCE_REINHARD, REFERENCE_MACENKO = f"{REFERENCE}, reinhard", f"{REFERENCE}, macenko"

Rows = Sequence[dict[str, Any]]


def read(run: Run) -> list[dict[str, Any]]:
    """Read stress.csv: numbers as numbers, None where nothing was measured; no rows where a run was not stressed.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    path = run.file(FILE)
    if not path.is_file():
        return []
    try:
        return [
            {
                **{key: row[key] for key in ("family", "change", "donor")},
                **{key: int(row[key]) for key in ("severity", "images")},
                **{key: float(row[key]) if row[key] else None for key in NUMBERS},
            }
            for row in files.read_csv(path, HEADER)
        ]
    except (TypeError, ValueError) as error:
        raise LeukoBenchError(
            f"{path} is damaged ({error}). Make it again: python run_guide.py stress {run.id}"
        ) from None


def families(rows: Rows) -> dict[str, float]:
    """Return the accuracy of each family, the mean over its rows, that is over severities, directions and donors."""
    return _means(rows, "accuracy")


def of_whole_test(run: Run) -> list[dict[str, Any]]:
    """Return the rows of stress.csv as `read` does, but none where only a sample of the test images was changed."""
    rows = read(run)
    images = next((row["images"] for row in rows if row["family"] == NONE), 0)
    return rows if rows and images == len(run.predictions("test")) else []


def families_by_method(rows: Rows) -> dict[str, float]:
    """Return the accuracy of each family as `families` does, with each method of the stain reference for itself."""
    return families(
        [row | {"family": f"{REFERENCE}, {row['change']}"} if row["family"] == REFERENCE else row for row in rows]
    )


def swap_accuracy(rows: Rows) -> float | None:
    """Return the accuracy with the stain of a random image of another class put on; None where not measured."""
    return families(rows).get(SWAP)


def grey_accuracy(rows: Rows) -> float | None:
    """Return the accuracy on the test images in grey; None where not measured."""
    return families(rows).get(GREY)


def flip_rate(rows: Rows) -> float | None:
    """Return the stain flip rate: how often the answer becomes the class whose stain was put on; None if not known.

    The share of all test images whose answer was not the donor's class before the swap and is it afterwards.
    """
    return _means(rows, "flip_rate").get(SWAP)


def margin(run: Run) -> float | None:
    """Return the shortcut margin: test accuracy minus that of the split's best shortcut baseline; None if unknown."""
    best = shortcuts_tables.best(run.root, run.environment()["manifest"])
    return _accuracy(run) - best[1] if best else None


def table(run: Run, rows: Rows) -> Table:
    """Return a table of one run, a row a family: accuracy, its lowest row, the other measures, all means over rows."""
    shown = [_family_row(name, [row for row in rows if row["family"] == name]) for name in families(rows)]
    columns = ("Change", "Acc.\n%", "Lowest\n%", "Bal.\nacc. %", "ECE", "Flips\n%", "Heatmap\nsimilarity")
    count = next((row["images"] for row in rows if row["family"] == NONE), 0)
    return Table(f"{run.label()} under stress, {count:,} test images", columns, shown, words_below=WORDS)


HEADLINES = ("name", "run", "images", "accuracy", "shortcut_margin", "best_shortcut", "flip_rate")


def named_runs(comparison: Comparison) -> list[tuple[str, Run]]:
    """Return the runs of a comparison with their names, as `headlines` and `comparison` take them."""
    return list(zip((row["name"] for row in comparison.rows), comparison.runs, strict=True))


def headlines(named: Sequence[tuple[str, Run]]) -> list[dict[str, Any]]:
    """Return a row a run that was stressed, for CSV: the headline figures, then the accuracy of every family."""
    stressed = [(name, run, rows) for name, run in named if (rows := read(run))]
    known = list(dict.fromkeys(family for *_, rows in stressed for family in families(rows)))
    found = []
    for name, run, rows in stressed:
        best = shortcuts_tables.best(run.root, run.environment()["manifest"])
        values = families(rows)
        found.append(
            {
                "name": name,
                "run": run.id,
                "images": rows[0]["images"],
                "accuracy": _accuracy(run),
                "shortcut_margin": margin(run),
                "best_shortcut": best[0] if best else None,
                "flip_rate": flip_rate(rows),
                **{family: values.get(family) for family in known},
            }
        )
    return found


def comparison(named: Sequence[tuple[str, Run]]) -> list[Table]:
    """Return the tables that compare stressed runs: the headline figures, and every family; none without such runs."""
    rows = headlines(named)
    if not rows:
        return []
    first = Table(
        "Under stress: the headline figures, % and points",
        ("Model", "Un-\nchanged", "Grey", "Stain\nswap", "Stain\nflips", "Shortcut\nmargin", "Best\nshortcut"),
        [
            [
                name_lines(row["name"]),
                *(percent(row.get(key), 1) for key in (NONE, GREY, SWAP, "flip_rate")),
                difference(row["shortcut_margin"], 1),
                row["best_shortcut"] or "–",
            ]
            for row in rows
        ],
        frozenset({0, 6}),
    )
    known = [key for key in rows[0] if key not in HEADLINES]
    second = Table(
        "Under stress: accuracy in % by family of change",
        ("Change", *(name_lines(row["name"]) for row in rows)),
        [[_title(family), *(percent(row[family], 1) for row in rows)] for family in known],
    )
    return [first, second]


COMPARISON_WORDS = (
    "Means over the steps of a change. Stain swap: with the colours of a random image of another class. Stain flips: "
    "images whose answer became that class. Shortcut margin: accuracy minus that of the best baseline that sees no "
    "shape of a cell. Cells removed is the control: what lies above chance there was not read from cells."
)
WORDS = (
    "Accuracy: mean over the steps of a change; lowest: of its worst step. ECE: how far confidence and accuracy lie "
    "apart, 0 is best. Flips: images whose answer became the class whose stain was put on. Heatmap similarity: rank "
    "correlation with the heatmap of the unchanged image, 1 is equal, 0 unrelated. Cells removed is the control: there "
    "a high accuracy means that something else than cells was read."
)


def sentences(run: Run, rows: Rows) -> list[str]:
    """Return what the headline figures of a run mean, in words."""
    values, flips, distance = families(rows), flip_rate(rows), margin(run)
    best = shortcuts_tables.best(run.root, run.environment()["manifest"])
    said = []
    if distance is not None:
        word = "above" if distance >= 0 else "below"
        said.append(
            f"Shortcut margin {difference(distance, 1)} points: an accuracy of {percent(best[1] + distance, 1)} % is "
            f"{percent(abs(distance), 1)} points {word} what '{best[0]}' alone reaches ({percent(best[1], 1)} %)."
        )
    elif best is None:
        said.append("Shortcut margin: not known, as the shortcut baselines of this split have not been measured.")
    if flips is not None:
        said.append(
            f"Stain flip rate {percent(flips, 1)} %: so many answers became the class whose stain was put on; accuracy "
            f"went from {percent(values[NONE], 1)} % to {percent(values[SWAP], 1)} %."
        )
    if CONTROL in values:
        said.append(
            f"Without any cell {percent(values[CONTROL], 1)} % are still named rightly: whatever that is above chance, "
            "the cells did not say it."
        )
    return said


def _accuracy(run: Run) -> float:
    """Return the accuracy on the unchanged test images, recomputed, as metrics.json may be damaged."""
    return predictions.summary(run.predictions("test"))["accuracy"]


def _family_row(name: str, rows: Rows) -> list[str]:
    def mean(key: str) -> float | None:
        return _means(rows, key).get(name)

    lowest = min(row["accuracy"] for row in rows)
    return [
        _title(name),
        percent(mean("accuracy"), 1),
        percent(lowest if len(rows) > 1 else None, 1),
        percent(mean("balanced_accuracy"), 1),
        number(mean("ece"), 3),
        percent(mean("flip_rate"), 1),
        number(mean("heatmap_similarity"), 2),
    ]


def _title(family: str) -> str:
    return "unchanged" if family == NONE else family


def _means(rows: Rows, key: str) -> dict[str, float]:
    known: dict[str, list[float]] = {}
    for row in rows:
        if row[key] is not None:
            known.setdefault(row["family"], []).append(row[key])
    return {family: fmean(values) for family, values in known.items()}
