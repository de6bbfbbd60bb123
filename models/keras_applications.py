"""All architectures of keras.applications as models, such as "keras:MobileNetV3Small", with the standard head.

Train and evaluate one: python -m models.keras_applications train|evaluate keras:NAME [--help].
"""

import ast
import difflib
import functools
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from models.engine.config.base import BackboneConfig
from models.engine.layers.backbone import copy_graph
from models.engine.layers.head import classifier, image_input
from models.engine.layers.pretrained import load_application
from utils.console import error
from utils.errors import LeukoBenchError
from utils.runs.run_folder import APPLICATION

if TYPE_CHECKING:
    import keras

EXAMPLE = f"train {APPLICATION}MobileNetV3Small"
SPREAD = (0.229, 0.224, 0.225)  # standard deviation of ImageNet by channel, for values in 0..1


class Config(BackboneConfig):
    """Average pooling, dropout, softmax; frozen ImageNet base first, then unfrozen at 1e-4."""

    image_size: int = 224
    head_epochs: int = 8

    @model_validator(mode="after")
    def _large_enough_for_the_architecture(self) -> Self:
        least = smallest(self.model)
        if self.image_size < least:
            raise ValueError(f"image_size {self.image_size} is too small for {self.model}: use at least {least}")
        return self


def names() -> list[str]:
    """Return "keras:" and each architecture of the installed Keras, in sorted order, without importing Keras."""
    return sorted(APPLICATION + architecture for architecture in _families())


def check(name: str) -> None:
    """Raise LeukoBenchError unless `name` is one of `names()`."""
    if name in names():
        return
    by_lower = {architecture.lower(): architecture for architecture in _families()}
    close = difflib.get_close_matches(name.removeprefix(APPLICATION).lower(), by_lower, n=1)
    hint = f" Did you mean '{APPLICATION}{by_lower[close[0]]}'?" if close else ""
    raise LeukoBenchError(f"Unknown model '{name}'.{hint} Architectures: {', '.join(sorted(_families()))}.")


def smallest(name: str) -> int:
    """Return the smallest side in pixels that an architecture accepts, read from its source."""
    check(name)
    source = _keras() / "src" / "applications" / f"{_families()[name.removeprefix(APPLICATION)]}.py"
    return max((int(side) for side in re.findall(r"min_size=(\d+)", source.read_text(encoding="utf-8"))), default=32)


@functools.cache
def _families() -> dict[str, str]:
    """Return the family of each architecture: the module that keras.applications imports it from."""
    tree = ast.parse((_keras() / "applications" / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    pairs = [(each.name, node.module.rpartition(".")[2]) for node in imports for each in node.names]
    return {name: module for name, module in pairs if name[0].isupper()}


def _keras() -> Path:
    spec = importlib.util.find_spec("keras")  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise LeukoBenchError("Keras is not installed. Run: python -m pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0])


def build(config: Config, initial_weights: bool = True, logits: bool = False) -> "keras.Model":
    """Build the model; see `models.build`."""
    import keras

    architecture = config.model.removeprefix(APPLICATION)
    family = getattr(keras.applications, _families()[architecture])
    inputs = image_input(config)
    # The family's preprocessing as part of the graph; it does nothing where the architecture includes it.
    x = family.preprocess_input(inputs)
    base = load_application(getattr(keras.applications, architecture), x, config, initial_weights)
    if family is keras.applications.efficientnet:
        base = _with_second_scaling(base, inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(base.output)
    return keras.Model(inputs, classifier(x, config, logits), name=architecture)


def _with_second_scaling(base: "keras.Model", inputs: "keras.KerasTensor") -> "keras.Model":
    """Add the division to EfficientNet B0 to B7 that its ImageNet weights need.

    Keras adds it only while it downloads those weights itself. Without it, a run's weights, or ImageNet weights from a
    file, would get inputs with about half the spread.
    """
    import keras

    if sum(isinstance(layer, keras.layers.Rescaling) for layer in base.layers) > 1:
        return base

    def divide(layer: "keras.Layer", x: "keras.KerasTensor") -> "keras.KerasTensor":
        if not isinstance(layer, keras.layers.Normalization):
            return x
        return keras.layers.Rescaling([spread**-0.5 for spread in SPREAD])(x)

    return copy_graph(base, inputs, inputs, divide)


def main() -> None:
    """Run `train` or `evaluate` for the architecture that the command line names, and exit."""
    from models.engine.cli import run_evaluate, run_train

    scripts = {"train": run_train, "evaluate": run_evaluate}
    if len(sys.argv) < 3 or sys.argv[1] not in scripts:
        error(f"Give a command and an architecture: python -m models.keras_applications train {names()[0]}")
        sys.exit(2)
    _, script, name, *options = sys.argv
    sys.argv = [f"models.keras_applications {script} {name}", *options]
    scripts[script](name)


if __name__ == "__main__":
    main()
