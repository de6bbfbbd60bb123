"""Decode one image file to plain RGB: 8-bit sRGB, upright, which every loader reads alike; refuse what is ambiguous.

Images of other colour modes, depths and formats are converted where their values are known.
"""

import io
import re
import stat
import warnings
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    from PIL.Image import Image

# File names of images. Those of the second line cannot be decoded, but must appear in the quarantine.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"),
    *(".jp2", ".heic", ".heif", ".avif", ".dcm", ".svs"),
)
# The formats that Pillow may try: others start foreign programs (EPS) or are no photographs.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")
PLAIN = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}  # MPO: a camera's JPEG with a preview appended
PLAIN_SUFFIXES = (".jpg", ".jpeg", ".png")  # names that Keras lists; it decodes by content
MAX_PIXELS = 50_000_000  # decoded: 150 MB
MAX_BYTES = 64_000_000
ZEROED = bytes(32)  # in the data of a JPEG: more than a block of coefficients of -1
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # ends the data of a scan
SRGB_TOLERANCE = 3  # levels of 255: the sRGB profiles of several makers differ by less
_MODE_NAMES = {"L": "grey", "1": "black and white", "P": "palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "LAB": "LAB"}
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")


class BadImage(Exception):
    """The reason why a file cannot be used, in words that follow a colon."""


class NotAnImage(BadImage):
    """The bytes are in no known image format."""


class Unreadable(BadImage):
    """A file that this user may not read."""


class TooManyPixels(BadImage):
    """The image is larger than allowed, so that its pixels were not decoded."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit / 10**6:g} million pixels (decompression bomb)")


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        image: Pillow image, mode RGB, upright.
        format: Pillow's name of the format.
        changes: conversions that were needed ("grey made RGB"); empty where the file can stay as it is.
    """

    image: "Image"
    format: str
    changes: tuple[str, ...]

    def name(self, name: str) -> str:
        """Return a file name with the suffix that the file needs."""
        stem, dot, suffix = name.rpartition(".")
        if self.changes:
            return f"{stem}.png"
        return name if f"{dot}{suffix}".lower() in PLAIN_SUFFIXES else stem + PLAIN[self.format]

    def png(self) -> bytes:
        """Encode the pixels as a PNG file without metadata."""
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG")
        return buffer.getvalue()


def decode(content: bytes, most_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the bytes of an image file completely.

    Args:
        content: the file.
        most_pixels: largest width times height; a larger image is refused before any pixel is decoded.

    Raises:
        BadImage: the bytes are no image, are truncated or damaged, hold several frames, or values of unknown range.
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
        raise TooManyPixels(most_pixels) from None
    except Exception as error:  # decoders raise anything: SyntaxError, struct.error, IndexError ...
        text = " ".join(str(error).split())[:80] or type(error).__name__
        raise BadImage("truncated" if "truncated" in text.lower() else f"cannot be decoded ({text})") from None


def read_safely(path: Path, root: Path) -> bytes:
    """Read an image file below `root`, at most MAX_BYTES + 1 bytes, without following links out of it.

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
        raise Unreadable("permission denied") from None
    except FileNotFoundError:
        raise BadImage("symbolic link to nothing") from None
    except (OSError, RuntimeError) as error:
        raise BadImage(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


def open_picture(path: Path) -> Picture:
    """Open an image file as an upright 8-bit RGB picture.

    Raises:
        LeukoBenchError: the file is missing or cannot be used.
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
    """Open an image file as an upright 8-bit RGB Pillow image; raises the errors of `open_picture`."""
    return open_picture(path).image


@cache
def _silence_pillow() -> None:
    """Switch off Pillow's warnings, whose causes are handled here; once, as warning filters belong to all threads."""
    warnings.filterwarnings("ignore", module=r"PIL\b")


def _plain(image: "Image", content: bytes, most_pixels: int) -> Picture:
    from PIL import ImageOps

    if image.width * image.height > most_pixels:
        raise TooManyPixels(most_pixels)
    kind = image.format
    if kind != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise BadImage(f"{image.n_frames} frames (animated, or several pages)")
    deep = any(";16" in str(tile.args) for tile in image.tile) or image.mode.startswith("I;16")
    image.load()
    if kind in PLAIN:
        _check_end(kind, content)
    changes = [] if kind in PLAIN else [f"{kind} made PNG"]
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(0x0112, 1) not in (0, 1):
        changes.append("turned upright")
    rgb, change = _to_rgb(upright, deep)
    changes += [change] if change else []
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "RGBA", "P"):  # profiles of CMYK and grey refer to other values
        rgb, change = _to_srgb(rgb, profile)
        changes += [change] if change else []
    return Picture(rgb, kind, tuple(changes))


def _check_end(kind: str, content: bytes) -> None:
    """Refuse a JPEG or PNG that lacks its end: Pillow stops at the last row, TensorFlow reads to the end marker."""
    if kind == "PNG":
        if b"IEND\xaeB`\x82" not in content:
            raise BadImage("truncated")
        return
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(content, "GRAY", min_height=1, min_width=1, strict=True)  # at an eighth of the size
    except ValueError as error:
        raise BadImage("truncated" if "Premature end" in str(error) else f"damaged JPEG data ({error})") from None
    if ZEROED in content and _is_zeroed(content):
        raise BadImage("damaged JPEG data (a part of it is zeros)")


def _is_zeroed(content: bytes) -> bool:
    """Return whether a run of zeros in the compressed data of a JPEG cannot come from an encoder.

    The code of zeros is that of the first symbol of a Huffman table. Where that symbol is a coefficient, the zeros
    stand for more equal coefficients than a block has, which a decoder reads without a warning if the number of blocks
    happens to fit. Where it is the end of a block, the zeros may be a plain area.
    """
    first: dict[int, int] = {}  # by table: its first symbol
    position = content.find(b"\xff", 2)
    while 0 <= position < len(content) - 4:
        marker, start = content[position + 1], position + 4
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        end = position + 2 + int.from_bytes(content[position + 2 : start])
        if marker == 0xC4:
            while start + 17 < end:
                first[content[start]] = content[start + 17]
                start += 17 + sum(content[start + 1 : start + 17])
        elif marker == 0xDA:
            tables = [0x10 | content[start + 2 + 2 * k] & 15 for k in range(content[start])]
            following = _MARKER.search(content, end)
            stop = following.start() if following else len(content)
            coefficients = content[end - 2] > 0  # else a progressive scan of mean values, without these tables
            plain = not any(first.get(table, 0) & 15 for table in tables)
            if coefficients and not plain and content.find(ZEROED, end, stop) >= 0:
                return True
            end = stop
        elif marker == 0xD9:
            return False
        position = end
    return False


def _to_rgb(image: "Image", deep: bool) -> tuple["Image", str]:
    """Convert an image to mode RGB; return it and the conversion in words, "" for none.

    Args:
        image: in any mode.
        deep: whether the file holds 16 bits per value.
    """
    from PIL import Image

    mode = image.mode
    if mode.startswith("I;16"):
        _require_known_white(image.getextrema()[1], 65535)
        # Pillow's own conversion clips at 255 instead of scaling.
        import numpy as np

        grey = np.rint(np.asarray(image).astype(np.float32) / 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB"), "16-bit grey made 8-bit RGB"
    if mode in ("I", "F"):
        raise BadImage("32-bit values, whose white level is unknown")
    if mode in _WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        opaque = image.getchannel("A").getextrema()[0] == 255
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        rgb = image.convert("RGB") if opaque else Image.alpha_composite(white, image).convert("RGB")
        change = "alpha removed" if opaque else "transparent parts made white"
    elif mode == "RGB":
        rgb, change = image, "16-bit made 8-bit" if deep else ""
    elif mode in _MODE_NAMES:
        return image.convert("RGB"), f"{_MODE_NAMES[mode]} made RGB"
    else:
        raise BadImage(f"colour mode {mode}")
    if deep:
        _require_known_white(max(high for _, high in rgb.getextrema()), 255)
    return rgb, change


def _require_known_white(highest: float, full: int) -> None:
    """Refuse 16-bit images that use less than half of the range: 10- or 12-bit cameras, which would come out black."""
    if highest <= full // 2:
        raise BadImage("16-bit values that use less than half of the range, so the white level is unknown")


def _to_srgb(image: "Image", profile: bytes) -> tuple["Image", str]:
    """Convert an RGB image from a colour profile to sRGB; return it and the conversion in words, "" for none.

    An sRGB profile and an unreadable one change nothing: browsers, too, take such images as sRGB.
    """
    from PIL import Image, ImageCms

    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), "RGB", "RGB"
        )
        corners = bytes(level for colour in product(range(0, 256, 51), repeat=3) for level in colour)
        colours = Image.frombytes("RGB", (6, 36), corners)
        change = max(abs(a - b) for a, b in zip(transform.apply(colours).tobytes(), corners, strict=True))
        return (transform.apply(image), "colour profile made sRGB") if change > SRGB_TOLERANCE else (image, "")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, ""
