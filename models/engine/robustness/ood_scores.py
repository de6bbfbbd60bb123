"""Out-of-distribution scores of a run: feature distance, energy and highest probability."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from models.engine.run_io.run_loader import OUT_OF_MEMORY_ADVICE, config_of, open_model
from utils.runs.ood_file import ENERGY, FEATURES, PROBABILITY
from utils.runs.run_folder import Run


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
