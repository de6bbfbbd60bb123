"""Packages that only some commands need, from requirements-extra.txt and requirements-web.txt."""

from importlib import util

from utils.errors import LeukoBenchError


def installed(package: str) -> bool:
    """Return whether a package is installed, without importing it."""
    try:
        return util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def need(package: str, for_what: str, requirements: str = "requirements-extra.txt") -> None:
    """Check that an optional package is installed, without importing it.

    Args:
        package: import name, "onnxruntime".
        for_what: command or option that needs it, "export --format onnx".
        requirements: file that lists the package.

    Raises:
        LeukoBenchError: it is not installed; the line says how to install it.
    """
    if not installed(package):
        raise LeukoBenchError(f"{for_what} needs the package '{package}'. Run: pip install -r {requirements}")
