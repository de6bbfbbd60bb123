"""Print a split: images by subset and class, and the groups of a grouped split."""

from data.manifest import Manifest
from data.splitting import given_split, splits
from data.splitting import groups as split_groups
from utils import console
from utils.runs import split_spec


def show(dataset: str, text: str, seed: int, folder: splits.SplitFolder) -> None:
    """Print a split."""
    table = folder.manifest
    counts = table.counts()
    rows = [
        (subset, *(f"{n:,}" for n in (sum(found.values()), *(found[label] for label in table.classes))))
        for subset in table.subsets
        for found in [counts[subset]]
    ]
    title = f"{dataset}, {split_spec.words(text)}, seed {seed}"
    console.table(title, ("subset", "images", *table.classes), rows)
    report(dataset, text, table)
    if split_spec.parse(text).grouped:
        _show_shares(table)
    elif parted := split_groups.parted(table):
        console.say(f"{parted} groups are in several subsets; --split {split_spec.GROUPED} keeps each in one.")
    console.say(f"Manifest {table.hash} in {folder.path}")


def chosen(dataset: str, text: str, seed: int) -> str:
    """Return a split's text, for "" that of the dataset's default; print a line where it is the dataset's own split.

    Raises:
        LeukoBenchError: see `splits.prepare_split`.
    """
    text = text or given_split.default(dataset)
    if split_spec.parse(text).kind == split_spec.GIVEN:
        report(dataset, text, splits.prepare_split(dataset, text, seed).manifest)
    return text


def report(dataset: str, text: str, table: Manifest) -> None:
    """Print what a person should know of a split: groups, a split that came with the dataset, weak points."""
    kind = split_spec.parse(text).kind
    if kind == split_spec.GROUPED:
        _report_groups(dataset, text, table)
    if kind == split_spec.GIVEN:
        console.say(given_split.described(dataset, table))
    if cut := splits.straddling(table):
        console.warn(f"{len(cut)} groups of identical images are in several subsets, the first: {', '.join(cut[0])}.")


def _report_groups(dataset: str, text: str, table: Manifest) -> None:
    """Print the groups of a grouped split, and warn if they are too large for the percentages."""
    console.say(f"{dataset}, {split_groups.described(dataset, table)}")
    if thin := split_groups.thin(table, split_spec.parse(text)):
        console.warn(
            f"The groups are too large for the percentages of split {text}: {'; '.join(thin)}. Scores of these classes "
            "and the difference to a split by image are not reliable."
        )


def _show_shares(table: Manifest) -> None:
    """Print the percentages of a grouped split, which are not exact because groups differ in size."""
    counts = table.counts()
    totals = {label: sum(counts[subset][label] for subset in counts) for label in table.classes}
    rows = [
        (
            subset,
            len({row.group for row in table.subset(subset)}),
            f"{100 * sum(counts[subset].values()) / sum(totals.values()):.1f}",
            *(f"{100 * counts[subset][label] / totals[label]:.1f}" for label in table.classes),
        )
        for subset in table.subsets
    ]
    console.table("Groups, and percentages", ("subset", "groups", "images", *table.classes), rows)
