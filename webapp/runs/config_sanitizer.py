"""Read config.json of any content so that pages and JSON can show it."""

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
}  # types of the fields of config.json that the pages use


def config_of(run: Run) -> dict[str, Any]:
    """Return the content of config.json, complete or not; empty where it cannot be read."""
    try:
        config = clean(files.read_json(run.file(run_folder.CONFIG)))
    except (LeukoBenchError, OSError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def check(config: dict[str, Any], run: Run) -> None:
    """Check the types of the fields that the pages use.

    Raises:
        LeukoBenchError: names the field and its value.
    """
    for name, kind in (*KINDS.items(), ("classes", list)):
        value = config.get(name, kind())
        if not isinstance(value, kind) or isinstance(value, bool) or (kind is list and not _words(value)):
            text = str(clean(value))[:60]
            raise LeukoBenchError(
                f"{run.file(run_folder.CONFIG)} holds {text!r} under '{name}', which should be {WORDS[kind]}. "
                "Restore it or train again."
            )


def _words(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) and value for value in values)


def clean(value: Any) -> Any:
    """Return a value without NaN, infinities and lone surrogates, which JSON and pages cannot hold."""
    if isinstance(value, dict):
        return {clean(str(key)): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
