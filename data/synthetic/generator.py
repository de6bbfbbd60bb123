"""Generate synthetic smears, the default dataset of the demo and the tests.

Morphology determines the class. The stain is independent of it, depends on it as in the real dataset (confounded), or
drifts with the number of the image.
Nucleus masks and patients are written beside the images, as ground truth for audits.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data.datasets import index
from data.synthetic.cells import MORPHOLOGIES, draw_scene
from data.synthetic.staining import Patient, colour, drifting_patient, patient_of
from utils.errors import LeukoBenchError, nearest
from utils.io import atomic_folder
from utils.io.files import csv_text, read_json
from utils.paths import raw_dir

CLASSES = tuple(sorted(MORPHOLOGIES))
STAINS = ("independent", "confounded", "drifting")
VERSION = 1  # raise it with every change of the drawing: older folders are then not reused


def draw(rng: np.random.Generator, label: str, size: int, patient: Patient) -> tuple[np.ndarray, np.ndarray]:
    """Draw one smear of a class: the image, (size, size, 3) uint8, and its nucleus mask, (size, size) uint8 0 or 255.

    Raises:
        LeukoBenchError: the class is unknown.
    """
    if label not in MORPHOLOGIES:
        raise LeukoBenchError(f"Unknown class '{label}': choose from {', '.join(CLASSES)}.{nearest(label, CLASSES)}")
    scene = draw_scene(rng, MORPHOLOGIES[label], size)
    return colour(rng, scene, patient), scene.mask.astype(np.uint8) * 255


def make(
    name: str = "synthetic",
    images_per_class: int = 150,
    size: int = 128,
    patients: int = 10,
    stain: str = "independent",
    seed: int = 42,
) -> Path:
    """Write a synthetic dataset into data/raw/<name> and return that folder; an equal one is reused.

    Image i of a class depends only on (seed, class, i, patients, stain, size): a larger set contains the smaller.
    `patients` is the number per class; images are assigned to them in turn, or where the stain drifts, 15 in a row.

    Raises:
        LeukoBenchError: an argument is out of range, the folder holds something else, or it cannot be written.
    """
    _check(name, images_per_class, size, patients, stain, seed)
    wanted = {
        "images_per_class": images_per_class,
        "size": size,
        "patients": patients,
        "stain": stain,
        "seed": seed,
        "version": VERSION,
    }
    target = raw_dir(name)
    if target.exists():
        return _reuse(target, wanted)
    try:
        with atomic_folder.staged(target) as partial:
            _write(partial, name, wanted)
    except LeukoBenchError:
        if not target.exists():
            raise
        return _reuse(target, wanted)  # another process wrote it in the meantime
    return target


def _check(name: str, images_per_class: int, size: int, patients: int, stain: str, seed: int) -> None:
    atomic_folder.check_name(name)
    ranges = {
        "images-per-class": (images_per_class, 1, 100_000),
        "size": (size, 32, 1024),
        "patients": (patients, 1, 10_000),
        "seed": (seed, 0, 2**32 - 1),
    }
    for argument, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise LeukoBenchError(f"{argument} is {value}: give a whole number from {low} to {high}.")
    if stain not in STAINS:
        raise LeukoBenchError(f"Unknown stain '{stain}': choose {', '.join(STAINS)}.{nearest(stain, STAINS)}")


def _reuse(target: Path, wanted: dict[str, Any]) -> Path:
    """Return the existing folder if it is complete and has the same parameters.

    Raises:
        LeukoBenchError: it is incomplete or something else.
    """
    remedy = f"Choose another name, or delete {target} to generate it again."
    about = read_json(target / index.DATASET) if (target / index.DATASET).is_file() else {}
    found = about.get("synthetic") if isinstance(about, dict) else None
    if not isinstance(found, dict):
        raise LeukoBenchError(f"{target} exists and holds no synthetic smears. {remedy}")
    other = [f"{key} {found.get(key)} instead of {value}" for key, value in wanted.items() if found.get(key) != value]
    if other:
        raise LeukoBenchError(f"{target} holds smears made with {', '.join(other)}. {remedy}")
    for label in CLASSES:
        count = len(list((target / label).glob("*.png")))
        if count != wanted["images_per_class"]:
            raise LeukoBenchError(
                f"{target / label} holds {count} of {wanted['images_per_class']} images. {remedy}",
            )
    return target


def _patient(wanted: dict[str, Any], label: str, number: int) -> Patient:
    seed, count, stain = wanted["seed"], wanted["patients"], wanted["stain"]
    if stain == "drifting":
        return drifting_patient(seed, CLASSES, label, number, count)
    return patient_of(seed, CLASSES, label, number % count, count, stain)


def _write(folder: Path, name: str, wanted: dict[str, Any]) -> None:
    from PIL import Image

    rows = []
    for rank, label in enumerate(CLASSES):
        (folder / label).mkdir(parents=True)
        (folder / "_masks" / label).mkdir(parents=True)
        for number in range(wanted["images_per_class"]):
            patient = _patient(wanted, label, number)
            rng = np.random.default_rng([wanted["seed"], 0, rank, number])
            picture, mask = draw(rng, label, wanted["size"], patient)
            file = f"{label.lower()}-{number:04d}.png"
            Image.fromarray(picture).save(folder / label / file, compress_level=1)
            Image.fromarray(mask).save(folder / "_masks" / label / file)
            rows.append((f"{label}/{file}", patient.name))
    atomic_folder.write(folder / index.GROUPS, csv_text(("image", "group"), rows))
    about = {
        "name": name,
        "classes": list(CLASSES),
        "images": {label: wanted["images_per_class"] for label in CLASSES},
        "source": "drawn by LeukoBench",
        "synthetic": wanted,
    }
    atomic_folder.write(folder / index.DATASET, json.dumps(about, indent=2) + "\n")
