"""A frozen base without augmentation always gives the same features: run it once, keep them, train heads on them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from data.imaging.variants import Variant
from data.loading.augmentation_config import Augmentation, Intervention
from data.loading.domain_randomization import Material
from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import features_dir

if TYPE_CHECKING:
    import keras

    from data.loading.image_set import Images


# Augmentation, seed, epoch, intervention and its material, as `pipeline.training_batches` takes them.
Changes = tuple[Augmentation, int, int, Intervention, Material | None]
FORMAT = 1  # of the kept files; another number once features come out differently for the same base and images
BATCH = 32  # images a step; fixed, so that features do not depend on the training batch


def place(base: "keras.Model", variant: Variant) -> Path:
    """Return the folder that keeps the features of a base.

    It is named by what decides them: the graph with its preprocessing, the weights, the variant of the images, and what
    computes them.
    """
    import keras

    made_by = [FORMAT, keras.__version__, keras_backend.made_by(), keras_backend.device_name(), keras_backend.threads()]
    said = [made_by, variant.model_dump(mode="json"), _without_names(json.loads(base.to_json())["config"])]
    identity = hashlib.sha256(files.compact(said).encode())
    for weight in base.weights:
        if "seed_generator" not in weight.path:  # dropout sleeps here
            identity.update(np.ascontiguousarray(weight).tobytes())
    return features_dir() / identity.hexdigest()[:16]


def _without_names(graph: dict[str, Any]) -> Any:
    """Return a graph as Keras describes it with numbers for the names of its layers, which Keras counts on."""
    numbers = {layer["name"]: number for number, layer in enumerate(graph["layers"])} | {graph["name"]: -1}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [renamed(each) for each in value]
        return numbers.get(value, value) if isinstance(value, str) else value

    return renamed(graph)


def identity(images: "Images") -> str:
    """Return the hash of these very images, in this order and size."""
    found = hashlib.sha256(str(images.size).encode())
    for name in images.paths:
        found.update(hashlib.sha256(Path(name).read_bytes()).digest())
    return found.hexdigest()


def path(folder: Path, identity: str, changes: Changes | None = None) -> Path:
    """Return the file that keeps the features of images of an identity, as an epoch changes them."""
    if changes:
        augmentation, seed, epoch, intervention, _ = changes  # the last one follows from the images
        said = [identity, augmentation.model_dump(), seed, epoch, intervention.model_dump()]
        identity = hashlib.sha256(files.compact(said).encode()).hexdigest()
    return folder / f"{identity[:16]}.npy"


def extract(
    base: "keras.Model", images: "Images", path: Path, after_step: Callable[[], None], changes: Changes | None = None
) -> np.ndarray:
    """Run the base over all images, in inference mode, into a file that is mapped into memory, unless it is there.

    Args:
        base: image to features.
        images: subset in fixed order.
        path: .npy file; the features of a large base do not fit into memory.
        after_step: called after each batch; may raise to stop.
        changes: what an epoch changes in the images; None for nothing.

    Returns:
        (n, features) float32, read from the file as needed. `seconds_of` says how long the pass took when it was made.

    Raises:
        LeukoBenchError: the disk is full or cannot be written.
    """
    shape = (len(images), *base.output_shape[1:])
    kept = found(path, shape)
    if kept is not None:
        return kept
    start = perf_counter()
    # Written as a stream: on a full disk, a file that is mapped for writing would end the process with a signal.
    with files.atomic(path) as temporary, open(temporary, "wb") as store:
        np.lib.format.write_array_header_1_0(store, {"descr": "<f4", "fortran_order": False, "shape": shape})
        batches = loader().training_batches(images, BATCH, *changes, shuffle=False) if changes else None
        for pixels, _ in batches or loader().fixed_batches(images, BATCH):
            store.write(base.predict_on_batch(pixels)[: len(pixels)].astype("<f4").tobytes())  # once, not by device
            after_step()
    files.write_json(path.with_suffix(".json"), {"seconds": perf_counter() - start})
    return np.load(path, mmap_mode="r")


def seconds_of(path: Path) -> float:
    """Return how long the pass took that made a file of features; 0 where that is not known any more."""
    try:
        return float(files.read_json(path.with_suffix(".json"))["seconds"])
    except (LeukoBenchError, KeyError, TypeError, ValueError):
        return 0.0


def found(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the features that a file keeps; None where there is no file, or it is not whole."""
    try:
        kept = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape and kept.dtype == np.float32 else None
