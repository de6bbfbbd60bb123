"""Import a dataset from a folder or a zip archive into data/raw/<name>/, completely or not at all."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.datasets import image_decoder, index, integrity_check, names, npz_source, placement, source_reader
from data.datasets.index import Indexed
from data.datasets.placement import Placed
from data.datasets.releases import Release
from utils.errors import LeukoBenchError
from utils.io import atomic_folder, files
from utils.paths import raw_dir
from utils.system.progress import Progress, no_progress

_KEPT_BYTES = 256_000_000  # of unusable files in quarantine: a bomb must not fill the disk


@dataclass
class Imported:
    """The result of an import.

    Attributes:
        name: of the dataset.
        path: its folder.
        index: its images.
        converted: (name, conversion).
        quarantined: (name in the source, reason).
        ignored: number of files that are not named like images.
        outside: number of images in no class folder.
        segmented: number of segmented copies left out because the originals are there.
        grouped: number of images with a group.
        release: the public release that was recognised.
    """

    name: str
    path: Path
    index: list[Indexed] = field(default_factory=list)
    converted: list[tuple[str, str]] = field(default_factory=list)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    ignored: int = 0
    outside: int = 0
    segmented: int = 0
    grouped: int = 0
    release: Release | None = None


def import_dataset(
    path: Path,
    name: str = "",
    as_is: bool = False,
    groups: Path | None = None,
    progress: Progress = no_progress,
) -> Imported:
    """Import a folder or zip with one folder per class.

    Args:
        path: folder or zip of either release of the ALL dataset, in any case and nesting; or of another known release
            (see `releases`); or a MedMNIST file (.npz).
        name: of the new dataset; "": the name of the path.
        as_is: accept any dataset, with the names of its folders as classes.
        groups: CSV with columns image,group; images as paths below `path`, as "<Class>/<file>" or as file names.
        progress: called with (done, total).

    Raises:
        LeukoBenchError: there is no usable image, an image is labelled with two classes, the name is taken, or the
            folder cannot be written. Nothing is left behind.
    """
    path = Path(path).expanduser()
    if not name:
        place = path.resolve()
        title = place.parent.name if place.name.lower() in ("original", "segmented") else place.name
        title = title[:-4] if title.lower().endswith((".zip", npz_source.SUFFIX)) else title
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-._")[:64] or "dataset"
    atomic_folder.check_name(name)
    target = raw_dir(name)
    refuse_taken(name)
    arrays = path.suffix.lower() == npz_source.SUFFIX and not path.is_dir()
    with npz_source.open_npz(path) if arrays else source_reader.open_source(path) as source:
        ignored = len(source.others) + source.skipped.total()
        result = Imported(name, target, quarantined=list(source.refused), ignored=ignored)
        if not source.entries and source.refused:
            file, reason = source.refused[0]
            raise LeukoBenchError(f"{path} holds no usable image: {file}: {reason}. Nothing was imported.")
        placed = placement.place(source, path, as_is)
        result.segmented, result.outside, result.release = placed.segmented, placed.outside, placed.release
        table = _read_groups(groups)
        with atomic_folder.staged(target) as partial:
            _copy(placed.images, partial, table, result, progress)
            _describe(partial, source.title, table, groups, result)
    return result


def refuse_taken(name: str) -> None:
    """Refuse the name of an existing dataset.

    Raises:
        LeukoBenchError: the name is taken.
    """
    if raw_dir(name).exists():
        raise LeukoBenchError(
            f"There is a dataset '{name}' already. Choose another --name, or delete {raw_dir(name)} to import it anew."
        )


def _copy(
    images: Sequence[Placed],
    folder: Path,
    groups: dict[str, str],
    result: Imported,
    progress: Progress,
) -> None:
    """Write every usable image, converted only where needed, and quarantine the others."""
    taken: set[str] = set()
    first_seen: dict[str, tuple[str, str]] = {}
    kept_bytes = 0
    members, subsets = {}, {}
    plain_names = Counter(each.entry.parts[-1] for each in images)
    for done, each in enumerate(images, 1):
        label, entry = names.plain(each.label), each.entry
        content = b""
        try:
            content = entry.read()
            picture = image_decoder.decode(content)
        except image_decoder.BadImage as reason:
            result.quarantined.append((entry.name, str(reason)))
            kept_bytes += len(content)
            if content and kept_bytes <= _KEPT_BYTES:
                name = names.unique_name(label, entry, entry.parts[-1], taken)
                target = folder / integrity_check.QUARANTINE_FOLDER / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        else:
            image = names.unique_name(label, entry, picture.name(entry.parts[-1]), taken)
            if picture.changes:
                content = picture.png()
                result.converted.append((image, ", ".join(picture.changes)))
            digest = hashlib.sha256(content).hexdigest()
            other_label, other = first_seen.setdefault(digest, (label, entry.name))
            if other_label != label:
                raise LeukoBenchError(
                    f"The same image is labelled with two classes: {other} and {entry.name}. "
                    "Remove one of them and import again."
                )
            (folder / label).mkdir(exist_ok=True)
            (folder / image).write_bytes(content)
            result.index.append(Indexed(image, digest, *picture.image.size, len(content)))
            keys = [entry.name, image, f"{label}/{entry.parts[-1]}"]
            keys += [entry.parts[-1]] if plain_names[entry.parts[-1]] == 1 else []
            group = next((groups[key] for key in keys if key in groups), each.group)
            if group:
                members[image] = group
            if each.subset:
                subsets[image] = each.subset
        progress(done, len(images))
    result.index.sort()
    result.grouped = len(members)
    if members:
        atomic_folder.write(folder / index.GROUPS, files.csv_text(("image", "group"), sorted(members.items())))
    if subsets:
        atomic_folder.write(folder / index.SPLIT, files.csv_text(("image", "split"), sorted(subsets.items())))
    for label in sorted({names.plain(each.label) for each in images} - {row.label for row in result.index}):
        prefix = next(each.entry.name for each in images if names.plain(each.label) == label)
        reason = dict(result.quarantined)[prefix]
        raise LeukoBenchError(f"Class '{label}' has no usable image: {prefix}: {reason}. Nothing was imported.")


def _read_groups(path: Path | None) -> dict[str, str]:
    """Read a CSV of groups.

    Raises:
        LeukoBenchError: it is damaged, or gives an image two groups.
    """
    table: dict[str, str] = {}
    for row in files.read_csv(path, ("image", "group")) if path else ():
        image, group = (row["image"] or "").replace("\\", "/").strip().removeprefix("./"), (row["group"] or "").strip()
        if table.setdefault(image, group) != group:
            raise LeukoBenchError(f"{path} gives {image} two groups, '{table[image]}' and '{group}'. Keep one.")
    return table


def _describe(folder: Path, title: str, groups: dict[str, str], groups_path: Path | None, result: Imported) -> None:
    """Write dataset.json, index.csv and quarantine.csv."""
    if groups and not result.grouped:
        raise LeukoBenchError(
            f"{groups_path} names none of the images: it says '{next(iter(groups))}', "
            f"an image is '{result.index[0].image}'."
        )
    counts = index.count(result.index)
    about = {"name": result.name, "classes": list(counts), "images": counts, "source": title, "synthetic": None}
    if result.release:
        about["release"] = result.release.name
    if result.quarantined:
        atomic_folder.write(folder / integrity_check.QUARANTINE, files.csv_text(("file", "reason"), result.quarantined))
    atomic_folder.write(folder / index.INDEX, index.text(result.index))
    atomic_folder.write(folder / index.DATASET, json.dumps(about, indent=2) + "\n")
