"""Paths of the checkout, the datasets, the split folders and the runs."""

import os
from pathlib import Path

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
