"""Tables and sentences of the leaderboard, and the commands for missing measurements."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from utils.runs.leaderboard import board
from utils.runs.shortcuts_file import SEES
from utils.runs.split_spec import APART, CAPTURE, COMPARED, GIVEN, RANDOM
from utils.tables import writers
from utils.tables.cost import seconds
from utils.tables.recipes import SEEN
from utils.tables.table import (
    HYPHEN,
    Table,
    difference,
    interval,
    name_lines,
    number,
    percent,
    quantity,
    signed,
    spread,
)
from utils.text import MISSING

STEM = "leaderboard"
TITLE = "Leaderboard: does the model recognise the cells or the stain?"
# Measures that may be missing, each with a column and the command that makes it.
MADE_BY = {
    "Grouped accuracy and the leakage gap": ("leakage_gap", "train MODEL --split grouped"),
    "Grey, stain swap and flip rate on all test images of the random split": ("random_stain_swap", "stress RUN"),
    "Stain swap and flip rate on all test images of the grouped split": ("grouped_stain_swap", "stress RUN"),
    "The shortcut margin": ("random_shortcut_margin", "audit --split SPLIT"),
    "The share of the heatmap in nuclei": ("random_nucleus_mass", "faithfulness RUN"),
}


def _made_by(kind: str) -> dict[str, tuple[str, str]]:
    """Return MADE_BY for one of APART, which has no groups to compare with."""
    return {
        f"Grey, stain swap and flip rate on all test images of {APART[kind]}": (f"{kind}_stain_swap", "stress RUN"),
        f"The shortcut margin on {APART[kind]}": (f"{kind}_shortcut_margin", f"audit --split {kind}"),
        f"The share of the heatmap in nuclei on {APART[kind]}": (f"{kind}_nucleus_mass", "faithfulness RUN"),
    }


WORDS = {
    "stain": "Sorted by the second column. Grouped swap: accuracy on the test images of the grouped split, each with "
    "the colour statistics of an image of another class. Random: accuracy on the split by image, where images of one "
    "slide are in both training and test set. Grouped: all images of a stain group (an estimate, not a patient) and "
    "overlapping fields are in one subset. Gap: random minus grouped, in points, over the seeds that have both. Grey: "
    "the random split's test images without colour. Swap: the same images with swapped stain. *: trained on such a "
    "change, so that a high value is expected. ±: standard deviation over seeds and folds; a single run has none. "
    "After accuracies and gaps: 95 % interval over groups of test images, seeds averaged for each image; a gap whose "
    "interval holds 0 is no evidence of a leak. (1/3): number of runs with this measurement.",
    "measures": "On the random split unless the column says grouped. Unseen: lowest accuracy over all families of "
    "change that the model did not train on. Flips: share of images whose answer was not the donor's class before the "
    "stain swap and is that class after it; near 0, the answer does not depend on the stain. Margin: accuracy minus "
    "that of the best shortcut baseline (colours, background, a corner, a thumbnail) trained and tested on the same "
    "images, in points; near 0, the accuracy is no evidence. ECE: calibration error, the mean difference of confidence "
    "and accuracy, after temperature scaling on the validation images. Nuclei: share of the heatmap inside nuclei, for "
    "the run's configured heatmap method; below it the share of the image that nuclei cover, which a uniform map "
    "reaches.",
    GIVEN: "On the test images of the split that came with the dataset, which was kept; whether images of one slide "
    "are in several of its subsets is for its owner to say.",
    CAPTURE: "On blocks of file numbers of each class, apart from the training images by an embargo, as images taken "
    "one after another are often of one slide. Fewer images are left for training than on the other splits.",
    "apart": "Swap: with the stain of an image of another class. Grey: "
    "without colour. Unseen: lowest accuracy over all families of change that the model did not train on. Flips: share "
    "of the answers that follow the swapped stain. Margin: accuracy minus that of the best shortcut baseline, in "
    "points. ECE: calibration error after temperature scaling. Nuclei: share of the heatmap inside nuclei; below it "
    "the share of the image that nuclei cover. After the accuracy: 95 % interval over groups of test images.",
    "cost": "Training seconds and milliseconds per image are means over the runs; a dash if they were made on "
    "different machines. Runs: on random + on grouped splits, over seeds and folds. Names end in the shares of "
    "training, validation and test images if these differ between rows.",
}


def shown(found: Sequence[dict[str, Any]]) -> list[Table]:
    """Return the tables of every dataset, in the leaderboard's order; each fits 80 columns."""
    datasets = list(dict.fromkeys(row["dataset"] for row in found))
    made = []
    for dataset in datasets:
        of_dataset = [row for row in found if row["dataset"] == dataset]
        about = f" ({dataset})" if len(datasets) > 1 else ""
        dealt = [row for row in of_dataset if board(row) == RANDOM]
        made += [_stain(dealt, about), _measures(dealt, about)] if dealt else []
        for kind in APART:
            apart = [row for row in of_dataset if board(row) == kind]
            made += [_apart(apart, kind, about)] if apart else []
        made.append(_cost(of_dataset, about))
    return made


def sentences(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return the main findings in sentences, with the numbers of the rows."""
    said = [
        "Which of these models recognise the cells? The accuracy on a random split does not show it: if each class "
        "was stained differently, a model can classify by colour alone. So the same test images are classified again "
        "with their colours changed. Answers that follow the colours of another class show that the stain was used. A "
        "lower accuracy alone does not: unusual colours may also disturb a model that recognises cells.",
    ]
    datasets = list(dict.fromkeys(row["dataset"] for row in found))
    for dataset in datasets:
        about = f"{dataset}: " if len(datasets) > 1 else ""
        for kind in (RANDOM, *APART):
            rows = [row for row in found if row["dataset"] == dataset and board(row) == kind]
            where = f"On {APART[kind]}: " if kind in APART else ""
            said += [about + where + line for line in _of_dataset(rows, kind)] if rows else []
    return said


def _of_dataset(found: Sequence[dict[str, Any]], kind: str) -> list[str]:
    """Return the findings of the rows of a dataset on one kind of split: RANDOM (with the gap to grouped), or APART."""
    swapped = [row for row in found if row[f"{kind}_stain_swap"] is not None]
    if not swapped:
        return ["No run has been stress-tested on all test images yet, so this is not known."]
    fallen = max(swapped, key=lambda row: row[f"{kind}_accuracy_of_swapped"] - row[f"{kind}_stain_swap"])
    best = max(swapped, key=lambda row: row[f"{kind}_stain_swap"])
    said = [_under_swap(fallen, "Largest drop", kind)]
    if best is not fallen:
        said.append(_under_swap(best, "Best under stain swap", kind))
    judged = [row for row in found if row[f"{kind}_lowest_unseen"] is not None]
    if judged:
        firm = max(judged, key=lambda row: row[f"{kind}_lowest_unseen"])
        said.append(
            f"Most robust to changes that it did not train on: {firm['name']}, with an accuracy of "
            f"{percent(firm[f'{kind}_lowest_unseen'], 1)} % on the hardest of them "
            f"({firm[f'{kind}_lowest_unseen_family']})."
        )
    beaten = next((row for row in found if row["best_shortcut"]), None)
    if beaten:
        said.append(
            f"Best shortcut baseline, which sees no cell shape: {beaten['best_shortcut']} "
            f"({SEES.get(beaten['best_shortcut'], 'see the audit')}), with an accuracy of "
            f"{percent(beaten['best_shortcut_accuracy'], 1)} %."
        )
    gaps = [row for row in found if row["leakage_gap"] is not None]
    if gaps:
        widest = max(gaps, key=lambda row: row["leakage_gap"])
        low, high = widest["leakage_gap_low"], widest["leakage_gap_high"]
        known = "" if low is None else f" (95 % over groups: {difference(low, 1)} to {difference(high, 1)})"
        said.append(
            f"Largest leakage gap: {widest['name']} loses {number(widest['leakage_gap'], 2, 100)} points on test "
            f"images from unseen stain groups{known}, in {widest['random_runs']} + {widest['grouped_runs']} runs. "
            + _gaps_that_show(gaps)
        )
    return said


def _gaps_that_show(gaps: Sequence[dict[str, Any]]) -> str:
    known = [row for row in gaps if row["leakage_gap_low"] is not None]
    apart = sum(row["leakage_gap_low"] > 0 or row["leakage_gap_high"] < 0 for row in known)
    return (
        f"The interval of {apart} of {len(known)} gaps excludes 0." if known else "No gap has an interval over groups."
    )


def missing(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return one line for each measure that is missing in a row, with the command that makes it."""
    said = []
    made_by = [(RANDOM, each) for each in MADE_BY.items()]
    made_by += [(kind, each) for kind in APART for each in _made_by(kind).items()]
    for kind, (what, (key, command)) in made_by:
        rows = [row for row in found if board(row) == kind]
        lacking = [row for row in rows if row[key] is None]
        if lacking:
            many = "in every row" if len(lacking) == len(rows) else f"in {len(lacking)} of {len(rows)} rows"
            said.append(f"{what}: not measured {many} ({MISSING}). Make it with: python run_guide.py {command}")
    return said


def write(folder: Path, found: Sequence[dict[str, Any]]) -> list[Path]:
    """Write leaderboard.csv, .md, .tex and .html into a folder; return the paths. The same runs give the same bytes.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    notes = [*sentences(found), *missing(found)]
    return writers.write_all(folder / STEM, TITLE, notes, shown(found), found)


def _stain(found: Sequence[dict[str, Any]], about: str) -> Table:
    lines = [
        [
            name_lines(row["name"]),
            *(_share(row, key) for key in ("grouped_stain_swap", "random_accuracy", "grouped_accuracy")),
            signed(*(row[f"leakage_gap{end}"] for end in ("", "_low", "_high"))),
            *(_share(row, key) for key in ("random_grey", "random_stain_swap")),
        ]
        for row in found
    ]
    columns = ("Model", "Grouped\nswap %", "Random\n%", "Grouped\n%", "Gap\npoints", "Grey\n%", "Swap\n%")
    return Table(f"Accuracy, also on changed images{about}", columns, lines, words_below=WORDS["stain"])


def _measures(found: Sequence[dict[str, Any]], about: str) -> Table:
    lines = [
        [
            *(name_lines(row["name"]), percent(row["random_lowest_unseen"])),
            *(_counted(row, f"{kind}_flip_rate", percent) for kind in COMPARED),
            *(_counted(row, f"{kind}_shortcut_margin", lambda value: difference(value, 1)) for kind in COMPARED),
            *_last_measures(row, RANDOM),
        ]
        for row in found
    ]
    columns = (
        *("Model", "Unseen\n%", "Flips\n%", "Grouped\nflips %", f"Mar{HYPHEN}gin", "Grouped\nmargin"),
        *("ECE\n%", "Nuclei\n%"),
    )
    return Table(f"Stain, shortcuts, confidence, heatmaps{about}", columns, lines, words_below=WORDS["measures"])


def _apart(found: Sequence[dict[str, Any]], kind: str, about: str) -> Table:
    lines = [
        [
            name_lines(row["name"]),
            *(_share(row, f"{kind}_{key}") for key in ("accuracy", "stain_swap", "grey")),
            percent(row[f"{kind}_lowest_unseen"]),
            _counted(row, f"{kind}_flip_rate", percent),
            _counted(row, f"{kind}_shortcut_margin", lambda value: difference(value, 1)),
            *_last_measures(row, kind),
        ]
        for row in found
    ]
    shares = (f"{name}\n%" for name in ("Acc.", "Swap", "Grey", "Unseen", "Flips"))
    columns = ("Model", *shares, f"Mar{HYPHEN}gin", "ECE\n%", "Nuclei\n%")
    return Table(f"On {APART[kind]}{about}", columns, lines, words_below=f"{WORDS[kind]} {WORDS['apart']}")


def _last_measures(row: dict[str, Any], kind: str) -> list[str]:
    """Return the cells of calibration error and heatmap."""
    return [
        _counted(row, f"{kind}_calibration_error_scaled", lambda value: percent(value, 1)),
        _counted(row, f"{kind}_nucleus_mass", lambda mass: _nuclei(mass, row[f"{kind}_nucleus_area"])),
    ]


def runs(row: dict[str, Any]) -> str:
    """Return the number of runs of a row: on random + on grouped splits, or on another kind."""
    kind = board(row)
    return str(row[f"{kind}_runs"]) if kind in APART else f"{row['random_runs']} + {row['grouped_runs']}"


def _cost(found: Sequence[dict[str, Any]], about: str) -> Table:
    lines = [
        [
            *(name_lines(row["name"]), row["initialisation"].replace(" ", "\n"), str(row["image_size"])),
            *(quantity(row["parameters"]), seconds(row["training_seconds"]), number(row["latency_ms_p50"], 1)),
            runs(row),
        ]
        for row in found
    ]
    columns = ("Model", "Initial\nweights", "Pixels", "Params", "Train\ns", "ms an\nimage", "Runs")
    return Table(f"Cost{about}", columns, lines, frozenset({0, 1}), WORDS["cost"])


def _share(row: dict[str, Any], key: str) -> str:
    trained = row[key] is not None and (
        (key.endswith("grey") and row["trained_on_grey"]) or (key.endswith("stain_swap") and row["trained_on_swap"])
    )
    mark = SEEN if trained else ""

    def text(value: float | None) -> str:
        mean, sign, deviation = spread(value, row[f"{key}_sd"], 2, 100).partition(" ±")
        return f"{mean}{mark}" + (f"\n±{deviation}" if sign else "")

    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    return _counted(row, key, text) + ("" if low is None else f"\n{interval(low, high)}")


def _counted(row: dict[str, Any], key: str, text: Callable[[Any], str]) -> str:
    """Return the text of a measure, with the number of its runs if some runs lack it."""
    runs, of = row[f"{key}_runs"], row[f"{key.partition('_')[0]}_runs"]
    return text(row[key]) + (f"\n({runs}/{of})" if 0 < runs < of else "")


def _nuclei(mass: float | None, area: float | None) -> str:
    return percent(mass, 1) + (f"\n({percent(area, 1)})" if area is not None else "")


def _under_swap(row: dict[str, Any], which: str, kind: str) -> str:
    flips = row[f"{kind}_flip_rate"]
    followed = "" if flips is None else f"; {percent(flips, 1)} % of the answers changed to the class of that stain"
    trained = " It trained on such a change." if row["trained_on_swap"] else ""
    return (
        f"{which}: {row['name']}, accuracy {percent(row[f'{kind}_accuracy_of_swapped'], 1)} % on the test images and "
        f"{percent(row[f'{kind}_stain_swap'], 1)} % with the stain of another class{followed}.{trained} "
        f"Always answering the most frequent class gives {percent(row['most_frequent_class'], 1)} %."
    )
