"""Answers of the stress test image by image, and the numbers of its controls with intervals over groups.

Files: stress_images.csv (answers) and stress_controls.csv (numbers). Definitions: docs/stress.md.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics.group_intervals import difference_interval, mean_interval
from utils.runs import image_groups
from utils.runs.run_folder import Run
from utils.runs.stress_file import GREY, NONE, SWAP

if TYPE_CHECKING:
    import numpy as np

IMAGES, FILE = "stress_images.csv", "stress_controls.csv"
IMAGES_HEADER = ("image", "label", "donor", "shift", "same_class_shift")
HEADER = ("measure", "estimate", "low", "high", "images", "groups", "groups_from", "judging")
SAME_SWAP, TINTED, BAR, OTHER_CORNER = "same-class swap", "tinted grey", "scale bar", "other corner"
JUDGING = {"judging_colour": "other camera", "judging_background": "other background"}
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
CALIPER = 0.1  # a donor's shift is as large as another's if they differ by at most this share
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
    """A row of stress_controls.csv: a share or a difference of shares with its 95 % interval over groups."""

    measure: str
    estimate: float
    low: float
    high: float
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


def expected_on_donor(labels: "np.ndarray", donors: "np.ndarray", answers: "np.ndarray", classes: int) -> "np.ndarray":
    """Return for each image the chance that its answer is the donor's class if the donors were permuted.

    Donors are permuted among the images of one class, so that each class keeps its answers and its donors: an answer
    falls on the donor's class with the share of that answer among the donors of the images' class.

    Args:
        labels: (n,) classes of the images.
        donors: (n,) classes of the donors, never the image's own.
        answers: (n,) predicted classes.
        classes: number of classes.

    Returns:
        (n,) in 0..1.
    """
    import numpy as np

    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, donors), 1)
    return (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[labels, answers]


def measure(run: Run, held: Answers, judging: str) -> list[Number]:
    """Return the numbers of the controls that were measured, in the order of MEASURES.

    Args:
        run: whose groups of images are used, see `image_groups`.
        held: its answers.
        judging: hash of the judging families that it was tested with.
    """

    groups, source = image_groups.of_images(run, held.images)
    found = []
    for name, (one, other) in _values(held, len(run.config()["classes"])).items():
        each = mean_interval(one, groups) if other is None else difference_interval(one, other, groups)
        if each.images:
            ends = round(each.estimate, 12) + 0.0, each.low, each.high  # never -0.0
            found.append(Number(name, *ends, each.images, each.groups, source, judging if name in JUDGING else ""))
    return found


def _values(held: Answers, classes: int) -> "dict[str, tuple[np.ndarray, np.ndarray | None]]":
    """Return for each measure its values per image, (n,) with NaN where missing, and what is taken off, or None."""
    import numpy as np

    of = {family: held.right(family) for family in {key.family for key in held.answers}}
    found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    plain, swap, same = of.get(NONE), of.get(SWAP), of.get(SAME_SWAP)
    if swap is not None and same is not None:
        shift, own = held.shifts.T
        found[EFFECT] = same, swap
        found["same_class_accuracy"] = np.where(np.isnan(swap), np.nan, same), None
        found["other_class_accuracy"] = np.where(np.isnan(same), np.nan, swap), None
        found["stretched_donors"] = np.where(np.isnan(own), np.nan, np.abs(own - shift) > CALIPER * shift), None
    if swap is not None:
        answers = next(a for key, a in held.answers.items() if key.family == SWAP)
        observed = (answers == held.donors).astype(float)
        expected = expected_on_donor(held.labels, held.donors, answers, classes)
        found[FOLLOWING] = observed, expected
        found["on_donor_observed"], found["on_donor_expected"] = (observed, None), (expected, None)
    for name, family in (("grey_fall", GREY), ("tinted_grey_fall", TINTED)):
        if plain is not None and family in of:
            found[name] = plain, of[family]
    if OTHER_CORNER in of and BAR in of:
        found["scale_bar_effect"] = of[OTHER_CORNER], of[BAR]
    for name, family in JUDGING.items():
        if family in of:
            found[name] = of[family], None
    return {name: found[name] for name in MEASURES if name in found}


def text(numbers: Sequence[Number]) -> str:
    """Return the text of stress_controls.csv."""
    return files.csv_text(
        HEADER,
        [[f"{v:.6f}" if isinstance(v, float) else v for v in number] for number in numbers],
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
                *(float(row[key]) for key in ("low", "high")),
                *(int(row[key]) for key in ("images", "groups")),
                *(row[key] for key in ("groups_from", "judging")),
            )
            for row in files.read_csv(path, HEADER)
        ]
    except (TypeError, ValueError) as error:
        raise LeukoBenchError(f"{path} is damaged ({error}). {REMEDY.format(run.id)}", path=path) from None
    run.check(FILE)
    return {number.measure: number for number in numbers}
