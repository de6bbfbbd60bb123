"""Several devices of one machine share each batch; their weights stay the same. One device is the usual case.

With TensorFlow this is `tf.distribute.MirroredStrategy`: a copy of the model on each device, gradients summed, batch
normalisation over the images of one device. With JAX it is one program over a mesh of devices, which computes what one
device would. `keras.distribution.DataParallel` refuses an epoch's last batch where the devices do not divide it.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from data.loading.array_loader import Place
from models.engine.backend import keras_backend
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import jax
    import tensorflow as tf

ALL = "all"


def names() -> list[str]:
    """Return the devices that there are: GPUs (with JAX also TPUs), else the CPU, as "GPU:0"."""
    if keras_backend.backend() == "jax":
        from models.engine.backend import jax_backend

        return [f"{device.platform}:{device.id}".upper() for device in jax_backend.devices()]
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:") for device in found]


def choose(wanted: str, batch_size: int) -> "Devices":
    """Return the devices to train on.

    Args:
        wanted: "all", or a number.
        batch_size: images a step, which the devices must be able to share evenly.

    Raises:
        LeukoBenchError: there are fewer, it is no number, or they cannot share a batch.
    """
    there = names()
    if wanted != ALL and (not wanted.isdecimal() or not 1 <= int(wanted) <= len(there)):
        raise LeukoBenchError(
            f"--devices received '{wanted}'; there {'is' if len(there) == 1 else 'are'} {', '.join(there)}. "
            f"Valid: {ALL}, or a number from 1 to {len(there)}."
        )
    used = there if wanted == ALL else there[: int(wanted)]
    if batch_size % len(used):
        below, above = batch_size // len(used) * len(used), -(-batch_size // len(used)) * len(used)
        raise LeukoBenchError(
            f"{len(used)} devices cannot share a batch of {batch_size} images evenly. "
            f"Use --set batch_size={below or above}, or another multiple of {len(used)}."
        )
    kind = Devices if len(used) == 1 else _JaxDevices if keras_backend.backend() == "jax" else _Replicas
    return kind(used, batch_size)


class Devices:
    """One device: everything is left to Keras."""

    def __init__(self, used: Sequence[str] = (), batch_size: int = 1) -> None:
        self.names, self._batch_size = list(used), batch_size

    def scope(self) -> AbstractContextManager[Any]:
        """Return the context in which models are built and trained."""
        return nullcontext()

    def training(self, batches: Any, images: int, weights: dict[int, float] | None) -> dict[str, Any]:
        """Return what tells `fit` of the training batches, each shared out.

        Args:
            batches: of `data.pipeline` or `models.features`.
            images: how many they hold together.
            weights: of each class in the loss, or None.
        """
        del images
        return {"x": batches, "class_weight": weights}

    def validation(self, batches: Any, images: int) -> dict[str, Any]:
        """Return what tells `fit` of the validation batches, each shared out; arguments as of `training`."""
        del images
        return {"validation_data": batches}


class _Replicas(Devices):
    """A copy of the model on each device, under TensorFlow."""

    def __init__(self, used: list[str], batch_size: int) -> None:
        import tensorflow as tf

        super().__init__(used, batch_size)
        # Named, as the strategy's own choice lets replicas exchange different parts of the gradients under Keras 3.
        on_gpus = used[0].startswith("GPU") and sys.platform == "linux"
        reduction = tf.distribute.NcclAllReduce() if on_gpus else tf.distribute.ReductionToOneDevice()
        self._strategy = tf.distribute.MirroredStrategy(used, reduction)

    def scope(self) -> AbstractContextManager[Any]:
        """Return the scope of the strategy."""
        return self._strategy.scope()

    def training(self, batches: "tf.data.Dataset", images: int, weights: dict[int, float] | None) -> dict[str, Any]:
        """Cut each batch into equal pieces; up to one image fewer than there are devices sits an epoch out.

        Left to itself, the strategy fills the first devices with what a last batch holds and gives the others nothing,
        of which batch normalisation makes NaN.
        """
        whole, rest = divmod(images, self._batch_size)
        steps = whole + (rest >= len(self.names))
        pieces = self._cut(batches.take(steps), weights, equal=True)
        return {"x": pieces, "class_weight": None, "steps_per_epoch": steps}

    def validation(self, batches: "tf.data.Dataset", images: int) -> dict[str, Any]:
        """Cut each batch into pieces, of which some may be empty: none is left out."""
        return {
            "validation_data": self._cut(batches, None, equal=False),
            "validation_steps": -(-images // self._batch_size),
        }

    def _cut(
        self, batches: "tf.data.Dataset", weights: dict[int, float] | None, equal: bool
    ) -> "tf.distribute.DistributedDataset":
        import tensorflow as tf

        count = len(self.names)

        def cut(x: "tf.Tensor", y: "tf.Tensor") -> "tf.data.Dataset":
            size = tf.shape(x, tf.int64)[0]
            size = size - size % count if equal else size
            return tf.data.Dataset.range(count).map(lambda k: part(x, y, size * k // count, size * (k + 1) // count))

        def part(x: "tf.Tensor", y: "tf.Tensor", start: "tf.Tensor", end: "tf.Tensor") -> tuple["tf.Tensor", ...]:
            images, labels = x[start:end], y[start:end]
            if weights is None:
                return images, labels
            table = tf.constant([weights.get(k, 1.0) for k in range(y.shape[-1])], tf.float32)
            return images, labels, tf.gather(table, tf.argmax(labels, axis=-1))

        pieces = batches.flat_map(cut).prefetch(2 * count)
        return self._strategy.distribute_datasets_from_function(lambda _: pieces)


class _JaxDevices(Devices, Place):
    """A mesh of JAX's devices: arrays of a batch are cut along their first axis."""

    def __init__(self, used: list[str], batch_size: int) -> None:
        import jax
        import numpy as np

        super().__init__(used, batch_size)
        mesh = jax.sharding.Mesh(np.array(jax.devices()[: len(used)]), ("batch",))
        self._parts = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
        self._copied = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        self._whole: dict[int, tuple[Any, jax.Array]] = {}

    def training(self, batches: Any, images: int, weights: dict[int, float] | None) -> dict[str, Any]:
        """Let the batches lie on the mesh; the program follows its arguments there."""
        batches.place = self
        return super().training(batches, images, weights)

    def validation(self, batches: Any, images: int) -> dict[str, Any]:
        """Let the batches lie on the mesh."""
        batches.place = self
        return super().validation(batches, images)

    def __call__(self, values: Any) -> "jax.Array":
        """Cut an array of a batch; one that the devices do not divide is given to each of them whole."""
        import jax

        return jax.device_put(values, self._copied if len(values) % len(self.names) else self._parts)

    def whole(self, values: Any) -> "jax.Array":
        """Copy an array to every device, once."""
        import jax

        if id(values) not in self._whole:
            self._whole[id(values)] = values, jax.device_put(values, self._copied)
        return self._whole[id(values)][1]
