"""The tables of an audit, narrow enough for 80 columns, and what it found in words."""

from statistics import median

from data import all_dataset as known
from data.auditing.audit import Audit, Group
from utils.runs import run_folder
from utils.tables import shortcuts as shortcuts_tables
from utils.tables.table import Table, number, percent

KINDS = {"exact": "exact copies", "near": "near copies", "overlap": "overlapping fields"}


def leaks(audit: Audit) -> Table:
    """Return how many pairs of images show one place, across classes and across the split."""
    rows = [
        [KINDS[leak.kind], *(f"{n:,}" for n in (leak.pairs, leak.across_classes, leak.across_split, leak.test_images))]
        for leak in audit.leaks
    ]
    below = (
        "Exact copies: the same bytes. Near copies: one field, stored or taken again. Overlapping fields: two fields "
        "that share a part of the slide. Test images: those of which another subset holds such a partner."
    )
    columns = ("Kind", "Pairs", "Across\nclasses", "Across\nthe split", "Test\nimages")
    return Table("Images that show one place", columns, rows, frozenset({0}), below)


def groups(audit: Audit) -> Table:
    """Return the groups in numbers."""
    sizes = [group.images for group in audit.groups]
    found = dict(audit.stability)
    rows = [
        ["groups", f"{len(sizes):,}"],
        ["images in a group: least, median, most", f"{min(sizes)}, {median(sizes):g}, {max(sizes)}" if sizes else "–"],
        ["groups of one class only", f"{audit.pure_groups:,}"],
        ["groups in more than one subset", f"{audit.parted_groups:,}"],
        ["stain groups found", f"{audit.clusters:,}"],
        ["their stability, adjusted Rand index", number(found.get(audit.clusters))],
        ["pairs of one place in one stain group, %", percent(audit.together, 1)],
    ]
    if audit.agreement is not None:
        rows.append(["stain groups against given groups, adjusted Rand index", number(audit.agreement)])
    below = (
        "Stability: how well clusterings of separate halves of the images agree, 1 for wholly. "
        f"{_number_in_words(audit)} Pairs: before their images were joined. Stain groups are not patients."
    )
    kind = "Groups that came with the dataset" if audit.given else "Stain groups, in place of patients"
    return Table(kind, ("What", "Value"), rows, frozenset({0}), below)


def _number_in_words(audit: Audit) -> str:
    """Say where the number of stain groups comes from: published patients, see `data.stain_groups`, or the images."""
    published = sum(audit.images.values()) == sum(known.PUBLISHED.values()) and audit.classes == [*known.PUBLISHED]
    if not published or audit.clusters != known.PATIENTS:
        return (
            "The number of groups is the largest that is nearly as stable as the most stable one, and 1 where none is "
            "stable or there are too few images."
        )
    found = dict(audit.stability)
    most = max(found, key=found.__getitem__)
    return (
        "The number of groups is that of the patients as published, not one found in the images: its stability is "
        f"{number(found[audit.clusters])}, that of the most stable number, {most:,}, is {number(found[most])}."
    )


def every_group(audit: Audit) -> Table:
    """Return a row a group: its images by class and subset."""
    subsets = [name for name in run_folder.SUBSETS if name in audit.images]
    rows = [
        [group.name, f"{group.images:,}", *(f"{n:,}" for n in _counts(group, audit.classes, subsets))]
        for group in audit.groups
    ]
    return Table("Every group", ("Group", "Images", *audit.classes, *subsets), rows)


def records(audit: Audit) -> list[dict[str, str | int]]:
    """Return the groups as rows of a CSV file."""
    subsets = [name for name in run_folder.SUBSETS if name in audit.images]
    keys = ("group", "images", *audit.classes, *(f"in {name}" for name in subsets))
    rows = ((group.name, group.images, *_counts(group, audit.classes, subsets)) for group in audit.groups)
    return [dict(zip(keys, row, strict=True)) for row in rows]


def ladder(audit: Audit) -> Table:
    """Return the ladder of shortcut baselines."""
    return shortcuts_tables.table(audit.ladder, f"Shortcut baselines on {audit.images['test']:,} test images")


def sentences(audit: Audit) -> list[str]:
    """Return what the audit found in words, the verdict first."""
    said = [*audit.verdict.sentences]
    across = sum(pair.across_classes for pair in audit.pairs)
    test, shown = audit.images["test"], audit.test_images_shown_before
    if shown:
        said.append(
            f"{shown:,} of {test:,} test images ({percent(shown / test, 1)} %) show a place that training or "
            "validation images show too: a model may remember them."
        )
    else:
        said.append("No test image was found to show a place that training or validation images show.")
    if across:
        said.append(f"{across:,} pairs of one place lie under two classes: at least one label of each is wrong.")
    kind = "groups given" if audit.given else "stain groups"
    said.append(
        f"{audit.parted_groups:,} of {len(audit.groups):,} {kind} lie in several subsets, {audit.pure_groups:,} hold "
        "one class only."
    )
    if not audit.given:
        said.append("Stain groups stand in for patients, whom this dataset does not name; they are not patients.")
    return said


def _counts(group: Group, classes: list[str], subsets: list[str]) -> list[int]:
    return [*(group.classes.get(name, 0) for name in classes), *(group.subsets.get(name, 0) for name in subsets)]
