"""Decoder process: from the bytes of a file to its pixels, its statistics and its preview."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from webapp.settings import MB

if TYPE_CHECKING:
    from data.datasets.image_decoder import Picture

SHOWN = 448  # longest side of the preview in pixels; smaller images are not enlarged
OUTLINED = 1024  # longest side in pixels for the segmentation of nuclei
FORMATS = "JPEG, PNG, TIFF, BMP, WebP, PPM, JPEG 2000 and still GIF"


@dataclass(frozen=True)
class Seen:
    """A decoded upload.

    Attributes:
        width, height: in pixels, upright.
        changes: conversions to plain 8-bit RGB, in words.
        pixels: (height, width, 3) uint8 RGB; None for a plain JPEG, which the models decode as in training.
        statistics: (d,) float32 of colour and texture, see `data.ood.image_statistics`.
        kept: PNG of the full image without metadata; b"" unless requested.
        shown: PNG of the preview; b"" unless requested.
        outline: SVG path of the nuclei in the coordinates of `shown`; "" where there are none.
        size: width and height of `shown`.
    """

    width: int
    height: int
    changes: tuple[str, ...]
    pixels: np.ndarray | None
    statistics: np.ndarray
    kept: bytes = b""
    shown: bytes = b""
    outline: str = ""
    size: tuple[int, int] = (0, 0)


class Refused(Exception):
    """Reason why a file cannot be used: HTTP status and a sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status, self.detail = status, detail


def prepare(memory_mb: int, most_pixels: int, seconds: float) -> Callable[[tuple[bytes, bool, bool]], Seen]:
    """Limit the resources of this process and return the function that decodes one upload."""
    import cv2

    from data.datasets import image_decoder
    from data.ood import image_statistics

    cv2.setNumThreads(1)
    with suppress(image_decoder.BadImage):
        image_decoder.decode(b"P6 1 1 255 abc")  # imports Pillow
    image_statistics.statistics(np.zeros((32, 32, 3), np.uint8))
    with suppress(ImportError):  # not on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_mb * MB, memory_mb * MB))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return lambda message: _in_time(seconds, lambda: _look(*message, most_pixels))


def _in_time(seconds: float, function: Callable[[], Seen]) -> Seen:
    """Limit the CPU time of one file, so that the process ends even if the server is gone."""
    with suppress(ImportError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + 2 * seconds) + 1, hard))
    return function()


def _look(content: bytes, show: bool, keep: bool, most_pixels: int) -> Seen:
    import cv2

    from data.datasets.image_decoder import BadImage, NotAnImage, TooManyPixels, decode

    try:
        return _seen(decode(content, most_pixels), show, keep)
    except NotAnImage:
        raise Refused(415, f"this is no image of an accepted format: {FORMATS}.") from None
    except TooManyPixels as reason:
        raise Refused(413, f"{reason}. Send a smaller image.") from None
    except BadImage as reason:
        raise Refused(422, f"{reason}. Send a complete 8-bit image such as a PNG or JPEG.") from None
    except (MemoryError, cv2.error):  # OpenCV: an unsupported size
        raise Refused(422, "the image is too large or too narrow. Send a smaller image.") from None


def _seen(picture: "Picture", show: bool, keep: bool) -> Seen:
    from data.ood import image_statistics

    pixels = np.asarray(picture.image)
    plain = picture.format in ("JPEG", "MPO") and not picture.changes
    seen: dict[str, Any] = {
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "changes": picture.changes,
        "pixels": None if plain else pixels,
        "statistics": image_statistics.statistics(pixels),
        "kept": picture.png() if keep else b"",
    }
    return Seen(**seen, **(_for_page(pixels) if show else {}))


def _for_page(pixels: np.ndarray) -> dict[str, Any]:
    import cv2

    from data.imaging.nucleus_segmentation import nucleus_mask

    picture = _at_most(pixels, SHOWN)
    _, png = cv2.imencode(".png", picture[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
    height, width = picture.shape[:2]
    mask = nucleus_mask(_at_most(pixels, OUTLINED))
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_KCOS)
    scale = np.array([width / mask.shape[1], height / mask.shape[0]])
    parts = []
    for contour in found:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (contour[:, 0] + 0.5) * scale)
        parts.append(f"M{points}Z")
    return {"shown": png.tobytes(), "outline": "".join(parts), "size": (width, height)}


def _at_most(pixels: np.ndarray, side: int) -> np.ndarray:
    import cv2

    factor = side / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    size = tuple(max(1, round(length * factor)) for length in pixels.shape[1::-1])
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
