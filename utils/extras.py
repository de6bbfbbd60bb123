"""Packages that only some commands need, from requirements-extra.txt."""

from importlib import util

from utils.errors import LeukoBenchError


def need(package: str, for_what: str) -> None:
    """Check that an optional package is installed, without importing it.

    Args:
        package: as it is imported, "onnxruntime".
        for_what: what needs it, "export --format onnx".

    Raises:
        LeukoBenchError: it is not there; the line says how to install it.
    """
    try:
        found = util.find_spec(package)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise LeukoBenchError(f"{for_what} needs the package '{package}'. Run: pip install -r requirements-extra.txt")
