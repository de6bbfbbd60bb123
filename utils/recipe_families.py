"""Which families of `stress` a run trained on, or is blind to by construction: it is not judged by those."""

from typing import Any

from utils.run_records import variant_of

# A family counts as trained on when training images were changed in that way, or in one so near that the name alone
# tells them apart: turning all hues and jittering the dyes are both changes of hue and saturation.
BY_INTERVENTION = {
    "stain_swap": ("stain swap", "stain reference"),
    "stain_jitter": ("hue", "saturation", "brightness"),
    "hue": ("hue",),
    "grey": ("grey",),
    "exposure": ("brightness",),
    "background_swap": ("background",),
}
BY_AUGMENTATION = {"brightness": ("brightness",), "contrast": ("brightness",), "colour": ("hue", "saturation")}
BY_VARIANT = {
    "gray": ("grey", "hue", "saturation"),
    "reinhard": ("stain swap", "stain reference"),
    "macenko": ("macenko swap", "stain reference"),
    "no_bar": ("scale bar",),
}


def trained_on(config: dict[str, Any]) -> frozenset[str]:
    """Return the families that a run's config.json says it trained on, or whose change its variant takes back."""
    found = set(BY_VARIANT.get(variant_of(config), ()))
    for field, families in (("intervention", BY_INTERVENTION), ("augmentation", BY_AUGMENTATION)):
        held = config.get(field) or {}
        found.update(family for name, of in families.items() if held.get(name) for family in of)
    return frozenset(found)
