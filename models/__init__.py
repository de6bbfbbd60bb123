"""The models: a sub-package with a config.py is one; engine/ serves all of them. Importing this imports no Keras."""

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
    """Return the models' names in sorted order: the folders of this package that hold a config.py."""
    return sorted(path.parent.name for folder in __path__ for path in Path(folder).glob("*/config.py"))


def config_for(name: str, profile: str = "", settings: Sequence[str] = (), **values: Any) -> "ModelConfig":
    """Return a model's configuration.

    Args:
        name: a folder of models/, or "keras:" and an architecture of keras.applications.
        profile: a named set of overrides of that model, such as "demo".
        settings: "field=value" texts as `--set` takes them, which override the profile.
        values: fields by name, which override the settings.

    Raises:
        LeukoBenchError: unknown model, profile or field, or a wrong value.
    """
    from models.engine.config.overrides import build_config

    return build_config(_module(name, "config").Config, profile, settings, **{"model": name, **values})


def build(config: "ModelConfig", initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the Keras model of a configuration: (batch, size, size, 3) RGB in 0-255 to (batch, classes).

    Args:
        config: with `classes` filled in.
        initial_weights: load config.weights; False leaves random ones, where a run's weights are loaded afterwards.
        logits: leave out the softmax.

    Raises:
        LeukoBenchError: the initial weights are not available.
    """
    return _module(config.model, "model").build(config, initial_weights=initial_weights, logits=logits)


def command(name: str, script: str) -> list[str]:
    """Return the arguments of `python` that run `script`, "train" or "evaluate", of a model."""
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
