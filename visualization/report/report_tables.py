"""The tables of the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data import manifest as manifests
from utils.runs import leaderboard
from utils.runs.comparison import Comparison
from utils.tables import leaderboard as leaderboard_tables
from utils.tables import recipes as recipes_tables
from utils.tables.table import Table
from visualization import compared_runs as members
from visualization import style
from visualization.displays.class_distribution import DistributionDisplay
from visualization.report import validity_sections

IN_SETTINGS = ("hyperparameters",)  # stand with the settings


@dataclass(frozen=True)
class Ranked:
    """The leaderboard that stands at the front: its rows, and its tables with those of the recipes."""

    rows: list[dict[str, Any]]
    tables: list[Table]


def ranked(comparisons: Sequence[Comparison]) -> Ranked:
    """Return the leaderboard of the datasets of comparisons: every finished run beside theirs counts.

    Raises:
        LeukoBenchError: what a run holds beside its predictions is damaged.
    """
    roots = sorted({run.root for comparison in comparisons for run in comparison.runs})
    datasets = {comparison.dataset for comparison in comparisons}
    records = [r for root in roots for r in leaderboard.read(root)[0] if r.row["dataset"] in datasets]
    rows = leaderboard.rows(records)
    return Ranked(rows, [*leaderboard_tables.shown(rows), *recipes_tables.shown(recipes_tables.rows(records))])


def measured(views: dict[str, list[Table]]) -> list[Table]:
    """Return the tables of a comparison's views that no other section of the page shows."""
    elsewhere = (*IN_SETTINGS, *validity_sections.VIEWS)
    return [table for name, tables in views.items() if name not in elsewhere for table in tables]


def images(comparison: Comparison) -> list[Table]:
    """Return images by class and subset from the manifest; nothing where it is not at hand."""
    path = members.manifest_of(comparison)
    if path is None:
        return []
    display = DistributionDisplay.from_manifest(manifests.read(path), comparison.dataset)
    names = [style.SUBSET_NAMES.get(subset, subset) for subset in display.counts]
    total = sum(display.totals.values())
    rows = [
        [label, *(f"{counts[label]:,}" for counts in display.counts.values()), f"{n:,}", f"{100 * n / total:.1f}"]
        for label, n in display.totals.items()
    ]
    shares = list(display.shares.values())
    rows.append(["All", *(f"{n:,}" for n in shares), f"{total:,}", "100.0"])
    rows.append(["% of all", *(f"{100 * n / total:.1f}" for n in shares), "100.0", ""])
    return [Table("Images by class and subset, counted", ("Class", *names, "All", "% of all"), rows)]
