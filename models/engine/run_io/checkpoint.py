"""Weight files: written atomically, and read with a one-line error where they are missing or damaged."""

import errno
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.engine.layers import weight_file
from utils.errors import LeukoBenchError, NoPermission
from utils.io import files
from utils.runs.run_folder import CONFIG, Run

if TYPE_CHECKING:
    import keras


def save(model: "keras.Model", path: Path) -> None:
    """Write the weights of a model, without any optimizer's state, atomically.

    Raises:
        LeukoBenchError: the disk is full or cannot be written.
    """
    import keras

    # A compiled model would save its optimizer's state too, three times the size.
    save_state(keras.Model(model.inputs, model.outputs), path)


def save_state(model: "keras.Model", path: Path) -> None:
    """Write the weights of a model and the state of its optimizer, if it has one, atomically; raises as `save` does."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else ())]
    size = sum(int(np.prod(v.shape)) * np.dtype(str(v.dtype)).itemsize for v in variables)
    with files.atomic(path) as temporary:
        _reserve(temporary, size + 4096 * (len(variables) + 16))  # HDF5 adds up to a page per array
        model.save_weights(temporary)


def _reserve(path: Path, size: int) -> None:
    """Raise OSError where `size` bytes do not fit: on a full disk HDF5 would end the process with a signal."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "wb") as handle:
            os.posix_fallocate(handle.fileno(), 0, size)
    elif shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def load(model: "keras.Model", run: Run, path: Path) -> None:
    """Load a weight file of a run into a model, with the optimizer's state where both have one.

    Raises:
        LeukoBenchError: the file is missing, damaged, or of another model.
    """
    if not files.exists(path):
        name, others = path.relative_to(run.path).as_posix(), [file.name for file in run.renamed_weights()]
        if others:
            raise LeukoBenchError(
                f"Run {run.id} has no {name}, but {len(others)} files with weights: {', '.join(others[:4])}. Rename "
                "the right one."
            )
        raise LeukoBenchError(
            f"Run {run.id} has no {name}. Copy it there, or train with the same settings again: {_retrain(run)}"
        )
    if not os.access(path, os.R_OK):
        raise NoPermission(path)
    try:
        weight_file.load(model, path)
    except LeukoBenchError:
        raise
    except Exception as error:  # readers of HDF5 and archives raise anything
        reason = " ".join(str(error).split())[:120]
        raise LeukoBenchError(
            f"{path} is damaged or of another model ({reason}). Train again: {_retrain(run)}"
        ) from None


def _retrain(run: Run) -> str:
    return f"python run_guide.py train --config {shlex.quote(str(run.file(CONFIG)))}"
