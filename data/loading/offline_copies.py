"""Offline augmentation: changed copies of training images, made once before training and stored as files.

A copy is a function of (seed, content of its image, number of the copy) alone, independent of file names and of the
other images. Copies are stored beside the split, not in it: manifest and test identity do not depend on them.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from data.loading.augmentation_config import Augmentation
from utils.errors import LeukoBenchError
from utils.io import atomic_folder
from utils.io import files as texts
from utils.paths import augmented_dir
from utils.system.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from data.manifest import Manifest, Row
    from data.splitting.splits import SplitFolder

RECORD = "copies.csv"
COLUMNS = ("file", "image", "copy", "bytes", "sha256")
_FORMAT = 1  # of the copies; to be raised to make all of them again
_FASTEST = 1  # zlib level: files a tenth larger than at the best level, several times as fast


class Offline(BaseModel):
    """Number of augmented copies of the training images, and how they are augmented."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    copies: int = Field(0, ge=0, le=100)  # of each training image
    balance: bool = False  # more copies of smaller classes, up to the number of images of the largest
    seed: int = Field(
        42, ge=0, lt=2**31
    )  # of the copies, apart from the training's seed so that several seeds share them
    augmentation: Augmentation = Augmentation(
        flips=True, quarter_turns=True, rotation=15, zoom=0.1, brightness=0.1, contrast=0.1, colour=0.1
    )

    @property
    def active(self) -> bool:
        """Whether any copies are made."""
        return self.copies > 0 or self.balance


@dataclass(frozen=True)
class Copy:
    """One copy to be made.

    Attributes:
        row: its image, a training row of the manifest.
        number: from 1, among the copies of that image.
    """

    row: "Row"
    number: int

    @property
    def file(self) -> str:
        """Unique path below train/: the image's name and the number of the copy."""
        return f"{self.row.image}-copy{self.number}.png"


def prepare(split: "SplitFolder", offline: Offline, progress: Progress | None = None) -> Path:
    """Make the copies of a split's training images unless they exist.

    Args:
        split: where the images are.
        offline: which copies.
        progress: called with (done, total) copies while they are made.

    Returns:
        A folder that holds copies.csv and train/<Class>/, with a folder for every class.

    Raises:
        LeukoBenchError: no augmentation is set, an image is missing or damaged, or the disk is full; nothing is left.
    """
    if offline.active and not offline.augmentation.active:
        raise LeukoBenchError(
            "Copies without augmentation would equal the training images. "
            "Set one, for example: --set offline.augmentation.flips=true"
        )
    plan = planned(split.manifest, offline)
    path = place(split, offline)
    if is_whole(path, plan):
        return path
    with atomic_folder.replaced(path, lambda: is_whole(path, plan)) as partial:
        _make(split, offline, plan, partial, progress)
    return path


def place(split: "SplitFolder", offline: Offline) -> Path:
    """Return the folder of a split's copies, <data>/augmented/<split folder>/<key>; it need not exist."""
    said = f"{_FORMAT}:{split.manifest.hash}:{texts.compact(offline.model_dump(mode='json'))}"
    return augmented_dir() / split.path.name / hashlib.sha256(said.encode()).hexdigest()[:16]


def planned(manifest: "Manifest", offline: Offline) -> list[Copy]:
    """Return the copies to be made: `copies` of each image, then one image after another for smaller classes."""
    rows = manifest.subset("train")
    counts = Counter(row.label for row in rows)
    found = [Copy(row, number) for row in rows for number in range(1, offline.copies + 1)]
    if offline.balance:
        largest = max(counts.values(), default=0) * (offline.copies + 1)
        for label, count in sorted(counts.items()):
            # Ordered by content: which images get one more copy does not depend on file names.
            ordered = sorted((r for r in rows if r.label == label), key=lambda r: (_digest(offline, r, 0), r.image))
            for k in range(largest - count * (offline.copies + 1)):
                found.append(Copy(ordered[k % count], offline.copies + 1 + k // count))
    return sorted(found, key=lambda copy: (copy.row.image, copy.number))


def is_whole(path: Path, plan: Sequence[Copy]) -> bool:
    """Say whether a folder holds exactly the planned copies, each with its original bytes."""
    try:
        rows = texts.read_csv(path / RECORD, COLUMNS)
        if [(r["file"], r["image"], r["copy"]) for r in rows] != [(c.file, c.row.image, str(c.number)) for c in plan]:
            return False
        there = {f.relative_to(path / "train").as_posix(): f.stat().st_size for f in (path / "train").glob("*/*")}
        if there != {row["file"]: int(row["bytes"]) for row in rows}:
            return False
        return all(_sha256((path / "train" / row["file"]).read_bytes()) == row["sha256"] for row in rows)
    except (OSError, ValueError, LeukoBenchError):
        return False


def files(folder: Path) -> list[tuple[Path, str]]:
    """Return (file, class) of every copy in a folder made by `prepare`, in the order of the manifest.

    Raises:
        LeukoBenchError: copies.csv is missing or damaged.
    """
    rows = texts.read_csv(folder / RECORD, COLUMNS)
    return [(folder / "train" / row["file"], row["file"].partition("/")[0]) for row in rows]


def draws(offline: Offline, row: "Row", number: int) -> "np.ndarray":
    """Return the float32 numbers in 0..1 (len(DRAWS),) that change a copy, from seed, content and number alone."""
    import numpy as np

    from data.loading.augment import DRAWS

    key = np.frombuffer(_digest(offline, row, number)[:16], "<u8")
    return np.random.Generator(np.random.Philox(key=key)).random(len(DRAWS), np.float32)


def _make(
    split: "SplitFolder",
    offline: Offline,
    plan: Sequence[Copy],
    folder: Path,
    progress: Progress | None,
) -> None:
    from data.loading.pipeline import loader

    for label in split.manifest.classes:  # also those without copies: readers need a folder for every class
        (folder / "train" / label).mkdir(parents=True)
    record: list[tuple[str, str, int, int, str]] = []
    for row, copies in groupby(plan, key=lambda copy: copy.row):
        pixels = _pixels(split.path / "train" / row.image)
        for copy in copies:
            changed = loader().augment(pixels, draws(offline, row, copy.number), offline.augmentation)
            content = _png(changed)
            (folder / "train" / copy.file).write_bytes(content)
            record.append((copy.file, row.image, copy.number, len(content), _sha256(content)))
            if progress:
                progress(len(record), len(plan))
    atomic_folder.write(folder / RECORD, texts.csv_text(COLUMNS, record))


def _pixels(path: Path) -> "np.ndarray":
    from data.loading.pipeline import loader

    try:
        return loader().open(path)
    except Exception as error:  # TensorFlow's or Pillow's
        raise LeukoBenchError(
            f"{path} cannot be read ({' '.join(str(error).split())[:120]}). Check it: python run_guide.py data check"
        ) from None


def _png(pixels: "np.ndarray") -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=_FASTEST)
    return buffer.getvalue()


def _digest(offline: Offline, row: "Row", number: int) -> bytes:
    return hashlib.sha256(f"{offline.seed}:{row.sha256}:{number}".encode()).digest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
