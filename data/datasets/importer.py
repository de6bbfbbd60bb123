"""Import a dataset from a folder or a zip archive into data/raw/<name>/, completely or not at all."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from data import all_dataset
from data.datasets import image_decoder, index, integrity_check, names, npz_source, placement, source_reader
from data.datasets.folder_roles import key
from data.datasets.index import Indexed
from data.datasets.placement import DEFAULT, Options, Placed, Placement
from data.datasets.source_reader import Source
from data.datasets.structure import UnclearLayout
from utils.errors import LeukoBenchError
from utils.io import atomic_folder, files
from utils.paths import data_dir, raw_dir
from utils.system.progress import Progress, no_progress

_KEPT_BYTES = 256_000_000  # of unusable files in quarantine: a bomb must not fill the disk


@dataclass
class Imported:
    """The result of an import.

    Attributes:
        name: of the dataset.
        path: its folder.
        placement: classes, subsets and groups of the source.
        skipped: number of files that are no images of the dataset, by reason.
        encoding: code page that was guessed for names that are not UTF-8; "" for none.
        index: its images.
        converted: (name, conversion).
        quarantined: (name in the source, reason).
        renamed: number of images with another file name than in the source.
        grouped: number of images with a group.
        subsets: number of images by subset.
        shared: number of images of a subset whose copy is also in the training subset, by subset.
    """

    name: str
    path: Path
    placement: Placement = field(default_factory=Placement)
    skipped: Counter[str] = field(default_factory=Counter)
    encoding: str = ""
    index: list[Indexed] = field(default_factory=list)
    converted: list[tuple[str, str]] = field(default_factory=list)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    renamed: int = 0
    grouped: int = 0
    subsets: dict[str, int] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)


@dataclass
class _Copy:
    """The images written so far."""

    folder: Path
    taken: set[str] = field(default_factory=set)
    kept_bytes: int = 0
    sources: dict[str, Placed] = field(default_factory=dict)  # by image
    rows: list[Indexed] = field(default_factory=list)


def import_dataset(
    path: Path,
    name: str = "",
    as_is: bool = False,
    groups: Path | None = None,
    progress: Progress = no_progress,
    options: Options = DEFAULT,
    announce: Callable[[Imported], None] | None = None,
) -> Imported:
    """Import a folder or zip with one folder per class.

    Args:
        path: folder or zip of the ALL dataset, of another known release (see `releases`) or of any other images; or a
            MedMNIST file (.npz).
        name: of the new dataset; "": the name of the path.
        as_is: it is not the ALL dataset, whatever its folders are called.
        groups: CSV with columns image,group.
        progress: called with (done, total).
        options: what else the user says about the source.
        announce: called before any image is read, with what was found about the source.

    Raises:
        UnclearLayout: the folders do not tell which of them are classes.
        LeukoBenchError: there is no usable image, images are labelled with two classes, the name is taken, or the
            folder cannot be written. Nothing is left behind.
    """
    path = Path(path).expanduser()
    name = name or _name_of(path)
    atomic_folder.check_name(name)
    target = raw_dir(name)
    refuse_taken(name)
    with _opened(path, options) as source:
        result = Imported(name, target, placement.place(source, path, as_is, groups, options), encoding=source.encoding)
        result.quarantined = list(source.refused)
        result.skipped = Counter(source.skipped)
        result.skipped["that are not images"] = len(source.others)
        result.skipped["in ignored folders"] = len(source.entries) - result.placement.total
        if announce:
            announce(result)
        with atomic_folder.staged(target) as partial:
            _fill(partial, source, options, result, progress)
    _conflicts_file(name).unlink(missing_ok=True)  # of an earlier attempt
    return result


def unclear_levels(path: Path) -> dict[int, list[str]]:
    """Return the names of the folders on each level of a source that does not tell where its classes are; else {}."""
    try:
        with _opened(path.expanduser(), DEFAULT) as source:
            try:
                placement.place(source, path)
            except UnclearLayout as error:
                paths = [entry.parts[:-1] for entry in source.entries]
                levels = range(1, max(error.levels) + 1)
                return {level: sorted({parts[level - 1] for parts in paths if len(parts) >= level}) for level in levels}
    except LeukoBenchError:
        pass  # the import itself reports the reason
    return {}


def refuse_taken(name: str) -> None:
    """Refuse the name of an existing dataset.

    Raises:
        LeukoBenchError: the name is taken.
    """
    if raw_dir(name).exists():
        raise LeukoBenchError(
            f"There is a dataset '{name}' already. Choose another --name, or delete {raw_dir(name)} to import it anew."
        )


def _opened(path: Path, options: Options) -> AbstractContextManager[Source]:
    if path.suffix.lower() == npz_source.SUFFIX and not path.is_dir():
        return npz_source.open_npz(path)
    return source_reader.open_source(path, options.encoding, options.follow_links)


def _name_of(path: Path) -> str:
    place = path.resolve()
    title = place.parent.name if place.name.lower() in ("original", "segmented") else place.name
    title = title[:-4] if title.lower().endswith((".zip", npz_source.SUFFIX)) else title
    return re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-._")[:64] or "dataset"


def _fill(folder: Path, source: Source, options: Options, result: Imported, progress: Progress) -> None:
    """Write all files of a dataset."""
    images = result.placement.images
    copy = _Copy(folder)
    for done, each in enumerate(images, 1):
        _write_image(each, copy, result)
        progress(done, len(images))
    _settle_conflicts(copy, options, result)
    _require_usable(images, copy, result)
    result.index = sorted(copy.rows)
    kept = {row.image: copy.sources[row.image] for row in result.index}
    groups = {image: each.group for image, each in kept.items() if each.group}
    subsets = {image: each.subset for image, each in kept.items() if each.subset}
    renamed = names.renamed({image: each.entry.name for image, each in kept.items()})
    result.grouped, result.renamed = len(groups), len(renamed)
    result.subsets = dict(sorted(Counter(subsets.values()).items()))
    result.shared = _shared(result.index, subsets)
    for file, column, table in (
        (index.GROUPS, "group", groups),
        (index.SPLIT, "split", subsets),
        (index.NAMES, "source", renamed),
    ):
        if table:
            atomic_folder.write(folder / file, files.csv_text(("image", column), sorted(table.items())))
    if result.quarantined:
        atomic_folder.write(folder / integrity_check.QUARANTINE, files.csv_text(("file", "reason"), result.quarantined))
    atomic_folder.write(folder / index.INDEX, index.text(result.index))
    counts = index.count(result.index)
    about = {"name": result.name, "classes": list(counts), "images": counts, "source": source.title, "synthetic": None}
    if result.placement.release:
        about["release"] = result.placement.release.name
    atomic_folder.write(folder / index.DATASET, json.dumps(about, indent=2) + "\n")


def _write_image(each: Placed, copy: _Copy, result: Imported) -> None:
    """Write an image, converted only where needed; quarantine it where it cannot be used."""
    entry, content = each.entry, b""
    above = [part for part in entry.parts[:-1] if all_dataset.canonical(part) is None and key(part) != key(each.label)]
    try:
        content = entry.read()
        picture = image_decoder.decode(content)
    except image_decoder.BadImage as reason:
        result.quarantined.append((entry.name, str(reason)))
        copy.kept_bytes += len(content)
        if content and copy.kept_bytes <= _KEPT_BYTES:
            image = names.unique_name(each.label, above, entry.parts[-1], copy.taken)
            target = copy.folder / integrity_check.QUARANTINE_FOLDER / image
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return
    image = names.unique_name(each.label, above, picture.name(names.safe(entry.parts[-1])), copy.taken)
    if picture.changes:
        content = picture.png()
        result.converted.append((image, ", ".join(picture.changes)))
    (copy.folder / each.label).mkdir(exist_ok=True)
    (copy.folder / image).write_bytes(content)
    copy.sources[image] = each
    copy.rows.append(Indexed(image, hashlib.sha256(content).hexdigest(), *picture.image.size, len(content)))


def _settle_conflicts(copy: _Copy, options: Options, result: Imported) -> None:
    """Quarantine images that lie under two or more classes, or refuse them, all at once.

    Raises:
        LeukoBenchError: there are such images; names the first of them and the file with all.
    """
    conflicts = index.conflicts(copy.rows)
    if not conflicts:
        return
    count = sum(map(len, conflicts))
    if not options.quarantine_conflicts:
        table = _conflicts_file(result.name)
        rows = [
            (number, copy.sources[image].entry.name, image.partition("/")[0])
            for number, images in enumerate(conflicts, 1)
            for image in images
        ]
        files.write_text(table, files.csv_text(("picture", "file", "class"), rows))
        first = " and ".join(copy.sources[image].entry.name for image in conflicts[0][:3])
        raise LeukoBenchError(
            f"{len(conflicts)} pictures are labelled with two classes ({count} files), the first: {first}. All are "
            f"listed in {table}. Remove the wrong ones, or import with --conflicts quarantine, which leaves all out."
        )
    for images in conflicts:
        reason = "the same picture is in " + " and ".join(sorted({image.partition("/")[0] for image in images}))
        for image in images:
            result.quarantined.append((copy.sources[image].entry.name, reason))
            place = copy.folder / integrity_check.QUARANTINE_FOLDER / image
            place.parent.mkdir(parents=True, exist_ok=True)
            (copy.folder / image).rename(place)
    out = {image for images in conflicts for image in images}
    copy.rows = [row for row in copy.rows if row.image not in out]


def _require_usable(images: Sequence[Placed], copy: _Copy, result: Imported) -> None:
    """Refuse a source of which no image of a class, or of the training or test subset, can be used.

    Raises:
        LeukoBenchError: there is such a class or subset; names the reason of its first image.
    """
    reasons = dict(result.quarantined)
    usable = [copy.sources[row.image] for row in copy.rows]
    for what, attribute in (("Class", "label"), ("Subset", "subset")):
        lost = {getattr(each, attribute) for each in images} - {getattr(each, attribute) for each in usable}
        for name in sorted(lost - {""}):
            first = next(each.entry.name for each in images if getattr(each, attribute) == name)
            hint = " Add --follow-links to read it." if "link out" in reasons[first] else ""
            raise LeukoBenchError(
                f"{what} '{name}' has no usable image: {first}: {reasons[first]}. Nothing was imported.{hint}"
            )


def _shared(rows: Sequence[Indexed], subsets: dict[str, str]) -> dict[str, int]:
    """Count the images of each other subset whose exact copy is a training image."""
    homes: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        homes[row.sha256].add(subsets.get(row.image, ""))
    found = Counter(subsets.get(row.image, "") for row in rows if "train" in homes[row.sha256])
    return {subset: found[subset] for subset in sorted(found) if subset not in ("", "train")}


def _conflicts_file(name: str) -> Path:
    return data_dir() / f"conflicts-{name}.csv"
