"""Answers of the stress test image by image, and the numbers of its controls with intervals over groups.

Files: stress_images.csv (answers) and stress_controls.csv (numbers). Definitions: docs/stress.md.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import significance
from utils.runs import image_groups
from utils.runs.run_folder import Run
from utils.runs.stress_file import GREY, NONE, SWAP

if TYPE_CHECKING:
    import numpy as np

IMAGES, FILE = "stress_images.csv", "stress_controls.csv"
IMAGES_HEADER = ("image", "label", "donor", "shift", "same_class_shift")
HEADER = ("measure", "estimate", "low", "high", "images", "groups", "groups_from", "judging")
SAME_SWAP, TINTED, BAR, OTHER_CORNER = "same-class swap", "tinted grey", "scale bar", "other corner"
COLOUR, BACKGROUND = "other camera", "other background"
EFFECT, FOLLOWING = "class_specific_stain_effect", "following"
# Measures of stress_controls.csv with their names in tables.
MEASURES = {
    EFFECT: "class-specific stain effect",
    FOLLOWING: "following the donor's class",
    "on_donor_observed": "on the donor's class, observed",
    "on_donor_expected": "on the donor's class, expected",
    "same_class_accuracy": "accuracy, same-class donors",
    "other_class_accuracy": "accuracy, other-class donors",
    "stretched_donors": "same-class donors stretched",
    "grey_fall": "fall in grey",
    "tinted_grey_fall": "fall in tinted grey",
    "scale_bar_effect": "scale bar against other corners",
    "judging_colour": "accuracy, other camera",
    "judging_background": "accuracy, other background",
}
CALIPER = 0.1  # as in data/perturbations/stain_donors.py: a larger difference of the shifts was stretched
SHARES = frozenset(name for name in MEASURES if "accuracy" in name or name.startswith(("judging", "on_", "stretched")))
REMEDY = "Make it again: python run_guide.py stress {} --controls"


class Key(NamedTuple):
    """One change of the stress test, as in stress.csv."""

    family: str
    change: str
    severity: int
    donor: str


UNCHANGED = Key(NONE, NONE, 0, "")


@dataclass(frozen=True)
class Answers:
    """Answers of a run image by image; classes are indices into the run's classes, -1 where there is none.

    Attributes:
        images: (n,) names.
        labels: (n,) classes.
        donors: (n,) class of each image's donor of another class.
        shifts: (n, 2) distance in LAB of that donor, and of the donor of the same class before stretching; NaN
            where not measured.
        answers: (n,) predicted class by change.
    """

    images: tuple[str, ...]
    labels: "np.ndarray"
    donors: "np.ndarray"
    shifts: "np.ndarray"
    answers: Mapping[Key, "np.ndarray"]

    def right(self, family: str) -> "np.ndarray | None":
        """Return the share of a family's changes with a right answer, (n,) with NaN; None if not measured."""
        import numpy as np

        found = [np.where(a < 0, np.nan, a == self.labels) for key, a in self.answers.items() if key.family == family]
        return np.mean(found, axis=0) if found else None


class Number(NamedTuple):
    """A row of stress_controls.csv; the ends of the interval are None with fewer than two groups."""

    measure: str
    estimate: float
    low: float | None
    high: float | None
    images: int
    groups: int
    groups_from: str
    judging: str


def read_answers(run: Run) -> Answers | None:
    """Read stress_images.csv; None if the run has none, as runs of older versions.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    import numpy as np

    path = run.file(IMAGES)
    if not path.is_file():
        return None
    classes = list(run.config()["classes"])
    try:
        rows = files.read_csv(path, IMAGES_HEADER)
        columns = [name for name in rows[0] if name not in IMAGES_HEADER]
        answers = {_key(name): np.array([int(row[name] or -1) for row in rows]) for name in columns}
        if any(((a < -1) | (a >= len(classes))).any() for a in answers.values()):
            raise ValueError("an answer is no class")
        held = Answers(
            tuple(row["image"] for row in rows),
            np.array([classes.index(row["label"]) for row in rows]),
            np.array([classes.index(row["donor"]) if row["donor"] else -1 for row in rows]),
            np.array([[float(row[name] or "nan") for name in IMAGES_HEADER[3:]] for row in rows]),
            answers,
        )
    except (TypeError, ValueError, IndexError) as error:
        raise LeukoBenchError(f"{path} is damaged ({error}). {REMEDY.format(run.id)}", path=path) from None
    run.check(IMAGES)
    return held


def answers_text(held: Answers, classes: Sequence[str]) -> str:
    """Return the text of stress_images.csv."""
    header = [*IMAGES_HEADER, *("|".join(map(str, key)) for key in held.answers)]
    columns = [["" if a < 0 else int(a) for a in each] for each in held.answers.values()]
    rows = [
        [
            image,
            classes[held.labels[k]],
            classes[held.donors[k]] if held.donors[k] >= 0 else "",
            *("" if math.isnan(value) else f"{value:.3f}" for value in held.shifts[k]),
            *(column[k] for column in columns),
        ]
        for k, image in enumerate(held.images)
    ]
    return files.csv_text(header, rows)


def joined(new: Answers, old: Answers | None, order: Sequence[str], kept: Collection[str]) -> Answers:
    """Return new answers with those of the families to keep from old ones of the same images.

    Args:
        new: with the unchanged images.
        old: of an earlier test.
        order: of the families.
        kept: families to take from the old ones.
    """
    import numpy as np

    answers = dict(new.answers)
    donors, shifts = new.donors, new.shifts
    if old is not None and old.images == new.images:
        answers |= {key: each for key, each in old.answers.items() if key.family in kept and key not in answers}
        donors = np.where(donors < 0, old.donors, donors)
        shifts = np.where(np.isnan(shifts), old.shifts, shifts)
    ranked = sorted(answers, key=lambda key: order.index(key.family))  # stable: changes keep their order
    return Answers(new.images, new.labels, donors, shifts, {key: answers[key] for key in ranked})


def _key(name: str) -> Key:
    family, change, severity, donor = name.split("|")
    return Key(family, change, int(severity), donor)


def following(labels: "np.ndarray", donors: "np.ndarray", answers: "np.ndarray", classes: int) -> "np.ndarray":
    """Return for each image whether the answer is the donor's class, minus the chance of it under permuted donors.

    Donors are permuted among the images of one class, so that each class keeps its answers and its donors: an answer
    falls on the donor's class with the share of that answer among the donors of the images' class.

    Args:
        labels: (n,) classes of the images.
        donors: (n,) classes of the donors, never the image's own.
        answers: (n,) predicted classes.
        classes: number of classes.

    Returns:
        (n,) in -1..1; the mean is the following.
    """
    import numpy as np

    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, donors), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return (answers == donors) - shares[labels, answers]


def interval(values: "np.ndarray", groups: Sequence[str], share: bool) -> tuple[float, float] | tuple[None, None]:
    """Return a 95 % interval over groups of a mean; None with fewer than two groups.

    Without any spread the resampling has none: the margin is then Wilson's for as many images as there are groups.

    Args:
        values: (n,) in 0..1, or differences in -1..1.
        groups: (n,) names.
        share: whether the values are in 0..1.
    """
    count = len(set(groups))
    if count < 2:
        return None, None
    if values.max() - values.min() < 1e-12:
        margin = 1 - significance.wilson(count, count)[0]
        low, high = float(values[0]) - margin, float(values[0]) + margin
    else:
        low, high = map(float, significance.cluster_bootstrap(values, groups))
    return max(low, 0.0 if share else -1.0), min(high, 1.0)


def measure(run: Run, held: Answers, judging: str) -> list[Number]:
    """Return the numbers of the controls that were measured, in the order of MEASURES.

    Args:
        run: whose groups of images are used, see `image_groups`.
        held: its answers.
        judging: hash of the judging families that it was tested with.
    """
    import numpy as np

    groups, source = image_groups.of_images(run, held.images)
    found = []
    for name, values in _values(held, len(run.config()["classes"])).items():
        known = ~np.isnan(values)
        if known.any():
            of = [group for group, is_known in zip(groups, known, strict=True) if is_known]
            ends = interval(values[known], of, name in SHARES)
            cells = int(known.sum()), len(set(of)), source, judging if name.startswith("judging") else ""
            found.append(Number(name, float(values[known].mean()) + 0.0, *ends, *cells))
    return found


def _values(held: Answers, classes: int) -> dict[str, "np.ndarray"]:
    """Return for each measure its values per image, (n,) with NaN where an image has none."""
    import numpy as np

    of = {family: held.right(family) for family in {key.family for key in held.answers}}
    found: dict[str, np.ndarray] = {}
    plain, swap, same = of.get(NONE), of.get(SWAP), of.get(SAME_SWAP)
    if swap is not None and same is not None:
        both = swap + same  # NaN where one is missing
        found[EFFECT] = same - swap
        found["same_class_accuracy"] = np.where(np.isnan(both), np.nan, same)
        found["other_class_accuracy"] = np.where(np.isnan(both), np.nan, swap)
        shift, own = held.shifts.T
        found["stretched_donors"] = np.where(np.isnan(own), np.nan, np.abs(own - shift) > CALIPER * shift)
    if swap is not None:
        answers = next(a for key, a in held.answers.items() if key.family == SWAP)
        found[FOLLOWING] = following(held.labels, held.donors, answers, classes)
        found["on_donor_observed"] = (answers == held.donors).astype(float)
        found["on_donor_expected"] = found["on_donor_observed"] - found[FOLLOWING]
    for name, family in (("grey_fall", GREY), ("tinted_grey_fall", TINTED)):
        if plain is not None and family in of:
            found[name] = plain - of[family]
    if OTHER_CORNER in of and BAR in of:
        found["scale_bar_effect"] = of[OTHER_CORNER] - of[BAR]
    for name, family in (("judging_colour", COLOUR), ("judging_background", BACKGROUND)):
        if family in of:
            found[name] = of[family]
    return {name: found[name] for name in MEASURES if name in found}


def text(numbers: Sequence[Number]) -> str:
    """Return the text of stress_controls.csv."""
    return files.csv_text(
        HEADER,
        [["" if v is None else f"{v:.6f}" if isinstance(v, float) else v for v in number] for number in numbers],
    )


def read(run: Run) -> dict[str, Number]:
    """Read stress_controls.csv by measure; {} for a run without controls.

    Raises:
        LeukoBenchError: the file is damaged.
    """
    path = run.file(FILE)
    if not path.is_file():
        return {}
    try:
        numbers = [
            Number(
                row["measure"],
                float(row["estimate"]),
                *(float(row[key]) if row[key] else None for key in ("low", "high")),
                *(int(row[key]) for key in ("images", "groups")),
                *(row[key] for key in ("groups_from", "judging")),
            )
            for row in files.read_csv(path, HEADER)
        ]
    except (TypeError, ValueError) as error:
        raise LeukoBenchError(f"{path} is damaged ({error}). {REMEDY.format(run.id)}", path=path) from None
    run.check(FILE)
    return {number.measure: number for number in numbers}
