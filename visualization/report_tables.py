"""The tables of the report."""

from data import manifest as manifests
from utils import comparison_tables
from utils.compare_models import Comparison
from utils.tables import Table
from visualization import style
from visualization import subjects as members
from visualization.dataset import DistributionDisplay

IN_SETTINGS = "hyperparameters"  # stand with the settings


def shown(comparison: Comparison, against: str) -> list[Table]:
    """Return the tables of measured values, each with the words below it."""
    found = comparison_tables.views(comparison, against)
    return [table for name, tables in found.items() if name != IN_SETTINGS for table in tables]


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
