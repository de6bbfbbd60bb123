"""Training recipes that take the shortcut through the stain away, as settings of any model."""

import json
from typing import TYPE_CHECKING

from utils.errors import LeukoBenchError, nearest

if TYPE_CHECKING:
    from models.engine.config.base import ModelConfig

# Each setting as --set takes it. What a recipe trains on, and so is not judged by, says utils/runs/seen_families.py.
RECIPES = {
    "gray": ("variant=gray",),
    "reinhard": ("variant=reinhard",),
    "macenko": ("variant=macenko",),
    "no_bar": ("variant=no_bar",),
    "stain_jitter": ("intervention.stain_jitter=0.2",),
    "stain_swap": ("intervention.stain_swap=1",),
    "strong": (
        "intervention.background_swap=0.15",
        "intervention.stain_swap=0.7",
        "intervention.stain_jitter=0.1",
        "intervention.hue=0.2",
        "intervention.grey=0.3",
        "intervention.exposure=0.4",
        "intervention.erasing=0.4",
        "augmentation.contrast=0.2",
        "augmentation.zoom=0.1",
    ),
}
# A few words on each, for lists.
WORDS = {
    "gray": "without colour",
    "reinhard": "stains made alike, in LAB",
    "macenko": "stains made alike, in optical density",
    "no_bar": "scale bar painted over",
    "stain_jitter": "dyes made stronger and weaker",
    "stain_swap": "in the colours of other training images",
    "strong": "stain, hue, grey, exposure, backgrounds at random",
}


def names() -> list[str]:
    """Return the names of the recipes, in the order from the plainest."""
    return list(RECIPES)


def settings(name: str) -> tuple[str, ...]:
    """Return the settings of a recipe as `--set` takes them, its own name among them; none for "".

    Raises:
        LeukoBenchError: there is no such recipe.
    """
    if not name:
        return ()
    if name not in RECIPES:
        raise LeukoBenchError(f"Unknown recipe '{name}'.{nearest(name, RECIPES)} Valid recipes: {', '.join(RECIPES)}.")
    return (f"recipe={name}", *RECIPES[name])


def check(config: "ModelConfig") -> None:
    """Refuse a configuration whose settings contradict the recipe that it is named after.

    Raises:
        LeukoBenchError: says which setting.
    """
    for setting in RECIPES.get(config.recipe, ()):
        field, _, text = setting.partition("=")
        outer, _, inner = field.partition(".")
        held = getattr(getattr(config, outer), inner or "name")  # without an inner field it is the variant's name
        if str(held) != text and held != _number(text):
            raise LeukoBenchError(
                f"Recipe '{config.recipe}' sets {setting}; received {field}={held}. "
                "Leave the recipe away to choose by hand."
            )


def _number(text: str) -> float | None:
    try:
        return float(json.loads(text))
    except ValueError:
        return None
