"""Copies of training images made beforehand: changed at random once, kept as files, the same in every epoch.

A copy is a function of (seed, content of its image, number of the copy) alone: neither file names nor what else is in
the dataset change it. Copies stand beside the split, never in it: manifest and test identity know nothing of them.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
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

if TYPE_CHECKING:
    import numpy as np

    from data.manifest import Manifest, Row
    from data.splitting.splits import SplitFolder

RECORD = "copies.csv"
COLUMNS = ("file", "image", "copy", "bytes", "sha256")
_FORMAT = 1  # of the copies; another one makes all of them anew
_FASTEST = 1  # zlib level: a tenth larger than the best, several times as fast


class Offline(BaseModel):
    """How many changed copies of the training images are made before training, and how they are changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    copies: int = Field(0, ge=0, le=100)  # of each training image
    balance: bool = False  # more copies of the smaller classes, until each counts as many images as the largest
    seed: int = Field(42, ge=0, lt=2**31)  # of the changes, apart from the training's seed so that seeds share copies
    augmentation: Augmentation = Augmentation(
        flips=True, quarter_turns=True, rotation=15, zoom=0.1, brightness=0.1, contrast=0.1, colour=0.1
    )

    @property
    def active(self) -> bool:
        """Whether any copy is asked for."""
        return self.copies > 0 or self.balance


@dataclass(frozen=True)
class Copy:
    """One copy that is to be made.

    Attributes:
        row: its image, a training row of the manifest.
        number: from 1, among the copies of that image.
    """

    row: "Row"
    number: int

    @property
    def file(self) -> str:
        """Path below train/: the image's whole name and the number, which no other copy has."""
        return f"{self.row.image}-copy{self.number}.png"


def prepare(split: "SplitFolder", offline: Offline, progress: Callable[[int, int], None] | None = None) -> Path:
    """Make the copies of a split's training images, or take those that are there already.

    Args:
        split: where the images are.
        offline: which copies.
        progress: called with (done, total) copies while they are made.

    Returns:
        A folder that holds copies.csv and train/<Class>/, with a folder for every class.

    Raises:
        LeukoBenchError: nothing is to be changed, an image is missing or damaged, or the disk is full; no half is left.
    """
    if offline.active and not offline.augmentation.active:
        raise LeukoBenchError(
            "Copies of training images need a change, or they are the same images again. "
            "Switch one on, such as: --set offline.augmentation.flips=true"
        )
    plan = planned(split.manifest, offline)
    path = place(split, offline)
    if is_whole(path, plan):
        return path
    with atomic_folder.replaced(path, lambda: is_whole(path, plan)) as partial:
        _make(split, offline, plan, partial, progress)
    return path


def place(split: "SplitFolder", offline: Offline) -> Path:
    """Return the folder of a split's copies, <data>/augmented/<split folder>/<key>, whether it exists or not."""
    said = f"{_FORMAT}:{split.manifest.hash}:{texts.compact(offline.model_dump(mode='json'))}"
    return augmented_dir() / split.path.name / hashlib.sha256(said.encode()).hexdigest()[:16]


def planned(manifest: "Manifest", offline: Offline) -> list[Copy]:
    """Return every copy that is to be made: of each image so many, then round after round for classes that lag."""
    rows = manifest.subset("train")
    counts = Counter(row.label for row in rows)
    found = [Copy(row, number) for row in rows for number in range(1, offline.copies + 1)]
    if offline.balance:
        largest = max(counts.values(), default=0) * (offline.copies + 1)
        for label, count in sorted(counts.items()):
            # By content, as splits are dealt: which images get one copy more does not hang on file names.
            ordered = sorted((r for r in rows if r.label == label), key=lambda r: (_digest(offline, r, 0), r.image))
            for k in range(largest - count * (offline.copies + 1)):
                found.append(Copy(ordered[k % count], offline.copies + 1 + k // count))
    return sorted(found, key=lambda copy: (copy.row.image, copy.number))


def is_whole(path: Path, plan: Sequence[Copy]) -> bool:
    """Say whether a folder holds exactly the planned copies, each with the bytes that were written."""
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
    """Return (file, class) of every copy in a folder of `prepare`, in the order of the manifest.

    Raises:
        LeukoBenchError: copies.csv is missing or damaged.
    """
    rows = texts.read_csv(folder / RECORD, COLUMNS)
    return [(folder / "train" / row["file"], row["file"].partition("/")[0]) for row in rows]


def draws(offline: Offline, row: "Row", number: int) -> "np.ndarray":
    """Return the float32 numbers in 0..1 (len(DRAWS),) that change a copy, by seed, content and number alone."""
    import numpy as np

    from data.loading.augment import DRAWS

    key = np.frombuffer(_digest(offline, row, number)[:16], "<u8")
    return np.random.Generator(np.random.Philox(key=key)).random(len(DRAWS), np.float32)


def _make(
    split: "SplitFolder",
    offline: Offline,
    plan: Sequence[Copy],
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    from data.loading.pipeline import loader

    for label in split.manifest.classes:  # also one without copies: readers want a folder for every class
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
    except Exception as error:  # TensorFlow has its own kinds
        raise LeukoBenchError(
            f"{path} cannot be read ({' '.join(str(error).split())[:120]}). Look with: python run_guide.py data check"
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
