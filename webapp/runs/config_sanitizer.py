"""The configuration of a run as it lies there: whatever the file holds, what leaves here can be shown."""

import math
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_folder import Run

WORDS = {int: "a whole number", str: "a text", list: "a list of texts"}
KINDS = {
    **dict.fromkeys(("model", "dataset", "split", "weights", "initialisation"), str),
    **dict.fromkeys(("seed", "image_size"), int),
}  # fields of config.json that pages rely on


def config_of(run: Run) -> dict[str, Any]:
    """Return what config.json holds, whether it is complete or not; empty where it cannot be read."""
    try:
        config = clean(files.read_json(run.file(run_folder.CONFIG)))
    except (LeukoBenchError, OSError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def check(config: dict[str, Any], run: Run) -> None:
    """Refuse a configuration whose values are not of the kinds that every page relies on.

    Raises:
        LeukoBenchError: names the field and what it holds.
    """
    for name, kind in (*KINDS.items(), ("classes", list)):
        value = config.get(name, kind())
        if not isinstance(value, kind) or isinstance(value, bool) or (kind is list and not _words(value)):
            told = str(clean(value))[:60]
            raise LeukoBenchError(
                f"{run.file(run_folder.CONFIG)} holds {told!r} under '{name}', which should be {WORDS[kind]}. "
                "Restore it or train again."
            )


def _words(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) and value for value in values)


def clean(value: Any) -> Any:
    """Return a value of a file as JSON and pages can hold it: no NaN, no infinity, no half of a character."""
    if isinstance(value, dict):
        return {clean(str(key)): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
