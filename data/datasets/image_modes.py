"""Bring an image of any colour mode and depth to 8-bit sRGB, or say why its values cannot be known."""

import io
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SRGB_ALIKE = 3  # levels of 255: sRGB profiles of several makers differ from each other by less


class BadImage(Exception):
    """The reason why a file cannot be used, in words that follow a colon."""


class NotAnImage(BadImage):
    """The file holds no image of an accepted format."""


class TooManyPixels(BadImage):
    """The image has more pixels than the limit."""


def to_rgb(image: "Image", deep: bool) -> tuple["Image", str]:
    """Return the image in mode RGB and what was done for it."""
    from PIL import Image

    mode = image.mode
    if mode.startswith("I;16"):
        _known_white(image.getextrema()[1], 65535)
        # Pillow's own conversion clips at 255 instead of scaling.
        import numpy as np

        grey = np.rint(np.asarray(image).astype(np.float32) / 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB"), "16-bit grey made 8-bit RGB"
    if mode in ("I", "F"):
        raise BadImage("32-bit values, whose white level is unknown")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        opaque = image.getchannel("A").getextrema()[0] == 255
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        rgb = image.convert("RGB") if opaque else Image.alpha_composite(white, image).convert("RGB")
        if deep:
            _known_white(max(high for _, high in rgb.getextrema()), 255)
        return rgb, "alpha removed" if opaque else "transparent parts made white"
    names = {"L": "grey", "1": "black and white", "P": "palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "LAB": "LAB"}
    if mode == "RGB":
        if deep:
            _known_white(max(high for _, high in image.getextrema()), 255)
        return image, "16-bit made 8-bit" if deep else ""
    if mode not in names:
        raise BadImage(f"colour mode {mode}")
    return image.convert("RGB"), f"{names[mode]} made RGB"


def _known_white(highest: float, full: int) -> None:
    """Refuse 16-bit images that use less than half of the range: 10- or 12-bit cameras, which would come out black."""
    if highest <= full // 2:
        raise BadImage("16-bit values that use less than half of the range, so the white level is unknown")


def to_srgb(image: "Image", profile: bytes) -> tuple["Image", str]:
    """Return the image in sRGB and what was done for it; a profile that is sRGB, or is none, changes nothing."""
    from PIL import Image, ImageCms

    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), "RGB", "RGB"
        )
        corners = bytes(level for colour in product(range(0, 256, 51), repeat=3) for level in colour)
        colours = Image.frombytes("RGB", (6, 36), corners)
        moved = max(abs(a - b) for a, b in zip(transform.apply(colours).tobytes(), corners, strict=True))
        return (transform.apply(image), "colour profile made sRGB") if moved > SRGB_ALIKE else (image, "")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, ""  # as browsers do: without a readable profile it is sRGB
