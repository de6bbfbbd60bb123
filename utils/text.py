"""Texts shared by the terminal, tables, figures and the web page."""

from collections.abc import Mapping
from typing import Any

NOTICE = "Research only, not a diagnosis"
MISSING = "–"  # shown for a value that is not available


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names: {"variant": {"name": "rgb"}} as {"variant.name": "rgb"}."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= dotted(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
