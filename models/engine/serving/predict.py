"""Predict image files, folders and patterns with a run, as a stream in bounded memory."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.datasets.image_decoder import SUFFIXES
from data.loading.pipeline import loader
from models.engine.backend import keras_backend
from models.engine.explain import explainer
from models.engine.export import runtimes
from models.engine.run_io.run_loader import BATCH, OUT_OF_MEMORY_ADVICE, config_of, open_model
from utils.console import warn
from utils.errors import LeukoBenchError
from utils.runs.run_folder import Run

if TYPE_CHECKING:
    import pandas as pd

    from models.engine.config.base import ModelConfig


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image file.

    Attributes:
        path: of the file, with forward slashes.
        predicted: class of the highest probability; "" if the file could not be read.
        probability: the highest probability, in 0..1.
        probabilities: (classes,) in the run's class order.
        problem: why the file could not be read; "" if it was read.
    """

    path: str
    predicted: str = ""
    probability: float = 0.0
    probabilities: tuple[float, ...] = ()
    problem: str = ""

    def row(self) -> list[str]:
        """Return the cells of `columns`; nine digits represent every float32 exactly."""
        return [self.path, self.predicted, *(f"{value:.9g}" for value in (self.probability, *self.probabilities))]


def columns(classes: Sequence[str]) -> list[str]:
    """Return the column names of a table of predictions."""
    return ["path", "predicted", "probability", *(f"p_{name}" for name in classes)]


def find_images(paths: Iterable[Path | str]) -> list[Path]:
    """List the files to predict, each once, in the order of `paths` and sorted within a folder or pattern.

    Args:
        paths: files of any name; folders, searched for images except in folders and files whose names begin with "."
            or "_" (masks and quarantine of a dataset); patterns with * ? [...] and **, for shells that do not expand
            them.

    Raises:
        LeukoBenchError: a path does not exist, a folder contains no images, or cannot be read.
    """
    found: dict[str, Path] = {}
    for given in map(Path, paths):
        place = given.expanduser()
        # Path.glob does not support absolute patterns.
        hits = [place] if place.exists() else sorted(map(Path, glob.glob(str(place), recursive=True)))  # noqa: PTH207
        if not hits:
            what = "no file matches" if glob.has_magic(str(place)) else "there is no"
            raise LeukoBenchError(
                f"Nothing to predict: {what} {given}. Give image files, folders, or patterns as 'a/*.png'."
            )
        for hit in hits:
            below = _below(hit) if hit.is_dir() else [hit]
            if not below and hit == place:
                raise LeukoBenchError(f"{hit} contains no images with names ending with {', '.join(SUFFIXES[:6])}, ...")
            for path in below:
                found.setdefault(os.path.normcase(os.path.realpath(path)), path)
    return list(found.values())


def predict_each(run: Run, paths: Iterable[Path | str], export: str = "") -> Iterator[Prediction]:
    """Predict images in batches, decoded as for training and in the variant of the run.

    Args:
        run: has weights.
        paths: files; see `find_images` for folders and patterns.
        export: name of an export to predict with, as "onnx-int8"; "" for Keras.

    Yields:
        One Prediction per file; for an unusable file, with its `problem`.

    Raises:
        LeukoBenchError: weights or config.json are missing or damaged, or the export is missing, stale or damaged.
    """
    config = config_of(run)
    infer = runtimes.open_export(run, export).predict if export else open_model(run).predict_on_batch
    for chunk in _chunks(map(Path, paths), config):
        readable = [pixels for _, pixels, _ in chunk if pixels is not None]
        outputs = iter(())
        if readable:
            with keras_backend.enough_memory(f"Predicting with {run.model}", OUT_OF_MEMORY_ADVICE):
                outputs = iter(infer(np.stack(readable).astype(np.float32)))
        for path, _, problem in chunk:
            yield Prediction(_text(path), problem=problem) if problem else _prediction(path, next(outputs), config)


def predict_files(run: Run, paths: Path | str | Iterable[Path | str]) -> "pd.DataFrame":
    """Predict files, folders and patterns into a table: path, predicted, probability, p_<Class>, ...

    Args:
        run: has weights.
        paths: one or several; see `find_images`.

    Raises:
        LeukoBenchError: a path does not exist, no file is an image, or the weights are missing.
    """
    import pandas as pd

    found = find_images([paths] if isinstance(paths, Path | str) else paths)
    rows = []
    for each in predict_each(run, found):
        if each.problem:
            warn(each.problem)
        else:
            rows.append([each.path, each.predicted, each.probability, *each.probabilities])
    if not rows:
        raise LeukoBenchError(f"None of the {len(found)} files could be read as an image.")
    return pd.DataFrame(rows, columns=columns(config_of(run).classes))


def _below(folder: Path) -> list[Path]:
    def unreadable(error: OSError) -> None:
        raise LeukoBenchError(f"Cannot read {error.filename}: {error.strerror}. Change its permissions.") from None

    hidden = (".", "_")
    found = []
    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(hidden)]
        found += [
            Path(place, name) for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(hidden)
        ]
    return sorted(found)


def _chunks(paths: Iterable[Path], config: "ModelConfig") -> Iterator[list[tuple[Path, np.ndarray | None, str]]]:
    """Yield files with pixels, or with the reason for missing ones, in batches of BATCH images as in evaluation."""
    chunk, images = [], 0
    for path in paths:
        chunk.append((path, *_load(path, config)))
        images += chunk[-1][1] is not None
        if images == BATCH:
            yield chunk
            chunk, images = [], 0
    if chunk:
        yield chunk


def _load(path: Path, config: "ModelConfig") -> tuple[np.ndarray | None, str]:
    """Return the pixels of a file and "", or None and the reason."""
    try:
        return explainer.load_image(path, config.image_size, config.variant), ""
    except LeukoBenchError as problem:
        return None, str(problem)
    except loader().decoding_errors as problem:  # Pillow decodes some files that the decoder of the training does not
        reason = " ".join(getattr(problem, "message", str(problem)).split())[:120]
        return None, f"{path} cannot be decoded ({reason})."


def _prediction(path: Path, values: np.ndarray, config: "ModelConfig") -> Prediction:
    best = int(values.argmax())
    return Prediction(_text(path), config.classes[best], float(values[best]), tuple(map(float, values)))


def _text(path: Path) -> str:
    """Return a path as valid UTF-8 text, even if its name is not."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()
