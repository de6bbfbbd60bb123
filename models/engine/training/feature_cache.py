"""Cache of a frozen base's features: the base runs once over the images, and heads train on what it gave."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from data.imaging.variants import Variant
from data.loading.image_set import Images, View
from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import features_dir

if TYPE_CHECKING:
    import keras


FORMAT = 1  # of the cached files; to be raised when the same base and images give other features
BATCH = 32  # images per step; fixed, so that features do not depend on the training batch


@dataclass(frozen=True)
class Pass:
    """One pass of images through the base.

    Attributes:
        images: subset in fixed order.
        view: how they are augmented; None for not at all.
        path: .npy file of the features.
    """

    images: Images
    view: View | None
    path: Path


def place(base: "keras.Model", variant: Variant) -> Path:
    """Return the folder for the features of a base.

    Its name is a hash of what decides them: the graph with its preprocessing, the weights, the variant of the images,
    and the library and device that compute.
    """
    import keras

    made_by = [FORMAT, keras.__version__, keras_backend.made_by(), keras_backend.device_name(), keras_backend.threads()]
    said = [made_by, variant.model_dump(mode="json"), _without_names(json.loads(base.to_json())["config"])]
    identity = hashlib.sha256(files.compact(said).encode())
    for weight in base.weights:
        if "seed_generator" not in weight.path:  # no dropout in inference mode
            identity.update(np.ascontiguousarray(weight).tobytes())
    return features_dir() / identity.hexdigest()[:16]


def _without_names(graph: dict[str, Any]) -> Any:
    """Replace layer names in a graph's configuration by numbers, as Keras adds counters to default names."""
    numbers = {layer["name"]: number for number, layer in enumerate(graph["layers"])} | {graph["name"]: -1}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [renamed(each) for each in value]
        return numbers.get(value, value) if isinstance(value, str) else value

    return renamed(graph)


def identity(images: Images) -> str:
    """Return the hash of the images' bytes, order and size."""
    found = hashlib.sha256(str(images.size).encode())
    for name in images.paths:
        found.update(hashlib.sha256(Path(name).read_bytes()).digest())
    return found.hexdigest()


def path(folder: Path, identity: str, view: View | None = None) -> Path:
    """Return the file for the features of images with this identity in a view."""
    if view:
        # The material follows from the images.
        said = [identity, view.augmentation.model_dump(), view.seed, view.epoch, view.intervention.model_dump()]
        identity = hashlib.sha256(files.compact(said).encode()).hexdigest()
    return folder / f"{identity[:16]}.npy"


def extract(base: "keras.Model", wanted: Pass, after_step: Callable[[], None]) -> np.ndarray:
    """Run the base over images in inference mode, unless the file of the pass is there already.

    Args:
        base: image to features.
        wanted: images, view and file.
        after_step: called after each batch; may raise to stop.

    Returns:
        (n, features) float32, mapped from the file: the features of a large base do not fit into memory.
        `seconds_of` tells how long the pass took.

    Raises:
        LeukoBenchError: the disk is full or cannot be written.
    """
    shape = (len(wanted.images), *base.output_shape[1:])
    cached = found(wanted.path, shape)
    if cached is not None:
        return cached
    start = perf_counter()
    if wanted.view:
        batches = loader().training_batches(wanted.images, BATCH, wanted.view, shuffle=False)
    else:
        batches = loader().fixed_batches(wanted.images, BATCH)
    # Written as a stream: on a full disk, a memory-mapped file would end the process with a signal.
    with files.atomic(wanted.path) as temporary, open(temporary, "wb") as store:
        np.lib.format.write_array_header_1_0(store, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for pixels, _ in batches:
            features = base.predict_on_batch(pixels)[: len(pixels)]  # several devices may each return all of them
            store.write(features.astype("<f4").tobytes())
            after_step()
    files.write_json(wanted.path.with_suffix(".json"), {"seconds": perf_counter() - start})
    return np.load(wanted.path, mmap_mode="r")


def seconds_of(path: Path) -> float:
    """Return how many seconds the pass took that made a file of features; 0 where that is unknown."""
    try:
        return float(files.read_json(path.with_suffix(".json"))["seconds"])
    except (LeukoBenchError, KeyError, TypeError, ValueError):
        return 0.0


def found(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the features in a file; None where it is missing or incomplete."""
    try:
        features = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return features if features.shape == shape and features.dtype == np.float32 else None
