"""The loader of images and batches, chosen once by the library that Keras computes with."""

import os
from functools import cache

from data.loading.image_set import Loader


def loader() -> Loader:
    """Return the loader of the backend that KERAS_BACKEND names: of tf.data for TensorFlow, of arrays for JAX."""
    return _loader_of(os.environ.get("KERAS_BACKEND") or "tensorflow")


@cache
def _loader_of(backend: str) -> Loader:
    if backend == "tensorflow":
        from data.loading.tf_loader import TensorFlowLoader

        return TensorFlowLoader()
    from data.loading.array_loader import ArrayLoader

    return ArrayLoader()
