"""Compare methods that reject out-of-distribution images: by image statistics, or by the outputs of a model.

The score of each method is higher for images further from the training images. Its limit comes from the validation
images by `reference_distribution.limit_of`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from data.datasets import image_decoder
from data.loading.pipeline import loader
from data.manifest import Row
from data.ood import image_statistics, ood_images, reference_distribution
from data.perturbations import registry as perturbations
from data.perturbations.registry import Change
from data.splitting.splits import SplitFolder
from models.engine.backend import keras_backend
from models.engine.explain.faithfulness import sample
from models.engine.run_io.run_loader import BATCH, OUT_OF_MEMORY_ADVICE, config_of, open_model, split_of
from utils.console import progress, say
from utils.runs import ood_file
from utils.runs.ood_file import CHANGED, DRAWN, ENERGY, FEATURES, PROBABILITY, STATISTICS, TEST, Refused
from utils.runs.run_folder import Run
from utils.system import environment

CHANGES = ("grey", "hue", "blur", "defocus")  # families of data.perturbations
SEVERITIES = (0, 1, 3, 5)

Draw = Callable[[], np.ndarray]


class Subject:
    """One run: logits and penultimate features of its model, and the scores computed from them."""

    def __init__(self, run: Run) -> None:
        import keras

        self.run, self.config = run, config_of(run)
        model = open_model(run, logits=True)
        self._model = keras.Model(model.inputs, [model.outputs[0], model.layers[-1].input])
        self._distance: Callable[[np.ndarray], np.ndarray] = lambda features: np.zeros(len(features))

    def outputs(self, pictures: Sequence[np.ndarray], pool: ThreadPoolExecutor) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (n, classes) and features (n, d) of pictures of any size, in the run's variant and size."""
        size, variant = self.config.image_size, self.config.variant
        pixels = np.stack(list(pool.map(lambda picture: loader().prepare(picture, size, variant), pictures)))
        with keras_backend.enough_memory(f"Predicting with {self._model.name}", OUT_OF_MEMORY_ADVICE):
            return tuple(map(np.asarray, self._model.predict_on_batch(pixels.astype(np.float32))))

    def learn(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Fit the feature distance to training images: features (n, d), class names (n,)."""
        self._distance = nearest_class(features, labels)

    def scores(self, logits: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
        """Return the score (n,) of each method; higher means further from the training images."""
        from scipy.special import logsumexp

        return {
            FEATURES: self._distance(features),
            ENERGY: -logsumexp(logits.astype(np.float64), axis=1),  # Liu et al. 2020
            PROBABILITY: log_odds_against(logits),
        }


def measure(runs: Sequence[Run], pictures: int) -> list[Path]:
    """Measure the rejections of every method; write <root>/reference/<manifest hash>.csv and return those files.

    Rows of other runs are kept. A missing reference distribution is computed.

    Args:
        runs: finished, with weights; those of one split share all images.
        pictures: number of images of each family.

    Raises:
        LeukoBenchError: weights or data of a run are missing.
    """
    of_split: dict[tuple[Path, str], tuple[SplitFolder, list[Run]]] = {}
    for run in runs:
        split = split_of(run)
        of_split.setdefault((run.root, split.manifest.hash), (split, []))[1].append(run)
    keras_backend.start()
    made = []
    for (root, manifest), (split, members) in of_split.items():
        rows = [row for found in _of_split(root, split, members, pictures) for row in found]
        made.append(ood_file.merge(root, manifest, rows))
    return made


def _of_split(root: Path, split: SplitFolder, runs: Sequence[Run], pictures: int) -> Iterator[list[Refused]]:
    subjects = [Subject(run) for run in runs]
    train = split.manifest.subset("train")
    say(f"  manifest {split.manifest.hash}: {pictures} images of each family, {len(subjects)} models")
    with ThreadPoolExecutor(environment.usable_cores()) as pool, progress() as bar:
        task = bar.add_task("Reference".ljust(18), total=None)
        known = reference_distribution.ensure(
            root, split, lambda done, total: bar.update(task, completed=done, total=total)
        )
        bar.update(task, description="Training images".ljust(18), completed=0)
        follow = partial(bar.update, task)
        outputs = _outputs(subjects, [_opener(split, row) for row in train], pool, follow)[1]
        labels = np.array([row.label for row in train])
        for subject, (_, features) in zip(subjects, outputs, strict=True):
            subject.learn(features, labels)
        limits: dict[tuple[str, str], float] = {}
        smears: dict[tuple[str, str], np.ndarray] = {}
        for kind, family, held_out, draws in _sets(split, pictures):
            bar.update(task, description=family[:18].ljust(18), completed=0)
            scores = _scores(known, subjects, draws, pool, follow)
            if kind == "val":
                limits = {key: reference_distribution.limit_of(values) for key, values in scores.items()}
                limits[STATISTICS, ""] = known.limit
                continue
            if kind == TEST:
                smears = scores
            found = []
            for key, values in scores.items():
                area = None if kind == TEST else auroc(values, smears[key])
                found.append(Refused(kind, family, held_out, len(draws), *key, int((values > limits[key]).sum()), area))
            yield found


def auroc(far: np.ndarray, near: np.ndarray) -> float:
    """Return the area under the ROC curve of scores `far` (n,) against `near` (m,); ties count half."""
    ordered = np.sort(near)
    below, not_above = (np.searchsorted(ordered, far, side) for side in ("left", "right"))
    return float((below + not_above).mean() / 2 / len(near))


def _sets(split: SplitFolder, pictures: int) -> Iterator[tuple[str, str, bool, list[Draw]]]:
    """Yield kind, family, whether it was held out, and a function for each image; validation images first."""
    for subset in ("val", TEST):
        rows = split.manifest.subset(subset)
        yield subset, f"{subset} images", False, [_opener(split, row) for row in rows]
    for family in ood_images.FAMILIES:
        draws = [partial(ood_images.draw, family, number) for number in range(pictures)]
        yield DRAWN, family, family in ood_images.HELD_OUT, draws
    by_name = {row.image: row for row in split.manifest.subset(TEST)}
    rows = [by_name[name] for name in sample(split.manifest, pictures)]
    openers = [(row, _opener(split, row)) for row in rows]
    for name, change in _harmless().items():
        yield (
            CHANGED,
            name,
            False,
            [lambda change=change, open_image=open_image: change(open_image()) for _, open_image in openers],
        )
    for change in perturbations.chosen(CHANGES, split.manifest.classes):
        if change.severity in SEVERITIES:
            name = f"{change.family} {change.severity or ''}".strip()
            yield CHANGED, name, False, [_changed(change, row, open_image) for row, open_image in openers]


def _changed(change: Change, row: Row, open_image: Draw) -> Draw:
    return lambda: change.apply(open_image(), row.sha256)


def _harmless() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return changes after which a smear is still in distribution: rotation and scale."""
    import cv2

    def scaled(picture: np.ndarray, factor: float) -> np.ndarray:
        return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else 1)

    return {
        "upside down": lambda picture: np.ascontiguousarray(picture[::-1, ::-1]),
        "half the size": partial(scaled, factor=0.5),
        "twice the size": partial(scaled, factor=2.0),
    }


def _opener(split: SplitFolder, row: Row) -> Draw:
    return lambda: np.array(image_decoder.open_rgb(split.path / row.split / row.image))


def _scores(
    known: reference_distribution.Reference,
    subjects: Sequence[Subject],
    draws: Sequence[Draw],
    pool: ThreadPoolExecutor,
    follow: Callable[..., None],
) -> dict[tuple[str, str], np.ndarray]:
    """Return the scores (n,) of images by (method, run); the run of the statistics is ""."""
    vectors, outputs = _outputs(subjects, draws, pool, follow)
    scores = {(STATISTICS, ""): known.distance(vectors)}
    for subject, found in zip(subjects, outputs, strict=True):
        scores |= {(method, subject.run.id): values for method, values in subject.scores(*found).items()}
    return scores


def _outputs(
    subjects: Sequence[Subject], draws: Sequence[Draw], pool: ThreadPoolExecutor, follow: Callable[..., None]
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Return statistics (n, d) of images, and logits and features by every model; one batch at a time."""
    vectors: list[np.ndarray] = []
    outputs: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in subjects]
    for start in range(0, len(draws), BATCH):
        pictures = list(pool.map(lambda draw: draw(), draws[start : start + BATCH]))
        vectors += pool.map(image_statistics.statistics, pictures)
        for found, subject in zip(outputs, subjects, strict=True):
            found.append(subject.outputs(pictures, pool))
        follow(completed=start + len(pictures), total=len(draws))
    joined = [tuple(map(np.concatenate, zip(*found, strict=True))) for found in outputs]
    return np.stack(vectors), joined


def nearest_class(features: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of features (m, d): the Mahalanobis distance to the nearest class (Lee et al. 2018).

    One covariance for all classes with Ledoit-Wolf shrinkage (2004), as there can be more features than images.
    """
    from sklearn.covariance import LedoitWolf

    features = features.astype(np.float64)
    scale = features.std(axis=0) + 1e-3 * features.std() + 1e-12
    means = np.stack([features[labels == name].mean(axis=0) for name in np.unique(labels)])
    inner = features - means[np.searchsorted(np.unique(labels), labels)]
    values, vectors = np.linalg.eigh(LedoitWolf(assume_centered=True).fit(inner / scale).covariance_)
    whitening = vectors / np.sqrt(np.maximum(values, 1e-12)) / scale[:, None]
    centres = means @ whitening

    def distance(given: np.ndarray) -> np.ndarray:
        white = given.astype(np.float64) @ whitening
        return np.sqrt(np.min([((white - centre) ** 2).mean(axis=1) for centre in centres], axis=0))

    return distance


def log_odds_against(logits: np.ndarray) -> np.ndarray:
    """Return the log odds (n,) against the most likely class: highest probability (Hendrycks and Gimpel 2017).

    They order images as 1 - probability does, which float32 rounds to 0 for most images.
    """
    from scipy.special import logsumexp

    ordered = np.sort(logits.astype(np.float64), axis=1)
    return logsumexp(ordered[:, :-1], axis=1) - ordered[:, -1]
