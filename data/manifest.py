"""The manifest, the definition of a split: every image with its label, subset and group."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from utils import paths
from utils.errors import LeukoBenchError, cut
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_fields import HASH

COLUMNS = ("image", "label", "split", "group", "sha256")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Row:
    """One image of a manifest.

    Attributes:
        image: path below the dataset's folder, with forward slashes ("Benign/WBC-Benign-001.jpg").
        label: class name, which is the image's folder.
        split: "train", "val", "test" or "test_<name>", see `run_folder.SUBSET`.
        group: patient or slide of the image; "" where unknown.
        sha256: hash of the file's bytes, 64 hex digits.
    """

    image: str
    label: str
    split: str
    group: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The rows of one split, in image order."""

    rows: tuple[Row, ...]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in sorted order, which is the order of every probability column."""
        return tuple(sorted({row.label for row in self.rows}))

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the manifest as CSV."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:16]

    @cached_property
    def test_identity(self) -> str:
        """Hash of (image sha256, label) over the main test set: runs with equal hashes can be ranked together."""
        rows = sorted(f"{row.sha256},{row.label}" for row in self.subset("test"))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]

    def subset(self, split: str) -> tuple[Row, ...]:
        """Return the rows of a subset; "test" is the main test set, whatever its name."""
        name = self.resolve(split)
        return tuple(row for row in self.rows if row.split == name)

    def resolve(self, split: str) -> str:
        """Return the name of a subset in this manifest: "test" stands for the main test set."""
        return run_folder.resolve(split, self.subsets)

    @cached_property
    def subsets(self) -> tuple[str, ...]:
        """Names of the subsets: train, val and the test sets, the main one first."""
        return tuple(run_folder.subsets(row.split for row in self.rows))

    @property
    def test_sets(self) -> tuple[str, ...]:
        """Names of the test sets, the main one first."""
        return tuple(run_folder.test_sets(self.subsets))

    def by_class(self, split: str) -> dict[str, list[Row]]:
        """Return the rows of a subset for each class, sorted by SHA-256: an order that does not depend on names."""
        rows = sorted(self.subset(split), key=lambda row: row.sha256)
        return {name: [row for row in rows if row.label == name] for name in self.classes}

    def counts(self) -> dict[str, dict[str, int]]:
        """Count images by subset and class: {"train": {"Benign": 322, ...}, ...}."""
        tally = Counter((row.split, row.label) for row in self.rows)
        return {s: {c: tally[s, c] for c in self.classes} for s in sorted({row.split for row in self.rows})}

    def text(self) -> str:
        """Return the manifest as CSV text, rows sorted by image, so that equal content gives equal text."""
        ordered = sorted(self.rows, key=lambda row: row.image)
        return files.csv_text(COLUMNS, ((r.image, r.label, r.split, r.group, r.sha256) for r in ordered))

    def write(self, path: Path) -> None:
        """Write the manifest atomically."""
        files.write_text(path, self.text())


def read(path: Path) -> Manifest:
    """Read a manifest, which may come from others: its rows name files that will be read and linked.

    Args:
        path: of the file; where it is named by a hash, this must be that of its content.

    Raises:
        LeukoBenchError: the file is missing, lacks a column, holds no rows or wrong ones, or another content than its
            name says.
    """
    rows = [Row(*(row[name] or "" for name in COLUMNS)) for row in files.read_csv(path, COLUMNS)]
    if not rows:
        raise LeukoBenchError(f"{path} lists no images. Create it again: python run_guide.py data split")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        if problem := _problem(row, seen):
            raise LeukoBenchError(
                f"{path} is damaged, line {number}: {problem}. Restore the file, or delete it and train a new run.",
                path=path,
            )
        seen.add(row.image)
    table = from_rows(rows)
    if HASH.fullmatch(path.stem) and table.hash != path.stem:
        raise LeukoBenchError(
            f"{path} is damaged: its content has the hash {table.hash}. Restore the file, or delete it and train a new "
            "run.",
            path=path,
        )
    return table


def _problem(row: Row, seen: set[str]) -> str:
    """Return why a row is not valid; "" if it is."""
    if not paths.IMAGE.fullmatch(row.image):
        return f"image {cut(row.image)!r} should be <class>/<file>"
    if row.image.partition("/")[0] != row.label:
        return f"label {cut(row.label)!r} should be the folder of {cut(row.image)!r}"
    if not run_folder.SUBSET.fullmatch(row.split):
        return f"split {cut(row.split)!r} should be train, val, test or test_<name>"
    if not _SHA256.fullmatch(row.sha256):
        return f"sha256 {cut(row.sha256)!r} should be 64 hex digits"
    return f"image {cut(row.image)!r} is listed twice" if row.image in seen else ""


def from_rows(rows: Sequence[Row]) -> Manifest:
    """Create a manifest from rows in any order."""
    return Manifest(tuple(sorted(rows, key=lambda row: row.image)))
