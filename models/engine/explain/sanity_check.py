"""The sanity check of Adebayo et al. 2018: a heatmap that stays when the weights go does not show what was learned."""

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

# By chance, the maps of one untrained network can be like those of the trained one, or like their negative.
SCRAMBLES = 5
STAGES = (0.0, 0.33, 0.67, 1.0)  # shares of the layers that lose their weights, the last layer first; 0: it alone

Weights = list[np.ndarray]


def untrained(config: "ModelConfig", seed: int, count: int = SCRAMBLES) -> Iterator[Weights]:
    """Yield the weights of a model as it is before any training, drawn anew each time by its own initialisers."""
    import keras

    for number in range(count):
        keras.utils.set_random_seed(seed + number)
        with keras_backend.dtype_policy("float32"):
            weights = models.build(config, initial_weights=False, logits=True).get_weights()
        yield weights


def cascade(model: "keras.Model", scrambled: Iterable[Weights], explain: Callable[[], np.ndarray]) -> np.ndarray:
    """Compare a model's heatmaps with those it gives when it loses its weights, from the top layer down.

    Source: cascading parameter randomisation, Adebayo et al. 2018. The model has its weights back at the end.

    Args:
        model: trained.
        scrambled: weights of untrained networks of the same shapes.
        explain: gives the maps (methods, n, h, w) of the model as it is.

    Returns:
        (methods, STAGES) mean over images and untrained networks of `similarity`: 1 where nothing changed, about 0
        where the maps have nothing in common.
    """
    before, found = explain(), []
    for weights in scrambled:
        for share in STAGES:
            with _without(model, weights, share):
                after = explain()
            found.append([similarity(*pair).mean() for pair in zip(before, after, strict=True)])
    return np.reshape(found, (-1, len(STAGES), len(before))).mean(axis=0).T


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of maps (n, h, w), (n,) in -1..1; of a flat one 1 with a flat one, else 0."""
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
def _without(model: "keras.Model", weights: Weights, share: float) -> Iterator[None]:
    """Give the layers nearest to the output other weights for a while."""
    kept = model.get_weights()
    # Weights come from the first layer to the last one, a nested layer's among them; a path is "<layer>/<weight>".
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
