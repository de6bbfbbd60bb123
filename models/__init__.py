"""The models. A sub-package is a model; a module beside them serves all. Importing this imports no Keras."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import LeukoBenchError, nearest
from utils.runs.run_folder import APPLICATION

if TYPE_CHECKING:
    import keras

    from models.engine.config.base import ModelConfig


def names() -> list[str]:
    """Return the models' names in sorted order: the folders here that hold a config.py."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/config.py"))


def config_for(name: str, profile: str = "", settings: Sequence[str] = (), **values: Any) -> "ModelConfig":
    """Return a model's configuration.

    Args:
        name: a folder of models/, or "keras:" and an architecture of keras.applications.
        profile: a named set of overrides of that model, such as "demo".
        settings: "field=value" texts as `--set` takes them, laid over the profile.
        values: fields by name, laid over the settings.

    Raises:
        LeukoBenchError: unknown model, profile or field, or a wrong value.
    """
    from models.engine.config.overrides import build_config

    return build_config(_module(name, "config").Config, profile, settings, **{"model": name, **values})


def build(config: "ModelConfig", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the Keras model of a configuration: (batch, size, size, 3) RGB in 0-255 to (batch, classes).

    Args:
        config: with `classes` filled in.
        initial_weights: load config.weights; False leaves random ones, for weights that are loaded afterwards.
        logits: leave the softmax away.

    Raises:
        LeukoBenchError: the initial weights cannot be had.
    """
    return _module(config.model, "model").build(config, initial_weights=initial_weights, logits=logits)


def command(name: str, script: str) -> list[str]:
    """Return what runs `script`, "train" or "evaluate", of a model in a process of its own, after `python`."""
    if name.startswith(APPLICATION):
        return ["-m", "models.keras_applications", script, name]
    return ["-m", f"models.{name}.{script}"]


def _module(name: str, part: str) -> Any:
    if name.startswith(APPLICATION):
        applications = importlib.import_module("models.keras_applications")
        applications.check(name)
        return applications
    if name not in names():
        raise LeukoBenchError(
            f"Unknown model '{name}'.{nearest(name, names())} Valid models: {', '.join(names())}, "
            f"and {APPLICATION}NAME for any architecture of keras.applications."
        )
    return importlib.import_module(f"models.{name}.{part}")
