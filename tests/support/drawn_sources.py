"""Draw small sources of images: folders with pictures that all differ, and zips of them."""

import io
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def png(seed: int) -> bytes:
    """The bytes of a small picture, another one for each seed."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def lay(folder: Path, *counted: str) -> Path:
    """Write pictures into folders given as "path/of/folder*3", all different, and return the source."""
    for text in counted:
        place, _, count = text.partition("*")
        for number in range(int(count or 2)):
            path = folder / place / f"{zlib.crc32(place.encode()) % 1000}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(zlib.crc32(f"{place}{number}".encode())))
    return folder


def product(tops: Iterable[str], classes: Iterable[str], count: int = 2) -> list[str]:
    """Name a folder of each class in each of the upper folders, for `lay`."""
    return [f"{top}/{name}*{count}" for top in tops for name in classes]


def zipped(folder: Path) -> Path:
    """Write a folder as a zip beside it."""
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return folder.with_suffix(".zip")
