"""What lies in <run>/export: the names of exports, what is known of each, and whether the weights are still the same.

An export is a folder <run>/export/<format>-<precision>/ and the file <format>-<precision>.json beside it, which is
written last: without it there is no export.
"""

import hashlib
from pathlib import Path
from typing import Any

from utils.errors import LeukoBenchError, nearest
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_folder import Run
from utils.system import optional_packages

FOLDER = "export"  # in the run folder
FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"
PRECISIONS = {
    "onnx": (FLOAT32, FLOAT16, INT8),
    "litert": (FLOAT32, FLOAT16, INT8),
    "openvino": (FLOAT32, FLOAT16, INT8),
    "saved_model": (FLOAT32,),  # TensorFlow computes it: half the file, or bytes, would gain no speed
}  # what each format can be
FILES = {"onnx": "model.onnx", "litert": "model.tflite", "openvino": "model.xml", "saved_model": "saved_model.pb"}
RUNTIMES = {"onnx": "onnxruntime", "litert": "ai_edge_litert", "openvino": "openvino", "saved_model": "tensorflow"}
# OpenVINO reads the ONNX file, which tf2onnx makes and ONNX Runtime simplifies.
_CONVERTERS = {"onnx": ("onnx", "tf2onnx"), "openvino": ("onnx", "tf2onnx", "onnxruntime")}
_HASHES = ("weights_sha256", "config_hash", "files_sha256")
_KEYS = ("format", "precision", "variant", "classes", "image_size", "bytes", *_HASHES)


def names() -> list[str]:
    """Return the names of all exports that there can be: "onnx-float32", ..."""
    return [f"{format}-{precision}" for format, precisions in PRECISIONS.items() for precision in precisions]


def check(format: str, precision: str) -> None:
    """Raise LeukoBenchError unless a format can have a precision; the line names what can be had."""
    if precision in PRECISIONS.get(format, ()):
        return
    valid = "; ".join(f"{name} as {', '.join(values)}" for name, values in PRECISIONS.items())
    raise LeukoBenchError(f"There is no export of format '{format}' and precision '{precision}'. Valid: {valid}.")


def check_name(name: str) -> None:
    """Raise LeukoBenchError unless `name` is one of `names()`."""
    if name not in names():
        raise LeukoBenchError(f"There is no export '{name}'.{nearest(name, names())} Valid: {', '.join(names())}.")


def need(format: str, to_make: bool = False) -> None:
    """Raise LeukoBenchError unless the packages are there that open an export, or also those that make it."""
    packages = (*(_CONVERTERS.get(format, ()) if to_make else ()), RUNTIMES[format])
    for package in packages:
        if package != "tensorflow":
            optional_packages.need(package, f"export --format {format}" if to_make else f"An export of format {format}")


def folder(run: Run, name: str) -> Path:
    """Return the folder that holds the files of an export."""
    return run.file(FOLDER) / name


def description(run: Run, name: str) -> Path:
    """Return the file that says what an export is, and whose presence says that it is whole."""
    return run.file(FOLDER) / f"{name}.json"


def of(run: Run) -> list[str]:
    """Return the names of the exports that a run has."""
    return [name for name in names() if description(run, name).is_file()]


def chosen(run: Run, name: str) -> str:
    """Return the name of an export where a run has it, else "", for Keras."""
    return name if name and description(run, name).is_file() else ""


def read(run: Run, name: str) -> dict[str, Any]:
    """Return what is known of an export, once it is sure that it is whole and that of the run as it is now.

    Raises:
        LeukoBenchError: no such export; other weights or settings since it was made; files missing or damaged.
    """
    check_name(name)
    path = description(run, name)
    if not path.is_file():
        there = f" It has: {', '.join(of(run))}." if of(run) else ""
        raise LeukoBenchError(f"Run {run.id} has no export {name}.{there} Make it with: {command(run, name)}")
    held = files.read_json(path)
    if not isinstance(held, dict) or any(key not in held for key in _KEYS):
        raise LeukoBenchError(f"{path} is damaged. Make the export again: {command(run, name)}")
    if held["weights_sha256"] != weights_hash(run) or held["config_hash"] != config_hash(run):
        raise LeukoBenchError(
            f"Export {name} of run {run.id} is stale: the run has other weights or settings than it was made from. "
            f"Make it again: {command(run, name)}"
        )
    if held["files_sha256"] != files_hash(folder(run, name), held["format"]):
        raise LeukoBenchError(
            f"Export {name} of run {run.id} is damaged: its files are not those that were written. "
            f"Make it again: {command(run, name)}"
        )
    return held


def command(run: Run, name: str) -> str:
    """Return the command line that makes an export."""
    format, _, precision = name.rpartition("-")
    return f"python run_guide.py export {run.id} --format {format} --precision {precision}"


def weights_hash(run: Run) -> str:
    """Return the SHA-256 of a run's weights.

    Raises:
        LeukoBenchError: they are missing.
    """
    try:
        with open(run.file(run_folder.WEIGHTS), "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise LeukoBenchError(f"Run {run.id} has no {run_folder.WEIGHTS} ({error.strerror}).") from None


def config_hash(run: Run) -> str:
    """Return a hash of config.json: its variant and image size are part of what an export needs."""
    return hashlib.sha256(files.compact(run.config()).encode()).hexdigest()[:16]


def size(place: Path, format: str) -> int:
    """Return the bytes of the files that an export of this format consists of; 0 where its main file is missing."""
    return sum(path.stat().st_size for path in _files(place, format))


def files_hash(place: Path, format: str) -> str:
    """Return a SHA-256 of the names and contents of the files that an export of this format consists of.

    Raises:
        LeukoBenchError: one cannot be read.
    """
    whole = hashlib.sha256()
    try:
        for path in _files(place, format):
            with open(path, "rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            whole.update(f"{digest} {path.relative_to(place).as_posix()}\n".encode())
    except OSError as error:
        raise LeukoBenchError(f"Cannot read {place}: {error.strerror}.") from error
    return whole.hexdigest()


def _files(place: Path, format: str) -> list[Path]:
    """Return the files that an export consists of, without what an evaluation wrote beside them."""
    main = place / FILES[format]
    if not main.is_file():
        return []
    if format == "saved_model":
        return [main, *sorted(path for path in place.rglob("*") if path.is_file() and path.parent != place)]
    return sorted(place.glob(f"{main.stem}.*"))
