"""Sanity check of Adebayo et al. 2018: maps that stay the same without the trained weights do not explain the model."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

import models
from models.engine.backend import keras_backend

if TYPE_CHECKING:
    import keras

    from models.engine.config.base import ModelConfig

# Maps of a single untrained network can resemble those of the trained one, or their negative, by chance.
NETWORKS = 5
STAGES = (0.0, 0.33, 0.67, 1.0)  # shares of layers with randomised weights, from the last one; 0: the last only

Weights = list[np.ndarray]


def untrained(config: "ModelConfig", seed: int, count: int = NETWORKS) -> Iterator[Weights]:
    """Yield weights of the untrained model, drawn again each time by its own initialisers."""
    import keras

    for number in range(count):
        keras.utils.set_random_seed(seed + number)
        with keras_backend.dtype_policy("float32"):
            weights = models.build(config, initial_weights=False, logits=True).get_weights()
        yield weights


def cascade(model: "keras.Model", networks: Iterable[Weights], explain: Callable[[], np.ndarray]) -> np.ndarray:
    """Compare heatmaps of a model with those after its weights are randomised, from the last layer to the first.

    Source: cascading parameter randomisation, Adebayo et al. 2018. The weights are restored at the end.

    Args:
        model: trained.
        networks: weights of untrained networks, of the same shapes.
        explain: computes the maps (methods, n, h, w) of the model with its current weights.

    Returns:
        (methods, STAGES) mean of `similarity` over images and untrained networks: 1 for unchanged maps, about 0 for
        unrelated ones.
    """
    before, found = explain(), []
    for weights in networks:
        for share in STAGES:
            with _randomised(model, weights, share):
                after = explain()
            found.append([similarity(*pair).mean() for pair in zip(before, after, strict=True)])
    return np.reshape(found, (-1, len(STAGES), len(before))).mean(axis=0).T


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation (n,) in -1..1 of maps (n, h, w).

    Where a map is constant: 1 if both are, else 0.
    """
    from scipy.stats import rankdata

    pairs = zip(first.reshape(len(first), -1), second.reshape(len(second), -1), strict=True)
    found = []
    for pair in pairs:
        flat = [np.ptp(values) == 0 for values in pair]
        if any(flat):
            found.append(float(all(flat)))
        else:
            ranks = (rankdata(values) for values in pair)
            found.append(np.corrcoef(*ranks)[0, 1])
    return np.array(found)


@contextmanager
def _randomised(model: "keras.Model", weights: Weights, share: float) -> Iterator[None]:
    """Replace the weights of the layers nearest to the output inside the block."""
    kept = model.get_weights()
    # Weights are in the order of the layers, nested ones included; a path is "<layer>/<weight>".
    layers = [
        list(group) for _, group in groupby(range(len(kept)), key=lambda k: model.weights[k].path.rpartition("/")[0])
    ]
    count = max(1, round(share * len(layers)))
    lost = {index for layer in layers[-count:] for index in layer}
    model.set_weights([weights[k] if k in lost else kept[k] for k in range(len(kept))])
    try:
        yield
    finally:
        model.set_weights(kept)
