"""Synthetic smears with known related images: fields cropped from larger scenes, and stored copies."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image

from data.synthetic.cells import MORPHOLOGIES, Scene, draw_scene
from data.synthetic.generator import CLASSES
from data.synthetic.staining import colour, patient_of

SCENE, SIDE, PATIENTS = 240, 160, 4


@dataclass
class Planted:
    """A dataset's folder, {pair of overlapping images: (dx, dy)}, near and exact duplicates as pairs, lower first."""

    folder: Path
    overlaps: dict[tuple[str, str], tuple[int, int]]
    near: set[tuple[str, str]]
    exact: set[tuple[str, str]]


def crop(scene: Scene, x: int, y: int) -> Scene:
    return Scene(*(getattr(scene, plane.name)[y : y + SIDE, x : x + SIDE] for plane in fields(Scene)))


def plant(folder: Path, scenes: int = 36, alone: int = 24, seed: int = 5) -> Planted:
    """Write `scenes` pairs of overlapping fields, and `alone` fields with duplicates of some, under hashed names.

    Every field has its own exposure, amount of dye, focus, noise and scale bar. Every sixth pair has two classes.
    """
    rng = np.random.default_rng(seed)
    made = Planted(folder, {}, set(), set())
    counts = dict.fromkeys(CLASSES, 0)

    def save(picture: np.ndarray | Image.Image, label: str, tag: str, **options) -> str:
        name = f"{label}/{hashlib.sha256(f'{seed} {tag}'.encode()).hexdigest()[:12]}.{'jpg' if options else 'png'}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
        image.save(path, **options)
        counts[label] += 1
        return name

    def draw(number: int) -> tuple[Scene, str]:
        label = CLASSES[number % len(CLASSES)]
        return draw_scene(rng, MORPHOLOGIES[label], SCENE), label

    def patient(label: str):
        return patient_of(seed, CLASSES, label, int(rng.integers(PATIENTS)), PATIENTS, "independent")

    for number in range(scenes):
        scene, label = draw(number)
        slide = patient(label)
        (x, y), (left, top) = rng.integers(0, SCENE - SIDE + 1, (2, 2)).tolist()
        if max(abs(x - left), abs(y - top)) < 8:
            left = x + 40 if x < 40 else x - 40
        second = CLASSES[(number + 1) % len(CLASSES)] if number % 6 == 0 else label
        names = (
            save(colour(rng, crop(scene, x, y), slide), label, f"{number} a"),
            save(colour(rng, crop(scene, left, top), slide), second, f"{number} b"),
        )
        moved = (x - left, y - top) if names == tuple(sorted(names)) else (left - x, top - y)
        made.overlaps[tuple(sorted(names))] = moved
    for number in range(alone):
        scene, label = draw(number)
        picture = Image.fromarray(colour(rng, crop(scene, 30, 30), patient(label)))
        name = save(picture, label, f"{number} alone")
        kind = number % 6
        if kind == 0:
            copy = save(picture, label, f"{number} low", quality=40)
        elif kind == 1:
            copy = save(picture.resize((120, 120), Image.Resampling.BICUBIC), label, f"{number} small")
        elif kind == 2:
            copy = save(picture.point(lambda value: min(255, round(1.06 * value))), label, f"{number} bright")
        elif kind == 3:
            copy = save(picture, label, f"{number} copy")
        else:
            continue
        (made.exact if kind == 3 else made.near).add(tuple(sorted((name, copy))))
    about = {"name": folder.name, "classes": list(CLASSES), "images": counts, "source": "drawn"}
    (folder / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
    return made
