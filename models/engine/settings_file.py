"""Settings from a JSON file, as `train --config FILE` takes them: best.json of `tune`, or a run's config.json."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from utils.errors import LeukoBenchError, cut
from utils.io import files

if TYPE_CHECKING:
    from models.engine.config.base import ModelConfig

MOST_BYTES = 1_000_000
NO_SETTINGS = ("model", "classes", "initialisation", "flavour")  # in a run's config.json, but not settings


def read(path: Path) -> dict[str, Any]:
    """Read a file of settings: fields of a configuration by name.

    Raises:
        LeukoBenchError: the file is missing, is not JSON or holds no object.
    """
    if not path.exists():
        raise LeukoBenchError(f"There is no {path}. Give --config a JSON file of fields, such as best.json of tune.")
    value = files.read_json(path, MOST_BYTES)
    if not isinstance(value, dict):
        raise LeukoBenchError(f"{path} holds {cut(json.dumps(value))}; --config takes a JSON object of fields.")
    return value


def settings(path: Path, model: str, profile: str = "") -> list[str]:
    """Return a file's fields as "field=value" texts, which override a profile and which `--set` overrides.

    Entries of an object such as "augmentation" become separate texts, so that entries missing in the file stay.

    Raises:
        LeukoBenchError: the file cannot be used for this model and profile; the line names it.
    """
    values = read(path)
    if values.get("model", model) != model:
        raise LeukoBenchError(
            f"{path} holds settings of {cut(values['model'])}, not of {model}. Train that, or another file."
        )
    texts = []
    for name, value in values.items():
        if name in NO_SETTINGS:
            continue
        if isinstance(value, dict):  # without the statistics of a reference image, which depend on the dataset
            texts += [f"{name}.{inner}={json.dumps(each)}" for inner, each in value.items() if inner != "statistics"]
        else:
            texts.append(f"{name}={json.dumps(value)}")
    try:
        models.config_for(model, profile, texts)
    except LeukoBenchError as problem:
        raise LeukoBenchError(f"{path}: {problem}") from None
    return texts


def fields(config: "ModelConfig") -> dict[str, Any]:
    """Return the content of a settings file: the model's name, and the fields that differ from its defaults."""
    defaults = models.config_for(config.model).model_dump(mode="json")
    changed = {name: value for name, value in config.model_dump(mode="json").items() if value != defaults[name]}
    return {"model": config.model} | {name: value for name, value in changed.items() if name not in NO_SETTINGS}
