"""What keeps a device busy: training images in memory, one batch again and again, a large matrix product."""

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.recording import Options, Spread, spread
from data import all_dataset, catalog
from data.imaging.variants import Variant
from data.loading import tf_loader
from data.splitting import splits
from data.synthetic import generator as synthetic

if TYPE_CHECKING:
    from data.loading.tf_loader import Images
    from models.engine.config.base import ModelConfig

LABELS = tuple(sorted(all_dataset.PUBLISHED))
DRAWN = 16  # smears that stand for a dataset that is not here


def images(config: "ModelConfig", wanted: int, batch: int, options: Options) -> "Images":
    """Return a whole number of batches of training images in memory: of the dataset, or drawn ones in its place."""
    count = max(1, wanted // batch) * batch
    name = options.dataset or (all_dataset.NAME if all_dataset.NAME in catalog.datasets() else "")
    if name and not options.quick:
        split = splits.prepare_split(name, config.split, config.split_seed)
        read = tf_loader.read(split.path, "train", split.manifest.classes, config.image_size, 10**12, config.variant)
        names, labels, pixels, kinds = read.names, read.labels, np.asarray(read.pixels), read.classes
    else:
        drawn = [_smear(LABELS[k % len(LABELS)], k, config.image_size) for k in range(DRAWN)]
        names, labels, kinds = [str(k) for k in range(DRAWN)], np.arange(DRAWN) % len(LABELS), len(LABELS)
        pixels = np.stack(drawn)
    index = np.resize(np.arange(len(labels)), count)
    held = pixels[index]
    if tf_loader.without_tensorflow():
        import keras

        held = keras.ops.convert_to_tensor(held)  # on the device, as `data.arrays` holds them
    return tf_loader.Images(
        [names[k] for k in index], labels[index], kinds, config.image_size, [""] * count, Variant(), held
    )


def _smear(label: str, number: int, size: int) -> np.ndarray:
    patient = synthetic.patient_of(7, LABELS, label, number % 4, 4, synthetic.STAINS[0])
    return synthetic.draw(np.random.default_rng(number), label, size, patient)[0]


def same(batch: Sequence[np.ndarray], steps: int) -> Any:
    """Return a dataset of one batch again and again, which lies on the device where the backend lets it."""
    import keras

    parts = tuple(keras.ops.convert_to_tensor(part) for part in batch)
    if not tf_loader.without_tensorflow():
        import tensorflow as tf

        return tf_loader.untuned(tf.data.Dataset.from_tensors(parts).repeat(steps).prefetch(2))

    def again() -> Iterator[tuple[Any, ...]]:
        return (parts for _ in range(steps))

    return again()


def peak(policy: str, side: int) -> Spread:
    """Return the operations a second of a product of two square matrices in the policy's type."""
    import keras

    kind = "float32" if policy == "float32" else policy.removeprefix("mixed_")
    random = np.random.default_rng(0)
    one, other = (keras.ops.cast(random.standard_normal((side, side), np.float32), kind) for _ in range(2))

    def products(count: int) -> float:
        start = perf_counter()
        for _ in range(count):
            result = keras.ops.matmul(one, other)
        np.asarray(keras.ops.convert_to_numpy(result[0, :1]))  # the last one is done: so are the others
        return perf_counter() - start

    products(3)
    return spread([10 * 2 * side**3 / products(10) for _ in range(5)])
