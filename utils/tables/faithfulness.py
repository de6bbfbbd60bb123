"""Table of the faithfulness measures of heatmap methods, and which method they favour (see docs/heatmaps.md)."""

from collections.abc import Sequence
from typing import Any

from utils import heatmap_methods
from utils.runs.faithfulness_file import BASELINES
from utils.tables.table import Table, number, percent

RANKED = {"deletion_auc_mean": False, "insertion_auc": True, "road": True}  # True: higher is more faithful
NAMES = {"deletion_auc_mean": "deletion", "insertion_auc": "insertion", "road": "ROAD"}
SAME = 0.5  # correlation with the maps of untrained networks at which a method fails the sanity check

Rows = Sequence[dict[str, Any]]


def mean_ranks(rows: Rows) -> dict[str, float]:
    """Return the mean rank of every method and baseline over deletion, insertion and ROAD; 1 is the most faithful.

    Equal values share their ranks. A measure that is missing in a row is not used.
    """
    ranks: dict[str, list[float]] = {row["method"]: [] for row in rows}
    for measure, higher in RANKED.items():
        values = {row["method"]: row[measure] for row in rows}
        if None in values.values():
            continue
        for method, value in values.items():
            better = sum(other > value if higher else other < value for other in values.values())
            equal = sum(other == value for other in values.values())
            ranks[method].append(better + (equal + 1) / 2)
    return {method: sum(each) / len(each) for method, each in ranks.items() if each}


def failed(row: dict[str, Any]) -> bool:
    """Return whether a method fails the sanity check; False if it was not checked."""
    return row["randomisation"] is not None and row["randomisation"] >= SAME


def order(rows: Rows) -> list[dict[str, Any]]:
    """Sort by mean rank, then deletion; methods before baselines, failed methods behind others."""
    ranks = mean_ranks(rows)
    return sorted(rows, key=lambda r: (r["method"] in BASELINES, failed(r), ranks[r["method"]], r["deletion_auc_mean"]))


def suggestion(rows: Rows) -> str:
    """Return the method with the best mean rank that passes the sanity check; "" if a baseline is as good."""
    best, ranks = order(rows)[0], mean_ranks(rows)
    known = best["method"] not in BASELINES and not failed(best)
    beaten = all(ranks[best["method"]] < ranks[row["method"]] for row in rows if row["method"] in BASELINES)
    return best["method"] if known and beaten else ""


def sentences(rows: Rows, configured: str) -> list[str]:
    """Return sentences: the most faithful method, its measures, failed methods, and the configured method.

    Args:
        rows: of `faithfulness_file.read`.
        configured: the run's heatmap_method.
    """
    ranks, best = mean_ranks(rows), suggestion(rows)
    counted = " and ".join(NAMES[key] for key in RANKED if all(row[key] is not None for row in rows))
    counted = counted.replace(" and ", ", ", counted.count(" and ") - 1)
    baselines = ", ".join(f"{row['method']} {ranks[row['method']]:.1f}" for row in rows if row["method"] in BASELINES)
    said = []
    if best:
        said.append(f"Most faithful: {best}. Mean rank {ranks[best]:.1f} of {len(rows)} by {counted} ({baselines}).")
        found = next(row for row in rows if row["method"] == best)
        if found["randomisation"] is None:
            said.append("The sanity check was not made.")
        if found["nucleus_mass"] is not None:
            said.append(
                f"{percent(found['nucleus_mass'], 1)} % of its heatmaps is inside nuclei, which cover "
                f"{percent(found['nucleus_area'], 1)} % of the area."
            )
    else:
        said.append(
            f"No method can be recommended: none that passes the sanity check ranks before every baseline by {counted} "
            f"({baselines})."
        )
    best_baseline = min((ranks[row["method"]] for row in rows if row["method"] in BASELINES), default=len(rows) + 1.0)
    idle = [row["method"] for row in rows if row["method"] not in BASELINES and ranks[row["method"]] >= best_baseline]
    if best and idle:
        said.append(f"No better than a map that does not depend on the model: {', '.join(idle)}.")
    said += [
        f"{row['method']} fails the sanity check: its maps of untrained networks correlate with those of the trained "
        f"one by {row['randomisation']:.2f}, so that they do not show what was learned."
        for row in rows
        if failed(row) and row["method"] not in BASELINES
    ]
    return [*said, *_agreement(best, configured, rows)]


def _agreement(best: str, configured: str, rows: Rows) -> list[str]:
    if not best:
        return []
    if best == configured:
        return [f"The configuration agrees: heatmap_method is {configured}."]
    if configured not in {row["method"] for row in rows}:
        return [f"The configuration's heatmap_method, {configured}, was not measured."]
    return [f"The configuration says heatmap_method={configured}; the measurements favour: explain --method {best}"]


def table(rows: Rows, title: str) -> Table:
    """Return the measures of all methods as a table that fits 80 columns, best method first."""
    columns = ("Method", "Rank", "Dele-\ntion", "Inser-\ntion", "ROAD", "Nuclei\n%", "Point\n%", "Un-\ntrained", "n")
    ranks = mean_ranks(rows)
    lines = [
        [
            heatmap_methods.title(row["method"]),
            number(ranks[row["method"]], 1),
            *(number(row[key], 3) for key in RANKED),
            *(percent(row[key], 1) for key in ("nucleus_mass", "pointing_game")),
            number(row["randomisation"]),
            number(row["images"], 0),
        ]
        for row in order(rows)
    ]
    return Table(title, columns, lines, words_below=legend(rows))


def legend(rows: Rows) -> str:
    """Return the explanation of the columns."""
    flat = next((row["nucleus_area"] for row in rows if row["nucleus_area"] is not None), None)
    area = "" if flat is None else f"; a uniform map has {percent(flat, 1)}"
    return (
        f"Deletion: lower is better; insertion and ROAD: higher. Nuclei: share of the map inside nuclei{area}. "
        "Point: share of maps whose maximum is in a nucleus. Untrained: correlation with the maps of untrained "
        f"networks, {SAME:g} or more fails."
    )
