"""Derive the class of each image from its folders, and its file name in the dataset."""

import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from data import all_dataset
from data.datasets.source_reader import Entry
from utils.errors import LeukoBenchError

# Folders of subsets, which are no classes.
_SUBSETS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_UNPRINTABLE = r"[\x00-\x1f\x7f\ud800-\udfff]"


def without_segmented(entries: Sequence[Entry]) -> list[Entry]:
    """Drop the segmented copies of images where the originals are present."""
    if any("original" in _lower(entry) for entry in entries):
        return [entry for entry in entries if "segmented" not in _lower(entry)]
    return list(entries)


def label(
    entries: Sequence[Entry], path: Path, as_is: bool, refused: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, Entry]]:
    """Pair each image with its class, from the names of its folders; images without a class are dropped.

    Args:
        entries: the images.
        path: of the source, for error messages.
        as_is: use the folders' own names as classes.
        refused: (name, reason) of unreadable files and folders, which may explain a missing class.

    Raises:
        LeukoBenchError: a class is missing, or there are fewer than two.
    """
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
    return [(re.sub(_UNPRINTABLE, "_", entry.parts[depth]), entry) for entry in entries if len(entry.parts) > depth + 1]


def unique_name(label: str, entry: Entry, name: str, taken: set[str]) -> str:
    """Return "<Class>/<file>"; a taken name gets its folders as a prefix, or a number as a suffix."""
    name = re.sub(_UNPRINTABLE, "_", name)
    stem, _, suffix = name.rpartition(".")
    between = [part for part in entry.parts[:-1] if all_dataset.canonical(part) is None and part != label]
    prefixed = f"{label}/{'-'.join([*between, stem])}.{suffix}"
    numbered = (f"{label}/{stem}-{number}.{suffix}" for number in count(2))
    # Compared in lower case: names that differ in case alone are one file on Windows and macOS.
    free = next(each for each in chain((f"{label}/{name}", prefixed), numbered) if each.lower() not in taken)
    taken.add(free.lower())
    return free
