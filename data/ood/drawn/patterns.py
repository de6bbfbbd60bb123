"""Pictures without a subject: noise, flat colours, gradients, textures, round things in any colour."""

import numpy as np

from data.ood.drawn.canvas import blank, blob, choose, cloud, coordinates, hue, photographed, position, to_uint8

SMEAR_LIKE = ((0.97, 0.96, 0.98), (0.95, 0.90, 0.95), (0.93, 0.91, 0.97), (0.98, 0.97, 0.90), (0.90, 0.94, 0.98))


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw white, pink, brown, one-coloured, grainy, or salt-and-pepper noise."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    if kind == 1:
        return np.repeat(rng.integers(0, 256, (height, width, 1), np.uint8), 3, axis=2)
    if kind == 2:
        slope = rng.uniform(0.5, 4)
        return to_uint8(np.dstack([cloud(rng, height, width, slope) for _ in range(3)]))
    if kind == 3:
        ends = hue(rng), hue(rng)
        field = cloud(rng, height, width, rng.uniform(0, 4))[:, :, None]
        return to_uint8(ends[0] + (ends[1] - ends[0]) * field)
    canvas = blank(height, width, hue(rng, 0.2))
    hit = rng.random((height, width))
    share = rng.uniform(0.02, 0.4)
    canvas[hit < share / 2] = 0
    canvas[hit > 1 - share / 2] = 1
    return to_uint8(canvas)


def flat(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw one colour: white, black, grey, any, or that of a smear's background; often with sensor noise."""
    kind = rng.integers(5)
    colour = {0: (1, 1, 1), 1: (0, 0, 0), 2: np.full(3, rng.random()), 3: hue(rng)}.get(int(kind))
    if colour is None:
        colour = np.array(choose(rng, SMEAR_LIKE)) + rng.normal(0, 0.01, 3)
    canvas = blank(height, width, colour)
    if rng.random() < 0.5:
        return photographed(rng, canvas, 0.5, 0.03, 0.2)
    return to_uint8(canvas)


def gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a smooth gradient of two or three colours: linear, radial, or cloudy."""
    y, x = coordinates(height, width)
    turn, kind = rng.uniform(0, 2 * np.pi), rng.integers(3)
    if kind == 0:
        field = x * np.cos(turn) + y * np.sin(turn)
    elif kind == 1:
        field = np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.5))
    else:
        field = cloud(rng, height, width, 5)
    field = (field - field.min()) / (np.ptp(field) + 1e-9)
    pale = rng.random() < 0.4
    stops = np.array([hue(rng, 0.85 if pale else 0.0) for _ in range(int(rng.integers(2, 4)))])
    if pale:
        stops = 1 - (1 - stops) * 0.5
    places = np.linspace(0, 1, len(stops))
    canvas = np.dstack([np.interp(field, places, stops[:, k]) for k in range(3)]).astype(np.float32)
    return photographed(rng, canvas, 0.5, 0.02, 0.1) if rng.random() < 0.5 else to_uint8(canvas)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a photographed texture: cloth, wood, stone, or bricks."""
    kind = rng.integers(4)
    light, dark = hue(rng, 0.5), hue(rng, 0.0, 0.6)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    grain = cloud(rng, height, width, rng.uniform(1, 3))
    step = rng.uniform(4, 24)
    if kind == 0:
        field = 0.5 + 0.25 * (np.sin(2 * np.pi * x / step) + np.sin(2 * np.pi * y / step * rng.uniform(0.8, 1.2)))
    elif kind == 1:
        field = 0.5 + 0.5 * np.sin(2 * np.pi * (x / step / 2 + 3 * cloud(rng, height, width, 3, 8)))
    elif kind == 2:
        field = cloud(rng, height, width, rng.uniform(1.5, 3), rng.uniform(1, 4))
    else:
        row = np.floor(y / step)
        field = (((x + step * (row % 2)) % (2 * step) > 2) & (y % step > 2)).astype(np.float32)
    field = np.clip(0.75 * field + 0.25 * grain, 0, 1)[:, :, None]
    return photographed(rng, dark + (light - dark) * field, 1.5)


def round_things(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw balls, pebbles or bubbles of any colour, often on a pale ground: a smear's shapes without its dyes."""
    ground, colours = hue(rng, 0.3), [hue(rng) for _ in range(int(rng.integers(1, 4)))]
    if rng.random() < 0.4:
        ground = 1 - 0.15 * ground
    canvas = blank(height, width, ground)
    canvas *= 1 - 0.2 * cloud(rng, height, width, 3)[:, :, None]
    radius = rng.uniform(0.02, 0.15) * min(height, width)
    hollow = rng.random() < 0.3
    for _ in range(int(rng.integers(5, 70))):
        centre, size = position(rng, height, width), radius * rng.uniform(0.6, 1.4)
        colour = choose(rng, colours) * rng.uniform(0.8, 1)
        blob(canvas, colour, centre, (size, size * rng.uniform(0.7, 1)))
        inner = ground if hollow else np.minimum(1, colour + 0.3)
        place = (centre[0] - 0.3 * size, centre[1] - 0.3 * size) if not hollow else centre
        share = rng.uniform(0.2, 0.7) * size
        blob(canvas, inner, place, (share, share), soft=max(0.7, size / 5))
    return photographed(rng, canvas)
