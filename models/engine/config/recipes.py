"""Training recipes against shortcuts through the stain, as settings of any model."""

from utils.errors import LeukoBenchError, nearest

# Each setting as --set takes it. utils/runs/seen_families.py lists the stress families that a recipe trains on.
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
# A short description of each, for lists.
WORDS = {
    "gray": "without colour",
    "reinhard": "stain normalised in LAB",
    "macenko": "stain normalised in optical density",
    "no_bar": "scale bar painted over",
    "stain_jitter": "random strength of the dyes",
    "stain_swap": "colours of other training images",
    "strong": "random stain, hue, grey, exposure, background",
}


def names() -> list[str]:
    """Return the names of the recipes, from the simplest on."""
    return list(RECIPES)


def settings(name: str) -> tuple[str, ...]:
    """Return the settings of a recipe as `--set` takes them, with its own name; none for "".

    Raises:
        LeukoBenchError: there is no such recipe.
    """
    if not name:
        return ()
    if name not in RECIPES:
        raise LeukoBenchError(f"Unknown recipe '{name}'.{nearest(name, RECIPES)} Valid recipes: {', '.join(RECIPES)}.")
    return (f"recipe={name}", *RECIPES[name])
