"""Cache of opened runs for the web page: models for probabilities and heatmaps, within a memory budget."""

import gc
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from models.engine.explain import explainer
from models.engine.explain.cam import check_method
from models.engine.export import runtimes
from models.engine.export import store as export_store
from models.engine.run_io.run_loader import BATCH, config_of, open_model
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Image = bytes | np.ndarray  # a JPEG or PNG file, or (h, w, 3) uint8 RGB
PARAMETER_BYTES = 4


class Served:
    """An opened run: an export, or its model with logits as output, compiled for any batch size."""

    def __init__(self, run: Run, export: str = "") -> None:
        """Open a run and predict a blank image, so that the first request does not wait for the compilation.

        Args:
            run: has weights.
            export: name of the export to predict with; "" for Keras. Heatmaps always use Keras, whose model is then
                opened with the first one.

        Raises:
            LeukoBenchError: weights, config.json or the export are missing or damaged, or the export is stale.
        """
        import tensorflow as tf
        from scipy.special import softmax

        self.config, self._run, self._weights = config_of(run), run, 0
        side = self.config.image_size
        if export:
            self._probabilities = runtimes.open_export(run, export).predict
            self._weights = export_store.size(export_store.folder(run, export), export.rpartition("-")[0])
        else:
            signature = tf.TensorSpec((None, side, side, 3), tf.float32)
            model = self.model
            logits = tf.function(lambda pixels: model(pixels, training=False), input_signature=[signature])
            self._probabilities = lambda pixels: softmax(logits(pixels).numpy(), axis=1)
        self._probabilities(np.zeros((1, side, side, 3), np.float32))

    @cached_property
    def model(self) -> "keras.Model":
        """The Keras model, with logits as output."""
        return open_model(self._run, logits=True)

    @property
    def bytes(self) -> int:
        """Size of the weights in memory."""
        keras_too = self.model.count_params() * PARAMETER_BYTES if "model" in self.__dict__ else 0
        return self._weights + keras_too

    def predict(self, images: Sequence["tf.Tensor"]) -> np.ndarray:
        """Return (n, classes) probabilities of decoded images, uint8 RGB of any size, as in the evaluation."""
        parts = []
        for start in range(0, len(images), BATCH):
            pixels = np.stack([self._prepared(image) for image in images[start : start + BATCH]])
            with keras_backend.enough_memory(f"Predicting with {self.config.model}", "Close other programs."):
                parts.append(self._probabilities(pixels.astype(np.float32)))
        return np.concatenate(parts)

    def explain(self, image: "tf.Tensor", method: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a (size, size) heatmap in 0..1 for the predicted class, and (classes,) probabilities.

        Raises:
            LeukoBenchError: the method does not fit the model.
        """
        from scipy.special import softmax

        method = method or self.config.heatmap_method
        check_method(method, self.model)
        maps, logits = explainer.explain_pixels(
            self.model, self._prepared(image)[None], method, self.config.heatmap_layer
        )
        return maps[0], softmax(logits, axis=1)[0]

    def _prepared(self, image: "tf.Tensor") -> np.ndarray:
        return loader().prepare(image, self.config.image_size, self.config.variant)


class Shelf:
    """Opened runs; the least recently used ones are closed at the limits."""

    def __init__(self, most: int, memory_mb: int, export: str = "") -> None:
        """Create an empty cache.

        Args:
            most: maximum number of open runs.
            memory_mb: maximum size of their weights; a single run may be larger.
            export: name of the export to use for the runs that have it; "" for Keras.
        """
        self._export = export
        keras_backend.need_tensorflow("Serving runs")
        self._most, self._bytes = most, memory_mb * 1_000_000
        self._open: OrderedDict[tuple, Served] = OrderedDict()

    def get(self, run: Run) -> Served:
        """Return an opened run; it is opened again if its weights or its export have changed.

        Raises:
            LeukoBenchError: weights, config.json or the export are missing or damaged, or the export is stale.
        """
        weights = files.stamp(run.weights)
        if weights is None:
            raise LeukoBenchError(f"Run {run.id} has no {run_folder.WEIGHTS}.")
        export = export_store.chosen(run, self._export)
        key = run, weights, export, files.stamp(export_store.description(run, export)) if export else None
        if key not in self._open:
            self._close(self._most - 1)
            self._open[key] = Served(run, export)
        self._open.move_to_end(key)
        self._close(self._most)
        return self._open[key]

    def _close(self, most: int) -> None:
        """Close the least recently used runs until at most this number is open and the weights fit."""
        before = len(self._open)
        while len(self._open) > max(most, 1) or (len(self._open) > 1 and self.bytes > self._bytes):
            self._open.popitem(last=False)
        if len(self._open) < before:
            gc.collect()  # models contain reference cycles

    @property
    def bytes(self) -> int:
        """Size of all weights in memory."""
        return sum(served.bytes for served in self._open.values())


def decode(image: Image) -> "tf.Tensor":
    """Decode an image as for training: (h, w, 3) uint8 RGB.

    Raises:
        LeukoBenchError: TensorFlow cannot decode the file.
    """
    import tensorflow as tf

    if isinstance(image, np.ndarray):
        return tf.constant(image)
    try:
        return tf.io.decode_image(image, channels=3, expand_animations=False)
    except tf.errors.OpError:
        raise LeukoBenchError("This image cannot be decoded.") from None
