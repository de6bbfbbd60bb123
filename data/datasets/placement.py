"""Decide the class, subset and group of every entry of a source: the one place where these come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data import all_dataset
from data.datasets import releases
from data.datasets.source_reader import Entry, Source
from utils.errors import LeukoBenchError

# Folders of subsets, which are no classes.
_SUBSETS = {"train", "training", "val", "valid", "validation", "test", "testing"}


@dataclass(frozen=True)
class Placed:
    """An entry of a source with its place in the dataset.

    Attributes:
        entry: the file.
        label: class.
        subset: "train", "val", "test", "test_<name>", or "" where the source gives none.
        group: patient or slide; "" where unknown.
    """

    entry: Entry
    label: str
    subset: str = ""
    group: str = ""


@dataclass
class Placement:
    """The places of the entries of a source.

    Attributes:
        images: the entries to import.
        segmented: number of segmented copies left out because the originals are there.
        outside: number of images in no class folder.
        release: the public release that was recognised.
    """

    images: list[Placed] = field(default_factory=list)
    segmented: int = 0
    outside: int = 0
    release: releases.Release | None = None


def place(source: Source, path: Path, as_is: bool) -> Placement:
    """Find the class, subset and group of each image of a source.

    Args:
        source: an open source.
        path: of the source, for error messages.
        as_is: use the folders' own names as classes.

    Raises:
        LeukoBenchError: a class is missing, or there are fewer than two.
    """
    tables = {entry.parts: entry.read for entry in source.others if entry.parts[-1].lower().endswith(".csv")}
    if known := releases.recognised([entry.parts for entry in source.entries], tables):
        images = [
            Placed(entry, found.label, found.subset, found.group)
            for entry in source.entries
            if (found := known.places.get(entry.parts))
        ]
        return Placement(images, outside=len(source.entries) - len(images), release=known.release)
    entries = _without_segmented(source.entries)
    images = [Placed(entry, label) for label, entry in _label(entries, path, as_is, source.refused)]
    return Placement(images, len(source.entries) - len(entries), len(entries) - len(images))


def _without_segmented(entries: Sequence[Entry]) -> list[Entry]:
    """Drop the segmented copies of images where the originals are present."""
    if any("original" in _lower(entry) for entry in entries):
        return [entry for entry in entries if "segmented" not in _lower(entry)]
    return list(entries)


def _label(
    entries: Sequence[Entry], path: Path, as_is: bool, refused: Sequence[tuple[str, str]]
) -> list[tuple[str, Entry]]:
    """Pair each image with its class, from the names of its folders; images without a class are dropped."""
    if not entries:
        raise LeukoBenchError(f"{path} holds no images that can be read. Give a folder or zip with class folders.")
    labelled = _by_top_folder(entries) if as_is else _by_alias(entries)
    found = {label for label, _ in labelled}
    unread = f" Not read: {refused[0][0]}: {refused[0][1]}." if refused else ""
    if as_is:
        if len(found) < 2:
            raise LeukoBenchError(
                f"{path} holds {len(found)} class folders with images; at least 2 are needed.{unread}"
            )
        return labelled
    missing = [name for name in all_dataset.PUBLISHED if name not in found]
    if missing:
        folders = sorted({"/".join(entry.parts[:-1]) or "." for entry in entries})
        shown = ", ".join(folders[:6]) + (", ..." if len(folders) > 6 else "")
        raise LeukoBenchError(
            f"{path} holds no folder of the class {' or '.join(missing)}; its images lie in: {shown}. "
            f"For another dataset add --as-is.{unread}"
        )
    return labelled


def _lower(entry: Entry) -> set[str]:
    return {part.lower() for part in entry.parts[:-1]}


def _by_alias(entries: Sequence[Entry]) -> list[tuple[str, Entry]]:
    """Label each image by its deepest folder that names a class."""
    labelled = []
    for entry in entries:
        label = next((name for name in map(all_dataset.canonical, reversed(entry.parts[:-1])) if name), None)
        if label:
            labelled.append((label, entry))
    return labelled


def _by_top_folder(entries: Sequence[Entry]) -> list[tuple[str, Entry]]:
    """Label images by the first level that has several folders other than subsets such as train/ and test/."""
    depth = 0
    while True:
        level = {entry.parts[depth] for entry in entries if len(entry.parts) > depth + 1}
        if not level or (len(level) > 1 and not {name.lower() for name in level} <= _SUBSETS):
            break
        depth += 1
    return [(entry.parts[depth], entry) for entry in entries if len(entry.parts) > depth + 1]
