"""Table of the baseline against the best run: accuracy, recalls, discordant images, cost."""

from collections.abc import Sequence
from typing import Any

from utils.metrics import grouped_tests
from utils.runs import image_groups
from utils.runs.comparison import Comparison
from utils.runs.records import MACHINE
from utils.runs.run_folder import Run
from utils.tables.cost import seconds
from utils.tables.table import Table, difference, interval, name_lines, number, percent, ratio
from utils.text import MISSING

DEFAULT = "cnn"


def find(comparison: Comparison, name: str) -> int | None:
    """Return the index of the baseline in a comparison: by its name in the tables, its label or its run.

    Of several seeds, the lowest; None if there is no match.
    """
    pairs = list(enumerate(zip(comparison.runs, comparison.rows, strict=True)))
    tests = (
        lambda run, row: row["name"] == name,
        lambda run, row: run.label() == name,
        lambda run, row: row["run"] == name,
    )
    for test in tests:
        fitting = [(row["seed"], place) for place, (run, row) in pairs if test(run, row)]
        if fitting:
            return min(fitting)[1]
    return None


def records(comparison: Comparison, name: str = DEFAULT) -> list[dict[str, Any]]:
    """Return the columns of baseline.csv as one dict in a list; [] without a baseline or without another run.

    The best is the first of the ranking, or the second if the baseline is first. p is over groups of images, see
    `grouped_tests`, and over images. The best was selected on these images, so its advantage is overestimated. Ratios
    of seconds are None for different machines.
    """
    place = find(comparison, name)
    if place is None or len(comparison.runs) < 2:
        return []
    other = 1 if place == 0 else 0
    base, best = comparison.rows[place], comparison.rows[other]
    alike = all(base[key] == best[key] for key in MACHINE)
    row = {"baseline": base["name"], "best": best["name"], "baseline_run": base["run"], "best_run": best["run"]}
    row |= {"images": base["images"]}
    for key in ("accuracy", "accuracy_low", "accuracy_high"):
        row |= {f"baseline_{key}": base[key], f"best_{key}": best[key]}
    row["difference"] = best["accuracy"] - base["accuracy"]
    row |= _discordant(comparison.runs[place], comparison.runs[other])
    recalls = [{c["class"]: c["recall"] for c in comparison.per_class if c["run"] == r["run"]} for r in (base, best)]
    for label, recall in recalls[0].items():
        row |= {f"baseline_recall_{label}": recall, f"best_recall_{label}": recalls[1].get(label)}
    for key in ("training_seconds", "latency_ms_p50"):
        row |= {f"baseline_{key}": base[key], f"best_{key}": best[key]}
        row[f"{key}_ratio"] = best[key] / base[key] if alike and base[key] and best[key] is not None else None
    return [row]


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return baseline and best of `records` side by side; [] without rows."""
    if not rows:
        return []
    row = rows[0]

    def line(title: str, key: str, text: Any, last: str) -> list[str]:
        return [title, text(row[f"baseline_{key}"]), text(row[f"best_{key}"]), last]

    bounds = [interval(row[f"{who}_accuracy_low"], row[f"{who}_accuracy_high"]) for who in ("baseline", "best")]
    chance = MISSING if row["group_p"] is None else f"p = {row['group_p']:.3g}"
    lines = [
        line("Accuracy, %", "accuracy", percent, _points(row["difference"])),
        ["95 % Wilson", *bounds, ""],
        line("Only this one right", "alone", lambda n: number(n, 0), chance),
    ]
    for label in (key.removeprefix("baseline_recall_") for key in row if key.startswith("baseline_recall_")):
        recalls = row[f"baseline_recall_{label}"], row[f"best_recall_{label}"]
        gain = None if None in recalls else recalls[1] - recalls[0]
        lines.append(line(f"Recall of {label}, %", f"recall_{label}", percent, _points(gain)))
    lines.append(line("Training, s", "training_seconds", seconds, ratio(row["training_seconds_ratio"])))
    lines.append(line("One image, ms", "latency_ms_p50", lambda ms: number(ms, 1), ratio(row["latency_ms_p50_ratio"])))
    title = "Baseline against best" if row["difference"] >= 0 else "Baseline, which leads, against the next"
    heads = ("", name_lines(row["baseline"]), name_lines(row["best"]), "Difference")
    return [Table(title, heads, lines)]


def _points(gain: float | None) -> str:
    return MISSING if gain is None else f"{difference(gain)} points"


def _discordant(base: Run, best: Run) -> dict[str, Any]:
    """Count the test images that only one of two runs classifies correctly; with p over groups and over images."""
    right = [_right(run) for run in (base, best)]
    if right[0].keys() != right[1].keys():  # equal images under other names cannot be paired
        names = ("baseline_alone", "best_alone", "both_right", "both_wrong", "group_p", "mcnemar_p")
        return dict.fromkeys(names)
    pairs = [(right[0][image], right[1][image]) for image in right[0]]
    groups, _ = image_groups.of_images(base, list(right[0]))
    tested = grouped_tests.paired_test(*zip(*pairs, strict=True), groups)
    return {
        "baseline_alone": pairs.count((True, False)),
        "best_alone": pairs.count((False, True)),
        "both_right": pairs.count((True, True)),
        "both_wrong": pairs.count((False, False)),
        "group_p": tested.p,
        "mcnemar_p": tested.p_images,
    }


def _right(run: Run) -> dict[str, bool]:
    from utils.metrics import predictions

    table = run.predictions("test")
    _, truth, probabilities = predictions.arrays(table)
    hits = (probabilities.argmax(axis=1) == truth).tolist()
    return dict(zip(table["image"], hits, strict=True))
