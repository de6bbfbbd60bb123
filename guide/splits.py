"""How a split is shown: images by subset and class, and for a grouped one which groups were kept together."""

from data.manifest import Manifest
from data.splitting import groups as split_groups
from data.splitting import splits
from utils import console
from utils.runs import run_folder, split_spec


def show(dataset: str, text: str, seed: int, folder: splits.SplitFolder) -> None:
    """Print a split."""
    table = folder.manifest
    counts = table.counts()
    rows = [
        (subset, *(f"{n:,}" for n in (sum(found.values()), *(found[label] for label in table.classes))))
        for subset in run_folder.SUBSETS
        for found in [counts[subset]]
    ]
    console.table(f"{dataset}, split {text}, seed {seed}", ("subset", "images", *table.classes), rows)
    if split_spec.parse(text).grouped:
        _show_shares(table)
        say_groups(dataset, text, table)
    elif parted := split_groups.parted(table):
        console.say(f"{parted} groups lie in several subsets; --split {split_spec.GROUPED} keeps each in one.")
    cut = splits.straddling(table)
    if cut:
        console.warn(f"{len(cut)} groups of equal images lie in several subsets, first: {', '.join(cut[0])}.")
    console.say(f"Manifest {table.hash} in {folder.path}")


def say_groups(dataset: str, text: str, table: Manifest) -> None:
    """Print which groups a grouped split kept together, and warn where they left it lopsided."""
    console.say(f"{dataset}, {split_groups.described(dataset, table)}")
    if thin := split_groups.thin(table, split_spec.parse(text)):
        console.warn(
            f"The groups are too large for the shares of split {text}: {'; '.join(thin)}. Scores of such a class, and "
            "the accuracy beside that of a split by image, say little."
        )


def _show_shares(table: Manifest) -> None:
    """Print what part of each class a grouped split put where: groups are of uneven size, so it is seldom exact."""
    counts = table.counts()
    totals = {label: sum(counts[subset][label] for subset in counts) for label in table.classes}
    rows = [
        (
            subset,
            len({row.group for row in table.subset(subset)}),
            f"{100 * sum(counts[subset].values()) / sum(totals.values()):.1f}",
            *(f"{100 * counts[subset][label] / totals[label]:.1f}" for label in table.classes),
        )
        for subset in run_folder.SUBSETS
    ]
    console.table("Groups, and shares in %", ("subset", "groups", "images", *table.classes), rows)
