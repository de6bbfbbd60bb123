"""The colours of a synthetic smear: stains of patients, illumination, camera, scale bar."""

from dataclasses import dataclass

import numpy as np

from data.synthetic.cells import Scene

# Colours measured in the real dataset: background, red cells, cytoplasm, nuclei. In confounded mode each class has its
# own palette; otherwise a slide has a random mixture of all four.
PALETTES = {
    "Benign": ((247, 244, 228), (168, 182, 192), (176, 168, 222), (84, 56, 190)),
    "Early": ((238, 236, 240), (186, 184, 200), (190, 160, 218), (118, 70, 178)),
    "Pre": ((226, 240, 246), (130, 164, 208), (164, 150, 232), (92, 76, 200)),
    "Pro": ((250, 243, 244), (212, 190, 204), (230, 186, 232), (186, 108, 204)),
}
_LABEL = (  # "20 um" in pixels
    "###.###.#.#......",
    "..#.#.#.#.#.##.#.",
    "###.#.#.#.#.#.#.#",
    "#...#.#.##..#.#.#",
    "###.###.#...#.#.#",
)
SLIDE = 15  # images of a patient in a row, where the stain drifts


@dataclass(frozen=True)
class Patient:
    """Appearance of a patient's slide: colours (4, 3) in 0..255, direction (radians) and falloff of the light."""

    name: str
    colours: np.ndarray
    light: float
    falloff: float
    bar: int
    variation: float


def _slide_colours(seed: int, classes: tuple[str, ...], rank: int, number: int) -> np.ndarray:
    """Return the colours (4, 3) of a slide of a class, a random mixture of all palettes; float, 0..255."""
    own = np.random.default_rng([seed, 3, rank, number])
    mixture = own.dirichlet(np.full(len(PALETTES), 0.7))
    return np.tensordot(mixture, np.array([PALETTES[name] for name in classes], float), 1)


def drifting_patient(seed: int, classes: tuple[str, ...], label: str, number: int, count: int) -> Patient:
    """Return the patient of image `number` (from 0) of a class whose slides were photographed one after another.

    SLIDE images in a row are of one patient, and their colours pass gradually into those of the next one. So images
    with close numbers look alike, although a stain says nothing about the class. After `count` patients, the first
    follows.
    """
    rank, slide, step = classes.index(label), number // SLIDE % count, number % SLIDE / SLIDE
    ends = [_slide_colours(seed, classes, rank, each % count) for each in (slide, slide + 1)]
    own = np.random.default_rng([seed, 1, rank, slide])
    light, falloff = own.uniform(0, 2 * np.pi), own.uniform(0.03, 0.10)
    colours = ((1 - step) * ends[0] + step * ends[1]).clip(20, 254)
    return Patient(f"patient-{rank * count + slide + 1:03d}", colours, light, falloff, int(own.integers(4)), 0.3)


def patient_of(seed: int, classes: tuple[str, ...], label: str, number: int, count: int, stain: str) -> Patient:
    """Return patient `number` (from 0) of `count` patients of a class.

    Independent: slides are stained in batches of one patient of every class, so that each stain is equally frequent in
    all classes. Confounded: each class has its own stain, with little variation between its patients.
    """
    rank = classes.index(label)
    own = np.random.default_rng([seed, 1, rank, number])
    light, falloff = own.uniform(0, 2 * np.pi), own.uniform(0.03, 0.10)
    if stain == "confounded":
        colours, jitter = np.array(PALETTES[label], float), own.normal(0, 4.0, (4, 3))
        bar, variation = classes.index(label), 0.3
    else:
        batch = np.random.default_rng([seed, 2, number])
        mixture = batch.dirichlet(np.full(len(PALETTES), 3.0))
        colours = np.tensordot(mixture, np.array([PALETTES[name] for name in classes], float), 1)
        jitter, bar, variation = batch.normal(0, 4.0, (4, 3)), int(batch.integers(4)), 0.8
    return Patient(
        f"patient-{rank * count + number + 1:03d}", (colours + jitter).clip(20, 254), light, falloff, bar, variation
    )


def colour(rng: np.random.Generator, scene: Scene, patient: Patient) -> np.ndarray:
    """Render a scene as an image, (size, size, 3) uint8.

    Optical densities of dyes add up (Beer-Lambert law). Exposure, white balance and dye amounts vary between fields.
    """
    from scipy.ndimage import gaussian_filter

    size = len(scene.red)
    vary = patient.variation
    background = patient.colours[0]
    red, cytoplasm, nucleus = np.log(background / np.minimum(patient.colours[1:], 0.98 * background))
    nucleus = np.maximum(nucleus - cytoplasm, 0.05)  # a nucleus lies within its cytoplasm
    amounts = np.exp(rng.normal(0, 0.10 * vary, 3))
    tint = 1 + rng.normal(0, 0.015 * vary, 3) + rng.normal(0, 0.02 * vary)
    hue = np.exp(rng.normal(0, 0.08 * vary, (3, 3)))
    soft = gaussian_filter(scene.red, rng.uniform(0.15, 0.6) * size / 128)
    planes = np.stack([soft, scene.cytoplasm, scene.nucleus], axis=2)
    dyes = np.stack([red, cytoplasm, nucleus]) * hue * amounts[:, None]
    at = (np.arange(size) + 0.5) / size - 0.5
    slope = at[:, None] * np.sin(patient.light) + at[None] * np.cos(patient.light)
    light = 1 + patient.falloff * slope - 0.3 * patient.falloff * (at[:, None] ** 2 + at[None] ** 2)
    picture = background * tint * light[:, :, None] * np.exp(-planes @ dyes)
    picture += rng.normal(0, rng.uniform(1.5, 3.0), picture.shape)
    picture = np.rint(picture.clip(0, 255)).astype(np.uint8)
    draw_bar(picture, patient.bar)
    return picture


def draw_bar(picture: np.ndarray, style: int) -> None:
    """Burn a scale bar into the bottom right corner, in place: black or red, wide or narrow by style 0 to 3."""
    size = len(picture)
    unit = max(1, round(size / 128))
    ink = (200, 30, 40) if style % 2 else (20, 20, 20)
    width, height = (20 if style < 2 else 14) * unit, 10 * unit
    box = picture[size - height :, size - width :]
    box[:] = 252
    label = np.array([[mark == "#" for mark in row.ljust(17, ".")] for row in _LABEL])
    label = np.kron(label[:, : width // unit - 3], np.ones((unit, unit), bool))
    box[unit : 6 * unit, 2 * unit : 2 * unit + label.shape[1]][label] = ink
    box[8 * unit : 9 * unit, unit:-unit] = ink
    for end in (unit, width - 2 * unit):
        box[7 * unit : 9 * unit, end : end + unit] = ink
