"""Export a run to other runtimes, each export checked against predictions.csv before it takes its place."""

import shutil
import tempfile
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.engine.backend import keras_backend
from models.engine.export import converters, quantization, runtimes, validation
from models.engine.export import store as export_store
from models.engine.run_io import run_loader
from utils.errors import LeukoBenchError
from utils.io import files, locks
from utils.runs import run_folder
from utils.runs.run_folder import Run
from utils.system import environment

if TYPE_CHECKING:
    import keras

    from data.loading.tf_loader import Images

PACKAGES = {
    "onnx": ("tf2onnx", "onnx", "onnxruntime", "tensorflow", "keras"),
    "openvino": ("openvino", "tf2onnx", "onnx", "onnxruntime", "tensorflow", "keras"),
    "litert": ("ai-edge-litert", "tensorflow", "keras"),
    "saved_model": ("tensorflow", "keras"),
}  # whose versions made an export, or answered for it in its check


class Refused(LeukoBenchError):
    """An export is past its bound; `described` is what its description would have held."""

    def __init__(self, words: str, described: dict[str, Any]) -> None:
        super().__init__(words)
        self.described = described


@dataclass
class Source:
    """A run to export; what is read of it serves every format."""

    run: Run

    def __post_init__(self) -> None:
        keras_backend.need_tensorflow("export")
        self.config = run_loader.config_of(self.run)
        self.run.predictions("test")  # said before anything is converted
        self.hashes = {
            "weights_sha256": export_store.weights_hash(self.run),
            "config_hash": export_store.config_hash(self.run),
        }
        self.split = run_loader.split_of(self.run)

    @cached_property
    def model(self) -> "keras.Model":
        """The model in float32."""
        return run_loader.open_model(self.run)

    @cached_property
    def frozen(self) -> Any:
        """Its inference with the weights as constants."""
        return converters.frozen(self.model)

    @cached_property
    def onnx(self) -> Path:
        """It as an ONNX file in float32, from which other files are made; gone with this object."""
        self._place = tempfile.TemporaryDirectory()
        file = Path(self._place.name) / "plain.onnx"
        converters.write_onnx(self.frozen, file)
        return file

    @cached_property
    def calibration(self) -> np.ndarray:
        """(n, size, size, 3) float32 pixels of training images."""
        return quantization.calibration_pixels(self.split, self.config)

    @cached_property
    def test(self) -> "Images":
        """The test images."""
        return run_loader.read(self.config, self.split, "test")


def export(source: Source, format: str, precision: str) -> dict[str, Any]:
    """Write <run>/export/<format>-<precision>/ and the description beside it, or refuse it.

    Args:
        source: the run.
        format, precision: see `exports.PRECISIONS`.

    Returns:
        What the description holds.

    Raises:
        Refused: the export is past its bound; an older one of that name stays as it was.
        LeukoBenchError: there is no such combination, a package is missing, the model cannot be converted, or another
            process is making this export.
    """
    export_store.check(format, precision)
    export_store.need(format, to_make=True)
    run, name = source.run, f"{format}-{precision}"
    held = locks.take(run.file(export_store.FOLDER) / f".{name}.lock")
    if held is None:
        raise LeukoBenchError(f"Export {name} of run {run.id} is being made by another process already. Wait for it.")
    try:
        return _export(source, format, precision)
    finally:
        locks.drop(held)


def _export(source: Source, format: str, precision: str) -> dict[str, Any]:
    run, name = source.run, f"{format}-{precision}"
    partial = run.file(export_store.FOLDER) / f".{name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
        partial.mkdir(parents=True)
        _convert(source, format, precision, partial)
        found = validation.check(run, runtimes.open_files(partial, format), source.test)
        bound = validation.BOUNDS[precision]
        described = {
            "format": format,
            "precision": precision,
            "bytes": export_store.size(partial, format),
            "files_sha256": export_store.files_hash(partial, format),
            "share_of_weights": export_store.size(partial, format) / run.file(run_folder.WEIGHTS).stat().st_size,
            **asdict(found),
            "bound": asdict(bound),
            "variant": source.config.variant.model_dump(mode="json"),
            "classes": list(source.config.classes),
            "image_size": source.config.image_size,
            "input": {"layout": "NHWC", "type": "float32", "colour": "RGB", "low": 0, "high": 255},
            "calibration_images": len(source.calibration) if precision == export_store.INT8 else 0,
            "versions": {package: metadata.version(package) for package in PACKAGES[format]},
            "made_on": environment.cpu_name(),
            **source.hashes,
        }
        if problems := found.problems(bound):
            raise Refused(
                f"Export {name} of run {run.id} is refused: on {found.images} test images {', '.join(problems)}. "
                "Take another precision or format.",
                described,
            )
        _put(run, name, partial, described)
        return described
    except OSError as error:
        raise LeukoBenchError(
            f"Cannot write {export_store.folder(run, name)}: {error.strerror or error}. Free space or choose a folder "
            "you may write to."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _convert(source: Source, format: str, precision: str, folder: Path) -> None:
    file = folder / export_store.FILES[format]
    eight = precision == export_store.INT8
    try:
        if format == "saved_model":
            converters.write_saved_model(source.model, folder)
        elif format == "litert" and eight:
            quantization.write_litert(source.frozen, file, source.calibration)
        elif format == "litert":
            converters.write_litert(source.frozen, file, precision)
        elif format == "openvino" and eight:  # which reads what was quantised for ONNX: the same numbers in both
            small = folder / "small.onnx"
            quantization.write_onnx(source.onnx, small, source.calibration)
            converters.write_openvino(small, file)
            small.unlink()
        elif format == "openvino":
            converters.write_openvino(source.onnx, file, precision)
        elif eight:
            quantization.write_onnx(source.onnx, file, source.calibration)
        elif precision == export_store.FLOAT16:
            converters.halve_onnx(source.onnx, file)
        else:
            shutil.copyfile(source.onnx, file)
    except (LeukoBenchError, OSError):
        raise
    except Exception as error:  # converters raise anything for a graph that they cannot read
        reason = " ".join(str(error).split())[:200]
        raise LeukoBenchError(
            f"{source.run.model} cannot be converted to {format} in {precision} ({type(error).__name__}: {reason}). "
            "Take another format or precision."
        ) from error


def _put(run: Run, name: str, partial: Path, described: dict[str, Any]) -> None:
    """Move the files into their place; the description goes before the old ones do and comes after the new ones."""
    target, text = export_store.folder(run, name), files.json_text(described)  # a mistake in it, before anything goes
    export_store.description(run, name).unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    files.write_text(export_store.description(run, name), text)
