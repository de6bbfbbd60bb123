"""Splits into train, val and test: repeatable, stratified by class or by group, written as folders of links.

Images are assigned in the order of a hash of (seed, content). A split therefore does not depend on file names, on the
release that was imported, or on a library's version, and equal files stay in one subset (see `image_assignment`). A
grouped split assigns whole groups (see `group_assignment`), a capture split blocks of file numbers (see
`capture_split`). The split that came with a dataset is kept (see `given_split`).
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from data import manifest
from data.datasets import index, integrity_check
from data.datasets.index import Indexed
from data.manifest import Manifest, Row
from data.splitting import given_split, image_assignment
from data.splitting import groups as split_groups
from utils.errors import LeukoBenchError
from utils.io import atomic_folder
from utils.paths import raw_dir, splits_dir
from utils.runs.split_spec import CAPTURE, DEFAULT, GIVEN, Scheme, parse

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class SplitFolder:
    """A split on disk: the folder that holds a folder for each subset and manifest.csv, and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def manifest_path(self) -> Path:
        """Path of the manifest as CSV."""
        return self.path / MANIFEST

    def subset(self, name: str) -> Path:
        """Return the folder of a subset, which holds a folder for each class; "test" is the main test set."""
        return self.path / self.manifest.resolve(name)


def prepare_split(dataset: str, split: str = "", seed: int = 42) -> SplitFolder:
    """Return the folder of a split, built where it is missing or incomplete.

    Args:
        dataset: name of a folder below data/raw.
        split: see `utils.runs.split_spec.parse`; "" for `given_split.default`.
        seed: of the order in which images are assigned.

    Raises:
        LeukoBenchError: the split is unknown, a class has too few images or groups, the dataset is damaged or the disk
            is full.
    """
    split = split or given_split.default(dataset)
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
    """Assign the images of an index to the subsets. Images that it leaves out are not in the manifest.

    Raises:
        LeukoBenchError: a class would have no image in a subset, the groups cannot be determined, or the dataset has no
            split of its own.
    """
    labels = sorted({row.label for row in rows})
    if len(labels) < 2:
        raise LeukoBenchError(
            f"Dataset '{dataset}' has fewer than 2 classes with images: {', '.join(labels) or 'none'}."
        )
    if scheme.grouped:
        from data.splitting import group_assignment  # imports NumPy, which the menu must not

        groups = split_groups.whole(dataset, rows)
        chosen = group_assignment.subsets(rows, groups, scheme, seed)
        _check_groups(dataset, rows, groups, chosen, scheme, text)
    elif scheme.kind == CAPTURE:
        from data.grouping import stain_groups
        from data.splitting import capture_split

        related = [(pair.first, pair.second) for pair in stain_groups.find(dataset).pairs]
        groups = split_groups.given(dataset)
        chosen = capture_split.subsets(dataset, rows, related, scheme)
    elif scheme.kind == GIVEN:
        groups = split_groups.given(dataset)
        chosen = given_split.subsets(dataset, rows, seed)
    else:
        _check_images(dataset, rows, scheme, text)
        groups = split_groups.given(dataset)
        chosen = image_assignment.subsets(rows, scheme, seed)
    return manifest.from_rows(
        [
            Row(row.image, row.label, chosen[row.image], groups.get(row.image, ""), row.sha256)
            for row in rows
            if row.image in chosen
        ]
    )


def _check_images(dataset: str, rows: Sequence[Indexed], scheme: Scheme, text: str) -> None:
    """Raise LeukoBenchError where a class has fewer images than its subsets and folds."""
    small = {label: count for label, count in index.count(rows).items() if count < scheme.needed}
    if small:
        found = ", ".join(f"'{label}' has {count}" for label, count in small.items())
        fewer = "choose fewer folds" if scheme.folds > 2 else "leave the class out"
        raise LeukoBenchError(
            f"The split {text} of '{dataset}' needs at least {scheme.needed} images of each class; {found}. Add "
            f"images, or {fewer}."
        )


def _check_groups(
    dataset: str,
    rows: Sequence[Indexed],
    groups: Mapping[str, str],
    chosen: Mapping[str, str],
    scheme: Scheme,
    text: str,
) -> None:
    """Raise LeukoBenchError where a class lies in too few groups for its subsets and folds."""
    for label in index.count(rows):
        members = [row.image for row in rows if row.label == label]
        count = len({groups[image] for image in members})
        if count < scheme.needed or len({chosen[image] for image in members}) < 3:
            raise LeukoBenchError(
                f"Class '{label}' of '{dataset}' lies in too few groups ({count}) for the split {text}, which keeps a "
                f"group in one subset and needs at least {scheme.needed}. Choose fewer folds, or a split by image such "
                f"as {DEFAULT}."
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
        for subset in table.subsets:
            folders = list((path / subset).iterdir())
            if {folder.name for folder in folders} != set(table.classes):
                return False
            for folder in folders:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        found[f"{subset}/{folder.name}/{entry.name}"] = entry.stat().st_size
    except (OSError, UnicodeDecodeError):
        return False
    return found == wanted


def build(path: Path, table: Manifest, source: Path, sizes: Mapping[str, int]) -> None:
    """Write a split folder, <path>/<subset>/<Class>/<file> and manifest.csv, and replace an outdated one.

    A class without images in a subset has an empty folder there, which Keras' loader needs.

    Args:
        path: split folder.
        table: the manifest.
        source: folder of the dataset; its files are hard-linked, or copied where links fail.
        sizes: bytes of each image.

    Raises:
        LeukoBenchError: the folder cannot be written, the disk is full, or an image is missing; nothing is changed.
    """
    with atomic_folder.replaced(path, lambda: is_complete(path, table, sizes)) as partial:
        for subset, label in product(table.subsets, table.classes):
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
