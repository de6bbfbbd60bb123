"""The scene of a synthetic smear: positions of the cells and the dye amount of each pixel."""

from dataclasses import dataclass, replace

import numpy as np

from data.synthetic.outlines import UNITS, Outlines, smoothstep


@dataclass(frozen=True)
class Morphology:
    """Shape parameters of the nucleated cells of a class; pairs are (low, high) of a uniform distribution per cell."""

    radius: float  # of the mean nucleus, in 1/128 of the image's side
    elongation: tuple[float, float]  # amplitude of the second harmonic of the outline
    roughness: float  # amplitude of the harmonics 3 to 7
    cleft: tuple[float, float]  # depth of the indentation, as a share of the radius
    nucleus_share: float  # nucleus area / cell area
    chromatin: float  # grain of the chromatin, in 1/128 of the image's side
    nucleoli: tuple[int, int]  # per nucleus


# Based on the FAB descriptions of lymphoblasts, exaggerated so that the outlines alone separate the classes.
MORPHOLOGIES = {
    "Benign": Morphology(5.8, (0.00, 0.05), 0.010, (0.0, 0.0), 0.62, 1.8, (0, 0)),
    "Early": Morphology(8.8, (0.00, 0.06), 0.015, (0.0, 0.0), 0.80, 0.7, (0, 1)),
    "Pre": Morphology(10.6, (0.04, 0.10), 0.050, (0.28, 0.46), 0.70, 1.4, (1, 2)),
    "Pro": Morphology(15.4, (0.08, 0.16), 0.020, (0.0, 0.0), 0.86, 0.7, (2, 4)),
}

NUCLEI = (0.11, 0.15)  # total nucleus area / image area, equal for all classes
CYTOPLASM = (0.75, 1.05)  # total cytoplasm area, with smudges / total nucleus area; Benign needs at least 0.61
RED_CELLS = (24, 42)  # per image
_BAR = (112.0, 92.0)  # row and column where the scale bar's corner begins: no nucleus lies under it


@dataclass(frozen=True)
class Scene:
    """The planes of one image, each (size, size): dye amounts (float, 0 to about 2) and the nucleus mask (bool)."""

    red: np.ndarray
    cytoplasm: np.ndarray
    nucleus: np.ndarray
    mask: np.ndarray


def draw_scene(rng: np.random.Generator, look: Morphology, size: int) -> Scene:
    """Draw the cells of one image; the order of random draws does not depend on the size."""
    from scipy.ndimage import gaussian_filter

    nuclei = _nuclei(rng, look)
    cells = _bodies(rng, nuclei, look)
    wanted = rng.uniform(*CYTOPLASM) * nuclei.areas().sum()
    smudges = _smudges(rng, max(wanted - (cells.areas().sum() - nuclei.areas().sum()), 1.0))
    shift = cells.centre.copy()
    _scatter(rng, cells, smudges)
    nuclei.centre = cells.centre - shift
    red = _red_cells(rng, cells, smudges)
    platelets = _platelets(rng)
    nucleoli = _nucleoli(rng, nuclei, look)
    focus, pallor = rng.uniform(0.06, 0.12), rng.uniform(0.50, 0.95)

    body = np.minimum(cells.nearest(size), smudges.nearest(size))
    inside = nuclei.nearest(size)
    spots = platelets.nearest(size, 1.5)
    cover = smoothstep(body, 1 - focus, 1 + focus)
    mask = inside < 1.0
    grain = gaussian_filter(rng.normal(size=(size, size)), 1.5 * size / UNITS)
    cytoplasm = cover * (1 + 0.25 * grain / (grain.std() + 1e-9)) + 0.9 * smoothstep(spots, 0.5, 1.4)
    nucleus = smoothstep(inside, 1 - focus, 1 + focus) * _chromatin(rng, look, inside, nucleoli.nearest(size, 1.6))

    def discoid(u: np.ndarray) -> np.ndarray:
        return smoothstep(u, 1 - focus, 1 + focus) * (1 - pallor * smoothstep(u, 0.15, 0.85))

    layers = red.total(size, discoid, 1.35) * (1 - cover)
    return Scene(1.6 * np.tanh(layers / 1.6), np.maximum(cytoplasm, 0), nucleus, mask)


def _nuclei(rng: np.random.Generator, look: Morphology) -> Outlines:
    """Draw enough nuclei for the total area, then scale them to fill it exactly."""
    total = rng.uniform(*NUCLEI) * UNITS**2
    count = max(1, round(total / (np.pi * look.radius**2)))
    radius = look.radius * rng.normal(1, 0.09, count).clip(0.75, 1.3)
    nuclei = Outlines.draw(rng, radius, look.elongation, look.roughness, look.cleft)
    return replace(nuclei, radius=radius * np.sqrt(total / nuclei.areas().sum()))


def _bodies(rng: np.random.Generator, nuclei: Outlines, look: Morphology) -> Outlines:
    """Draw the outline of the cell around each nucleus, slightly off its centre."""
    n = len(nuclei.radius)
    cells = Outlines.draw(rng, nuclei.radius, (0.0, 0.02), 0.01)
    cells.amplitude[:, 0] += 0.6 * nuclei.amplitude[:, 0]
    cells.phase[:, 0] = nuclei.phase[:, 0]
    cells.radius = cells.radius * np.sqrt(nuclei.areas() / look.nucleus_share / cells.areas())
    angle = rng.uniform(0, 2 * np.pi, n)
    room = 0.6 * np.maximum(cells.radius - nuclei.radius, 0) * rng.uniform(0, 1, n)
    cells.centre = np.stack([np.sin(angle), np.cos(angle)], axis=1) * room[:, None]
    return cells


def _smudges(rng: np.random.Generator, area: float) -> Outlines:
    """Draw one to three smudges of burst cells, pale, ragged, without a nucleus, which balance the cytoplasm's area."""
    shares = rng.dirichlet(np.full(min(3, 1 + int(area / 350)), 4.0))
    smudges = Outlines.draw(rng, np.sqrt(area * shares / np.pi), (0.1, 0.25), 0.06)
    return replace(smudges, radius=smudges.radius * np.sqrt(area / smudges.areas().sum()))


def _scatter(rng: np.random.Generator, cells: Outlines, smudges: Outlines) -> None:
    """Place cells and smudges without overlap, cells inside the image and often in clumps; sets the centres."""
    reach = np.concatenate([cells.reach(), smudges.reach()])
    order = np.argsort(-reach, kind="stable")
    clumped = rng.uniform(0.2, 0.8)
    placed = np.zeros((0, 2))
    for step, k in enumerate(order):
        margin = reach[k] + 1.5 if k < len(cells.radius) else 0.3 * reach[k]
        points = rng.uniform(margin, UNITS - margin, (400, 2))
        if step and rng.random() < clumped:
            beside = rng.integers(0, step, 200)
            angle = rng.uniform(0, 2 * np.pi, 200)
            gap = (reach[order[beside]] + reach[k] + rng.uniform(1.0, 3.0, 200))[:, None]
            points[:200] = placed[beside] + gap * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        free = ((points >= margin) & (points <= UNITS - margin)).all(axis=1)
        free &= (points + reach[k] < _BAR).any(axis=1)
        distance = np.linalg.norm(points[:, None] - placed[None], axis=2) - reach[order[:step]] - reach[k]
        room = np.where(free, distance.min(axis=1, initial=UNITS), -UNITS)
        good = np.flatnonzero(room >= 1.0)
        placed = np.vstack([placed, points[good[0] if len(good) else int(room.argmax())]])
    centres = np.zeros_like(placed)
    centres[order] = placed
    cells.centre, smudges.centre = np.split(centres, [len(cells.radius)])


def _red_cells(rng: np.random.Generator, cells: Outlines, smudges: Outlines) -> Outlines:
    """Draw discoid red cells, which sometimes overlap each other but rarely nucleated cells."""
    count = int(rng.integers(*RED_CELLS))
    mean = rng.uniform(6.0, 7.0)
    points = rng.uniform(-4, UNITS + 4, (900, 2))
    bodies = np.concatenate([cells.centre, smudges.centre])
    reach = np.concatenate([cells.reach(), smudges.reach()])
    points = points[(np.linalg.norm(points[:, None] - bodies[None], axis=2) - reach).min(axis=1) > 0.65 * mean]
    overlap = rng.uniform(1.25, 1.9) * mean
    kept: list[np.ndarray] = []
    for point in points:
        if len(kept) == count:
            break
        if not kept or np.linalg.norm(np.array(kept) - point, axis=1).min() > overlap:
            kept.append(point)
    outlines = Outlines.draw(rng, mean * rng.normal(1, 0.07, len(kept)).clip(0.8, 1.2), (0.0, 0.08), 0.015)
    outlines.centre = np.array(kept).reshape(-1, 2)
    return outlines


def _platelets(rng: np.random.Generator) -> Outlines:
    """Draw a few platelets: small, faint, anywhere."""
    count = int(rng.integers(1, 7))
    outlines = Outlines.draw(rng, rng.uniform(1.1, 1.9, count), (0.0, 0.2), 0.08)
    outlines.centre = rng.uniform(2, UNITS - 2, (count, 2))
    return outlines


def _nucleoli(rng: np.random.Generator, nuclei: Outlines, look: Morphology) -> Outlines:
    """Draw the nucleoli, each within the inner half of its nucleus."""
    counts = rng.integers(look.nucleoli[0], look.nucleoli[1] + 1, len(nuclei.radius))
    owner = np.repeat(np.arange(len(counts)), counts)
    outlines = Outlines.draw(rng, nuclei.radius[owner] * rng.uniform(0.17, 0.25, len(owner)), (0.0, 0.1), 0.02)
    angle = rng.uniform(0, 2 * np.pi, len(owner))
    far = nuclei.radius[owner] * rng.uniform(0.1, 0.5, len(owner))
    outlines.centre = nuclei.centre[owner] + far[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return outlines


def _chromatin(rng: np.random.Generator, look: Morphology, inside: np.ndarray, nucleoli: np.ndarray) -> np.ndarray:
    """Return the density of the chromatin (size, size), about 0.5 to 1.5.

    The class determines which pixels are dense, not how many: texture ranks are mapped to the same normal distribution
    in every image, so that mean and spread of the nuclei's colour are independent of the class.
    """
    from scipy.ndimage import gaussian_filter
    from scipy.special import ndtri

    size = len(inside)
    texture = gaussian_filter(rng.normal(size=(size, size)), max(look.chromatin * size / UNITS, 0.3))
    spots = smoothstep(nucleoli, 0.6, 1.4)
    score = (1 - spots) * texture / (texture.std() + 1e-9) - 3.5 * spots
    density = np.ones_like(score)
    # In bands of u, as the rim is thinner than the middle and must not get only pale values.
    for low, high in ((0.0, 0.35), (0.35, 0.6), (0.6, 0.8), (0.8, 9.0)):
        band = (inside >= low) & (inside < high) & (inside < 1.3)
        ranks = score[band].argsort().argsort()
        density[band] = 1 + 0.27 * ndtri((ranks + 0.5) / max(len(ranks), 1))
    return density
