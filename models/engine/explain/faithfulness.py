"""Faithfulness of a run's heatmaps, measured on its test images. Formulas: docs/heatmaps.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from data.imaging.nucleus_masks import nucleus_masks
from data.manifest import Manifest
from models.engine.backend import keras_backend
from models.engine.explain import deletion_insertion, sanity_check
from models.engine.explain import road as road_imputation
from models.engine.explain.cam import BATCH, check_method, heatmaps, methods_of
from models.engine.explain.explainer import read_test
from models.engine.run_io.run_loader import OUT_OF_MEMORY_ADVICE, config_of, open_model, split_of
from utils.console import say
from utils.io import files
from utils.runs import seal
from utils.runs.faithfulness_file import BASELINES, CURVES, CURVES_HEADER, FILE, HEADER, RANDOM
from utils.runs.run_folder import Run
from utils.tables import faithfulness as faithfulness_tables
from utils.tables.faithfulness import NAMES, RANKED

if TYPE_CHECKING:
    import keras

CHECKED = BATCH  # images of the sanity check, which computes maps for every stage and untrained network
GRID = 8  # values per side of a random map
TOLERANCE = 0.03  # of the image side: 15 pixels on photographs about 500 pixels wide
SPREAD = 0.25  # standard deviation of the central blob, relative to the image side


@dataclass(frozen=True)
class Score:
    """Measures of the maps of one method; all methods of a run use the same images in the same order.

    Attributes:
        deletion: (n, steps + 1) probability of the predicted class while pixels are removed.
        insertion: (n, steps + 1) the same while a blurred image is restored.
        road: (n, rates, 2) the same after the most, or the least, relevant pixels were imputed.
        mass: (n,) share of the map inside nuclei; NaN where there are none.
        pointing: (n,) whether the maximum is in a nucleus; NaN where there are none.
        area: (n,) share of the image covered by nuclei; NaN where there are none.
        cascade: (stages,) correlation with maps of the network with randomised weights; all of them at the last stage.
        seed: of random choices.
    """

    method: str
    deletion: np.ndarray
    insertion: np.ndarray
    road: np.ndarray
    mass: np.ndarray
    pointing: np.ndarray
    area: np.ndarray
    cascade: np.ndarray
    seed: int

    def values(self, measure: str) -> np.ndarray:
        """Return a measure of `faithfulness_tables.RANKED` for each image, (n,)."""
        if measure == "road":
            return (self.road[..., road_imputation.LEAST] - self.road[..., road_imputation.MOST]).mean(axis=1)
        return deletion_insertion.area(self.insertion if measure == "insertion_auc" else self.deletion)

    def row(self) -> dict[str, Any]:
        """Return the columns of faithfulness.csv."""
        deletion = self.values("deletion_auc_mean")
        low, high = interval(deletion)
        return {
            "method": self.method,
            "images": len(deletion),
            "deletion_auc_mean": float(deletion.mean()),
            "deletion_auc_sd": float(deletion.std(ddof=1)),
            "low": low,
            "high": high,
            "insertion_auc": _mean(self.values("insertion_auc")),
            "road": _mean(self.values("road")),
            "nucleus_mass": _mean(self.mass),
            "nucleus_area": _mean(self.area),
            "pointing_game": _mean(self.pointing),
            "randomisation": float(self.cascade[-1]),
            "seed": self.seed,
        }

    def curves(self) -> list[tuple[str, str, float, float]]:
        """Return the rows of faithfulness_curves.csv: method, curve, share of pixels or layers, mean value."""
        steps = np.linspace(0, 1, self.deletion.shape[1])
        found = (
            ("deletion", steps, self.deletion.mean(axis=0)),
            ("insertion", steps, self.insertion.mean(axis=0)),
            ("road most relevant", road_imputation.RATES, self.road[..., road_imputation.MOST].mean(axis=0)),
            ("road least relevant", road_imputation.RATES, self.road[..., road_imputation.LEAST].mean(axis=0)),
            ("randomisation", sanity_check.STAGES, self.cascade),
        )
        return [
            (self.method, name, float(share), float(value))
            for name, shares, values in found
            for share, value in zip(shares, values, strict=True)
        ]


def measure(run: Run, images: int = 100, methods: Sequence[str] = (), seed: int = 42) -> list[Score]:
    """Write faithfulness.csv and faithfulness_curves.csv of a run; return the scores of its methods and the baselines.

    Args:
        run: finished.
        images: test images, at least 2, a stratified choice by hash; all where there are fewer.
        methods: names of methods that fit the model; empty for all of them.
        seed: of the random baseline, the order of equal pixels, the noise and the untrained networks.

    Raises:
        LeukoBenchError: a method does not fit the model, or weights or data are missing.
    """
    model, config = open_model(run, logits=True), config_of(run)
    for method in methods:
        check_method(method, model)
    names = sample(split_of(run).manifest, images)
    pixels = read_test(run, names).astype(np.float32)
    masks = nucleus_masks(config.dataset, names, config.image_size)
    with keras_backend.enough_memory(f"Explaining {model.name}", OUT_OF_MEMORY_ADVICE):
        targets = np.array([model.predict_on_batch(image[None])[0].argmax() for image in pixels])

        def explain(method: str, count: int) -> np.ndarray:
            if method in BASELINES:
                return baseline_maps(method, count, config.image_size, seed)
            return heatmaps(model, pixels[:count], targets[:count], method, config.heatmap_layer)

        compared = (*dict.fromkeys(methods or methods_of(model)), *BASELINES)
        say("  sanity check: maps of the network without its weights")
        checked = min(CHECKED, len(pixels))
        cascades = sanity_check.cascade(
            model,
            sanity_check.untrained(config, seed),
            lambda: np.stack([explain(name, checked) for name in compared]),
        )
        scores = []
        for method, cascade in zip(compared, cascades, strict=True):
            say(f"  {method}")
            maps = explain(method, len(pixels))
            curves = perturbed(_probabilities(model), pixels, maps, targets, seed)
            scores.append(_score(method, curves, maps, masks, cascade, seed))
    _write(run, scores)
    return scores


def _probabilities(model: "keras.Model") -> deletion_insertion.Probabilities:
    from scipy.special import softmax

    return lambda batch: softmax(model.predict_on_batch(batch), axis=1)


def _score(
    method: str, curves: list[np.ndarray], maps: np.ndarray, masks: np.ndarray, cascade: np.ndarray, seed: int
) -> Score:
    deletion, insertion, road = curves
    return Score(
        method,
        deletion,
        insertion,
        road,
        mass=mass_inside(maps, masks),
        pointing=pointing(maps, masks),
        area=np.where(masks.any(axis=(1, 2)), masks.mean(axis=(1, 2)), np.nan),
        cascade=cascade,
        seed=seed,
    )


def _write(run: Run, scores: Sequence[Score]) -> None:
    rows = faithfulness_tables.order([score.row() for score in scores])
    written = [[number_cell(row[key]) for key in HEADER] for row in rows]
    curves = [[*names, f"{share:.6g}", f"{value:.6f}"] for score in scores for *names, share, value in score.curves()]
    with seal.together(run) as stage:
        files.write_text(stage / FILE, files.csv_text(HEADER, written))
        files.write_text(stage / CURVES, files.csv_text(CURVES_HEADER, curves))


def perturbed(
    probabilities: deletion_insertion.Probabilities,
    pixels: np.ndarray,
    maps: np.ndarray,
    targets: Sequence[int],
    seed: int,
) -> list[np.ndarray]:
    """Return the curves of deletion, insertion and ROAD of images (n, h, w, 3) with maps (n, h, w), as in `Score`."""
    measures: tuple[Callable[..., np.ndarray], ...] = (
        deletion_insertion.deletion_curve,
        deletion_insertion.insertion_curve,
        road_imputation.curves,
    )
    each = list(zip(pixels, maps, targets, strict=True))
    return [np.stack([curve(probabilities, *one, seed) for one in each]) for curve in measures]


def sample(manifest: Manifest, count: int) -> list[str]:
    """Choose a class-stratified sample of the test images, by hash."""
    ranked = [
        ((position + 0.5) / len(rows), row.sha256, row.image)
        for rows in manifest.by_class("test").values()
        for position, row in enumerate(rows)
    ]
    return [image for _, _, image in sorted(ranked)[:count]]


def baseline_maps(name: str, count: int, size: int, seed: int) -> np.ndarray:
    """Return maps that do not depend on a model, (count, size, size) in 0..1: the lower bound for every method.

    RANDOM: random values of a coarse grid, interpolated like the maps of the methods. CENTRE: one blob in the middle.
    """
    if name == RANDOM:
        import tensorflow as tf

        spots = np.random.default_rng(seed).random((count, GRID, GRID, 1), np.float32)
        return tf.image.resize(spots, (size, size), method="bilinear").numpy()[..., 0]
    places = (np.arange(size) - (size - 1) / 2) / (SPREAD * size)
    line = np.exp(-(places**2) / 2).astype(np.float32)
    return np.repeat(np.outer(line, line)[None], count, axis=0)


def mass_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the share of each map's mass that lies inside its mask, (n,) in 0..1; NaN where the mask is empty.

    A map of zeros counts as a uniform map: its share is that of the mask in the image area.

    Args:
        maps: (n, h, w), not negative.
        masks: (n, h, w) bool.
    """
    inside, total = (maps * masks).sum(axis=(1, 2)), maps.sum(axis=(1, 2))
    shares = np.where(total > 0, inside / np.where(total > 0, total, 1), masks.mean(axis=(1, 2)))
    return np.where(masks.any(axis=(1, 2)), shares, np.nan)


def pointing(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the result of the pointing game, (n,): 1 where a map's maximum hits its mask, NaN where the mask is empty.

    Source: Zhang et al. 2016, with its tolerance around the mask. Where several pixels share the maximum, the result
    is their share of hits.

    Args:
        maps: (n, h, w).
        masks: (n, h, w) bool.
    """
    import cv2

    reach = round(TOLERANCE * masks.shape[1])
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    hits = [
        (cv2.dilate(mask.astype(np.uint8), disk) > 0)[values == values.max()].mean() if mask.any() else np.nan
        for values, mask in zip(maps, masks, strict=True)
    ]
    return np.array(hits, float)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values (n,), by Student's t."""
    from scipy import stats

    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(low), float(high)


def against(best: Score, other: Score) -> str:
    """Compare two methods on the same images: the mean gain of the first by each measure, with its standard error."""
    parts, clear = [], 0
    for measure, higher in RANKED.items():
        gains = (best.values(measure) - other.values(measure)) * (1 if higher else -1)
        mean, error = float(gains.mean()), float(gains.std(ddof=1)) / len(gains) ** 0.5
        parts.append(f"{NAMES[measure]} {mean:+.4f} (± {error:.4f})")
        clear += mean > 2 * error
    return (
        f"{best.method} against {other.method} on the same images, + is better, ± the standard error: "
        f"{', '.join(parts)}. {clear} of {len(RANKED)} measures differ by more than two standard errors."
    )


def _mean(values: np.ndarray) -> float | None:
    """Return the mean without NaN; None where all are NaN."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def number_cell(value: Any) -> Any:
    """Return a cell of a CSV file: floats with six decimals, None as ""."""
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else value
