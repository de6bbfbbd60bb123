"""The fields of view of a dataset: each picture read once, for all that an audit asks of it but its class."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from data.datasets import image_decoder
from data.datasets.index import Indexed
from data.grouping import near_duplicates, sift_matching, stain_features
from data.grouping.sift_matching import Local
from utils.paths import raw_dir
from utils.system.environment import usable_cores

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fields:
    """What n pictures hold, in the order of their rows.

    Attributes:
        fingerprints: (n, 256) bool, see `data.near_duplicates`.
        statistics: (n, 18), see `data.stain_features`.
        local: n local features, see `data.local_features`.
    """

    fingerprints: np.ndarray
    statistics: np.ndarray
    local: list[Local]


def read(dataset: str, rows: Sequence[Indexed], progress: Progress = lambda done, total: None) -> Fields:
    """Read the images of a dataset, some at a time; 40 kB of each are kept.

    Raises:
        LeukoBenchError: an image cannot be read.
    """
    from threadpoolctl import threadpool_limits

    def measured(row: Indexed) -> tuple[np.ndarray, np.ndarray, Local]:
        image = np.asarray(image_decoder.open_rgb(raw_dir(dataset) / row.image))
        return near_duplicates.fingerprint(image), stain_features.measure(image), sift_matching.describe(image)

    found = []
    # One thread an image: with more, small matrix products wait for one another.
    with threadpool_limits(1), ThreadPoolExecutor(usable_cores()) as pool:
        for done, each in enumerate(pool.map(measured, rows), 1):
            found.append(each)
            progress(done, len(rows))
    fingerprints, statistics, local = zip(*found, strict=True)
    return Fields(np.stack(fingerprints), np.stack(statistics), list(local))
