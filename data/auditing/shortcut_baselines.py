"""Shortcut baselines: random forests that classify test images without the cells, or with hardly any shape."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from data.auditing.shortcut_features import measure
from data.splitting.splits import SplitFolder
from utils.io import files
from utils.metrics.predictions import wilson
from utils.runs import run_folder, shortcuts_file
from utils.runs.shortcuts_file import COLUMNS, MAJORITY, SEES, Shortcut
from utils.system.progress import Progress, no_progress

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

SEED = 0


def evaluate(folder: SplitFolder, root: Path, progress: Progress = no_progress) -> list[Shortcut]:
    """Train every baseline on a split's training images, test it on its main test set, and write the accuracies.

    Validation images are not used, so that a baseline learns from the same images as a network. The file is
    `utils.runs.shortcuts_file.path(root, manifest hash)`.

    Args:
        folder: the split.
        root: folder of the runs.
        progress: called with (done, total) while images are read.

    Raises:
        LeukoBenchError: an image cannot be read, or the file cannot be written.
    """
    tested = folder.manifest.resolve(run_folder.TEST)
    rows = [row for row in folder.manifest.rows if row.split in ("train", tested)]
    features = measure([folder.path / row.split / row.image for row in rows], progress)
    labels = np.array([row.label for row in rows])
    test = np.array([row.split == tested for row in rows])
    features = {MAJORITY: np.zeros((len(rows), 0), np.float32), **features}
    scores = [score(name, features[name], labels, test) for name in SEES]
    records = [{column: getattr(each, column) for column in COLUMNS} for each in scores]
    files.write_csv(shortcuts_file.path(root, folder.manifest.hash), records)
    return scores


def score(name: str, features: np.ndarray, labels: np.ndarray, test: np.ndarray) -> Shortcut:
    """Train one baseline on the training rows and count its correct answers on the test rows.

    Args:
        name: of the baseline.
        features: (n, features), or (n, patches, features) with NaN for missing patches.
        labels: (n,) class names.
        test: (n,) bool, True for test rows.
    """
    pipeline(name)  # imports scikit-learn, which must not count as training time
    start = perf_counter()
    correct = int(np.count_nonzero(answers(name, features, labels, test) == labels[test]))
    seconds = perf_counter() - start
    count = int(np.count_nonzero(test))
    return Shortcut(name, count, correct, correct / count, *wilson(correct, count), features.shape[-1], seconds)


def answers(name: str, features: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Train one baseline on the training rows and return its answers on the test rows; arguments as in `score`."""
    return (_vote if features.ndim == 3 else _answer)(name, features, labels, test)


def pipeline(name: str) -> "Pipeline":
    """Return the untrained pipeline of a baseline: a random forest (Breiman 2001), the same for all.

    A forest needs neither scaling nor tuning. Only the majority class is a rule of its own.
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline

    if name == MAJORITY:
        return make_pipeline(DummyClassifier(strategy="most_frequent"))
    # One thread: joblib's threads would reset each other's warning filters.
    return make_pipeline(RandomForestClassifier(random_state=SEED))


def _answer(name: str, features: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    return pipeline(name).fit(features[~test], labels[~test]).predict(features[test])


def _vote(name: str, features: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Train on patches and classify an image by the sum of its patches' probabilities.

    An image without a patch gets the most frequent class.
    """
    present = ~np.isnan(features).any(axis=2)
    owner = np.nonzero(present)[0]  # image of each patch
    training = ~test[owner]
    answers = _answer(MAJORITY, features[:, 0], labels, test)
    if not training.any() or training.all():
        return answers
    model = pipeline(name).fit(features[present][training], labels[owner][training])
    votes = np.zeros((len(labels), len(model.classes_)))
    np.add.at(votes, owner[~training], model.predict_proba(features[present][~training]))
    voted = model.classes_[votes.argmax(axis=1)]
    return np.where(present.any(axis=1)[test], voted[test], answers)
