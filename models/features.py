"""A frozen base without augmentation gives the same features each epoch: run it once, train the head on them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data import pipeline
from utils import files

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from data.pipeline import Images


def extract(
    base: "keras.Model", images: "Images", batch_size: int, path: Path, after_step: Callable[[], None]
) -> np.ndarray:
    """Run the base over all images, in inference mode, into a file that is mapped into memory.

    Args:
        base: image to features.
        images: subset in fixed order.
        batch_size: images a step.
        path: .npy file; the features of a large base do not fit into memory.
        after_step: called after each batch; may raise to stop.

    Returns:
        (n, features) float32, read from the file as needed.

    Raises:
        LeukoBenchError: the disk is full or cannot be written.
    """
    shape = (len(images), *base.output_shape[1:])
    # Written as a stream: on a full disk, a file that is mapped for writing would end the process with a signal.
    with files.atomic(path) as temporary, open(temporary, "wb") as store:
        np.lib.format.write_array_header_1_0(store, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for pixels, _ in pipeline.fixed_batches(images, batch_size):
            store.write(base.predict_on_batch(pixels).astype("<f4").tobytes())
            after_step()
    return np.load(path, mmap_mode="r")


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
