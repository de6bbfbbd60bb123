"""The index of a dataset: name, hash and size of every image, so that files need not be read again."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from data.datasets import image_decoder
from utils.errors import LeukoBenchError
from utils.io import files

DATASET = "dataset.json"
INDEX = "index.csv"
GROUPS = "groups.csv"  # image,group: patients or slides
SPLIT = "split.csv"  # image,split: the subset that the owner of the data gave an image
NAMES = "names.csv"  # image,source: path in the source of images whose file has another name there
RESERVED = ("_quarantine", "_masks")  # folders that hold no class
COLUMNS = ("image", "sha256", "width", "height", "bytes")


@dataclass(frozen=True, order=True)
class Indexed:
    """One image of a dataset: name "<Class>/<file>", hash of the file's bytes, size in pixels and in bytes."""

    image: str
    sha256: str
    width: int
    height: int
    bytes: int

    @property
    def label(self) -> str:
        """Class of the image, which is its folder."""
        return self.image.partition("/")[0]


def about(folder: Path) -> dict[str, Any]:
    """Read dataset.json of a dataset's folder: name, classes, images by class, source, synthetic.

    Raises:
        LeukoBenchError: the file is missing or damaged.
    """
    path = folder / DATASET
    found = files.read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("images"), dict):
        raise LeukoBenchError(f"{path} is damaged: it lacks the counts of images. Delete {folder} and import it again.")
    return found


def count(rows: Iterable[Indexed]) -> dict[str, int]:
    """Count images by class, classes in sorted order."""
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[row.label] += 1
    return dict(sorted(counts.items()))


def duplicates(rows: Iterable[Indexed]) -> list[list[str]]:
    """Return the sets of byte-identical images, in image order."""
    same: dict[str, list[str]] = defaultdict(list)
    for row in sorted(rows, key=attrgetter("image")):
        same[row.sha256].append(row.image)
    return [names for names in same.values() if len(names) > 1]


def conflicts(rows: Iterable[Indexed]) -> list[list[str]]:
    """Return the sets of byte-identical images that are labelled with two or more classes."""
    return [names for names in duplicates(rows) if len({name.partition("/")[0] for name in names}) > 1]


def refuse_conflicts(rows: Iterable[Indexed], remedy: str) -> None:
    """Refuse identical images that are labelled with two classes.

    Args:
        rows: the images.
        remedy: last sentence of the error: what to do.

    Raises:
        LeukoBenchError: there are such images; names the first two.
    """
    found = conflicts(rows)
    if found:
        first = found[0][0]
        other = next(name for name in found[0] if name.partition("/")[0] != first.partition("/")[0])
        more = f" ({len(found)} such images)" if len(found) > 1 else ""
        raise LeukoBenchError(f"The same image is labelled with two classes: {first} and {other}{more}. {remedy}")


def write(folder: Path, rows: Iterable[Indexed]) -> None:
    """Write index.csv of a dataset's folder."""
    files.write_text(folder / INDEX, text(rows))


def text(rows: Iterable[Indexed]) -> str:
    """Return an index as CSV text."""
    return files.csv_text(COLUMNS, ((r.image, r.sha256, r.width, r.height, r.bytes) for r in sorted(rows)))


def read(folder: Path) -> list[Indexed]:
    """Read index.csv of a dataset's folder.

    Raises:
        LeukoBenchError: the file is missing or damaged.
    """
    try:
        return [
            Indexed(r["image"], r["sha256"], int(r["width"]), int(r["height"]), int(r["bytes"]))
            for r in files.read_csv(folder / INDEX, COLUMNS)
        ]
    except (TypeError, ValueError, KeyError):
        raise LeukoBenchError(
            f"{folder / INDEX} is damaged. Delete it and run: python run_guide.py data check {folder.name}"
        ) from None


def listing(folder: Path) -> dict[str, Path]:
    """List the files in the class folders of a dataset that are named like images, by "<Class>/<file>"."""
    found = {}
    for place in sorted(folder.iterdir()):
        class_like = place.name not in RESERVED and not place.name.startswith(".")
        if class_like and place.is_dir() and not place.is_symlink():
            for name in sorted(os.listdir(place)):  # noqa: PTH208  # ten times faster than sorting paths
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in image_decoder.SUFFIXES:  # noqa: PTH122
                    found[f"{place.name}/{name}"] = place / name
    return found
