"""Families of the stress test that a run trained on, or is invariant to; they do not measure its robustness."""

from collections.abc import Collection, Mapping
from typing import Any

from utils.runs import stress_file
from utils.runs.records import variant_of
from utils.runs.stress_file import REFERENCE_MACENKO, REFERENCE_REINHARD

# A family counts as trained on if training images were changed in that way or in a similar one: stain jitter changes
# hue and saturation, and the same stain vectors as Macenko's method; erased patches cover the image like deposit and
# bubbles.
BY_INTERVENTION = {
    "stain_swap": ("stain swap", "same-class swap", REFERENCE_REINHARD),
    "stain_jitter": ("hue", "saturation", "brightness", "macenko swap", REFERENCE_MACENKO),
    "hue": ("hue",),
    "grey": ("grey", "tinted grey", "saturation"),
    "exposure": ("brightness",),
    "background_swap": ("background",),
    "erasing": ("deposit", "bubbles"),
}
BY_AUGMENTATION = {"brightness": ("brightness",), "contrast": ("brightness",), "colour": ("hue", "saturation")}
BY_VARIANT = {
    "gray": ("grey", "tinted grey", "hue", "saturation"),
    "reinhard": ("stain swap", "same-class swap", REFERENCE_REINHARD),
    "macenko": ("macenko swap", REFERENCE_MACENKO),
    "no_bar": ("scale bar",),
}


def trained_on(config: dict[str, Any]) -> frozenset[str]:
    """Return the families that a run trained on, or whose change its variant removes, from its config.json."""
    found = set(BY_VARIANT.get(variant_of(config), ()))
    for field, families in (("intervention", BY_INTERVENTION), ("augmentation", BY_AUGMENTATION)):
        held = config.get(field) or {}
        found.update(family for name, of in families.items() if held.get(name) for family in of)
    return frozenset(found)


def lowest_unseen(
    trained: Collection[str], accuracies: Mapping[str, float], known: Collection[str]
) -> tuple[str, float] | None:
    """Return name and accuracy of the family with the lowest accuracy among those that a run did not train on.

    Args:
        trained: the families of `trained_on`.
        accuracies: by family, 0..1.
        known: the families to consider.

    Returns:
        None if there is no such family, or if one of them was not measured.
    """
    unseen = [family for family in known if family not in trained and family not in stress_file.NO_TEST]
    if not unseen or any(family not in accuracies for family in unseen):
        return None
    return min(((family, accuracies[family]) for family in unseen), key=lambda pair: pair[1])
