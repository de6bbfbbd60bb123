"""The distribution of a split's training images, and the distance of other images from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.datasets import image_decoder
from data.datasets.parallel import map_threads
from data.ood import image_statistics
from data.splitting.splits import SplitFolder
from utils.errors import LeukoBenchError
from utils.io import files
from utils.system.progress import Progress, no_progress

FOLDER = "reference"
FIELDS = ("version", "centre", "scale", "whitening", "limit")
FLAT = 0.01  # least standard deviation of a statistic
QUANTILE = 0.99  # of the distances of the validation images
REACH = 2.0  # the limit is this many times as far from their median as that quantile


@dataclass(frozen=True)
class Verdict:
    """The distance of an image from the training images of a split.

    Attributes:
        distance: root mean square over the whitened statistics; training images have about 1.
        limit: the largest accepted distance.
        near: whether the image is accepted; the predicted class of a rejected image is unreliable.
    """

    distance: float
    limit: float
    near: bool


@dataclass(frozen=True)
class Reference:
    """The distribution of the training images' statistics, for Mahalanobis distances (Mahalanobis 1936).

    Attributes:
        centre, scale: (d,) mean and standard deviation of the statistics.
        whitening: (d, d), transforms standardised statistics to unit covariance, with the shrinkage of Ledoit and Wolf
            (2004).
        limit: see `Verdict`; from the validation images only.
    """

    centre: np.ndarray
    scale: np.ndarray
    whitening: np.ndarray
    limit: float

    def distance(self, vectors: np.ndarray) -> np.ndarray:
        """Return the distances (n,) of statistics (n, d)."""
        standard = (vectors.astype(np.float64) - self.centre) / self.scale
        return np.sqrt(((standard @ self.whitening) ** 2).mean(axis=1))

    def judge(self, vector: np.ndarray) -> Verdict:
        """Compare one image by its statistics, (d,), see `image_statistics.statistics`."""
        distance = float(self.distance(vector[None])[0])
        return Verdict(distance, self.limit, distance <= self.limit)


def fit(train: np.ndarray, val: np.ndarray) -> Reference:
    """Fit the distribution to training images (n, d), and the limit to validation images (m, d)."""
    from sklearn.covariance import LedoitWolf

    train = train.astype(np.float64)
    centre, scale = train.mean(axis=0), np.maximum(train.std(axis=0), FLAT)
    covariance = LedoitWolf(assume_centered=True).fit((train - centre) / scale).covariance_
    values, vectors = np.linalg.eigh(covariance)
    unlimited = Reference(centre, scale, vectors / np.sqrt(values), float("inf"))
    return Reference(centre, scale, unlimited.whitening, limit_of(unlimited.distance(val)))


def limit_of(scores: np.ndarray) -> float:
    """Return the score above which images are rejected, from the scores (n,) of validation images.

    The limit is REACH times as far from the median as the 99 % quantile: with a few dozen validation images, their
    highest score alone would reject several percent of smears.
    """
    median, high = np.quantile(scores, (0.5, QUANTILE))
    return float(median + REACH * (high - median))


def path(root: Path, manifest: str) -> Path:
    """Return the file of a split's reference: <root>/reference/<manifest hash>.npz."""
    return root / FOLDER / f"{manifest}.npz"


def read(root: Path, manifest: str) -> Reference | None:
    """Read the reference of a split; None where it is missing or of another version of the statistics.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    place = path(root, manifest)
    if not place.is_file():
        return None
    try:
        with np.load(place, allow_pickle=False) as kept:
            version, centre, scale, whitening, limit = (kept[name] for name in FIELDS)
        if int(version) != image_statistics.VERSION:
            return None
        found = Reference(centre, scale, whitening, float(limit))
        size = len(centre)
        shaped = scale.shape == (size,) and whitening.shape == (size, size)
        finite = all(np.isfinite(part).all() for part in (centre, scale, whitening, limit))
        if not (shaped and finite and (scale > 0).all()):
            raise ValueError("invalid numbers")
    except Exception as error:  # zipfile, NumPy and zlib fail with any class
        text = " ".join(str(error).split())[:80] or type(error).__name__
        raise LeukoBenchError(
            f"{place} is damaged ({text}). Delete it and create it again: python run_guide.py refusal RUN"
        ) from None
    return found


def ensure(root: Path, split: SplitFolder, progress: Progress = no_progress) -> Reference:
    """Return the reference of a split, computed and written where it is missing, outdated or damaged.

    Raises:
        LeukoBenchError: an image cannot be read, or the file cannot be written.
    """
    try:
        kept = read(root, split.manifest.hash)
    except LeukoBenchError:
        kept = None
    if kept:
        return kept
    rows = [row for row in split.manifest.rows if row.split in ("train", "val")]
    vectors = measure([split.path / row.split / row.image for row in rows], progress)
    train = np.array([row.split == "train" for row in rows])
    made = fit(vectors[train], vectors[~train])
    write(path(root, split.manifest.hash), made)
    return made


def measure(paths: Sequence[Path], progress: Progress = no_progress) -> np.ndarray:
    """Return the statistics, (n, d) float32, of image files, several read in parallel.

    Raises:
        LeukoBenchError: an image is missing or cannot be used.
    """

    def measured(path: Path) -> np.ndarray:
        return image_statistics.statistics(np.asarray(image_decoder.open_rgb(path)))

    return np.stack(map_threads(measured, paths, progress))


def write(place: Path, made: Reference) -> None:
    """Write a reference atomically."""
    parts = (np.int64(image_statistics.VERSION), made.centre, made.scale, made.whitening, np.float64(made.limit))
    with files.atomic(place) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(handle, **dict(zip(FIELDS, parts, strict=True)))
