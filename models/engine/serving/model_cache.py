"""Runs kept open to answer again and again: one model each for probabilities and heatmaps, within a memory budget."""

import gc
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from data.loading import tf_loader
from models.engine.backend import keras_backend
from models.engine.explain import explainer
from models.engine.explain.cam import check_method
from models.engine.export import runtimes
from models.engine.export import store as export_store
from models.engine.run_io.run_loader import BATCH, config_of, open_model
from utils.errors import LeukoBenchError
from utils.runs import run_folder
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Image = bytes | np.ndarray  # a JPEG or PNG file, or (h, w, 3) uint8 RGB
PARAMETER_BYTES = 4


class Served:
    """A run that answers: by an export, or by its model with logits as output, compiled for any number of images."""

    def __init__(self, run: Run, export: str = "") -> None:
        """Open a run and answer a blank image, so that the next one need not wait.

        Args:
            run: with weights.
            export: name of the export that gives its probabilities; "" for Keras. Heatmaps come from Keras, which is
                then opened with the first of them.

        Raises:
            LeukoBenchError: weights, config.json or the export are missing or damaged, or the export is stale.
        """
        import tensorflow as tf

        self.config, self._run, self._weights = config_of(run), run, 0
        side = self.config.image_size
        if export:
            self._probabilities = runtimes.open_export(run, export).predict
            self._weights = export_store.size(export_store.folder(run, export), export.rpartition("-")[0])
        else:
            taken = tf.TensorSpec((None, side, side, 3), tf.float32)
            model = self.model
            logits = tf.function(lambda pixels: model(pixels, training=False), input_signature=[taken])
            self._probabilities = lambda pixels: explainer.softmax(logits(pixels).numpy())
        self._probabilities(np.zeros((1, side, side, 3), np.float32))

    @cached_property
    def model(self) -> "keras.Model":
        """The model in Keras, with logits as output."""
        return open_model(self._run, logits=True)

    @property
    def bytes(self) -> int:
        """Size of the weights in memory."""
        keras_too = self.model.count_params() * PARAMETER_BYTES if "model" in self.__dict__ else 0
        return self._weights + keras_too

    def predict(self, images: Sequence["tf.Tensor"]) -> np.ndarray:
        """Return (n, classes) probabilities of decoded images, uint8 RGB of any size, as evaluation gives them."""
        parts = []
        for start in range(0, len(images), BATCH):
            pixels = np.stack([self._prepared(image) for image in images[start : start + BATCH]])
            with keras_backend.enough_memory(f"Predicting with {self.config.model}", "Close other programs."):
                parts.append(self._probabilities(pixels.astype(np.float32)))
        return np.concatenate(parts)

    def explain(self, image: "tf.Tensor", method: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a (size, size) heatmap in 0..1 for the class that the model says, and its (classes,) probabilities.

        Raises:
            LeukoBenchError: the method does not fit the model.
        """
        method = method or self.config.heatmap_method
        check_method(method, self.model)
        maps, logits = explainer.explain_pixels(
            self.model, self._prepared(image)[None], method, self.config.heatmap_layer
        )
        return maps[0], explainer.softmax(logits)[0]

    def _prepared(self, image: "tf.Tensor") -> np.ndarray:
        return tf_loader.prepared(image, self.config.image_size, self.config.variant).numpy()


class Shelf:
    """Opened runs, the least recently used ones closed where there are too many."""

    def __init__(self, most: int, memory_mb: int, export: str = "") -> None:
        """Make an empty shelf.

        Args:
            most: runs that stay open.
            memory_mb: size of all their weights; one run alone may be larger.
            export: name of the export that answers for the runs that have it; "" for Keras always.
        """
        self._export = export
        keras_backend.need_tensorflow("Serving runs")
        self._most, self._bytes = most, memory_mb * 1_000_000
        self._open: OrderedDict[tuple, Served] = OrderedDict()

    def get(self, run: Run) -> Served:
        """Return an opened run; one whose weights or export were written anew is opened anew.

        Raises:
            LeukoBenchError: weights, config.json or the export are missing or damaged, or the export is stale.
        """
        try:
            state = run.file(run_folder.WEIGHTS).stat()
        except OSError as error:
            raise LeukoBenchError(f"Run {run.id} has no {run_folder.WEIGHTS} ({error.strerror}).") from None
        export = export_store.chosen(run, self._export)
        made = export_store.description(run, export).stat().st_mtime_ns if export else 0
        key = run, state.st_mtime_ns, state.st_size, export, made
        if key not in self._open:
            self._close(self._most - 1)
            self._open[key] = Served(run, export)
        self._open.move_to_end(key)
        self._close(self._most)
        return self._open[key]

    def _close(self, most: int) -> None:
        """Close the least recently used runs until no more than so many are open and their weights fit."""
        before = len(self._open)
        while len(self._open) > max(most, 1) or (len(self._open) > 1 and self.bytes > self._bytes):
            self._open.popitem(last=False)
        if len(self._open) < before:
            gc.collect()  # models hold themselves in circles

    @property
    def bytes(self) -> int:
        """Size of all weights in memory."""
        return sum(served.bytes for served in self._open.values())


def decode(image: Image) -> "tf.Tensor":
    """Decode an image as training did: (h, w, 3) uint8 RGB.

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
