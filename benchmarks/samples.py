"""A dataset made of some images of another, in a data folder of its own, so that nothing kept from before helps."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data import catalog
from data.datasets import importer, integrity_check
from utils.paths import raw_dir

NAME = "sample"


@contextmanager
def sampled(dataset: str, count: int) -> Iterator[tuple[str, str]]:
    """Make a dataset of about `count` images, every k-th of each class, and look for data there meanwhile.

    Args:
        dataset: where the images come from; "" for the only one, or synthetic smears.
        count: of images.

    Yields:
        The name of the dataset, and what it is in words.
    """
    name = catalog.ensure_dataset(dataset)
    rows = sorted(integrity_check.current_index(name))
    step = max(1, len(rows) // count)
    chosen = [raw_dir(name) / row.image for row in rows][::step]
    before = os.environ.get("LEUKOBENCH_DATA")
    with tempfile.TemporaryDirectory() as place:
        for path in chosen:
            copy = Path(place, "source", path.parent.name, path.name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        os.environ["LEUKOBENCH_DATA"] = str(Path(place, "data"))
        try:
            importer.import_dataset(Path(place, "source"), NAME, as_is=True)
            yield NAME, f"{len(chosen):,} of the {len(rows):,} images of {name}, every {step}th"
        finally:
            if before is None:
                del os.environ["LEUKOBENCH_DATA"]
            else:
                os.environ["LEUKOBENCH_DATA"] = before
