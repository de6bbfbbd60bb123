"""Files of weights, judged by what is in them, never by their names.

Valid are weights of Keras 3, weights in the layout of Keras 2, and whole models of both. Only arrays are read: the
description of a whole model is not, so that nothing in a file can be executed.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, takewhile
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import cut
from utils.io import files
from utils.runs.run_folder import HDF5, WEIGHTS, ZIP

if TYPE_CHECKING:
    import h5py
    import keras
    import numpy as np

MOST_BYTES = 100_000_000_000
WITH_OPTIMIZER = 4  # sizes of the weights, with the state of Adam
SPARE = 64_000_000  # bytes
MOST_GROUPS = 5_000
KINDS = {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "depthwise_kernel", "pointwise_kernel"}


def load(model: "keras.Model", path: Path, surplus: bool = False) -> None:
    """Load a file of weights into a model, all or none.

    Args:
        model: built; if it is compiled, the file may hold the state of its optimizer.
        path: of the file, with any name.
        surplus: the file may hold further layers after those of the model, such as a head.

    Raises:
        ValueError: the file holds no weights or others than the model has; says what it holds and what was expected.
        OSError: the file is damaged.
        LeukoBenchError: the file is missing, cannot be read or is not a regular file.
    """
    import h5py

    sizes = sum(prod(variable.shape) * 8 for variable in model.variables)
    most = WITH_OPTIMIZER * sizes + SPARE
    with files.regular(path, MOST_BYTES) as handle:
        start = handle.read(len(HDF5))
        if start.startswith(ZIP):
            _check_archive(handle, most)
            suffix = ".keras"
        elif start == HDF5:
            with h5py.File(handle, "r") as content:
                _check(content, most)
                layers = _keras2_layers(content)
                if layers is not None:
                    _assign(_matched(model, layers, surplus))
                    return
                if "layers" not in content and "_layer_checkpoint_dependencies" not in content:
                    raise ValueError(f"an HDF5 file without weights of Keras; it holds {_listed(content)}")
            suffix = ".weights.h5"
        else:
            raise ValueError(f"neither HDF5 nor a model of Keras; it begins with {cut(start[:8])}")
    with _named(path, suffix) as place:
        model.load_weights(place)


@contextmanager
def _named(path: Path, suffix: str) -> Iterator[Path]:
    """Yield a path of the file with the suffix by which Keras chooses its reader."""
    if path.name.endswith(suffix):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, f"model{suffix}")
        try:
            place.symlink_to(path.resolve())
        except OSError:  # Windows without the right to make links
            shutil.copyfile(path, place)
        yield place


def _check_archive(handle: Any, most: int) -> None:
    """Check the weights in a whole model of Keras 3, an archive."""
    import io

    import h5py

    with zipfile.ZipFile(handle) as archive:
        names = archive.namelist()
        if WEIGHTS not in names:
            raise ValueError(f"an archive without {WEIGHTS}; it holds {_listed(names)}")
        if archive.getinfo(WEIGHTS).file_size > most:
            raise ValueError(f"an archive with more than {most / 1e6:,.0f} MB of weights, more than the model has")
        with h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r") as content:
            _check(content, most)


def _check(group: "h5py.Group", most: int) -> None:
    """Refuse links and data outside the file, and more numbers than the model can have."""
    import h5py

    size, groups = 0, [group]
    for number, place in enumerate(groups):
        if number == MOST_GROUPS:  # also where a group holds itself
            raise ValueError("too many groups")
        for name in place:
            if not isinstance(place.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"a link under {cut(name)}")
            entry = place[name]
            if isinstance(entry, h5py.Group):
                groups.append(entry)
                continue
            if entry.external or entry.is_virtual:
                raise ValueError(f"data outside the file under {cut(name)}")
            size += entry.nbytes
            if size > most:
                raise ValueError(f"more than {most / 1e6:,.0f} MB of weights, more than the model has")


def _keras2_layers(content: "h5py.File") -> "list[tuple[str, list[tuple[str, h5py.Dataset]]]] | None":
    """Return the layers of the layout of Keras 2 that have weights: names, names of weights, data; None without it."""
    group = content.get("model_weights", content)
    names = _texts(group, "layer_names")
    if names is None:
        return None
    layers = []
    for name in names:
        weights = [(weight, group[name][weight]) for weight in _texts(group[name], "weight_names") or []]
        if weights:
            layers.append((name, weights))
    return layers


def _texts(group: "h5py.Group", name: str) -> list[str] | None:
    """Return an attribute that is a list of texts; long lists are stored in parts, name0, name1, ..."""
    numbered = takewhile(group.attrs.__contains__, (f"{name}{number}" for number in count()))
    parts = [name] if name in group.attrs else list(numbered)
    if not parts:
        return None
    texts = [text for part in parts for text in group.attrs[part]]
    return [text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in texts]


def _matched(
    model: "keras.Model", saved: "list[tuple[str, list[tuple[str, h5py.Dataset]]]]", surplus: bool
) -> "list[tuple[keras.Variable, h5py.Dataset]]":
    """Return each variable of a model with its data: layers by name, or by order where the names differ."""
    layers = [layer for layer in model.layers if layer.weights]
    wanted = {layer.name for layer in layers}
    by_name = [each for each in saved if each[0] in wanted]
    if len(by_name) == len(layers):
        position = {layer.name: k for k, layer in enumerate(layers)}
        saved = sorted(by_name, key=lambda each: position[each[0]])
    elif surplus:
        saved = saved[: len(layers)]
    if len(saved) != len(layers):
        raise ValueError(f"the layout of Keras 2 with weights of {len(saved)} layers, expected {len(layers)}")
    pairs = []
    for layer, (name, weights) in zip(layers, saved, strict=True):
        # A nested model lists its trained variables first, or all in the order of its layers if it was frozen.
        orders = ([*layer.trainable_weights, *layer.non_trainable_weights], layer.weights)
        fitting = next((order for order in orders if _fits(order, weights)), None)
        if fitting is None:
            received = ", ".join(str(data.shape) for _, data in weights)
            expected = ", ".join(str(tuple(variable.shape)) for variable in layer.weights)
            raise ValueError(
                f"the layout of Keras 2, whose layer {cut(name, 30)} has {cut(received)}; expected {cut(expected)}"
            )
        pairs += [(variable, data) for variable, (_, data) in zip(fitting, weights, strict=True)]
    return pairs


def _fits(variables: "Sequence[keras.Variable]", weights: "Sequence[tuple[str, h5py.Dataset]]") -> bool:
    """Return whether number, shapes and, where they are known, kinds of weights are those of variables."""
    if len(variables) != len(weights):
        return False
    for variable, (name, data) in zip(variables, weights, strict=True):
        kind = name.rpartition("/")[2].partition(":")[0]
        if tuple(variable.shape) != data.shape or data.dtype.kind not in "fiu":
            return False
        if kind in KINDS and variable.name in KINDS and kind != variable.name:
            return False
    return True


def _assign(pairs: "list[tuple[keras.Variable, h5py.Dataset]]") -> None:
    values: list[np.ndarray] = [data[()] for _, data in pairs]  # all before the first change
    for (variable, _), value in zip(pairs, values, strict=True):
        variable.assign(value)


def _listed(names: Any) -> str:
    shown = sorted(map(str, names))
    return cut(", ".join(shown[:4]) + (", ..." if len(shown) > 4 else "")) or "nothing"
