"""Splits into train, val and test: repeatable, stratified by class or by group, written as folders of links.

Images are assigned in the order of a hash of (seed, content). A split therefore does not depend on file names, on the
release that was imported, or on a library's version, and equal files stay in one subset. A grouped split assigns whole
groups (see `group_assignment`).
"""

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from data import manifest
from data.datasets import integrity_check
from data.datasets.index import Indexed
from data.manifest import Manifest, Row
from data.splitting import groups as split_groups
from utils.errors import LeukoBenchError
from utils.io import atomic_folder
from utils.paths import raw_dir, splits_dir
from utils.runs.run_folder import SUBSETS
from utils.runs.split_spec import DEFAULT, Scheme, apportion, fold_sizes, parse

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class SplitFolder:
    """A split on disk: the folder that holds train/, val/, test/ and manifest.csv, and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def manifest_path(self) -> Path:
        """Path of the manifest as CSV."""
        return self.path / MANIFEST


def prepare_split(dataset: str, split: str = DEFAULT, seed: int = 42) -> SplitFolder:
    """Return the folder of a split, built where it is missing or incomplete.

    Args:
        dataset: name of a folder below data/raw.
        split: see `utils.runs.split_spec.parse`.
        seed: of the order in which images are assigned.

    Raises:
        LeukoBenchError: the split is unknown, a class has too few images or groups, the dataset is damaged or the disk
            is full.
    """
    rows = integrity_check.current_index(dataset)
    table = make_manifest(dataset, rows, parse(split), seed, split)
    return _ensure_folder(dataset, _folder(dataset, split, seed), table, rows)


def restore_split(dataset: str, table: Manifest, split: str, seed: int) -> SplitFolder:
    """Rebuild a split from its stored manifest, as the same split may be assigned differently today.

    Args:
        dataset: name of a folder below data/raw; it may hold more images than the manifest.
        table: the manifest stored with the runs.
        split, seed: what it was made with; their folder is used where it holds exactly this manifest.

    Raises:
        LeukoBenchError: an image of the manifest is missing or changed, the dataset is damaged or the disk is full.
    """
    rows = integrity_check.current_index(dataset)
    present = {row.image: row.sha256 for row in rows}
    changed = [row.image for row in table.rows if present.get(row.image) != row.sha256]
    if changed:
        raise LeukoBenchError(
            f"Dataset '{dataset}' lacks images of manifest {table.hash}, or holds others under their names: "
            f"{len(changed):,} of {len(table.rows):,} (first: {changed[0]}). Import the images of that run again, or "
            "train a new run."
        )
    usual = _folder(dataset, split, seed)
    if is_complete(usual, table, {row.image: row.bytes for row in rows}):
        return SplitFolder(usual, table)
    return _ensure_folder(dataset, splits_dir() / f"{dataset}-{table.hash}", table, rows)


def make_manifest(dataset: str, rows: Sequence[Indexed], scheme: Scheme, seed: int, text: str) -> Manifest:
    """Assign the images of an index to the subsets.

    Raises:
        LeukoBenchError: a class would have no image in a subset, or the groups cannot be determined.
    """
    classes: dict[str, list[Indexed]] = defaultdict(list)
    for row in rows:
        classes[row.label].append(row)
    if len(classes) < 2:
        raise LeukoBenchError(
            f"Dataset '{dataset}' has fewer than 2 classes with images: {', '.join(classes) or 'none'}."
        )
    if scheme.grouped:
        from data.splitting import group_assignment  # imports NumPy, which the menu must not

        groups = split_groups.whole(dataset, rows)
        chosen = group_assignment.subsets(rows, groups, scheme, seed)
    else:
        groups = split_groups.given(dataset)
        chosen = _subsets(classes, scheme, seed)
    for label, members in sorted(classes.items()):
        sizes = [sum(chosen[row.image] == subset for row in members) for subset in SUBSETS]
        if scheme.grouped:
            count, least = len({groups[row.image] for row in members}), split_groups.needed(scheme)
            if count < least or min(sizes) == 0:
                raise LeukoBenchError(
                    f"Class '{label}' of '{dataset}' lies in too few groups ({count}) for the split {text}, which "
                    f"keeps a group in one subset and needs at least {least}. Choose fewer folds, or a split by image "
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
    """Return the sets of equal images that lie in more than one subset."""
    same: dict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        same[row.sha256].append(row)
    return [[row.image for row in rows] for rows in same.values() if len({row.split for row in rows}) > 1]


def is_complete(path: Path, table: Manifest, sizes: Mapping[str, int]) -> bool:
    """Say whether a split folder holds exactly a manifest's images, by names and sizes in bytes."""
    try:
        if (path / MANIFEST).read_text(encoding="utf-8") != table.text():
            return False
        wanted = {f"{row.split}/{row.image}": sizes[row.image] for row in table.rows}
        found = {}
        for subset in {row.split for row in table.rows}:
            for folder in (path / subset).iterdir():
                with os.scandir(folder) as entries:
                    for entry in entries:
                        found[f"{subset}/{folder.name}/{entry.name}"] = entry.stat().st_size
    except (OSError, UnicodeDecodeError):
        return False
    return found == wanted


def build(path: Path, table: Manifest, source: Path, sizes: Mapping[str, int]) -> None:
    """Write a split folder, <path>/{train,val,test}/<Class>/<file> and manifest.csv, and replace an outdated one.

    Args:
        path: split folder.
        table: the manifest.
        source: folder of the dataset; its files are hard-linked, or copied where links fail.
        sizes: bytes of each image.

    Raises:
        LeukoBenchError: the folder cannot be written, the disk is full, or an image is missing; nothing is changed.
    """
    with atomic_folder.replaced(path, lambda: is_complete(path, table, sizes)) as partial:
        for subset, label in sorted({(row.split, row.label) for row in table.rows}):
            (partial / subset / label).mkdir(parents=True)
        for row in table.rows:
            _link_or_copy(source / row.image, partial / row.split / row.image)
        atomic_folder.write(partial / MANIFEST, table.text())


def _folder(dataset: str, split: str, seed: int) -> Path:
    return splits_dir() / f"{dataset}-{parse(split).slug}-seed{seed}"


def _ensure_folder(dataset: str, path: Path, table: Manifest, rows: Sequence[Indexed]) -> SplitFolder:
    sizes = {row.image: row.bytes for row in rows}
    if not is_complete(path, table, sizes):
        build(path, table, raw_dir(dataset), sizes)
    return SplitFolder(path, table)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise  # a copy would overwrite the file
    except OSError:
        shutil.copyfile(source, target)


def _subsets(classes: dict[str, list[Indexed]], scheme: Scheme, seed: int) -> dict[str, str]:
    """Assign each image to "train", "val" or "test", class by class."""
    ordered = {label: _hash_order(rows, seed) for label, rows in sorted(classes.items())}
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


def _hash_order(rows: Sequence[Indexed], seed: int) -> list[list[Indexed]]:
    """Return sets of equal images in the order in which they are assigned: that of a hash of seed and content."""
    same: dict[str, list[Indexed]] = defaultdict(list)
    for row in sorted(rows, key=attrgetter("image")):
        same[hashlib.sha256(f"{seed}:{row.sha256}".encode()).hexdigest()].append(row)
    return [same[key] for key in sorted(same)]


def _fill(groups: Sequence[Sequence[Indexed]], sizes: Sequence[int]) -> list[list[Indexed]]:
    """Fill bins of exactly these sizes in order, each set of equal images into the first bin with room for all of it.

    A set is divided only where no bin has room for all of it.
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
