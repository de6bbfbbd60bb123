"""Which class each file of a source has, judged by the folders it lies in, and how it is called in the dataset."""

import re
from collections.abc import Sequence
from pathlib import Path

from data import all_dataset
from data.datasets.source_reader import Entry
from utils.errors import LeukoBenchError

# Folders that divide a dataset in another way than by class.
_SUBSETS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_UNPRINTABLE = r"[\x00-\x1f\x7f\ud800-\udfff]"


def without_segmented(entries: Sequence[Entry]) -> list[Entry]:
    """Drop the segmented copies of images where the originals are there too."""
    if any("original" in _lower(entry) for entry in entries):
        return [entry for entry in entries if "segmented" not in _lower(entry)]
    return list(entries)


def label(
    entries: Sequence[Entry], path: Path, as_is: bool, refused: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, Entry]]:
    """Give each image its class by the folders it lies in; drop those without one.

    Args:
        entries: the images.
        path: what holds them, for the errors.
        as_is: take the folders' own names.
        refused: (name, reason) of what could not be opened, which may be why a class is missing.

    Raises:
        LeukoBenchError: the classes are not there.
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
    """Take the deepest folder whose name means a class."""
    labelled = []
    for entry in entries:
        label = next((name for name in map(all_dataset.canonical, reversed(entry.parts[:-1])) if name), None)
        if label:
            labelled.append((label, entry))
    return labelled


def _by_top_folder(entries: Sequence[Entry]) -> list[tuple[str, Entry]]:
    """Take the first level of folders that are more than one and no subsets such as train/ and test/."""
    depth = 0
    while True:
        level = {entry.parts[depth] for entry in entries if len(entry.parts) > depth + 1}
        if not level or (len(level) > 1 and not {name.lower() for name in level} <= _SUBSETS):
            break
        depth += 1
    return [(re.sub(_UNPRINTABLE, "_", entry.parts[depth]), entry) for entry in entries if len(entry.parts) > depth + 1]


def unique_name(label: str, entry: Entry, name: str, taken: set[str]) -> str:
    """Return "<Class>/<file>", with the folders above in front of the name, or a number behind, where it is taken."""
    name = re.sub(_UNPRINTABLE, "_", name)
    stem, _, suffix = name.rpartition(".")
    between = [part for part in entry.parts[:-1] if all_dataset.canonical(part) is None and part != label]
    candidates = [f"{label}/{name}"] + [f"{label}/{'-'.join([*between, stem])}.{suffix}"] * bool(between)
    number = 2
    # Names that differ in case alone are one file on Windows and macOS.
    while candidates[0].lower() in taken:
        candidates.pop(0)
        if not candidates:
            candidates = [f"{label}/{stem}-{number}.{suffix}"]
            number += 1
    taken.add(candidates[0].lower())
    return candidates[0]
