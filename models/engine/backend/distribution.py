"""Data-parallel training: several devices of one machine share each batch. One device is the usual case.

With TensorFlow this is `tf.distribute.MirroredStrategy`: a copy of the model on each device, gradients summed, batch
normalisation over the images of one device. With JAX it is one program over a mesh of devices, which computes what one
device would. `keras.distribution.DataParallel` refuses a last batch that the devices cannot share evenly.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.loading.array_loader import Place
from models.engine.backend import keras_backend
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import jax
    import tensorflow as tf

ALL = "all"


def names() -> list[str]:
    """Return the available devices: GPUs (with JAX also TPUs), else the CPU, as "GPU:0"."""
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
        batch_size: images per step, a multiple of the number of devices.

    Raises:
        LeukoBenchError: there are fewer devices, `wanted` is no number, or they cannot share a batch.
    """
    available = names()
    if wanted != ALL and (not wanted.isdecimal() or not 1 <= int(wanted) <= len(available)):
        raise LeukoBenchError(
            f"--devices received '{wanted}'; available: {', '.join(available)}. "
            f"Valid: {ALL}, or a number from 1 to {len(available)}."
        )
    used = available if wanted == ALL else available[: int(wanted)]
    if batch_size % len(used):
        below, above = batch_size // len(used) * len(used), -(-batch_size // len(used)) * len(used)
        raise LeukoBenchError(
            f"{len(used)} devices cannot share a batch of {batch_size} images evenly. "
            f"Use --set batch_size={below or above}, or another multiple of {len(used)}."
        )
    if len(used) == 1:
        return Devices(used, batch_size)
    return _JaxDevices(used, batch_size) if keras_backend.backend() == "jax" else _Replicas(used, batch_size)


@dataclass(frozen=True)
class Shared:
    """Batches as `fit` takes them.

    Attributes:
        batches: each of them cut into one piece per device where there are several.
        steps: number of batches where it must be given; None for all of them.
        class_weights: of each class in the loss, where the batches do not carry them; None for equal weights.
    """

    batches: Any
    steps: int | None = None
    class_weights: dict[int, float] | None = None


class Devices:
    """One device: everything is left to Keras."""

    def __init__(self, used: Sequence[str] = (), batch_size: int = 1) -> None:
        self.names, self._batch_size = list(used), batch_size

    def scope(self) -> AbstractContextManager[Any]:
        """Return the context in which models are built and trained."""
        return nullcontext()

    def share_training(self, batches: Any, images: int, weights: dict[int, float] | None) -> Shared:
        """Share each training batch between the devices.

        Args:
            batches: from a `Loader`.
            images: how many images they hold in total.
            weights: of each class in the loss, or None.
        """
        del images
        return Shared(batches, class_weights=weights)

    def share_validation(self, batches: Any, images: int) -> Shared:
        """Share each validation batch between the devices; arguments as for `share_training`."""
        del images
        return Shared(batches)


class _Replicas(Devices):
    """A copy of the model on each device, under TensorFlow."""

    def __init__(self, used: list[str], batch_size: int) -> None:
        import tensorflow as tf

        super().__init__(used, batch_size)
        # Chosen here: with the strategy's own choice under Keras 3, replicas exchange different parts of the gradients.
        on_gpus = used[0].startswith("GPU") and sys.platform == "linux"
        reduction = tf.distribute.NcclAllReduce() if on_gpus else tf.distribute.ReductionToOneDevice()
        self._strategy = tf.distribute.MirroredStrategy(used, reduction)

    def scope(self) -> AbstractContextManager[Any]:
        """Return the scope of the strategy."""
        return self._strategy.scope()

    def share_training(self, batches: "tf.data.Dataset", images: int, weights: dict[int, float] | None) -> Shared:
        """Cut each batch into equal pieces; what remains of the last batch, fewer images than devices, is left out.

        By default the strategy gives the first devices all images of a short last batch and the others none, of which
        batch normalisation makes NaN.
        """
        whole, rest = divmod(images, self._batch_size)
        steps = whole + (rest >= len(self.names))
        pieces = self._cut(batches.take(steps), weights, equal=True)
        return Shared(pieces, steps)

    def share_validation(self, batches: "tf.data.Dataset", images: int) -> Shared:
        """Cut each batch into pieces, some of which may be empty: no image is left out."""
        return Shared(self._cut(batches, None, equal=False), -(-images // self._batch_size))

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

    def share_training(self, batches: Any, images: int, weights: dict[int, float] | None) -> Shared:
        """Put the batches on the mesh; the program runs where its arguments are."""
        batches.place = self
        return super().share_training(batches, images, weights)

    def share_validation(self, batches: Any, images: int) -> Shared:
        """Put the batches on the mesh."""
        batches.place = self
        return super().share_validation(batches, images)

    def __call__(self, values: Any) -> "jax.Array":
        """Cut an array of a batch into one part per device; each gets all of it where it cannot be cut evenly."""
        import jax

        return jax.device_put(values, self._copied if len(values) % len(self.names) else self._parts)

    def whole(self, values: Any) -> "jax.Array":
        """Copy an array to every device, once."""
        import jax

        if id(values) not in self._whole:
            self._whole[id(values)] = values, jax.device_put(values, self._copied)
        return self._whole[id(values)][1]
