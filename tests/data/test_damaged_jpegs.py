"""JPEG files whose data are damaged: refused with the reason, whatever the encoder; whole ones are never refused."""

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data.datasets import image_decoder
from data.datasets.importer import import_dataset

ENCODERS = {
    "baseline": {},
    "4:4:4": {"subsampling": 0, "quality": 95},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_rows": 1},
    "grey": {"grey": True, "quality": 90},
}


def photograph(side=160, seed=0):
    """A picture with fine detail everywhere, as noise of several scales."""
    random = np.random.default_rng(seed)
    layers = [
        random.normal(128, 60, (side // step, side // step, 3)).repeat(step, 0).repeat(step, 1) for step in (4, 8)
    ]
    return Image.fromarray(np.clip(sum(layers) / 2, 0, 255).astype(np.uint8))


def encoded(grey=False, picture=None, **settings):
    buffer = io.BytesIO()
    (picture or photograph()).convert("L" if grey else "RGB").save(buffer, "JPEG", **settings)
    return buffer.getvalue()


def scan(content):
    """Start and end of the compressed data: of the largest scan, up to its next marker."""
    starts = [at for at in range(len(content) - 1) if content[at : at + 2] == b"\xff\xda"]
    spans = []
    for at in starts:
        start = at + 2 + int.from_bytes(content[at + 2 : at + 4])
        following = image_decoder._MARKER.search(content, start)
        spans.append((start, following.start()))
    return max(spans, key=lambda span: span[1] - span[0])


def with_height(content, factor):
    frame = next(at for at in range(len(content)) if content[at] == 0xFF and content[at + 1] in (0xC0, 0xC1, 0xC2))
    height = int(factor * int.from_bytes(content[frame + 5 : frame + 7]))
    return content[: frame + 5] + height.to_bytes(2) + content[frame + 7 :]


def zeroed(content, part, whole=1):
    """Zero the data from a share of the scan on, up to another share."""
    start, end = scan(content)
    first, last = start + int(part * (end - start)), start + int(whole * (end - start))
    return content[:first] + bytes(last - first) + content[last:]


def extraneous(content):
    _, end = scan(content)
    return content[:end] + bytes(range(1, 60)) + content[end:]


DAMAGES = {
    "all data zero": lambda content: zeroed(content, 0),
    "zeros from the middle": lambda content: zeroed(content, 0.5),
    "zeros at the end": lambda content: zeroed(content, 0.9),
    "height doubled": lambda content: with_height(content, 2),
    "height halved": lambda content: with_height(content, 0.5),
    "bytes before the end": extraneous,
    "cut": lambda content: content[: sum(scan(content)) // 2],
    "cut, with an end": lambda content: content[: sum(scan(content)) // 2] + b"\xff\xd9",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_damaged_jpeg_is_refused(encoder, damage):
    content = encoded(**ENCODERS[encoder])
    image_decoder.decode(content)
    with pytest.raises(image_decoder.BadImage, match=r"^(damaged JPEG data|truncated)"):
        image_decoder.decode(DAMAGES[damage](content))


def test_zeros_that_a_decoder_reads_without_a_warning_are_found():
    silent = 0
    for seed in range(40):
        content = encoded(picture=photograph(64, seed), quality=90)
        for part in np.arange(0.1, 0.8, 0.1):
            changed = zeroed(content, part, part + 64 / len(content))
            try:
                simplejpeg.decode_jpeg(changed, strict=True)
            except ValueError:
                continue
            silent += image_decoder.ZEROED in changed
            with pytest.raises(image_decoder.BadImage, match="zeros"):
                image_decoder.decode(changed)
    assert silent, "the decoder warns of all of them: the check is not needed"


@pytest.mark.parametrize("quality", [5, 50, 75, 95, 100])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_whole_jpegs_with_long_runs_of_zeros_are_used(encoder, quality):
    """Plain areas, empty metadata and what cameras append."""
    plain = Image.new("RGB", (256, 256), (255, 255, 255))
    plain.paste(photograph(96), (16, 16))
    dots = np.where(np.indices((128, 128)).sum(0) % 8 < 1, 250, 255).astype(np.uint8)
    for picture in (plain, Image.fromarray(dots), Image.new("RGB", (200, 120)), photograph()):
        settings = ENCODERS[encoder] | {"quality": quality}
        content = encoded(picture=picture, exif=b"Exif\0\0" + bytes(500), icc_profile=bytes(2000), **settings)
        assert image_decoder.decode(content + bytes(4096)).image.size == picture.size


def test_an_import_quarantines_them_with_the_reason(data_folder, tmp_path):
    for k, name in enumerate(("lymphocyte", "monocyte")):
        folder = tmp_path / "source" / name
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"{k}{number}.jpg").write_bytes(encoded(picture=photograph(64, 10 * k + number)))
        (folder / f"tall{k}.jpg").write_bytes(with_height(encoded(picture=photograph(64, 50 + k)), 1.5))
        (folder / f"lost{k}.jpeg").write_bytes(zeroed(encoded(picture=photograph(64, 60 + k)), 0.3))
    found = import_dataset(tmp_path / "source", "cells", as_is=True)
    assert len(found.index) == 6
    assert sorted(file for file, _ in found.quarantined) == [
        *("lymphocyte/lost0.jpeg", "lymphocyte/tall0.jpg", "monocyte/lost1.jpeg", "monocyte/tall1.jpg"),
    ]
    assert all(reason.startswith(("damaged JPEG data", "truncated")) for _, reason in found.quarantined)
