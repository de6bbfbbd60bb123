"""Paths of the checkout, the datasets, the split folders and the runs."""

import os
import re
from pathlib import Path

from utils.errors import LeukoBenchError

# One file or folder: no separator, drive or control character of any system, and not the folder above.
_NAME = r"(?!\.{1,2}(?:/|\Z))(?![A-Za-z]:)[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}"
NAME = re.compile(_NAME)
IMAGE = re.compile(f"{_NAME}/{_NAME}")  # "<Class>/<file>"

PROJECT = Path(__file__).resolve().parent.parent


def data_dir() -> Path:
    """Return the folder that holds raw/ and splits/: $LEUKOBENCH_DATA, else data/ of the checkout."""
    return Path(os.environ.get("LEUKOBENCH_DATA") or PROJECT / "data")


def raw_dir(dataset: str) -> Path:
    """Return the folder of an imported dataset, <data>/raw/<dataset>; it may not exist."""
    return data_dir() / "raw" / dataset


def splits_dir() -> Path:
    """Return the folder of the split folders, <data>/splits."""
    return data_dir() / "splits"


def features_dir() -> Path:
    """Return the cache folder of frozen bases' features, <data>/features; it may be deleted at any time."""
    return data_dir() / "features"


def augmented_dir() -> Path:
    """Return the cache folder of augmented training images, <data>/augmented; it may be deleted at any time."""
    return data_dir() / "augmented"


def runs_dir() -> Path:
    """Return the default root of the runs: $LEUKOBENCH_RUNS, else runs/ of the checkout."""
    return Path(os.environ.get("LEUKOBENCH_RUNS") or PROJECT / "runs")


def check_inside(path: Path, root: Path) -> None:
    """Check that no link at a path or below it leads out of a root, so that nothing is written elsewhere.

    Raises:
        LeukoBenchError: one does.
    """
    real = root.resolve()
    for place in (path, *path.rglob("*")):
        if place != path and not place.is_symlink():
            continue
        try:
            target = place.resolve()
        except (OSError, RuntimeError):  # a loop of links
            target = None
        if target is None or not target.is_relative_to(real):
            raise LeukoBenchError(
                f"{place} is a link out of {root}. Replace it by what it links to, or remove it.", path=place
            )
