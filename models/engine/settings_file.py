"""Settings from a JSON file, as `train --config FILE` takes them: best.json of `tune`, or a run's config.json."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from utils.errors import LeukoBenchError
from utils.io import files

if TYPE_CHECKING:
    from models.engine.config.base import ModelConfig

NO_SETTINGS = ("model", "classes", "initialisation", "flavour")  # a run's config.json says these as well


def read(path: Path) -> dict[str, Any]:
    """Read a file of settings: fields of a configuration by name.

    Raises:
        LeukoBenchError: the file is missing, is no JSON or holds no object.
    """
    if not path.exists():
        raise LeukoBenchError(f"There is no {path}. Give --config a JSON file of fields, such as best.json of tune.")
    value = files.read_json(path)
    if not isinstance(value, dict):
        raise LeukoBenchError(f"{path} holds {json.dumps(value)[:40]}; --config takes a JSON object of fields.")
    return value


def settings(path: Path, model: str, profile: str = "") -> list[str]:
    """Return a file's fields as "field=value" texts, to lay over a profile and under those of `--set`.

    Entries of an object such as "augmentation" become texts of their own, so that what the file leaves out stays.

    Raises:
        LeukoBenchError: the file cannot be used for this model and profile; the line names it.
    """
    values = read(path)
    if values.get("model", model) != model:
        raise LeukoBenchError(
            f"{path} holds settings of {values['model']}, not of {model}. Train that, or another file."
        )
    texts = []
    for name, value in values.items():
        if name in NO_SETTINGS:
            continue
        if isinstance(value, dict):  # numbers of a reference image are looked up anew, whatever the dataset is
            texts += [f"{name}.{inner}={json.dumps(each)}" for inner, each in value.items() if inner != "statistics"]
        else:
            texts.append(f"{name}={json.dumps(value)}")
    try:
        models.config_for(model, profile, texts)
    except LeukoBenchError as problem:
        raise LeukoBenchError(f"{path}: {problem}") from None
    return texts


def fields(config: "ModelConfig") -> dict[str, Any]:
    """Return what a file of settings needs to say: the fields that differ from the model's own, its name first."""
    own = models.config_for(config.model).model_dump(mode="json")
    changed = {name: value for name, value in config.model_dump(mode="json").items() if value != own[name]}
    return {"model": config.model} | {name: value for name, value in changed.items() if name not in NO_SETTINGS}
