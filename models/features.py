"""A frozen base without augmentation always gives the same features: run it once, keep them, train heads on them."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from data import pipeline
from data.preprocessing import Variant
from utils import files
from utils.errors import LeukoBenchError
from utils.paths import features_dir

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from data.pipeline import Images


def place(base: "keras.Model", variant: Variant) -> Path:
    """Return the folder that keeps the features of a base: named by its layers, its weights and the variant it sees."""
    identity = hashlib.sha256(files.compact(variant.model_dump(mode="json")).encode())
    for layer in base.layers:  # without their names, which Keras numbers on
        identity.update(f"{type(layer).__name__} {layer.get_config() | {'name': ''}}".encode())
    for weight in base.weights:
        if "seed_generator" not in weight.path:  # dropout sleeps here
            identity.update(np.ascontiguousarray(weight).tobytes())
    return features_dir() / identity.hexdigest()[:16]


def path(folder: Path, images: "Images") -> Path:
    """Return the file that keeps the features of these very images, in this order and size."""
    identity = hashlib.sha256(str(images.size).encode())
    for name in images.paths:
        identity.update(hashlib.sha256(Path(name).read_bytes()).digest())
    return folder / f"{identity.hexdigest()[:16]}.npy"


def extract(
    base: "keras.Model", images: "Images", batch_size: int, path: Path, after_step: Callable[[], None]
) -> np.ndarray:
    """Run the base over all images, in inference mode, into a file that is mapped into memory, unless it is there.

    Args:
        base: image to features.
        images: subset in fixed order.
        batch_size: images a step.
        path: .npy file; the features of a large base do not fit into memory.
        after_step: called after each batch; may raise to stop.

    Returns:
        (n, features) float32, read from the file as needed. `seconds_of` says how long the pass took when it was made.

    Raises:
        LeukoBenchError: the disk is full or cannot be written.
    """
    shape = (len(images), *base.output_shape[1:])
    kept = _kept(path, shape)
    if kept is not None:
        return kept
    start = perf_counter()
    # Written as a stream: on a full disk, a file that is mapped for writing would end the process with a signal.
    with files.atomic(path) as temporary, open(temporary, "wb") as store:
        np.lib.format.write_array_header_1_0(store, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for pixels, _ in pipeline.fixed_batches(images, batch_size):
            store.write(base.predict_on_batch(pixels).astype("<f4").tobytes())
            after_step()
    files.write_json(path.with_suffix(".json"), {"seconds": perf_counter() - start})
    return np.load(path, mmap_mode="r")


def seconds_of(path: Path) -> float | None:
    """Return how long the pass took that made a file of features; None where that is not known any more."""
    try:
        return float(files.read_json(path.with_suffix(".json"))["seconds"])
    except (LeukoBenchError, KeyError, TypeError, ValueError):
        return None


def _kept(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None


def batches(features: np.ndarray, images: "Images", batch_size: int, order: np.ndarray) -> "tf.data.Dataset":
    """Return batches (features, one-hot labels) in the given order of images."""
    import tensorflow as tf

    eye = np.eye(images.classes, dtype=np.float32)

    def generate() -> "tf.data.Dataset":
        for start in range(0, len(order), batch_size):
            index = order[start : start + batch_size]
            yield features[index], eye[images.labels[index]]

    signature = (
        tf.TensorSpec((None, *features.shape[1:]), tf.float32),
        tf.TensorSpec((None, images.classes), tf.float32),
    )
    steps = -(-len(order) // batch_size)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)
