"""Export a run to other runtimes; each export is validated against predictions.csv before it is stored."""

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
from utils.io import files, locks, transaction
from utils.runs.run_folder import Run
from utils.system import environment

if TYPE_CHECKING:
    import keras

    from data.loading.image_set import Images

PACKAGES = {
    "onnx": ("tf2onnx", "onnx", "onnxruntime", "tensorflow", "keras"),
    "openvino": ("openvino", "tf2onnx", "onnx", "onnxruntime", "tensorflow", "keras"),
    "litert": ("ai-edge-litert", "tensorflow", "keras"),
    "saved_model": ("tensorflow", "keras"),
}  # their versions are recorded with an export


class Refused(LeukoBenchError):
    """An export exceeds its limits; `described` is the description that it would have had."""

    def __init__(self, words: str, described: dict[str, Any]) -> None:
        super().__init__(words)
        self.described = described


@dataclass
class Source:
    """A run to export; its model, graph and images are shared by all formats."""

    run: Run

    def __post_init__(self) -> None:
        keras_backend.need_tensorflow("export")
        self.config = run_loader.config_of(self.run)
        self.run.predictions("test")  # reports missing predictions before anything is converted
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
        """The inference graph with the weights as constants."""
        return converters.frozen(self.model)

    @cached_property
    def onnx(self) -> Path:
        """A temporary ONNX file in float32, from which other files are made."""
        self._place = tempfile.TemporaryDirectory()
        file = Path(self._place.name) / "plain.onnx"
        converters.write_onnx(self.frozen, file)
        return file

    @cached_property
    def calibration(self) -> np.ndarray:
        """(n, size, size, 3) float32 pixels of the calibration images."""
        return quantization.calibration_pixels(self.split, self.config)

    @cached_property
    def test(self) -> "Images":
        """The test images."""
        return run_loader.read(self.config, self.split, "test")


def export(source: Source, format: str, precision: str) -> dict[str, Any]:
    """Write <run>/export/<format>-<precision>/ and its description, if the export passes the validation.

    Args:
        source: the run.
        format, precision: see `store.PRECISIONS`.

    Returns:
        The description.

    Raises:
        Refused: the export exceeds its limits; an existing export of that name is not changed.
        LeukoBenchError: the combination is not valid, a package is missing, the model cannot be converted, or another
            process is making this export.
    """
    export_store.check(format, precision)
    export_store.need(format, to_make=True)
    run, name = source.run, f"{format}-{precision}"
    lock = locks.take(run.file(export_store.FOLDER) / f".{name}.lock")
    if lock is None:
        raise LeukoBenchError(f"Export {name} of run {run.id} is being made by another process. Wait for it.")
    try:
        return _export(source, format, precision)
    finally:
        locks.drop(lock)


def _export(source: Source, format: str, precision: str) -> dict[str, Any]:
    run, name = source.run, f"{format}-{precision}"
    with transaction.together(run.path) as stage:
        partial = stage / export_store.FOLDER / name
        partial.mkdir(parents=True)
        _convert(source, format, precision, partial)
        found = validation.check(run, runtimes.open_files(partial, format), source.test)
        bound = validation.BOUNDS[precision]
        described = {
            "format": format,
            "precision": precision,
            "bytes": export_store.size(partial, format),
            "files_sha256": export_store.files_hash(partial, format),
            "share_of_weights": export_store.size(partial, format) / run.weights.stat().st_size,
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
                f"Export {name} of run {run.id} is rejected: on {found.images} test images {', '.join(problems)}. "
                "Take another precision or format.",
                described,
            )
        files.write_json(partial.with_name(f"{name}.json"), described)
        transaction.remove(stage, f"{export_store.FOLDER}/{name}")  # the folder is replaced as a whole
    return described


def _convert(source: Source, format: str, precision: str, folder: Path) -> None:
    file = folder / export_store.FILES[format]
    int8 = precision == export_store.INT8
    try:
        if format == "saved_model":
            converters.write_saved_model(source.model, folder)
        elif format == "litert" and int8:
            quantization.write_litert(source.frozen, file, source.calibration)
        elif format == "litert":
            converters.write_litert(source.frozen, file, precision)
        elif format == "openvino" and int8:  # converted from the quantized ONNX file
            quantized = folder / "quantized.onnx"
            quantization.write_onnx(source.onnx, quantized, source.calibration)
            converters.write_openvino(quantized, file)
            quantized.unlink()
        elif format == "openvino":
            converters.write_openvino(source.onnx, file, precision)
        elif int8:
            quantization.write_onnx(source.onnx, file, source.calibration)
        elif precision == export_store.FLOAT16:
            converters.halve_onnx(source.onnx, file)
        else:
            shutil.copyfile(source.onnx, file)
    except (LeukoBenchError, OSError):
        raise
    except Exception as error:  # converters raise errors of any class
        reason = " ".join(str(error).split())[:200]
        raise LeukoBenchError(
            f"{source.run.model} cannot be converted to {format} in {precision} ({type(error).__name__}: {reason}). "
            "Take another format or precision."
        ) from error
