"""Colour profiles: a picture is read in sRGB, as a browser shows it; what is sRGB already stays as it is."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from data.datasets.image_decoder import decode

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"none", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"none", b"gXYZ", 1)
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
RED = (200, 20, 30)


def read(kind, profile):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), RED).save(
        buffer, kind, icc_profile=profile, **({"quality": 95} if kind == "JPEG" else {})
    )
    picture = decode(buffer.getvalue())
    return picture.changes, np.asarray(picture.image)[8, 8].astype(int)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_profile_is_applied(kind):
    """A profile whose red and green primaries are swapped shows red pixels in green."""
    changes, seen = read(kind, SWAPPED)
    assert changes == ("colour profile made sRGB",)
    assert abs(seen - (20, 200, 30)).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("profile", [SRGB, LAB, b"no profile", SRGB[:200]], ids=["srgb", "lab", "garbage", "cut"])
def test_a_profile_that_says_nothing_changes_nothing(kind, profile):
    changes, seen = read(kind, profile)
    assert changes == ()
    assert abs(seen - RED).max() <= 4
