"""Accuracies of configurations over groups of test images: runs of several seeds are averaged for each image.

Seeds of one configuration are no separate models, and images of one group are no separate observations. Test sets that
differ, such as folds, are put together.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from utils.metrics import group_intervals, predictions
from utils.metrics.group_intervals import Interval
from utils.runs import cache as run_cache
from utils.runs import image_groups, seal
from utils.runs.records import MADE_FROM, Record, about, beside

if TYPE_CHECKING:
    import numpy as np

MODULES = ("utils.runs.group_accuracy", "utils.runs.image_groups", "utils.metrics.predictions")


def accuracy(members: Sequence[Record]) -> Interval | None:
    """Return the mean accuracy of runs and its interval over groups; None with fewer than two groups."""
    values, groups = _joined(answers(members))
    found = group_intervals.mean_interval(values, groups)
    return found if found.groups > 1 else None


def gap(random: Sequence[Record], grouped: Sequence[Record]) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of the accuracy of some runs minus that of others on other test images, over groups."""
    one, other = accuracy(random), accuracy(grouped)
    return group_intervals.between(one, other) if one and other else (None, None)


def answers(members: Iterable[Record]) -> "dict[str, tuple[np.ndarray, list[str]]]":
    """Return for each test set the share of the runs that have each image right, (images,), and each image's group.

    Test sets are named by their identity; their images are ordered by name.
    """
    import numpy as np

    sets: dict[str, list[tuple[np.ndarray, list[str]]]] = {}
    for member in members:
        right, groups = _of_run(member)
        sets.setdefault(member.row["test_identity"], []).append((np.array([*right], float), groups))
    return {
        identity: (np.mean([right for right, _ in found], axis=0), found[0][1])
        for identity, found in sorted(sets.items())
    }


def _joined(sets: "dict[str, tuple[np.ndarray, list[str]]]") -> "tuple[np.ndarray, list[str]]":
    import numpy as np

    values = [right for right, _ in sets.values()]
    return np.concatenate(values) if values else np.zeros(0), [group for _, each in sets.values() for group in each]


def _of_run(record: Record) -> tuple[str, list[str]]:
    """Return "1" or "0" for each test image, right or wrong, and its group, ordered by image; kept in the cache."""
    run = record.run

    def read() -> list:
        with run.named_in_errors():
            table = run.predictions("test").sort_values("image", ignore_index=True)
            _, truth, probabilities = predictions.arrays(table)
        right = "".join("01"[int(hit)] for hit in probabilities.argmax(axis=1) == truth)
        return [right, image_groups.of_images(run, list(table["image"]))[0]]

    audit = f"{seal.UP}{image_groups.FOLDER}/{record.row['dataset']}/{image_groups.FILE}"
    made_from = (*MADE_FROM, beside(about(run)["manifest"]), audit)
    right, groups = run_cache.kept(run, "right", made_from, read, run_cache.code_of(*MODULES))
    return right, groups
