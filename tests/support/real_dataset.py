"""The real ALL dataset, where it is available to the tests."""

import os
from pathlib import Path

import pytest

from utils.paths import PROJECT


def real_dataset() -> Path:
    """Return the folder of the ALL dataset, $LEUKOBENCH_DATASET or shared/ beside the checkout; skip without it."""
    folder = Path(os.environ.get("LEUKOBENCH_DATASET") or PROJECT.parent / "shared/data/ALL_dataset")
    if not folder.is_dir():
        pytest.skip(f"the real dataset is not at {folder}; set LEUKOBENCH_DATASET")
    return folder
