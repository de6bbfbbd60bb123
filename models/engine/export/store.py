"""The exports of a run: names, folders, descriptions, and checks that they are complete and not stale.

An export is a folder <run>/export/<format>-<precision>/ and its description <format>-<precision>.json, which are
written together: an export without it does not exist.
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
    "saved_model": (FLOAT32,),  # TensorFlow would compute in float32 anyway
}  # valid precisions of each format
FILES = {"onnx": "model.onnx", "litert": "model.tflite", "openvino": "model.xml", "saved_model": "saved_model.pb"}
RUNTIMES = {"onnx": "onnxruntime", "litert": "ai_edge_litert", "openvino": "openvino", "saved_model": "tensorflow"}
# OpenVINO reads an ONNX file, which tf2onnx writes and ONNX Runtime simplifies.
_CONVERTERS = {"onnx": ("onnx", "tf2onnx"), "openvino": ("onnx", "tf2onnx", "onnxruntime")}
_HASHES = ("weights_sha256", "config_hash", "files_sha256")
_KEYS = ("format", "precision", "variant", "classes", "image_size", "bytes", *_HASHES)


def names() -> list[str]:
    """Return the names of all valid exports: "onnx-float32", ..."""
    return [f"{format}-{precision}" for format, precisions in PRECISIONS.items() for precision in precisions]


def check(format: str, precision: str) -> None:
    """Raise LeukoBenchError unless the combination is valid; the message lists the valid ones."""
    if precision in PRECISIONS.get(format, ()):
        return
    valid = "; ".join(f"{name} as {', '.join(values)}" for name, values in PRECISIONS.items())
    raise LeukoBenchError(f"There is no export of format '{format}' and precision '{precision}'. Valid: {valid}.")


def check_name(name: str) -> None:
    """Raise LeukoBenchError unless `name` is one of `names()`."""
    if name not in names():
        raise LeukoBenchError(f"There is no export '{name}'.{nearest(name, names())} Valid: {', '.join(names())}.")


def need(format: str, to_make: bool = False) -> None:
    """Raise LeukoBenchError unless the packages to open an export, or also those to make it, are installed."""
    packages = (*(_CONVERTERS.get(format, ()) if to_make else ()), RUNTIMES[format])
    for package in packages:
        if package != "tensorflow":
            optional_packages.need(package, f"export --format {format}" if to_make else f"An export of format {format}")


def folder(run: Run, name: str) -> Path:
    """Return the folder of an export's files."""
    return run.file(f"{FOLDER}/{name}")


def description(run: Run, name: str) -> Path:
    """Return the path of an export's description, which exists for complete exports only."""
    return run.file(f"{FOLDER}/{name}.json")


def of(run: Run) -> list[str]:
    """Return the names of a run's exports."""
    return [name for name in names() if description(run, name).is_file()]


def chosen(run: Run, name: str) -> str:
    """Return the name of an export if the run has it, else "", for Keras."""
    return name if name and description(run, name).is_file() else ""


def read(run: Run, name: str) -> dict[str, Any]:
    """Return the description of an export after checking its files, and the run's weights and settings.

    Raises:
        LeukoBenchError: there is no such export, weights or settings have changed, or files are missing or damaged.
    """
    check_name(name)
    path = description(run, name)
    if not path.is_file():
        there = f" It has: {', '.join(of(run))}." if of(run) else ""
        raise LeukoBenchError(f"Run {run.id} has no export {name}.{there} Make it with: {command(run, name)}")
    described = files.read_json(path)
    if not isinstance(described, dict) or any(key not in described for key in _KEYS):
        raise LeukoBenchError(f"{path} is damaged. Make the export again: {command(run, name)}")
    if described["weights_sha256"] != weights_hash(run) or described["config_hash"] != config_hash(run):
        raise LeukoBenchError(
            f"Export {name} of run {run.id} is stale: weights or settings of the run have changed. "
            f"Make it again: {command(run, name)}"
        )
    if described["files_sha256"] != files_hash(folder(run, name), described["format"]):
        raise LeukoBenchError(
            f"Export {name} of run {run.id} is damaged: its files have changed. Make it again: {command(run, name)}"
        )
    return described


def command(run: Run, name: str) -> str:
    """Return the command that makes an export."""
    format, _, precision = name.rpartition("-")
    return f"python run_guide.py export {run.id} --format {format} --precision {precision}"


def weights_hash(run: Run) -> str:
    """Return the SHA-256 of a run's weights.

    Raises:
        LeukoBenchError: the weights are missing, or have changed since the run was measured.
    """
    run.check(run_folder.WEIGHTS)
    try:
        with open(run.weights, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise LeukoBenchError(f"Run {run.id} has no {run_folder.WEIGHTS} ({error.strerror}).") from None


def config_hash(run: Run) -> str:
    """Return a hash of config.json, which holds the variant and the image size of an export."""
    return hashlib.sha256(files.compact(run.config()).encode()).hexdigest()[:16]


def size(place: Path, format: str) -> int:
    """Return the size in bytes of an export's files; 0 where the main file is missing."""
    return sum(path.stat().st_size for path in _files(place, format))


def files_hash(place: Path, format: str) -> str:
    """Return a SHA-256 of the names and contents of an export's files.

    Raises:
        LeukoBenchError: a file cannot be read.
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
    """Return the files of an export, without those written by its evaluation."""
    main = place / FILES[format]
    if not main.is_file():
        return []
    if format == "saved_model":
        return [main, *sorted(path for path in place.rglob("*") if path.is_file() and path.parent != place)]
    return sorted(place.glob(f"{main.stem}.*"))
