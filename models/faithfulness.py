"""How faithful a run's heatmaps are: deletion AUC, measured on its test images. docs/heatmaps.md has the formulas."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data.manifest import Manifest
from models import runtime
from models.evaluation import ELSEWHERE, config_of, open_model, split_of
from models.explaining import read_test, softmax
from models.heatmaps import check_method, heatmaps, methods_of
from utils import files
from utils.artifacts import Run
from utils.console import say

FILE = "faithfulness.csv"
HEADER = ("method", "images", "deletion_auc_mean", "deletion_auc_sd", "low", "high", "seed")
RANDOM = "random"  # the baseline: a map that knows nothing
STEPS = 28  # each removes the same share of the pixels
GRID = 8  # random values a side of the baseline's maps


@dataclass(frozen=True)
class Score:
    """The deletion AUC of a method over images; lower is more faithful.

    Attributes:
        values: (n,) of each image, the same images in the same order for every method of a run.
    """

    method: str
    values: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the images."""
        return float(self.values.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation between images."""
        return float(self.values.std(ddof=1))

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the mean, by Student's t."""
        from scipy import stats

        count = len(self.values)
        half = float(stats.t.ppf(0.975, count - 1)) * self.deviation / count**0.5
        return self.mean - half, self.mean + half


def measure(run: Run, images: int = 100, methods: Sequence[str] = (), seed: int = 42) -> list[Score]:
    """Write faithfulness.csv of a run and return its scores, the most faithful method first and the baseline last.

    Args:
        run: finished.
        images: test images, at least 2: a stratified choice by hash; all where there are fewer.
        methods: names of methods that fit the model; none for every one that does.
        seed: of the baseline, and of the order of pixels that a map holds for equal.

    Raises:
        LeukoBenchError: a method does not fit the model, or weights or data are missing.
    """
    model, config = open_model(run, logits=True), config_of(run)
    for method in methods:
        check_method(method, model)
    pixels = read_test(run, sample(split_of(run).manifest, images)).astype(np.float32)
    with runtime.enough_memory(f"Explaining {model.name}", ELSEWHERE):
        targets = np.array([model.predict_on_batch(image[None])[0].argmax() for image in pixels])
        scores = []
        for method in (*dict.fromkeys(methods or methods_of(model)), RANDOM):
            maps = (
                random_maps(len(pixels), pixels.shape[1], seed)
                if method == RANDOM
                else heatmaps(model, pixels, targets, method, config.heatmap_layer)
            )
            values = [
                deletion_auc(lambda batch: softmax(model.predict_on_batch(batch)), image, values, target, seed)
                for image, values, target in zip(pixels, maps, targets, strict=True)
            ]
            scores.append(Score(method, np.array(values)))
            say(f"  {method}: deletion AUC {scores[-1].mean:.4f}")
    scores.sort(key=lambda score: (score.method == RANDOM, score.mean))
    rows = [
        [s.method, len(s.values), *(f"{v:.6f}" for v in (s.mean, s.deviation, *s.interval())), seed] for s in scores
    ]
    files.write_text(run.file(FILE), files.csv_text(HEADER, rows))
    return scores


def sample(manifest: Manifest, count: int) -> list[str]:
    """Choose test images by hash, so many of each class as its share of the test images says."""
    ranked = []
    for name in manifest.classes:
        rows = sorted((row for row in manifest.subset("test") if row.label == name), key=lambda row: row.sha256)
        ranked += [((place + 0.5) / len(rows), row.sha256, row.image) for place, row in enumerate(rows)]
    return [image for _, _, image in sorted(ranked)[:count]]


def random_maps(count: int, size: int, seed: int) -> np.ndarray:
    """Return (count, size, size) maps in 0..1 of random spots, interpolated as the methods' maps are."""
    import tensorflow as tf

    spots = np.random.default_rng(seed).random((count, GRID, GRID, 1), np.float32)
    return tf.image.resize(spots, (size, size), method="bilinear").numpy()[..., 0]


def deletion_auc(
    probabilities: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    values: np.ndarray,
    target: int,
    seed: int = 0,
    steps: int = STEPS,
) -> float:
    """Return the area under the probability of a class while its image is removed, the map's highest places first.

    Source: the deletion metric of RISE, Petsiuk et al. 2018. A removed pixel gets the mean colour of the image.

    Args:
        probabilities: (n, h, w, 3) float32 in 0-255 to (n, classes).
        image: (h, w, 3) in 0-255.
        values: (h, w) map; equal places are removed in a random order.
        target: index of the class.
        seed: of that order.
        steps: equal shares of the pixels, removed one after another.

    Returns:
        Area in 0..1 over the removed share; lower where the map found what the class rests on.
    """
    chance = np.random.default_rng(seed).permutation(values.size)
    order = np.lexsort((chance, -values.ravel()))
    flat = image.reshape(-1, image.shape[-1]).astype(np.float32)
    batch = np.repeat(flat[None], steps + 1, axis=0)
    for step in range(1, steps + 1):
        batch[step, order[: round(step * len(order) / steps)]] = flat.mean(axis=0)
    curve = probabilities(batch.reshape(-1, *image.shape))[:, target]
    return float(np.trapezoid(curve, dx=1 / steps))


def verdict(scores: Sequence[Score]) -> str:
    """Say which method is the most faithful, and whether the images tell it from the next."""
    methods = sorted((score for score in scores if score.method != RANDOM), key=lambda score: score.mean)
    baseline = next(score for score in scores if score.method == RANDOM)
    best, second = methods[0], methods[1] if len(methods) > 1 else baseline
    differences = second.values - best.values
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    told = "more than" if differences.mean() > error else "no more than"
    return (
        f"Most faithful: {best.method}. Its deletion AUC lies {differences.mean():.4f} below that of {second.method}, "
        f"{told} the standard error of that difference over the same images ({error:.4f})."
    )
