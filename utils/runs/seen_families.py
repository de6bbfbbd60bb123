"""Which families of `stress` a run trained on, or is blind to by construction: it is not judged by those."""

from collections.abc import Collection, Mapping
from typing import Any

from utils.runs import stress_file
from utils.runs.records import variant_of
from utils.runs.stress_file import REFERENCE_MACENKO, REFERENCE_REINHARD

# A family counts as trained on when training images were changed in that way, or in one so near that the name alone
# tells them apart: jittering the dyes changes hue and saturation, and moves what Macenko's method moves; erased patches
# cover the image as deposit and bubbles do.
BY_INTERVENTION = {
    "stain_swap": ("stain swap", REFERENCE_REINHARD),
    "stain_jitter": ("hue", "saturation", "brightness", "macenko swap", REFERENCE_MACENKO),
    "hue": ("hue",),
    "grey": ("grey", "saturation"),
    "exposure": ("brightness",),
    "background_swap": ("background",),
    "erasing": ("deposit", "bubbles"),
}
BY_AUGMENTATION = {"brightness": ("brightness",), "contrast": ("brightness",), "colour": ("hue", "saturation")}
BY_VARIANT = {
    "gray": ("grey", "hue", "saturation"),
    "reinhard": ("stain swap", REFERENCE_REINHARD),
    "macenko": ("macenko swap", REFERENCE_MACENKO),
    "no_bar": ("scale bar",),
}


def trained_on(config: dict[str, Any]) -> frozenset[str]:
    """Return the families that a run's config.json says it trained on, or whose change its variant takes back."""
    found = set(BY_VARIANT.get(variant_of(config), ()))
    for field, families in (("intervention", BY_INTERVENTION), ("augmentation", BY_AUGMENTATION)):
        held = config.get(field) or {}
        found.update(family for name, of in families.items() if held.get(name) for family in of)
    return frozenset(found)


def lowest_unseen(
    taught: Collection[str], accuracies: Mapping[str, float], known: Collection[str]
) -> tuple[str, float] | None:
    """Return the family that a run did not train on with its lowest accuracy: what a recipe is judged by.

    Args:
        taught: what `trained_on` gave.
        accuracies: of the families, 0..1.
        known: the families that count; where one of them was not measured there is no lowest, None.
    """
    unseen = [family for family in known if family not in taught and family not in stress_file.NO_TEST]
    if not unseen or any(family not in accuracies for family in unseen):
        return None
    return min(((family, accuracies[family]) for family in unseen), key=lambda pair: pair[1])
