"""What is known of a run beside its weights, and needed to word its answers."""

import math
from dataclasses import dataclass
from pathlib import Path

from data.ood import reference_distribution
from data.ood.reference_distribution import Reference
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import calibration_file, stress_file
from utils.runs.seen_families import trained_on
from webapp.runs.catalogue import Entry


@dataclass(frozen=True)
class Honest:
    """How far a run is to be believed, as its files say; None for what was not measured.

    Attributes:
        split: of the images, as its configuration has it.
        accuracy: on its test images, 0..1.
        images: how many these are.
        stain_swap: accuracy with the stain of another class put on them.
        flip_rate: share of the answers that then became that class.
        taught: whether it trained on such a change.
    """

    split: str
    accuracy: float
    images: int
    stain_swap: float | None
    flip_rate: float | None
    taught: bool


@dataclass(frozen=True)
class Facts:
    """What is needed to word the answers of a run.

    Attributes:
        temperature: by which its probabilities are calibrated; None without calibration.json.
        thresholds: by level ("0.90"), the 1 - p above which a class is left out of the prediction set.
        coverage: by level, the share of its test images whose set holds the true class.
        reference: what its training images look like; None where that was not measured.
    """

    classes: tuple[str, ...]
    temperature: float | None
    thresholds: dict[str, float]
    coverage: dict[str, float]
    reference: Reference | None
    honest: Honest


def state_of(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file does; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def read(entry: Entry, manifest: str) -> Facts:
    """Read what is needed to word the answers of a finished run.

    Raises:
        LeukoBenchError: calibration.json, stress.csv or the reference is damaged.
    """
    run, config = entry.run, entry.run.config()
    temperature, thresholds, coverage = None, {}, {}
    if run.file(calibration_file.FILE).is_file():
        held = files.read_json(run.file(calibration_file.FILE))
        try:
            temperature = float(held["temperature"])
            thresholds = {level: float(each["threshold"]) for level, each in held["conformal"].items()}
            coverage = {level: float(each["coverage"]) for level, each in held["conformal"].items()}
            if not 0 < temperature < math.inf:
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise LeukoBenchError(f"{run.file(calibration_file.FILE)} is damaged.") from None
    stress = stress_file.read_whole_test(run)
    row = entry.record.row
    honest = Honest(
        str(config.get("split", "")), row["accuracy"], row["images"], stress_file.swap_accuracy(stress),
        stress_file.flip_rate(stress), stress_file.SWAP in trained_on(config),
    )  # fmt: skip
    return Facts(
        tuple(config["classes"]),
        temperature,
        thresholds,
        coverage,
        reference_distribution.read(run.root, manifest),
        honest,
    )
