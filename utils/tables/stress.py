"""Tables and sentences of the stress test: headline figures and accuracies by family (defined in docs/stress.md)."""

from collections.abc import Mapping, Sequence
from typing import Any

from utils.runs import shortcuts_file
from utils.runs.comparison import Comparison
from utils.runs.run_folder import Run
from utils.runs.stress_controls import EFFECT, FOLLOWING, MEASURES, SHARES, Number
from utils.runs.stress_file import CONTROL, GREY, NONE, SWAP, Rows, accuracy, families, flip_rate, margin, means, read
from utils.tables.table import Table, difference, name_lines, number, percent
from utils.text import MISSING


def table(run: Run, rows: Rows) -> Table:
    """Return a table of one run, one row per family: accuracy, its lowest value, and means of the other measures."""
    shown = [_family_row(name, [row for row in rows if row["family"] == name]) for name in families(rows)]
    columns = ("Change", "Acc.\n%", "Lowest\n%", "Bal.\nacc. %", "ECE", "Flips\n%", "Heatmap\nsimilarity")
    count = next((row["images"] for row in rows if row["family"] == NONE), 0)
    return Table(f"{run.label()} under stress, {count:,} test images", columns, shown, words_below=WORDS)


HEADLINES = ("name", "run", "images", "accuracy", "shortcut_margin", "best_shortcut", "flip_rate")


def controls(numbers: Mapping[str, Number]) -> Table | None:
    """Return the numbers of the controls with their intervals over groups; None for a run without controls."""
    if not set(numbers) & {EFFECT, FOLLOWING}:
        return None
    rows = [
        [
            MEASURES[name],
            percent(each.estimate, 1) if name in SHARES else difference(each.estimate, 1),
            f"{percent(each.low, 1)} to {percent(each.high, 1)}",
            f"{each.images:,}",
            f"{each.groups:,}",
        ]
        for name, each in numbers.items()
        if name in MEASURES
    ]
    source = next(iter(numbers.values())).groups_from
    words = f"{CONTROL_WORDS} Intervals: 95 %, over groups ({source})."
    return Table(
        "Controls, % and points", ("Measure", "Value", "Interval", "Images", "Groups"), rows, frozenset({0}), words
    )


CONTROL_WORDS = (
    "Class-specific stain effect: accuracy with the colours of an image of the same class minus with those of another "
    "class, both equally far from the image. Following: answers on the donor's class, observed minus expected under "
    "permuted donors. Tinted grey: grey with the image's mean tint. Scale bar: accuracy with other corners painted "
    "over minus with that of the scale bar. A fall in grey alone does not show that the stain was read."
)


def named_runs(comparison: Comparison) -> list[tuple[str, Run]]:
    """Return the runs of a comparison with their names, for `headlines`."""
    return list(zip((row["name"] for row in comparison.rows), comparison.runs, strict=True))


def headlines(named: Sequence[tuple[str, Run]]) -> list[dict[str, Any]]:
    """Return the columns of stress.csv of a comparison: headline figures and the accuracy of every family.

    One dict per run with a stress test.
    """
    stressed = [(name, run, rows) for name, run in named if (rows := read(run))]
    known = list(dict.fromkeys(family for *_, rows in stressed for family in families(rows)))
    found = []
    for name, run, rows in stressed:
        best = shortcuts_file.best(run.root, run.environment()["manifest"])
        values = families(rows)
        found.append(
            {
                "name": name,
                "run": run.id,
                "images": rows[0]["images"],
                "accuracy": accuracy(run),
                "shortcut_margin": margin(run),
                "best_shortcut": best[0] if best else None,
                "flip_rate": flip_rate(rows),
                **{family: values.get(family) for family in known},
            }
        )
    return found


def comparison(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return `headlines` as two tables: the headline figures, and the accuracy of every family; [] without rows."""
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
                row["best_shortcut"] or MISSING,
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
    "Means over the severities of a change. Stain swap: with the colours of a random image of another class. Stain "
    "flips: images whose answer changed to that class. Shortcut margin: accuracy minus that of the best baseline that "
    "sees no cell shape. Cells removed is the control: an accuracy above chance there does not come from cells."
)
WORDS = (
    "Accuracy: mean over the severities of a change; lowest: at the worst severity. ECE: mean difference of confidence "
    "and accuracy, 0 is best. Flips: images whose answer changed to the class of the swapped stain. Heatmap "
    "similarity: rank correlation with the heatmap of the unchanged image, 1 is equal, 0 unrelated. Cells removed is "
    "the control: a high accuracy there does not come from cells."
)


def sentences(run: Run, rows: Rows) -> list[str]:
    """Return the headline figures of a run in sentences."""
    values, flips, distance = families(rows), flip_rate(rows), margin(run)
    best = shortcuts_file.best(run.root, run.environment()["manifest"])
    said = []
    if distance is not None:
        word = "above" if distance >= 0 else "below"
        said.append(
            f"Shortcut margin {difference(distance, 1)} points: an accuracy of {percent(best[1] + distance, 1)} % is "
            f"{percent(abs(distance), 1)} points {word} what '{best[0]}' alone reaches ({percent(best[1], 1)} %)."
        )
    elif best is None:
        said.append("Shortcut margin: not known, because the shortcut baselines of this split were not measured.")
    if flips is not None:
        said.append(
            f"Stain flip rate {percent(flips, 1)} %: the share of answers that changed to the class of the swapped "
            f"stain, some of them by chance; accuracy fell from {percent(values[NONE], 1)} % to "
            f"{percent(values[SWAP], 1)} %."
        )
    if CONTROL in values:
        said.append(
            f"Without cells the accuracy is {percent(values[CONTROL], 1)} %; what exceeds chance there does not come "
            "from cells."
        )
    return said


def _family_row(name: str, rows: Rows) -> list[str]:
    def mean(key: str) -> float | None:
        return means(rows, key).get(name)

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
