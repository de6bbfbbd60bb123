"""Decode one image file whatever it holds: what is good stays, what can be made plain RGB is, the rest is refused.

Plain means what the input pipeline reads without a doubt: 8-bit RGB, upright, as JPEG or PNG.
"""

import io
import re
import stat
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from data.datasets.image_modes import BadImage, NotAnImage, TooManyPixels, to_rgb, to_srgb
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    from PIL.Image import Image

# Names that promise an image. The last ones are here so that such files are named in the quarantine, not overlooked.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"),
    *(".jp2", ".heic", ".heif", ".avif", ".dcm", ".svs"),
)
# Pillow is asked for these alone: others run foreign programs (EPS) or are no pictures.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")
PLAIN = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}  # MPO: a camera's JPEG with a preview behind it
PLAIN_SUFFIXES = (".jpg", ".jpeg", ".png")  # names that Keras reads; it decodes by content
MAX_PIXELS = 50_000_000  # decoded: 150 MB
MAX_BYTES = 64_000_000
_MARK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        image: Pillow image, mode RGB, upright.
        format: Pillow's name of the format.
        changes: what had to be changed ("grey made RGB"); empty where the file can stay as it is.
    """

    image: "Image"
    format: str
    changes: tuple[str, ...]

    def name(self, name: str) -> str:
        """Return a file name with the suffix that the file will need."""
        stem, dot, suffix = name.rpartition(".")
        if self.changes:
            return f"{stem}.png"
        return name if f"{dot}{suffix}".lower() in PLAIN_SUFFIXES else stem + PLAIN[self.format]

    def png(self) -> bytes:
        """Return the pixels as a PNG file without metadata."""
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG")
        return buffer.getvalue()


def decode(content: bytes, most_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the bytes of an image file completely.

    Args:
        content: the file.
        most_pixels: width times height above which it is refused before any pixel is decoded.

    Raises:
        BadImage: the bytes are no image, are cut off, hold several frames or a range of values that cannot be known.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise BadImage("zero bytes")
    if len(content) > MAX_BYTES:
        raise BadImage(f"larger than {MAX_BYTES // 10**6} MB")
    _silence_pillow()
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _plain(image, content, most_pixels)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise NotAnImage("not an image") from None
    except Image.DecompressionBombError:
        raise TooManyPixels(_too_many(most_pixels)) from None
    except Exception as error:  # decoders fail with any class: SyntaxError, struct.error, IndexError ...
        text = " ".join(str(error).split())[:80] or type(error).__name__
        raise BadImage("truncated" if "truncated" in text.lower() else f"cannot be decoded ({text})") from None


def read_safely(path: Path, root: Path) -> bytes:
    """Read one image file without being led out of `root` or into something endless; at most MAX_BYTES + 1 bytes.

    Raises:
        BadImage: a link out of the root, a special file, or no permission.
    """
    try:
        if not path.resolve(strict=True).is_relative_to(root.resolve()):
            raise BadImage("symbolic link out of the folder")
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadImage("not a regular file")
        with open(path, "rb") as handle:
            return handle.read(MAX_BYTES + 1)
    except PermissionError:
        raise BadImage("permission denied") from None
    except FileNotFoundError:
        raise BadImage("symbolic link to nothing") from None
    except (OSError, RuntimeError) as error:
        raise BadImage(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


def open_picture(path: Path) -> Picture:
    """Open an image file as an upright 8-bit RGB picture.

    Raises:
        LeukoBenchError: the file is missing or no image that can be used.
    """
    try:
        with open(path, "rb") as handle:
            return decode(handle.read(MAX_BYTES + 1))
    except FileNotFoundError:
        raise LeukoBenchError(f"There is no image {path}.") from None
    except OSError as error:
        raise LeukoBenchError(f"Cannot read the image {path}: {error.strerror or error}.") from None
    except BadImage as reason:
        raise LeukoBenchError(f"{path} cannot be used: {reason}. Give an image such as a JPEG or PNG.") from None


def open_rgb(path: Path) -> "Image":
    """Open an image file as an upright 8-bit RGB Pillow image; fails as `open_picture` does."""
    return open_picture(path).image


@cache
def _silence_pillow() -> None:
    """Let Pillow not warn of oddities that are judged here; once, as filters belong to all threads."""
    warnings.filterwarnings("ignore", module=r"PIL\b")


def _too_many(pixels: int) -> str:
    return f"more than {pixels / 10**6:g} million pixels (decompression bomb)"


def _plain(image: "Image", content: bytes, most_pixels: int) -> Picture:
    from PIL import ImageOps

    if image.width * image.height > most_pixels:
        raise TooManyPixels(_too_many(most_pixels))
    kind = image.format
    if kind != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise BadImage(f"{image.n_frames} frames (animated, or several pages)")
    deep = any(";16" in str(tile.args) for tile in image.tile) or image.mode.startswith("I;16")
    image.load()
    # Pillow is content once it has the last row, TensorFlow reads on to the end mark.
    if kind in PLAIN and not (_png_ends(content) if kind == "PNG" else _jpeg_ends(content)):
        raise BadImage("truncated")
    changes = [] if kind in PLAIN else [f"{kind} made PNG"]
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(0x0112, 1) not in (0, 1):
        changes.append("turned upright")
    rgb, change = to_rgb(upright, deep)
    changes += [change] if change else []
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "RGBA", "P"):  # profiles of CMYK and grey are about other values
        rgb, change = to_srgb(rgb, profile)
        changes += [change] if change else []
    return Picture(rgb, kind, tuple(changes))


def _png_ends(content: bytes) -> bool:
    """Say whether a PNG has its last chunk."""
    return b"IEND\xaeB`\x82" in content


def _jpeg_ends(content: bytes) -> bool:
    """Walk the segments of a JPEG and say whether they lead to its end mark (ITU-T T.81, annex B)."""
    at = 2
    while at + 1 < len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xD9:
            return True
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker not in (0x01, *range(0xD0, 0xD8)):
            at += int.from_bytes(content[at + 2 : at + 4], "big")
        at += 2
        if marker == 0xDA:  # coded pixels follow, to the next mark that is no escape and no restart
            following = _MARK.search(content, at)
            at = following.start() if following else len(content)
    return False
