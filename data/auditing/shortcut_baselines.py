"""A ladder of shortcut baselines: what a split's test images give away without the cells, or with hardly any shape."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from data.auditing.shortcut_features import Progress, measure
from data.splitting.splits import SplitFolder
from utils.io import files
from utils.metrics.predictions import wilson
from utils.runs import shortcuts_file
from utils.runs.shortcuts_file import COLUMNS, MAJORITY, SEES, Shortcut

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

SEED = 0


def ladder(folder: SplitFolder, root: Path, progress: Progress = lambda done, total: None) -> list[Shortcut]:
    """Train every baseline on a split's training images, test it on its test images, and write the ladder.

    The validation images are left alone: a baseline has nothing to choose by them, and so learns from the same images
    as a network does. The file is `utils.shortcut_tables.path(root, manifest hash)`.

    Args:
        folder: the laid-out split.
        root: folder of the runs.
        progress: called with (done, total) while images are read.

    Raises:
        LeukoBenchError: an image cannot be read, or the file cannot be written.
    """
    rows = [row for row in folder.manifest.rows if row.split in ("train", "test")]
    features = measure([folder.path / row.split / row.image for row in rows], progress)
    labels = np.array([row.label for row in rows])
    test = np.array([row.split == "test" for row in rows])
    features = {MAJORITY: np.zeros((len(rows), 0), np.float32), **features}
    rungs = [score(name, features[name], labels, test) for name in SEES]
    records = [{column: getattr(rung, column) for column in COLUMNS} for rung in rungs]
    files.write_csv(shortcuts_file.path(root, folder.manifest.hash), records)
    return rungs


def score(name: str, features: np.ndarray, labels: np.ndarray, test: np.ndarray) -> Shortcut:
    """Train one baseline on the rows that are not for the test, and count its right answers on those that are.

    Args:
        name: of the baseline.
        features: (n, features), or (n, patches, features) with NaN for patches that are not there.
        labels: (n,) class names.
        test: (n,) bool.
    """
    pipeline(name)  # imports scikit-learn, which is no part of the seconds
    start = perf_counter()
    answers = _vote if features.ndim == 3 else _answer
    right = int(np.count_nonzero(answers(name, features, labels, test) == labels[test]))
    seconds = perf_counter() - start
    count = int(np.count_nonzero(test))
    return Shortcut(name, count, right, right / count, *wilson(right, count), features.shape[-1], seconds)


def pipeline(name: str) -> "Pipeline":
    """Return the untrained pipeline of a baseline: a random forest, the same for all (Breiman 2001).

    A forest takes any feature as it is and needs no tuning; only the majority class is a rule of its own.
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline

    if name == MAJORITY:
        return make_pipeline(DummyClassifier(strategy="most_frequent"))
    # One thread: the trees' threads would reset Python's list of warnings under one another's feet.
    return make_pipeline(RandomForestClassifier(random_state=SEED))


def _answer(name: str, features: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    return pipeline(name).fit(features[~test], labels[~test]).predict(features[test])


def _vote(name: str, features: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Train on patches, and answer for an image with the class of the highest sum of its patches' probabilities.

    An image without a patch gets the most frequent class.
    """
    there = ~np.isnan(features).any(axis=2)
    owner = np.nonzero(there)[0]  # image of each patch
    learn = ~test[owner]
    answers = _answer(MAJORITY, features[:, 0], labels, test)
    if not learn.any() or learn.all():
        return answers
    model = pipeline(name).fit(features[there][learn], labels[owner][learn])
    votes = np.zeros((len(labels), len(model.classes_)))
    np.add.at(votes, owner[~learn], model.predict_proba(features[there][~learn]))
    voted = model.classes_[votes.argmax(axis=1)]
    return np.where(there.any(axis=1)[test], voted[test], answers)
