"""Medical images that are no blood smears: histology, other stains, radiographs."""

import numpy as np

from data.ood.drawn.canvas import (
    DAB,
    EOSIN,
    HAEMATOXYLIN,
    blank,
    blob,
    cells,
    choose,
    cloud,
    coordinates,
    ellipse,
    patch,
    photographed,
    position,
    smooth,
    stained,
)


def histology(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a section in haematoxylin and eosin: lymphoid tissue, glands, stroma, fat, muscle, epithelium."""
    nuclei, pink = _tissue(rng, height, width)
    strength = rng.uniform(0.7, 1.5), rng.uniform(0.3, 1.0)
    tint = np.array(EOSIN) * rng.uniform(0.8, 1.1, 3) + (0.08, 0, 0.1 * rng.random())
    blue = np.array(HAEMATOXYLIN) * rng.uniform(0.85, 1.15, 3)
    slide = stained([(blue, strength[0] * nuclei + 0.06), (tint, strength[1] * pink)], rng.uniform(0.92, 1, 3))
    return photographed(rng, slide, 1.0, 0.02, 0.15)


def other_stain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a slide in another stain: Gram, Ziehl-Neelsen, Papanicolaou, DAB, trichrome, PAS, fluorescent, or none."""
    makers = (_gram, _acid_fast, _papanicolaou, _dab, _trichrome, _periodic, _fluorescent, _unstained)
    return photographed(rng, choose(rng, makers)(rng, height, width), 1.0, 0.02, 0.2)


def radiograph(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw an X-ray of a chest or of crossing bones: grey, soft, often dark."""
    y, x = coordinates(height, width)
    field = 0.1 + 0.05 * cloud(rng, height, width, 4)
    if rng.random() < 0.6:
        body = np.exp(-((np.abs(x) / 0.95) ** 6) - (np.abs(y) / 1.2) ** 8)
        lungs = sum(np.exp(-(((x - side * 0.42) / 0.3) ** 4) - (((y + 0.05) / 0.62) ** 4)) for side in (-1, 1))
        spine = np.exp(-((x / 0.1) ** 2)) * (0.8 + 0.2 * np.sin(y * 40))
        heart = np.exp(-(((x - 0.12) / 0.26) ** 2) - (((y - 0.35) / 0.35) ** 2))
        ribs = 0.5 + 0.5 * np.sin((y + 0.5 * x * x) * rng.uniform(18, 28))
        field += 0.6 * body - 0.45 * lungs + 0.2 * spine + 0.3 * heart + 0.1 * ribs * lungs
    else:
        for _ in range(int(rng.integers(3, 9))):
            turn, at, thick = rng.uniform(0, np.pi), rng.uniform(-0.8, 0.8), rng.uniform(0.05, 0.15)
            across = np.abs(x * np.cos(turn) + y * np.sin(turn) - at)
            field += 0.25 * np.exp(-((across / (2.5 * thick)) ** 2)) + 0.3 * np.exp(-((across / thick) ** 4))
    field = smooth(np.clip(field, 0, 1).astype(np.float32), rng.uniform(0.5, 2))
    if rng.random() < 0.15:
        field = 1 - field
    tint = np.array((1, 1, 1)) if rng.random() < 0.7 else np.array((0.85, 0.93, 1))
    return photographed(rng, field[:, :, None] * tint.astype(np.float32), 0.8, 0.03, 0.2)


def _tissue(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the amounts of nuclear stain and of the counterstain of one kind of tissue."""
    area, radius = height * width, rng.uniform(0.008, 0.035) * min(height, width) + 0.8
    packed = rng.uniform(0.1, 0.75)
    number = int(min(6000, packed * area / (4 * radius * radius)))
    kind = rng.integers(6)
    ground = 0.5 + 0.5 * cloud(rng, height, width, 2.5, rng.uniform(1, 3))
    if kind == 0:  # lymphoid: mostly nuclei
        nuclei, pink = cells(rng, height, width, int(1.5 * number), radius, 0.15, 1.2), 0.5 * ground
    elif kind == 1:  # glands: rings of nuclei around a white lumen
        nuclei, pink = cells(rng, height, width, number // 3, radius), ground
        for _ in range(int(rng.integers(2, 12))):
            nuclei, pink = _gland(rng, nuclei, pink, radius)
    elif kind == 2:  # stroma: wavy fibres, thin nuclei along them
        fibres = cloud(rng, height, width, 2, rng.uniform(5, 12))
        nuclei, pink = cells(rng, height, width, number // 3, radius * 0.7, 0.2, 4), 0.3 + 0.9 * fibres
    elif kind == 3:  # fat: large white vacuoles between thin walls
        holes = smooth(cells(rng, height, width, int(rng.integers(15, 60)), 0.09 * min(height, width), 0.2), 1)
        pink = ground * (1 - np.clip(1.6 * holes, 0, 1))
        nuclei = cells(rng, height, width, number // 3, radius, where=np.clip(1 - 2 * holes, 0, 1))
    elif kind == 4:  # muscle: bands
        bands = cloud(rng, height, width, 3, 10)
        nuclei = cells(rng, height, width, number // 6, radius, 0.2, 3)
        pink = 0.8 + 0.7 * bands + 0.2 * cloud(rng, height, width, 1, 4)
    else:  # epithelium above stroma: a gradient of nuclei
        slope = np.clip(np.linspace(rng.uniform(0.5, 1.2), rng.uniform(-0.3, 0.3), height), 0, 1)[:, None]
        wavy = np.clip(slope + 0.4 * (cloud(rng, height, width, 4) - 0.5), 0, 1)
        nuclei, pink = cells(rng, height, width, 2 * number, radius, where=wavy), ground * (0.5 + 0.5 * wavy)
    chromatin = 0.6 + 0.4 * cloud(rng, height, width, 1)
    return smooth(nuclei * chromatin, 0.6), pink.astype(np.float32)


def _gland(
    rng: np.random.Generator, nuclei: np.ndarray, pink: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    height, width = nuclei.shape
    centre = position(rng, height, width)
    inner, long, turn = rng.uniform(2, 6) * radius, rng.uniform(1, 1.6), float(rng.uniform(0, 180))
    wall = ellipse(height, width, centre, ((inner + 4 * radius) * long, inner + 4 * radius), turn)
    hollow = ellipse(height, width, centre, (inner * long, inner), turn)
    ring = cells(rng, height, width, int(25 * height * width / 1e4), radius, 0.15, 1.8, wall * (1 - hollow))
    around = cells(rng, height, width, int(height * width / (3 * radius * radius)), radius, 0.15, 1.8, wall)
    crowded = np.maximum(ring, around * (wall > 0.5))
    nuclei = np.where(wall > 0.5, crowded, nuclei) * (1 - hollow)
    return nuclei.astype(np.float32), (np.maximum(pink, 0.9 * wall) * (1 - hollow)).astype(np.float32)


def _rods(rng: np.random.Generator, height: int, width: int, number: int) -> np.ndarray:
    import cv2

    mask = np.zeros((height, width), np.uint8)
    length, thick = rng.uniform(0.012, 0.05) * min(height, width), max(1, round(0.006 * min(height, width)))
    round_ones = rng.random() < 0.4
    for _ in range(number):
        (x, y), turn = position(rng, height, width), rng.uniform(0, np.pi)
        if round_ones:
            for k in range(int(rng.integers(1, 6))):
                cv2.circle(mask, (round(x + 2 * k * thick), round(y + k * thick)), thick, 255, -1, cv2.LINE_AA)
        else:
            end = round(x + length * np.cos(turn)), round(y + length * np.sin(turn))
            cv2.line(mask, (round(x), round(y)), end, 255, thick, cv2.LINE_AA)
    return smooth(mask / np.float32(255), 0.6)


def _gram(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rods = _rods(rng, height, width, int(rng.integers(40, 500)))
    dye = (0.9, 1.1, 0.3) if rng.random() < 0.6 else (0.1, 0.9, 0.5)
    pus = cells(rng, height, width, int(rng.integers(0, 15)), 0.05 * min(height, width))
    ground = 0.05 + 0.25 * cloud(rng, height, width, 3)
    return stained([(dye, 1.2 * rods), ((0.1, 0.6, 0.35), 0.8 * smooth(pus, 2) + ground)], rng.uniform(0.9, 1, 3))


def _acid_fast(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    ground = 0.3 + 0.8 * cloud(rng, height, width, 3) + smooth(cells(rng, height, width, 40, 6), 2)
    rods = _rods(rng, height, width, int(rng.integers(5, 120)))
    return stained([((0.8, 0.35, 0.1), ground * rng.uniform(0.3, 0.9)), ((0.1, 1.3, 0.7), 1.3 * rods)])


def _papanicolaou(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    canvas = blank(height, width, rng.uniform(0.9, 0.98, 3))
    size = rng.uniform(0.06, 0.18) * min(height, width)
    for _ in range(int(rng.integers(5, 40))):
        centre = np.array(position(rng, height, width))
        turns = np.sort(rng.uniform(0, 2 * np.pi, 7))
        corners = centre + size * rng.uniform(0.7, 1.3, (7, 1)) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        colour = choose(rng, ((0.55, 0.8, 0.85), (0.93, 0.65, 0.55), (0.9, 0.6, 0.7)))
        patch(canvas, np.array(colour) * rng.uniform(0.9, 1.05), corners, 1.5, strength=0.7)
        blob(canvas, (0.2, 0.18, 0.35), centre, (size / 6, size / 7))
    return canvas * (0.9 + 0.1 * cloud(rng, height, width, 2)[:, :, None])


def _dab(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    nuclei, pink = _tissue(rng, height, width)
    brown = np.clip(2.5 * (cloud(rng, height, width, 3) - rng.uniform(0.2, 0.7)), 0, 1)
    marked = nuclei * brown if rng.random() < 0.5 else 0.8 * pink * brown
    return stained([(HAEMATOXYLIN, 0.8 * nuclei * (1 - brown) + 0.08 * pink), (DAB, 1.3 * marked)])


def _trichrome(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    nuclei, red = _tissue(rng, height, width)
    collagen = np.clip(2 * cloud(rng, height, width, 3, 4) - 0.8, 0, 1)
    blue, ruby = ((1.0, 0.5, 0.15), (0.2, 1.0, 0.6))
    return stained([(blue, collagen), (ruby, 0.8 * red * (1 - collagen)), ((0.9, 0.9, 0.8), 0.9 * nuclei)])


def _periodic(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    nuclei, body = _tissue(rng, height, width)
    magenta = np.clip(1.8 * cloud(rng, height, width, 3, 3) - 0.4, 0, 1)
    return stained([((0.25, 1.1, 0.35), 0.9 * magenta * body + 0.1), (HAEMATOXYLIN, 0.7 * nuclei)])


def _fluorescent(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    canvas = blank(height, width, (0.01, 0.01, 0.02))
    radius = rng.uniform(0.02, 0.07) * min(height, width)
    for colour in ((0.15, 0.3, 1), (0.1, 1, 0.2), (1, 0.15, 0.1))[: int(rng.integers(1, 4))]:
        spots = smooth(cells(rng, height, width, int(rng.integers(8, 120)), radius), 0.3 * radius)
        canvas += spots[:, :, None] * np.array(colour, np.float32) * rng.uniform(0.4, 1)
        radius *= rng.uniform(0.3, 1.5)
    return canvas


def _unstained(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    grey = rng.uniform(0.5, 0.85)
    field = np.full((height, width), grey, np.float32) + 0.04 * (cloud(rng, height, width, 3) - 0.5)
    body = cells(rng, height, width, int(rng.integers(5, 150)), rng.uniform(0.015, 0.06) * min(height, width), 0.2, 1.3)
    field += 2.5 * rng.uniform(0.3, 1) * (smooth(body, 1.5) - smooth(body, 3)) - 0.06 * body
    return field[:, :, None] * np.array((1, 1, rng.uniform(0.9, 1)), np.float32)
