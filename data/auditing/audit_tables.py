"""Tables of an audit, narrow enough for 80 columns, and its results in sentences."""

from statistics import median

from data import all_dataset
from data.auditing.audit import Audit
from utils.runs import run_folder
from utils.tables import shortcuts as shortcuts_tables
from utils.tables.table import Table, number, percent

KINDS = {"exact": "exact copies", "near": "near copies", "overlap": "overlapping fields"}


def leaks(audit: Audit) -> Table:
    """Return the numbers of related pairs by kind, across classes and across the split."""
    rows = [
        [KINDS[leak.kind], *(f"{n:,}" for n in (leak.pairs, leak.across_classes, leak.across_split, leak.test_images))]
        for leak in audit.leaks
    ]
    below = (
        "Exact copies: the same bytes. Near copies: one field, stored or photographed twice. Overlapping fields: two "
        "fields that share a part of the slide. Test images: those with such a partner in another subset."
    )
    columns = ("Kind", "Pairs", "Across\nclasses", "Across\nthe split", "Test\nimages")
    return Table("Images that show one place", columns, rows, frozenset({0}), below)


def groups(audit: Audit) -> Table:
    """Return statistics of the groups."""
    sizes = [group.images for group in audit.groups]
    stability = dict(audit.stability)
    rows = [
        ["groups", f"{len(sizes):,}"],
        [
            "images in a group: minimum, median, maximum",
            f"{min(sizes)}, {median(sizes):g}, {max(sizes)}" if sizes else "–",
        ],
        ["groups of one class only", f"{audit.pure_groups:,}"],
        ["groups in more than one subset", f"{audit.parted_groups:,}"],
        ["stain groups", f"{audit.clusters:,}"],
        ["stability of the stain groups, adjusted Rand index", number(stability.get(audit.clusters))],
        ["related pairs in one stain group, %", percent(audit.together, 1)],
    ]
    if audit.agreement is not None:
        rows.append(["stain groups against given groups, adjusted Rand index", number(audit.agreement)])
    below = (
        "Stability: agreement between clusterings of two halves of the images, 1 is complete. "
        f"{_reason_for_number(audit)} Pairs: before their images were joined. Stain groups are not patients."
    )
    kind = "Groups that came with the dataset" if audit.given else "Stain groups, in place of patients"
    return Table(kind, ("What", "Value"), rows, frozenset({0}), below)


def _reason_for_number(audit: Audit) -> str:
    """Explain the number of stain groups: the published patients, see `stain_groups`, or the stability."""
    published = sum(audit.images.values()) == sum(all_dataset.PUBLISHED.values())
    if audit.classes != [*all_dataset.PUBLISHED] or not published or audit.clusters != all_dataset.PATIENTS:
        return (
            "The number of groups is the largest that is nearly as stable as the most stable one; it is 1 where none "
            "is stable or there are too few images."
        )
    stability = dict(audit.stability)
    most = max(stability, key=stability.__getitem__)
    return (
        "The number of groups is the published number of patients, not one found in the images: its stability is "
        f"{number(stability[audit.clusters])}, that of the most stable number, {most:,}, is {number(stability[most])}."
    )


def group_records(audit: Audit) -> list[dict[str, str | int]]:
    """Return one row per group, with its images by class and subset, for a CSV file."""
    subsets = _subsets(audit)
    return [
        {"group": group.name, "images": group.images}
        | {name: group.classes.get(name, 0) for name in audit.classes}
        | {f"in {name}": group.subsets.get(name, 0) for name in subsets}
        for group in audit.groups
    ]


def every_group(audit: Audit) -> Table:
    """Return `group_records` as a table."""
    rows = [[name, *(f"{n:,}" for n in counts)] for name, *counts in (row.values() for row in group_records(audit))]
    return Table("Every group", ("Group", "Images", *audit.classes, *_subsets(audit)), rows)


def ladder(audit: Audit) -> Table:
    """Return the accuracies of the shortcut baselines."""
    return shortcuts_tables.table(audit.ladder, f"Shortcut baselines on {audit.images['test']:,} test images")


def sentences(audit: Audit) -> list[str]:
    """Return the results in sentences, the verdict first."""
    lines = [*audit.verdict.sentences]
    across = sum(pair.across_classes for pair in audit.pairs)
    test, shown = audit.images["test"], audit.test_images_shown_before
    if shown:
        lines.append(
            f"{shown:,} of {test:,} test images ({percent(shown / test, 1)} %) show a place that training or "
            "validation images show too: a model may remember them."
        )
    else:
        lines.append("No test image was found to show a place that training or validation images show.")
    if across:
        lines.append(
            f"{across:,} pairs that show one place have two different labels: at least one label of each is wrong."
        )
    kind = "given groups" if audit.given else "stain groups"
    lines.append(
        f"{audit.parted_groups:,} of {len(audit.groups):,} {kind} lie in several subsets, {audit.pure_groups:,} hold "
        "one class only."
    )
    if not audit.given:
        lines.append("Stain groups replace patients, which this dataset does not name; they are not patients.")
    return lines


def _subsets(audit: Audit) -> list[str]:
    return run_folder.subsets(audit.images)
