"""Everything that `stress` does to an image, by family: what changes the picture but not what a haematologist reads.

All but `cells removed`, which takes away what there is to read: there a low accuracy is right.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from data.imaging import color_ops, scene_ops, variants
from data.perturbations import corruptions
from utils.errors import LeukoBenchError, nearest

OTHER = "other"  # as donor: a training image of a random other class, drawn anew for each image
REFERENCE = "stain reference"  # the family whose donors are the reference images of the classes
STAINS = ("stain swap", "macenko swap", REFERENCE)
SEVERITIES = (1, 2, 3, 4, 5)

Changed = Callable[[np.ndarray, np.random.Generator, np.ndarray | None], np.ndarray]


@dataclass(frozen=True)
class Change:
    """One way to change an image.

    Attributes:
        family: what it is one of; see `FAMILIES`.
        name: of the change within its family.
        severity: 1 (slight) to 5 (strong, the cells still to be read); 0 where there are no steps.
        function: of the image, a generator, and the donor image or None.
        donor: "" where no other image takes part, OTHER, or the class that the donor is of.
    """

    family: str
    name: str
    severity: int
    function: Changed
    donor: str = ""

    @property
    def stain(self) -> bool:
        """Whether the stain of another class is put on, so that an answer may follow it."""
        return self.family in STAINS

    def apply(self, image: np.ndarray, sha256: str, donor: np.ndarray | None = None) -> np.ndarray:
        """Return the changed image, a pure function of its arguments.

        Args:
            image: (h, w, 3) uint8 RGB; it is not modified.
            sha256: of the image's file. What is drawn at random depends on it and on the change's name, not on the
                severity: clumps of step 2 lie where clumps of step 3 lie. The grains of a clump differ by step.
            donor: (h, w, 3) uint8 RGB, where one is needed.

        Returns:
            (h, w, 3) uint8 RGB.
        """
        return self.function(np.ascontiguousarray(image), generator(sha256, self.name), donor)


def generator(sha256: str, purpose: str) -> np.random.Generator:
    """Return the random generator of an image, by the hash of its file, for one purpose."""
    return np.random.default_rng(int(hashlib.sha256(f"{sha256}/{purpose}".encode()).hexdigest()[:32], 16))


def _plain(function: Callable[[np.ndarray], np.ndarray]) -> Changed:
    return lambda image, random, donor: function(image)


def _by(function: Callable[[np.ndarray, float], np.ndarray], value: float) -> Changed:
    return lambda image, random, donor: function(image, value)


def _drawn(function: Callable[..., np.ndarray], *values: object) -> Changed:
    return lambda image, random, donor: function(image, *values, random)


def _given(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Changed:
    return lambda image, random, donor: function(image, donor)


def _background(image: np.ndarray, random: np.random.Generator, donor: np.ndarray | None) -> np.ndarray:
    return scene_ops.replace_background(image, donor, random)


def _steps(family: str, name: str, make: Callable[[float], Changed], values: tuple) -> tuple[Change, ...]:
    return tuple(Change(family, name, step, make(value)) for step, value in zip(SEVERITIES, values, strict=True))


# Set by eye on the ALL dataset, beginning with the steps of BloodMNIST-C: at 5 the cells can still be read.
FAMILIES: dict[str, tuple[Change, ...]] = {
    "grey": (Change("grey", "gray", 0, _plain(variants.gray)),),
    "hue": _steps("hue", "hue", partial(_by, color_ops.hue), (20, 45, 90, 135, 180)),  # degrees
    "saturation": (
        *_steps("saturation", "less", partial(_by, color_ops.saturation), (0.8, 0.6, 0.45, 0.3, 0.15)),
        *_steps("saturation", "more", partial(_by, color_ops.saturation), (1.25, 1.5, 1.8, 2.2, 2.6)),
    ),
    "brightness": (  # darker: BloodMNIST-C; brighter: pale smears vanish at its 1.4
        *_steps("brightness", "darker", partial(_by, color_ops.brightness), (0.9, 0.8, 0.7, 0.6, 0.5)),
        *_steps("brightness", "brighter", partial(_by, color_ops.brightness), (1.05, 1.1, 1.15, 1.2, 1.25)),
    ),
    "stain swap": (Change("stain swap", "reinhard", 0, _given(color_ops.reinhard_swap), OTHER),),
    REFERENCE: (),  # depends on the classes: see `references`
    "macenko swap": (Change("macenko swap", "macenko", 0, _given(color_ops.macenko_swap), OTHER),),
    "background": (Change("background", "background", 0, _background, OTHER),),
    "cells removed": (Change("cells removed", "cells removed", 0, _drawn(scene_ops.remove_cells)),),
    "scale bar": (Change("scale bar", "painted over", 0, _plain(scene_ops.paint_over_bar)),),
    "blur": _steps("blur", "motion", partial(_drawn, corruptions.motion), (3, 4.5, 6, 8, 10)),  # pixels
    "defocus": _steps("defocus", "defocus", partial(_by, corruptions.defocus), (0.8, 1.3, 1.8, 2.4, 3)),  # pixels
    "jpeg": _steps("jpeg", "jpeg", partial(_by, corruptions.jpeg), (60, 40, 25, 15, 10)),  # quality
    "noise": _steps("noise", "gaussian", partial(_drawn, corruptions.noise), (6, 10, 15, 21, 28)),  # grey levels
    "deposit": _steps("deposit", "deposit", partial(_drawn, corruptions.deposit), (2, 4, 7, 11, 16)),  # clumps
    "bubbles": _steps(  # how many and how large at most, in pixels
        "bubbles", "bubbles", partial(_drawn, corruptions.bubbles), ((7, 6), (9, 9), (11, 12), (13, 15), (15, 18))
    ),
}
NAMES = tuple(FAMILIES)


def references(classes: Sequence[str]) -> tuple[Change, ...]:
    """Return the family `stain reference`: the stain of each class's reference image put on, in two ways."""
    return tuple(
        Change(REFERENCE, name, 0, _given(function), label)
        for name, function in (("reinhard", color_ops.reinhard_swap), ("macenko", color_ops.macenko_swap))
        for label in classes
    )


def chosen(families: Sequence[str], classes: Sequence[str]) -> list[Change]:
    """Return the changes of the named families, all without a name, in the order of NAMES.

    Raises:
        LeukoBenchError: a family is unknown.
    """
    for name in families:
        if name not in NAMES:
            raise LeukoBenchError(f"Unknown family '{name}': choose from {', '.join(NAMES)}.{nearest(name, NAMES)}")
    wanted = [name for name in NAMES if not families or name in families]
    return [c for name in wanted for c in (references(classes) if name == REFERENCE else FAMILIES[name])]
