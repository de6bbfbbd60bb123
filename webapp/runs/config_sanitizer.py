"""Read config.json of any content so that pages and JSON can show it."""

import math
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_fields, run_folder
from utils.runs.run_folder import Run


def config_of(run: Run) -> dict[str, Any]:
    """Return the valid fields of config.json, complete or not; empty where it cannot be read."""
    try:
        config = clean(files.read_json(run.file(run_folder.CONFIG)))
    except (LeukoBenchError, RecursionError):
        return {}
    if not isinstance(config, dict):
        return {}
    return {key: value for key, value in config.items() if not run_fields.problem(run_folder.CONFIG, {key: value})}


def clean(value: Any) -> Any:
    """Return a value without NaN, infinities and lone surrogates, which JSON and pages cannot hold."""
    if isinstance(value, dict):
        return {clean(str(key)): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
