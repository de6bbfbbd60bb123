"""Splits: stratified by class, repeatable, laid out as folders that `image_dataset_from_directory` reads.

Images are dealt in the order of a hash of (seed, content): a split does not depend on file names, on the release that
was imported, or on the version of any library, and files that are the same image stay together in one subset. A grouped
split deals whole groups instead (`data.grouping`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from data import manifest
from data.datasets import integrity_check
from data.datasets.index import Indexed
from data.manifest import Manifest, Row
from data.splitting import folder_layout
from data.splitting import groups as split_groups
from utils.errors import LeukoBenchError
from utils.paths import raw_dir, splits_dir
from utils.runs.run_folder import SUBSETS
from utils.runs.split_spec import DEFAULT, Scheme, apportion, fold_sizes, parse


@dataclass(frozen=True)
class SplitFolder:
    """A laid-out split: the folder that holds train/, val/ and test/, and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def manifest_path(self) -> Path:
        """Path of the manifest as CSV."""
        return self.path / folder_layout.MANIFEST


def prepare_split(dataset: str, split: str = DEFAULT, seed: int = 42) -> SplitFolder:
    """Make a split of a dataset and lay it out, or take the folder that is there already.

    Args:
        dataset: name of a folder below data/raw.
        split: see `data.schemes.parse`.
        seed: of the order in which images are dealt.

    Raises:
        LeukoBenchError: the split is unknown, a class has too few images or groups, the dataset is damaged or the disk
            is full.
    """
    rows = integrity_check.current_index(dataset)
    table = make_manifest(dataset, rows, parse(split), seed, split)
    return _laid_out(dataset, _folder(dataset, split, seed), table, rows)


def restore_split(dataset: str, table: Manifest, split: str, seed: int) -> SplitFolder:
    """Lay out a manifest of before, whatever the same split would be dealt today: groups that are guessed may change.

    Args:
        dataset: name of a folder below data/raw; it may hold more images than the manifest.
        table: the manifest, as it was kept beside the runs.
        split: what it was made with, as is `seed`: its folder is taken where it holds just this manifest.

    Raises:
        LeukoBenchError: an image of the manifest is missing or another one now, the dataset is damaged or the disk is
            full.
    """
    rows = integrity_check.current_index(dataset)
    there = {row.image: row.sha256 for row in rows}
    changed = [row.image for row in table.rows if there.get(row.image) != row.sha256]
    if changed:
        raise LeukoBenchError(
            f"Dataset '{dataset}' lacks images of manifest {table.hash}, or holds others under their names: "
            f"{len(changed):,} of {len(table.rows):,} (first: {changed[0]}). Import the images of that run again, or "
            "train a new run."
        )
    usual = _folder(dataset, split, seed)
    if folder_layout.is_whole(usual, table, {row.image: row.bytes for row in rows}):
        return SplitFolder(usual, table)
    return _laid_out(dataset, splits_dir() / f"{dataset}-{table.hash}", table, rows)


def _folder(dataset: str, split: str, seed: int) -> Path:
    return splits_dir() / f"{dataset}-{parse(split).slug}-seed{seed}"


def _laid_out(dataset: str, path: Path, table: Manifest, rows: Sequence[Indexed]) -> SplitFolder:
    """Return the folder of a manifest, built where it is not whole."""
    sizes = {row.image: row.bytes for row in rows}
    if not folder_layout.is_whole(path, table, sizes):
        folder_layout.build(path, table, raw_dir(dataset), sizes)
    return SplitFolder(path, table)


def make_manifest(dataset: str, rows: Sequence[Indexed], scheme: Scheme, seed: int, text: str) -> Manifest:
    """Deal the images of an index to the subsets.

    Raises:
        LeukoBenchError: a class would have no image in a subset, or groups cannot be had.
    """
    classes: dict[str, list[Indexed]] = defaultdict(list)
    for row in rows:
        classes[row.label].append(row)
    if len(classes) < 2:
        raise LeukoBenchError(
            f"Dataset '{dataset}' has fewer than 2 classes with images: {', '.join(classes) or 'none'}."
        )
    groups = split_groups.whole(dataset, rows) if scheme.grouped else split_groups.given(dataset)
    if scheme.grouped:
        from data.splitting import group_assignment  # needs NumPy, which nothing that starts with the menu does

        chosen = group_assignment.subsets(rows, groups, scheme, seed)
    else:
        chosen = _subsets(classes, scheme, seed)
    for label, members in sorted(classes.items()):
        sizes = [sum(chosen[row.image] == subset for row in members) for subset in SUBSETS]
        if scheme.grouped:
            count, least = len({groups[row.image] for row in members}), split_groups.needed(scheme)
            if count < least or min(sizes) == 0:
                raise LeukoBenchError(
                    f"Class '{label}' of '{dataset}' lies in too few groups ({count}) for the split {text}, which "
                    f"keeps a group on one side and needs {least} or more. Choose fewer folds, or a split by image "
                    f"such as {DEFAULT}."
                )
        elif min(sizes) == 0:
            raise LeukoBenchError(
                f"Class '{label}' of '{dataset}' has too few images ({len(members)}) for the split {text}: "
                f"train/val/test would get {'/'.join(map(str, sizes))}. Add images or choose another split."
            )
    return manifest.from_rows(
        [Row(row.image, row.label, chosen[row.image], groups.get(row.image, ""), row.sha256) for row in rows]
    )


def straddling(table: Manifest) -> list[list[str]]:
    """Return the groups of equal images that lie in more than one subset."""
    same: dict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        same[row.sha256].append(row)
    return [[row.image for row in rows] for rows in same.values() if len({row.split for row in rows}) > 1]


def _subsets(classes: dict[str, list[Indexed]], scheme: Scheme, seed: int) -> dict[str, str]:
    """Return "train", "val" or "test" for every image, dealt one by one."""
    ordered = {label: _deal_order(rows, seed) for label, rows in sorted(classes.items())}
    test = _test_images(ordered, scheme)
    left = {
        label: [rest for group in groups if (rest := [row for row in group if row.image not in test])]
        for label, groups in ordered.items()
    }
    counts = apportion({label: sum(map(len, groups)) for label, groups in left.items()}, scheme.val)
    val = {row.image for label, groups in left.items() for row in _fill(groups, [counts[label]])[0]}
    return {
        row.image: "test" if row.image in test else "val" if row.image in val else "train"
        for rows in classes.values()
        for row in rows
    }


def _test_images(ordered: dict[str, list[list[Indexed]]], scheme: Scheme) -> set[str]:
    totals = {label: sum(map(len, groups)) for label, groups in ordered.items()}
    if scheme.folds:
        sizes = {label: fold_sizes(total, scheme.folds) for label, total in totals.items()}
    else:
        sizes = {label: [count] for label, count in apportion(totals, scheme.test).items()}
    bins = [_fill(groups, sizes[label])[max(scheme.fold, 1) - 1] for label, groups in ordered.items()]
    return {row.image for each in bins for row in each}


def _deal_order(rows: Sequence[Indexed], seed: int) -> list[list[Indexed]]:
    """Return groups of equal images in the order in which they are dealt."""
    same: dict[str, list[Indexed]] = defaultdict(list)
    for row in sorted(rows, key=attrgetter("image")):
        same[hashlib.sha256(f"{seed}:{row.sha256}".encode()).hexdigest()].append(row)
    return [same[key] for key in sorted(same)]


def _fill(groups: Sequence[Sequence[Indexed]], sizes: Sequence[int]) -> list[list[Indexed]]:
    """Fill bins of exactly these sizes in order, each group into the first bin with room for the whole of it.

    Only where no bin has such room left is a group cut.
    """
    bins: list[list[Indexed]] = [[] for _ in sizes]
    late: list[Indexed] = []
    for group in groups:
        home = next((k for k, size in enumerate(sizes) if len(bins[k]) + len(group) <= size), None)
        if home is None:
            late += group
        else:
            bins[home] += group
    for row in late:
        home = next((k for k, size in enumerate(sizes) if len(bins[k]) < size), None)
        if home is None:
            break
        bins[home].append(row)
    return bins
