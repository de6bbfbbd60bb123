"""Decide the class, subset and group of every image of a source: the one place where these come from.

In this order: the user's options, a known release, the ALL dataset's own names, the structure of the folders.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data import all_dataset
from data.datasets import folder_roles, image_tables, names, releases, structure
from data.datasets.folder_roles import key
from data.datasets.image_tables import Images
from data.datasets.source_reader import Entry, Source, named_like_image
from data.datasets.structure import Parts, some
from utils.errors import LeukoBenchError, nearest

NO_SPLIT = "none"  # value of --split: forget the subsets of the source


@dataclass(frozen=True)
class Options:
    """What the user says about a source.

    Attributes:
        classes_are: level of the class folders, 1 for those of the source itself; 0: found from the structure.
        ignore: names or paths of folders to leave out.
        split: CSV with columns image,split[,group]; "none": forget the subsets of the source; "": keep them.
        test_from: folder whose images are the test subset; "" for none.
        encoding: of names that are not UTF-8; "": found from the names.
        quarantine_conflicts: quarantine images that lie under two classes, instead of refusing the source.
        follow_links: read what symbolic links lead to.
    """

    classes_are: int = 0
    ignore: Sequence[str] = ()
    split: str = ""
    test_from: str = ""
    encoding: str = ""
    quarantine_conflicts: bool = False
    follow_links: bool = False


DEFAULT = Options()


@dataclass(frozen=True)
class Placed:
    """An entry of a source with its place in the dataset.

    Attributes:
        entry: the file.
        label: class.
        subset: "train", "val", "test", "test_<name>", or "" where the source gives none.
        group: patient or slide; "" where unknown.
        part: folder of a fold, site or patient above the classes; "" for none.
    """

    entry: Entry
    label: str
    subset: str = ""
    group: str = ""
    part: str = ""


@dataclass
class Placement:
    """The places of the images of a source, and what was found out about it.

    Attributes:
        images: the entries to import.
        known_as: name of a known dataset; "" for folder names.
        release: the public release that was recognised.
        segmented: number of segmented copies left out because the originals are there.
        left_out: number of images in no class, by folder; "." for the source itself.
        joined: spellings of class folders that were joined or changed, "Benign = benign".
    """

    images: list[Placed] = field(default_factory=list)
    known_as: str = ""
    release: releases.Release | None = None
    segmented: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    joined: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of images, those left out included."""
        return len(self.images) + self.segmented + self.left_out.total()

    def counts(self, attribute: str) -> dict[str, int]:
        """Count the images by "label", "subset", "group" or "part", sorted, without those that have none."""
        found = Counter(getattr(each, attribute) for each in self.images)
        return {name: found[name] for name in sorted(found) if name}

    def divided(self) -> list[str]:
        """Return the groups that have images in several subsets."""
        places: dict[str, set[str]] = {}
        for each in self.images:
            places.setdefault(each.group, set()).add(each.subset)
        return sorted(group for group, subsets in places.items() if group and len(subsets) > 1)


def place(
    source: Source, path: Path, as_is: bool = False, groups: Path | None = None, options: Options = DEFAULT
) -> Placement:
    """Find the class, subset and group of each image of a source.

    Args:
        source: an open source.
        path: of the source, for error messages.
        as_is: the source is not the ALL dataset, whatever its folders are called.
        groups: CSV with columns image,group.
        options: what else the user says.

    Raises:
        UnclearLayout: the folders do not tell which of them are classes.
        LeukoBenchError: a class is missing or there are fewer than two; a class folder is a link; a CSV does not fit;
            subsets lack train or test; an option names nothing.
    """
    entries = _kept(source, options)
    if not entries:
        _refuse_links(source, (), options)
        raise LeukoBenchError(f"{path} holds no images that can be read. {_way_on(source)}{_unread(source)}")
    chosen = _without_segmented(entries)
    result = Placement(segmented=len(entries) - len(chosen))
    if found := None if options.classes_are else _release(chosen, source, options):
        result.release, result.images = found
        result.known_as = result.release.name
    elif images := [] if as_is or options.classes_are else _all_dataset(chosen, source, path, options):
        result.images, result.known_as = images, all_dataset.NAME.replace("_", " ")
    else:
        result.images = _by_folders(chosen, source, options)
    labels, result.joined = names.class_names(each.label for each in result.images)
    result.images = [replace(each, label=labels[key(each.label)]) for each in result.images]
    if len(result.counts("label")) < 2:
        found = ", ".join(result.counts("label")) or "none"
        raise LeukoBenchError(
            f"{path} holds {len(result.counts('label'))} class folders with images ({found}); at least 2 are needed."
            f"{_unread(source)}"
        )
    placed = {each.entry.parts for each in result.images}
    result.left_out = _left_out(placed, [entry for entry in chosen if entry.parts not in placed])
    _apply_tables(source, groups, options, result)
    _check_subsets(path, options, result)
    return result


def _way_on(source: Source) -> str:
    """Say what to give instead of a source without images."""
    arrays = next((entry.name for entry in source.others if entry.name.lower().endswith(".npz")), "")
    return f"Give the file {arrays} itself." if arrays else "Give a folder or zip with class folders."


def _kept(source: Source, options: Options) -> list[Entry]:
    """Return the images outside the ignored folders.

    Raises:
        LeukoBenchError: there is no such folder.
    """
    for name in options.ignore:
        _require_folder(source, name, "--ignore")
    return [e for e in source.entries if not any(_within(e.parts[:-1], name) for name in options.ignore)]


def _within(folders: Parts, name: str) -> bool:
    """Say whether a path of folders passes a folder that is given by its name or the end of its path."""
    wanted = [key(part) for part in name.replace("\\", "/").strip("/").split("/")]
    found = [key(part) for part in folders]
    return any(found[start : start + len(wanted)] == wanted for start in range(len(found)))


def _require_folder(source: Source, name: str, option: str) -> None:
    paths = [entry.parts[:-1] for entry in source.entries] + list(source.links)
    if not any(_within(parts, name) for parts in paths):
        known = sorted({part for parts in paths for part in parts})
        raise LeukoBenchError(
            f"{option} {name}: the source has no such folder with images.{nearest(name, known)} It has: {some(known)}."
        )


def _without_segmented(entries: Sequence[Entry]) -> list[Entry]:
    """Drop the segmented copies of images where the originals are present."""

    def lower(entry: Entry) -> set[str]:
        return {part.lower() for part in entry.parts[:-1]}

    if any("original" in lower(entry) for entry in entries):
        return [entry for entry in entries if "segmented" not in lower(entry)]
    return list(entries)


def _release(
    entries: Sequence[Entry], source: Source, options: Options
) -> tuple[releases.Release, list[Placed]] | None:
    """Place the images of a known public release; None for other sources."""
    tables = {entry.parts: entry.read for entry in source.others if entry.parts[-1].lower().endswith(".csv")}
    known = releases.recognised([entry.parts for entry in entries], tables)
    if not known:
        return None
    _refuse_links(source, {parts[:-1] for parts in known.places}, options)
    found = [(entry, known.places[entry.parts]) for entry in entries if entry.parts in known.places]
    images = []
    for entry, place in found:
        fold = next(filter(folder_roles.is_fold, entry.parts[:-1]), "")
        images.append(Placed(entry, place.label, place.subset, place.group, fold))
    return known.release, images


def _all_dataset(entries: Sequence[Entry], source: Source, path: Path, options: Options) -> list[Placed]:
    """Place the images of the ALL dataset by the deepest folder that names one of its classes; [] for other datasets.

    Raises:
        LeukoBenchError: some of its four classes are there, but not all.
    """
    images, folders = [], set[Parts]()
    for entry in entries:
        above = entry.parts[:-1]
        depth = next((k for k in reversed(range(len(above))) if all_dataset.canonical(above[k])), None)
        if depth is not None:
            label = all_dataset.canonical(above[depth]) or ""
            folders.add(above[: depth + 1])
            subset = next(filter(None, map(folder_roles.subset_of, reversed(above[:depth] + above[depth + 1 :]))), "")
            images.append(Placed(entry, label, subset))
    found = {each.label for each in images}
    missing = [name for name in all_dataset.PUBLISHED if name not in found]
    if len(missing) >= len(all_dataset.PUBLISHED) - 1:  # "Benign" alone is a class of many datasets
        return []
    _refuse_links(source, folders, options)
    if missing:
        places = sorted({"/".join(entry.parts[:-1]) or "." for entry in entries})
        shown = ", ".join(places[:6]) + (", ..." if len(places) > 6 else "")
        raise LeukoBenchError(
            f"{path} holds no folder of the class {' or '.join(missing)}; its images lie in: {shown}. "
            f"For another dataset add --as-is.{_unread(source)}"
        )
    return images


def _by_folders(entries: Sequence[Entry], source: Source, options: Options) -> list[Placed]:
    """Place images by the structure of their folders, or by the level of the class folders that the user gives."""
    paths = [entry.parts for entry in entries]
    # Links to folders count as if there was one image, so that a class behind a link is seen.
    links = [(*parts, "") for parts, target in source.links.items() if _holds_images(target)]
    if options.classes_are:
        deepest = max(len(parts) - 1 for parts in paths)
        if not 1 <= options.classes_are <= deepest:
            raise LeukoBenchError(
                f"--classes-are {options.classes_are}: the folders with images have levels 1 to {deepest}."
            )
        roles = structure.at_level(paths + links, options.classes_are)
    else:
        roles = structure.read(paths + links)
    _refuse_links(source, roles, options)
    inside = structure.below_classes(paths, roles)
    images = []
    for entry in entries:
        depth = next((k for k in reversed(range(len(entry.parts))) if entry.parts[:k] in roles), None)
        if depth is not None:
            role, below = roles[entry.parts[:depth]], entry.parts[depth:-1]
            subset = folder_roles.subset_of(below[0]) if inside and below else ""
            group = next(filter(folder_roles.is_patient, below), "") or role.group
            images.append(Placed(entry, entry.parts[depth - 1], subset or role.subset, group, role.part))
    return images


def _refuse_links(source: Source, classes: Iterable[Parts], options: Options) -> None:
    """Refuse a link to a folder of images on the level of the class folders or above; deeper ones are only counted.

    Raises:
        LeukoBenchError: there is one; names it and the option that reads it.
    """
    beside = {folder[:depth] for folder in classes for depth in range(len(folder))}
    for parts, target in sorted(source.links.items()):
        ignored = any(_within(parts, name) for name in options.ignore)
        if not ignored and (not beside or parts[:-1] in beside) and _holds_images(target):
            raise LeukoBenchError(
                f"Class folder '{parts[-1]}' is a symbolic link to {target}, whose images are not read. Add "
                f"--follow-links to read them, or --ignore {parts[-1]} to leave them out."
            )


def _holds_images(folder: Path) -> bool:
    return any(named_like_image(name) for _, _, names in os.walk(folder) for name in names)


def _left_out(placed: set[Parts], rest: Sequence[Entry]) -> Counter[str]:
    """Count the images in no class by the uppermost folder that holds no class."""
    holding = {parts[:depth] for parts in placed for depth in range(len(parts))}
    found: Counter[str] = Counter()
    for entry in rest:
        above = entry.parts[:-1]
        depth = next((k for k in range(1, len(above) + 1) if above[:k] not in holding), len(above))
        found["/".join(above[:depth]) or "."] += 1
    return found


def _apply_tables(source: Source, groups: Path | None, options: Options, result: Placement) -> None:
    """Apply the CSV files of groups and of a split, and the folder of the test subset.

    Raises:
        LeukoBenchError: a CSV does not fit the images, or there is no such folder.
    """
    images = Images(source.title, [(each.label, each.entry) for each in result.images])
    example = f"{result.images[0].label}/{result.images[0].entry.parts[-1]}"
    told: dict[int, str] = {}
    if options.split and options.split != NO_SPLIT:
        table = Path(options.split).expanduser()
        splits, from_split = image_tables.read_split(table)
        known = [entry.name for entry in source.entries] + [name for name, _ in source.refused]
        subsets = image_tables.attach(splits, images, table, example, known)
        told = image_tables.attach(from_split, images, table, example, known)
        result.images = [replace(each, subset=subsets.get(k, "")) for k, each in enumerate(result.images)]
    if groups:
        told |= image_tables.attach(image_tables.read_groups(groups), images, groups, example)
    result.images = [replace(each, group=told.get(k, each.group)) for k, each in enumerate(result.images)]
    if options.test_from:
        _require_folder(source, options.test_from, "--test-from")
        held = [_within(each.entry.parts[:-1], options.test_from) for each in result.images]
        result.images = [
            replace(each, subset="test" if test else each.subset or "train")
            for each, test in zip(result.images, held, strict=True)
        ]


def _check_subsets(path: Path, options: Options, result: Placement) -> None:
    """Forget the subsets where asked or where there is only one; refuse those that lack train or test.

    Raises:
        LeukoBenchError: a subset is missing; names the options that give it.
    """
    subsets = result.counts("subset")
    alone = len(subsets) == 1 and sum(subsets.values()) == len(result.images)
    if options.split == NO_SPLIT or alone:
        result.images = [replace(each, subset="") for each in result.images]
        return
    missing = [kind for kind in ("train", "test") if not any(subset.startswith(kind) for subset in subsets)]
    if subsets and missing:
        raise LeukoBenchError(
            f"{path} has the subsets {', '.join(subsets)} but no {' and no '.join(missing)}. No other subset is taken "
            f"for it: name a folder with --test-from FOLDER, give a CSV with --split FILE (columns image,split), or "
            f"pool all images with --split {NO_SPLIT}."
        )


def _unread(source: Source) -> str:
    return f" Not read: {source.refused[0][0]}: {source.refused[0][1]}." if source.refused else ""
