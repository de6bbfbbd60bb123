"""All perturbations of `stress` by family: they change the image but not the findings of a haematologist.

The exception is `cells removed`, which removes the findings: there a low accuracy is correct.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from data.imaging import color_ops, scene_ops, stain_normalization, variants
from data.perturbations import corruptions, judging_families
from utils.errors import LeukoBenchError, nearest
from utils.runs.stress_controls import OTHER_CORNER, SAME_SWAP, TINTED

OTHER = "other"  # donor: a training image of another class, chosen at random for each image
SAME = "same"  # donor: the colours of a training image of the same class, as far away as those of OTHER
REFERENCE = "stain reference"  # the family whose donors are the reference images of the classes
STAINS = ("stain swap", "macenko swap", REFERENCE)
SEVERITIES = (1, 2, 3, 4, 5)

Changed = Callable[[np.ndarray, np.random.Generator, np.ndarray | None], np.ndarray]


@dataclass(frozen=True)
class Change:
    """One perturbation.

    Attributes:
        family: a key of `FAMILIES`.
        name: within its family.
        severity: 1 (slight) to 5 (strong, cells still readable); 0 without levels.
        function: of the image, a random generator, and the donor image or None.
        donor: "" without a donor image, OTHER, or the class of the donor.
    """

    family: str
    name: str
    severity: int
    function: Changed
    donor: str = ""

    @property
    def stain(self) -> bool:
        """Whether the stain of another class is transferred, so that predictions may follow it."""
        return self.family in STAINS

    def apply(self, image: np.ndarray, sha256: str, donor: np.ndarray | None = None) -> np.ndarray:
        """Return the changed image, a pure function of its arguments.

        Args:
            image: (h, w, 3) uint8 RGB; it is not modified.
            sha256: of the image's file. The random generator depends on it and on the name, not on the severity: clumps
                of severity 2 are where those of severity 3 are, though their grains differ.
            donor: (h, w, 3) uint8 RGB, where needed; for SAME_SWAP also its (6,) colour statistics.

        Returns:
            (h, w, 3) uint8 RGB.
        """
        return self.function(np.ascontiguousarray(image), generator(sha256, self.name), donor)


def generator(sha256: str, purpose: str) -> np.random.Generator:
    """Return a random generator seeded by the hash of an image file and a purpose."""
    return np.random.default_rng(int(hashlib.sha256(f"{sha256}/{purpose}".encode()).hexdigest()[:32], 16))


def _pure(function: Callable[[np.ndarray], np.ndarray]) -> Changed:
    return lambda image, random, donor: function(image)


def _by_value(function: Callable[[np.ndarray, float], np.ndarray], value: float) -> Changed:
    return lambda image, random, donor: function(image, value)


def _random(function: Callable[..., np.ndarray], *values: object) -> Changed:
    return lambda image, random, donor: function(image, *values, random)


def _with_donor(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Changed:
    return lambda image, random, donor: function(image, donor)


def _background(image: np.ndarray, random: np.random.Generator, donor: np.ndarray | None) -> np.ndarray:
    return scene_ops.replace_background(image, donor, random)


def _matched(image: np.ndarray, random: np.random.Generator, donor: np.ndarray | None) -> np.ndarray:
    if donor is None or donor.ndim == 1:
        return stain_normalization.reinhard(image, donor)
    return color_ops.reinhard_swap(image, donor)


def _grounded(ground: judging_families.Ground) -> Changed:
    return lambda image, random, donor: judging_families.grounded(image, ground, random)


def _photographed(camera: judging_families.Camera) -> Changed:
    return lambda image, random, donor: judging_families.photographed(image, camera)


def _levels(family: str, name: str, make: Callable[[float], Changed], values: tuple) -> tuple[Change, ...]:
    return tuple(
        Change(family, name, severity, make(value)) for severity, value in zip(SEVERITIES, values, strict=True)
    )


# Levels of BloodMNIST-C, adjusted by eye on the ALL dataset: at 5 the cells are still readable.
FAMILIES: dict[str, tuple[Change, ...]] = {
    "grey": (Change("grey", "gray", 0, _pure(variants.gray)),),
    "hue": _levels("hue", "hue", partial(_by_value, color_ops.hue), (20, 45, 90, 135, 180)),  # degrees
    "saturation": (
        *_levels("saturation", "less", partial(_by_value, color_ops.saturation), (0.8, 0.6, 0.45, 0.3, 0.15)),
        *_levels("saturation", "more", partial(_by_value, color_ops.saturation), (1.25, 1.5, 1.8, 2.2, 2.6)),
    ),
    "brightness": (  # darker: BloodMNIST-C; brighter: pale smears vanish at its 1.4
        *_levels("brightness", "darker", partial(_by_value, color_ops.brightness), (0.9, 0.8, 0.7, 0.6, 0.5)),
        *_levels("brightness", "brighter", partial(_by_value, color_ops.brightness), (1.05, 1.1, 1.15, 1.2, 1.25)),
    ),
    "stain swap": (Change("stain swap", "reinhard", 0, _with_donor(color_ops.reinhard_swap), OTHER),),
    REFERENCE: (),  # depends on the classes, see `references`
    "macenko swap": (Change("macenko swap", "macenko", 0, _with_donor(color_ops.macenko_swap), OTHER),),
    "background": (Change("background", "background", 0, _background, OTHER),),
    "cells removed": (Change("cells removed", "cells removed", 0, _random(scene_ops.remove_cells)),),
    "scale bar": (Change("scale bar", "painted over", 0, _pure(scene_ops.paint_over_bar)),),
    "blur": _levels("blur", "motion", partial(_random, corruptions.motion), (3, 4.5, 6, 8, 10)),  # pixels
    "defocus": _levels(
        "defocus", "defocus", partial(_by_value, corruptions.defocus), (0.8, 1.3, 1.8, 2.4, 3)
    ),  # pixels
    "jpeg": _levels("jpeg", "jpeg", partial(_by_value, corruptions.jpeg), (60, 40, 25, 15, 10)),  # quality
    "noise": _levels("noise", "gaussian", partial(_random, corruptions.noise), (6, 10, 15, 21, 28)),  # grey levels
    "deposit": _levels("deposit", "deposit", partial(_random, corruptions.deposit), (2, 4, 7, 11, 16)),  # clumps
    "bubbles": _levels(  # count and largest radius in pixels
        "bubbles", "bubbles", partial(_random, corruptions.bubbles), ((7, 6), (9, 9), (11, 12), (13, 15), (15, 18))
    ),
    # The controls.
    SAME_SWAP: (Change(SAME_SWAP, "reinhard", 0, _matched, SAME),),
    TINTED: (Change(TINTED, TINTED, 0, _pure(color_ops.tinted_grey)),),
    OTHER_CORNER: tuple(
        Change(OTHER_CORNER, name, 0, _pure(partial(scene_ops.paint_over_other_corner, down=down, right=right)))
        for name, down, right in (
            ("bottom left", True, False),
            ("top right", False, True),
            ("top left", False, False),
        )
    ),
    judging_families.COLOUR: tuple(
        Change(judging_families.COLOUR, name, 0, _photographed(camera))
        for name, camera in judging_families.CAMERAS.items()
    ),
    judging_families.BACKGROUND: tuple(
        Change(judging_families.BACKGROUND, name, 0, _grounded(ground))
        for name, ground in judging_families.GROUNDS.items()
    ),
}
NAMES = tuple(FAMILIES)
CONTROLS = (SAME_SWAP, TINTED, OTHER_CORNER, *judging_families.NAMES)
COMPARED_WITH = ("grey", "stain swap", "scale bar")  # the families that the controls are controls of
JUDGING = judging_families.NAMES
JUDGING_DIGEST = judging_families.digest()


def references(classes: Sequence[str]) -> tuple[Change, ...]:
    """Return the family `stain reference`: two transfers of the stain of each class's reference image."""
    return tuple(
        Change(REFERENCE, name, 0, _with_donor(function), label)
        for name, function in (("reinhard", color_ops.reinhard_swap), ("macenko", color_ops.macenko_swap))
        for label in classes
    )


def chosen(families: Sequence[str], classes: Sequence[str], controls: bool = False) -> list[Change]:
    """Return the perturbations of the named families, in the order of NAMES; without a name, all but the CONTROLS.

    Args:
        families: names, in any order.
        classes: of the dataset, donors of REFERENCE.
        controls: add the CONTROLS, and the families that they are compared with.

    Raises:
        LeukoBenchError: a family is unknown.
    """
    for name in families:
        if name not in NAMES:
            raise LeukoBenchError(f"Unknown family '{name}': choose from {', '.join(NAMES)}.{nearest(name, NAMES)}")
    standing = set(families) if families else set(NAMES) - set(CONTROLS)
    added = {*CONTROLS, *COMPARED_WITH} if controls else set()
    wanted = [name for name in NAMES if name in standing | added]
    return [c for name in wanted for c in (references(classes) if name == REFERENCE else FAMILIES[name])]
