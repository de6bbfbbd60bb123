"""Drawn photographs: a landscape, an animal's face, a room, a person, food, leaves."""

import numpy as np

from data.ood.drawn.canvas import blob, choose, cloud, hue, paint, patch, photographed, position, smooth

FOODS = (
    *((0.85, 0.2, 0.12), (0.35, 0.6, 0.15), (0.95, 0.75, 0.2)),
    *((0.55, 0.3, 0.12), (0.95, 0.9, 0.75), (0.9, 0.5, 0.15)),
)


def photograph(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a photograph of one of six kinds."""
    kinds = (_landscape, _animal, _room, _person, _food, _leaves)
    canvas = choose(rng, kinds)(rng, height, width)
    warmth = 1 + rng.normal(0, 0.06, 3).astype(np.float32)
    return photographed(rng, np.clip(canvas, 0, 1) ** np.float32(rng.uniform(0.7, 1.4)) * warmth, 1.5, 0.04, 0.5)


def _textured(rng: np.random.Generator, colour: np.ndarray, height: int, width: int, slope: float = 2.0) -> np.ndarray:
    """Return a canvas of one colour whose brightness varies."""
    light = 0.6 + 0.6 * cloud(rng, height, width, slope, rng.uniform(1, 4))
    return np.asarray(colour, np.float32) * light[:, :, None]


def _landscape(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    top, low = np.array((0.25, 0.5, 0.85)), np.array((0.85, 0.88, 0.95))
    if rng.random() < 0.3:  # evening
        top, low = np.array((0.3, 0.25, 0.5)), np.array((1.0, 0.6, 0.3))
    canvas = np.tile((top + (low - top) * down), (1, width, 1)).astype(np.float32)
    paint(canvas, np.clip(2 * cloud(rng, height, width, 3, 3) - rng.uniform(0.8, 1.4), 0, 1), (0.97, 0.97, 0.98))
    x = np.arange(width)
    for depth in np.sort(rng.uniform(0.35, 0.95, int(rng.integers(2, 5)))):
        ridge = height * (depth + 0.12 * (cloud(rng, 8, width, 3)[0] - 0.5))
        mask = (np.arange(height)[:, None] > ridge[None, x]).astype(np.float32)
        far = np.array((0.45, 0.55, 0.65)) * (1 - depth) + np.array((0.2, rng.uniform(0.25, 0.5), 0.12)) * depth
        paint(canvas, smooth(mask, 0.8), _textured(rng, far, height, width, 1.5 + depth))
    if rng.random() < 0.4:
        water = (np.arange(height)[:, None] > rng.uniform(0.75, 0.9) * height) * np.ones((1, width))
        paint(canvas, water.astype(np.float32), _textured(rng, (0.3, 0.45, 0.6), height, width, 2))
    return canvas


def _fur(rng: np.random.Generator) -> np.ndarray:
    tones = ((0.75, 0.5, 0.25), (0.45, 0.4, 0.38), (0.15, 0.13, 0.13), (0.9, 0.88, 0.85), (0.6, 0.45, 0.3))
    return np.array(choose(rng, tones)) * rng.uniform(0.85, 1.1)


def _animal(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    side = min(height, width)
    canvas = smooth(_textured(rng, hue(rng, 0.2), height, width, 3), 2)
    x, y, size = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.45, 0.6), side * rng.uniform(0.25, 0.42)
    colour = _fur(rng)
    coat = _textured(rng, colour, height, width, 1.2)
    phase = np.arange(width)[None] / side * rng.uniform(20, 60) + 4 * cloud(rng, height, width, 3)
    coat *= (0.75 + 0.25 * np.sin(phase))[:, :, None].astype(np.float32)
    blob(canvas, coat, (x, y + 1.5 * size), (1.3 * size, 1.2 * size), soft=2)
    for sign in (-1, 1):
        ear = [(x + sign * 0.9 * size, y - 1.3 * size), (x + sign * 0.2 * size, y - 0.7 * size), (x + sign * size, y)]
        patch(canvas, coat, ear, 1.2)
        inner = [(0.8 * a + 0.2 * x, 0.85 * b + 0.15 * y) for a, b in ear]
        patch(canvas, (0.8, 0.55, 0.52), inner, 2, strength=0.7)
    blob(canvas, coat, (x, y), (size, 0.9 * size), soft=2)
    iris = choose(rng, ((0.75, 0.7, 0.2), (0.35, 0.6, 0.35), (0.3, 0.5, 0.75), (0.4, 0.25, 0.1)))
    for sign in (-1, 1):
        eye = x + sign * 0.4 * size, y - 0.15 * size
        blob(canvas, iris, eye, (0.2 * size, 0.16 * size))
        blob(canvas, (0.03, 0.03, 0.03), eye, (0.06 * size, 0.14 * size))
        blob(canvas, (1, 1, 1), (eye[0] - 2, eye[1] - 3), (0.03 * size, 0.03 * size))
    blob(canvas, (0.93, 0.9, 0.87), (x, y + 0.45 * size), (0.4 * size, 0.28 * size), soft=3, strength=0.8)
    nose = [(x - 0.12 * size, y + 0.25 * size), (x + 0.12 * size, y + 0.25 * size), (x, y + 0.4 * size)]
    patch(canvas, (0.75, 0.45, 0.45), nose)
    return canvas


def _room(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    wall, wood = hue(rng, 0.5) * 0.5 + 0.4, np.array((0.55, 0.38, 0.22)) * rng.uniform(0.6, 1.2)
    canvas = _textured(rng, wall, height, width, 4) * np.linspace(1, 0.8, width, dtype=np.float32)[None, :, None]
    floor = rng.uniform(0.6, 0.8) * height
    near = floor + 0.1 * height
    ground = [(0, near), (width / 2, floor), (width, near), (width, height), (0, height)]
    patch(canvas, _textured(rng, wood, height, width, 2), ground)
    x, y, wide, tall = rng.uniform(0.05, 0.5) * width, rng.uniform(0.08, 0.2) * height, 0.35 * width, 0.4 * height
    frame = [(x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall)]
    patch(canvas, (0.9, 0.9, 0.88), frame)
    inner = [(a + (3 if a == x else -3), b + (3 if b == y else -3)) for a, b in frame]
    patch(canvas, _textured(rng, (0.7, 0.85, 1.0), height, width, 3), inner)
    for _ in range(int(rng.integers(2, 7))):
        left, top = rng.uniform(0, 0.8) * width, rng.uniform(0.4, 0.75) * height
        right, low = left + rng.uniform(0.1, 0.4) * width, top + rng.uniform(0.1, 0.4) * height
        body = np.array([(left, top), (right, top), (right, low), (left, low)])
        patch(canvas, (0.05, 0.05, 0.05), body + np.array((0, 5)), 5, strength=0.4)
        patch(canvas, _textured(rng, hue(rng, 0.2, 0.8), height, width, 2.5), body)
    return canvas


def _person(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    side = min(height, width)
    canvas = smooth(_textured(rng, hue(rng, 0.2), height, width, 4), 3)
    x, y, size = width * rng.uniform(0.42, 0.58), height * rng.uniform(0.4, 0.5), side * rng.uniform(0.2, 0.32)
    tone = np.array(choose(rng, ((0.95, 0.78, 0.68), (0.8, 0.6, 0.45), (0.55, 0.37, 0.26), (0.35, 0.23, 0.17))))
    hair = np.array(choose(rng, ((0.1, 0.07, 0.05), (0.4, 0.25, 0.12), (0.8, 0.65, 0.35), (0.6, 0.6, 0.6))))
    blob(canvas, _textured(rng, hair, height, width, 1), (x, y - 0.2 * size), (1.05 * size, 1.25 * size), soft=2)
    clothes = _textured(rng, hue(rng, 0.1), height, width, 2)
    blob(canvas, clothes, (x, y + 2.6 * size), (2 * size, 1.5 * size), soft=1.5)
    neck = np.array([(-0.35, 0), (0.35, 0), (0.4, 1.5), (-0.4, 1.5)]) * size + (x, y)
    patch(canvas, 0.85 * tone, neck, 1.5)
    light = 1.1 - 0.35 * np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    skin = np.clip(tone.astype(np.float32) * light * (0.95 + 0.1 * cloud(rng, height, width, 3)[:, :, None]), 0, 1)
    blob(canvas, skin, (x, y), (0.8 * size, 1.05 * size), soft=1.5)
    for sign in (-1, 1):
        eye = x + sign * 0.32 * size, y - 0.15 * size
        blob(canvas, (0.95, 0.95, 0.95), eye, (0.15 * size, 0.08 * size))
        blob(canvas, (0.2, 0.15, 0.1), eye, (0.07 * size, 0.07 * size))
        blob(canvas, hair, (eye[0], eye[1] - 0.2 * size), (0.2 * size, 0.04 * size))
    blob(canvas, 0.75 * tone, (x, y + 0.2 * size), (0.12 * size, 0.2 * size), soft=2, strength=0.5)
    blob(canvas, tone * (0.9, 0.55, 0.6), (x, y + 0.55 * size), (0.28 * size, 0.08 * size))
    return canvas


def _food(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    side = min(height, width)
    canvas = _textured(rng, np.array((0.5, 0.35, 0.22)) * rng.uniform(0.5, 1.7), height, width, 2)
    x, y = np.array((width, height)) / 2 + rng.normal(0, 0.05, 2) * side
    size = side * rng.uniform(0.35, 0.5)
    blob(canvas, (0.05, 0.04, 0.03), (x + 5, y + 6), (size, size), soft=5, strength=0.5)
    china = _textured(rng, (0.95, 0.94, 0.92), height, width, 4) * 0.3 + 0.65
    blob(canvas, china, (x, y), (size, size * rng.uniform(0.8, 1)), soft=1)
    for _ in range(int(rng.integers(15, 70))):
        turn, far = rng.uniform(0, 2 * np.pi), 0.75 * size * np.sqrt(rng.random())
        at, piece = (x + far * np.cos(turn), y + far * np.sin(turn)), size * rng.uniform(0.06, 0.25)
        colour = np.array(choose(rng, FOODS)) * rng.uniform(0.7, 1.1)
        radii, turn = (piece, piece * rng.uniform(0.4, 1)), float(rng.uniform(0, 180))
        blob(canvas, (0.1, 0.06, 0.03), (at[0], at[1] + 2), radii, turn, 2, strength=0.4)
        blob(canvas, colour, at, radii, turn)
        blob(canvas, (1, 1, 0.95), (at[0] - 2, at[1] - 2), (piece / 4, piece / 5), soft=1, strength=0.4)
    return canvas * (0.85 + 0.3 * cloud(rng, height, width, 1.5)[:, :, None])


def _leaves(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    side = min(height, width)
    canvas = _textured(rng, np.array((0.1, 0.2, 0.07)), height, width, 2)
    autumn = rng.random() < 0.25
    for k in range(int(rng.integers(60, 200))):
        at, long = position(rng, height, width), side * rng.uniform(0.04, 0.14)
        colour = np.array((0.75, 0.4, 0.1) if autumn else (0.25, 0.5, 0.12)) * rng.uniform(0.4, 1.4)
        turn = float(rng.uniform(0, 180))
        blob(canvas, colour, at, (long, long * rng.uniform(0.25, 0.5)), turn)
        blob(canvas, 1.4 * colour, at, (0.9 * long, 1), turn, strength=0.3)
        if k % 25 == 24 and rng.random() < 0.5:
            bloom = hue(rng, 0.7)
            for angle in np.linspace(0, 2 * np.pi, 6)[:-1]:
                petal = at[0] + 0.5 * long * np.cos(angle), at[1] + 0.5 * long * np.sin(angle)
                blob(canvas, bloom, petal, (0.35 * long, 0.3 * long))
    return canvas
