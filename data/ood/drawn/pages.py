"""Images of documents: text, charts, screenshots."""

from typing import TYPE_CHECKING

import numpy as np

from data.ood.drawn.canvas import cloud, hue, photographed, to_uint8

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

LETTERS = "eeeeetttaaoooiinnsshhrrdlucmfwypvbgk"


def text(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a page of text, dark on light or light on dark, in one or two columns, sometimes photographed."""
    from PIL import Image, ImageDraw

    dark = rng.random() < 0.3
    paper = _byte(hue(rng, 0.0, 0.25) if dark else 1 - 0.25 * hue(rng))
    ink = _byte(1 - 0.3 * hue(rng) if dark else hue(rng, 0.0, 0.4))
    page = Image.new("RGB", (width, height), paper)
    columns = int(rng.integers(1, 3))
    size = float(rng.uniform(8, max(9, height / 10)))
    for column in range(columns):
        left = width * column // columns + 0.05 * width
        _lines(rng, ImageDraw.Draw(page), (left, 0.05 * height, width / columns * 0.9, 0.93 * height), size, ink)
    return _pixels(rng, page, 0.5)


def chart(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a bar chart, a line chart, a scatter plot, a pie, or shapes, with axes and labels."""
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (width, height), _byte(1 - 0.15 * hue(rng)))
    pen = ImageDraw.Draw(page)
    colours = [_byte(hue(rng, 0.2)) for _ in range(5)]
    kind, line = rng.integers(5), max(1, round(min(height, width) / 120))
    left, top, right, bottom = 0.12 * width, 0.1 * height, 0.95 * width, 0.88 * height
    if kind < 3:
        pen.line([(left, top), (left, bottom), (right, bottom)], (40, 40, 40), line)
        _lines(rng, pen, (left, 0.9 * height, right - left, height), max(8.0, height / 25), (40, 40, 40))
    count = int(rng.integers(4, 12))
    x = np.linspace(left + 2, right, count + 1)
    if kind == 0:
        for k in range(count):
            pen.rectangle([x[k] + 2, rng.uniform(top, bottom - 2), x[k + 1] - 1, bottom], fill=colours[k % 3])
    elif kind == 1:
        for colour in colours[: int(rng.integers(1, 5))]:
            pen.line(list(zip(x, rng.uniform(top, bottom, count + 1), strict=True)), colour, 2 * line)
    elif kind == 2:
        for _ in range(int(rng.integers(20, 200))):
            at, radius = (rng.uniform(left, right), rng.uniform(top, bottom)), rng.uniform(1, 3) * line
            pen.ellipse([at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius], fill=colours[rng.integers(3)])
    elif kind == 3:
        ends = np.concatenate([[0], np.sort(rng.uniform(0, 360, 4)), [360]])
        for k in range(5):
            pen.pieslice([left, top, left + bottom - top, bottom], ends[k], ends[k + 1], colours[k], (255, 255, 255))
    else:
        for _ in range(count):
            corners = rng.uniform((0, 0), (width, height), (int(rng.integers(3, 6)), 2))
            pen.polygon([tuple(corner) for corner in corners], colours[rng.integers(5)], (0, 0, 0))
    return _pixels(rng, page, 0.2)


def screenshot(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw windows with title bars, menus, text, buttons and a picture, on a desktop, light or dark."""
    from PIL import Image, ImageDraw

    desktop = hue(rng, 0.1) * (0.7 + 0.3 * cloud(rng, height, width, 4)[:, :, None])
    page = Image.fromarray(to_uint8(desktop))
    pen = ImageDraw.Draw(page)
    accent, dark = _byte(hue(rng, 0.3)), rng.random() < 0.4
    paper, ink, bar = ((32, 34, 38), (215, 215, 220), (55, 58, 64))
    if not dark:
        paper, ink, bar = ((252, 252, 252), (30, 30, 30), (225, 227, 232))
    size = max(7.0, height / float(rng.uniform(20, 45)))
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, 0.3) * width, rng.uniform(0, 0.3) * height
        right, bottom = x + rng.uniform(0.5, 0.9) * width, y + rng.uniform(0.5, 0.9) * height
        side = x + rng.uniform(0.1, 0.3) * (right - x)
        pen.rectangle([x, y, right, bottom], fill=paper, outline=bar)
        pen.rectangle([x, y, right, y + 1.6 * size], fill=bar)
        pen.rectangle([x, y + 1.6 * size, side, bottom], fill=bar)
        _lines(rng, pen, (x + 4, y + 2, 0.5 * (right - x), y + 1.6 * size), size, ink)
        _lines(rng, pen, (x + 4, y + 2 * size, side - x - 8, bottom), size, ink)
        _lines(rng, pen, (side + 6, y + 2 * size, right - side - 12, bottom), size, ink)
        for k in range(3):
            pen.ellipse([right - (k + 1) * size, y + 0.5 * size, right - (k + 0.5) * size, y + size], fill=accent)
        corner = rng.uniform(side, right), rng.uniform(y + 2 * size, bottom)
        pen.rectangle([*corner, corner[0] + 5 * size, corner[1] + 1.5 * size], fill=accent)
    if rng.random() < 0.5:
        share = int(min(height, width) * rng.uniform(0.15, 0.4))
        field = cloud(rng, share, share, 3)[:, :, None]
        picture = hue(rng) * field + hue(rng) * (1 - field)
        page.paste(Image.fromarray(to_uint8(picture)), (int(width * 0.5), int(height * 0.5)))
    return np.asarray(page)


def _lines(
    rng: np.random.Generator, pen: "ImageDraw", box: tuple[float, float, float, float], size: float, ink: tuple
) -> None:
    """Write words into a box (left, top, width, bottom), paragraph after paragraph."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    left, y, wide, bottom = box
    while y + size < bottom:
        if rng.random() > 0.12:
            room = int(wide * (1 if rng.random() < 0.8 else rng.uniform(0.3, 1)) / (0.55 * size))
            lengths = rng.integers(2, 10, max(1, room // 6))
            words = ["".join(rng.choice(list(LETTERS), length)) for length in lengths]
            pen.text((left, y), " ".join(words)[: max(1, room)], ink, font)
        y += 1.35 * size


def _pixels(rng: np.random.Generator, page: "object", chance: float) -> np.ndarray:
    """Return a page as pixels, photographed with the given probability."""
    pixels = np.asarray(page)
    return photographed(rng, pixels.astype(np.float32) / 255) if rng.random() < chance else pixels


def _byte(colour: np.ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in np.rint(np.clip(colour, 0, 1) * 255))
