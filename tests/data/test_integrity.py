import io
import os
import struct
import zlib

import numpy as np
import pytest
from checks import contents, one_line_error
from killing import kill_each_commit, visible
from PIL import Image, ImageCms

from data.datasets import image_decoder, index, integrity_check
from data.synthetic import generator as synthetic
from utils.errors import LeukoBenchError
from utils.io.files import read_csv, read_json


def smear(seed=0, size=(40, 32)):
    """An image with a bright background, as smears have."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(120, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of_size(width, height):
    """A PNG that claims a size and holds almost nothing."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def deep(highest):
    return Image.fromarray(np.linspace(0, highest, 40 * 32).reshape(32, 40).astype(np.uint16))


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(smear(), "JPEG", exif=exif)


def alpha(value):
    image = smear().convert("RGBA")
    image.putalpha(Image.new("L", image.size, value))
    return image


GOOD = {
    "jpeg": lambda: encoded(smear(), "JPEG"),
    "progressive jpeg": lambda: encoded(smear(), "JPEG", progressive=True),
    "png": lambda: encoded(smear()),
    "jpeg with bytes behind its end": lambda: encoded(smear(), "JPEG") + b"\0" * 9000,
}
CONVERTED = {
    "grey": (lambda: encoded(smear().convert("L"), "JPEG"), "grey made RGB"),
    "black and white": (lambda: encoded(smear().convert("1")), "black and white made RGB"),
    "palette": (lambda: encoded(smear().convert("P")), "palette made RGB"),
    "opaque alpha": (lambda: encoded(alpha(255)), "alpha removed"),
    "alpha": (lambda: encoded(alpha(100)), "transparent parts made white"),
    "grey with alpha": (lambda: encoded(alpha(255).convert("LA")), "alpha removed"),
    "colour key": (lambda: encoded(smear(), transparency=(1, 2, 3)), "alpha removed"),
    "cmyk": (lambda: encoded(smear().convert("CMYK"), "JPEG"), "CMYK made RGB"),
    "16-bit": (lambda: encoded(deep(65535)), "16-bit grey made 8-bit RGB"),
    "turned": (turned, "turned upright"),
    "tiff": (lambda: encoded(smear(), "TIFF"), "TIFF made PNG"),
    "bmp": (lambda: encoded(smear(), "BMP"), "BMP made PNG"),
    "webp": (lambda: encoded(smear(), "WEBP", lossless=True), "WEBP made PNG"),
    "gif": (lambda: encoded(smear(), "GIF"), "GIF made PNG, palette made RGB"),
}
TRUNCATED, BOMB = "truncated", "more than 50 million pixels (decompression bomb)"
BAD = {
    "zero bytes": (lambda: b"", "zero bytes"),
    "text": (lambda: b"this is no image", "not an image"),
    "html": (lambda: b"<html>" + b"x" * 5000, "not an image"),
    "cut jpeg": (lambda: encoded(smear(), "JPEG")[:-300], TRUNCATED),
    "jpeg without its end": (lambda: encoded(smear(), "JPEG")[:-2], TRUNCATED),
    "progressive jpeg without its end": (lambda: encoded(smear(), "JPEG", progressive=True)[:-2], TRUNCATED),
    "cmyk jpeg without its end": (lambda: encoded(smear().convert("CMYK"), "JPEG")[:-2], TRUNCATED),
    "cut png": (lambda: encoded(smear())[:-900], TRUNCATED),
    "png without its end": (lambda: encoded(smear())[:-12], TRUNCATED),
    "bomb": (lambda: png_of_size(12_000, 12_000), BOMB),
    "huge bomb": (lambda: png_of_size(100_000, 100_000), BOMB),
    "animated gif": (lambda: encoded(smear(), "GIF", save_all=True, append_images=[smear(1)]), "2 frames"),
    "animated png": (lambda: encoded(smear(), save_all=True, append_images=[smear(1), smear(2)]), "3 frames"),
    "pages": (lambda: encoded(smear(), "TIFF", save_all=True, append_images=[smear(1)]), "2 frames"),
    "12-bit": (lambda: encoded(deep(4095)), "16-bit values that use less than half of the range"),
    "32-bit": (lambda: encoded(deep(65535).convert("I"), "TIFF"), "32-bit values"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_files_stay_as_they_are(kind):
    picture = image_decoder.decode(GOOD[kind]())
    assert (picture.changes, picture.image.mode) == ((), "RGB")


@pytest.mark.parametrize("kind", CONVERTED)
def test_other_formats_are_converted(kind):
    make, change = CONVERTED[kind]
    picture = image_decoder.decode(make())
    assert ", ".join(picture.changes) == change
    again = image_decoder.decode(picture.png())
    assert (again.changes, again.image.mode) == ((), "RGB")
    np.testing.assert_array_equal(again.image, picture.image)


def test_conversion_keeps_the_pixels():
    exact = np.asarray(smear())
    for kind in ("opaque alpha", "tiff", "bmp", "webp", "colour key"):
        np.testing.assert_array_equal(image_decoder.decode(CONVERTED[kind][0]()).image, exact)
    grey = np.asarray(image_decoder.decode(CONVERTED["16-bit"][0]()).image)
    np.testing.assert_array_equal(grey[..., 0], np.rint(np.asarray(deep(65535)) / 257))
    assert image_decoder.decode(turned()).image.size == (32, 40)


@pytest.mark.parametrize("kind", BAD)
def test_unusable_files_are_refused_with_a_reason(kind):
    make, reason = BAD[kind]
    with pytest.raises(image_decoder.BadImage) as error:
        image_decoder.decode(make())
    assert str(error.value).startswith(reason)
    types = {"not an image": image_decoder.NotAnImage, BOMB: image_decoder.TooManyPixels}
    assert type(error.value) is types.get(reason, image_decoder.BadImage)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"none", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"none", b"gXYZ", 1)
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
RED = (200, 20, 30)


def with_profile(kind, profile):
    """Decode a red image with a colour profile; return the changes and the colour of a pixel."""
    options = {"quality": 95} if kind == "JPEG" else {}
    decoded = image_decoder.decode(encoded(Image.new("RGB", (16, 16), RED), kind, icc_profile=profile, **options))
    return decoded.changes, np.asarray(decoded.image)[8, 8].astype(int)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_colour_profile_is_applied(kind):
    """A profile whose red and green primaries are swapped shows red pixels in green."""
    changes, seen = with_profile(kind, SWAPPED)
    assert changes == ("colour profile made sRGB",)
    assert abs(seen - (20, 200, 30)).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("profile", [SRGB, LAB, b"no profile", SRGB[:200]], ids=["srgb", "lab", "garbage", "cut"])
def test_an_srgb_or_unreadable_profile_changes_nothing(kind, profile):
    changes, seen = with_profile(kind, profile)
    assert changes == ()
    assert abs(seen - RED).max() <= 4


def test_random_damage_never_raises_anything_else():
    rng = np.random.default_rng(0)
    sources = [make() for make in GOOD.values()] + [make() for make, _ in CONVERTED.values()]
    for content in sources:
        for _ in range(15):
            broken = bytearray(content)
            for at in rng.integers(0, len(broken), 6):
                broken[at] = rng.integers(256)
            try:
                assert image_decoder.decode(bytes(broken[: rng.integers(1, len(broken) + 1)])).image.mode == "RGB"
            except image_decoder.BadImage as reason:
                assert str(reason)


def test_open_rgb_reports_the_file_and_the_reason(tmp_path):
    path = tmp_path / "x.jpg"
    with pytest.raises(LeukoBenchError, match=f"no image {path}"):
        image_decoder.open_rgb(path)
    path.write_bytes(b"")
    with pytest.raises(LeukoBenchError, match=f"{path} cannot be used: zero bytes"):
        image_decoder.open_rgb(path)
    path.write_bytes(CONVERTED["cmyk"][0]())
    assert image_decoder.open_rgb(path).mode == "RGB"
    with pytest.raises(LeukoBenchError, match=f"{tmp_path}: Is a directory"):
        image_decoder.open_rgb(tmp_path)


@pytest.fixture
def folder(data_folder):
    """A dataset of 8 smears that was indexed."""
    folder = synthetic.make("smears", images_per_class=2, size=32, patients=1)
    integrity_check.check("smears")
    return folder


def quarantine(folder):
    return {row["file"]: row["reason"] for row in read_csv(folder / "quarantine.csv", ("file", "reason"))}


def test_checking_a_whole_dataset_changes_nothing(folder):
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}
    report = integrity_check.check("smears")
    assert (report.missing, report.changed, report.added, report.converted, report.quarantined) == ([], [], [], [], [])
    assert len(report.index) == 8
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")} == before


def test_checking_finds_missing_new_changed_and_broken_files(folder):
    names = [row.image for row in index.read(folder)]
    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes(encoded(smear(5)))
    (folder / names[2]).write_bytes((folder / names[2]).read_bytes()[:-300])
    (folder / "Pro/new.tif").write_bytes(encoded(smear(6), "TIFF"))
    (folder / "Pro/photo.jpe").write_bytes(encoded(smear(7), "JPEG"))
    (folder / "Pro/notes.txt").write_text("ignored")
    outside = folder.parent / "outside.png"
    outside.write_bytes(encoded(smear(8)))
    (folder / "Pro/link.png").symlink_to(outside)
    (folder / "Pro/nothing.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "Pro/pipe.png")
    seen = []
    report = integrity_check.check("smears", lambda done, total: seen.append((done, total)))
    assert seen == [(number, 12) for number in range(1, 13)]
    assert report.missing == [names[0]]
    assert report.changed == [names[1]]
    assert report.added == ["Pro/new.tif", "Pro/photo.jpe"]
    assert report.converted == [("Pro/new.png", "TIFF made PNG")]
    assert quarantine(folder) == {
        names[2]: "truncated",
        "Pro/link.png": "symbolic link out of the folder",
        "Pro/nothing.png": "symbolic link to nothing",
        "Pro/pipe.png": "not a regular file",
    }
    assert outside.exists()
    names = sorted(path.name for path in (folder / "_quarantine/Pro").iterdir())
    assert names == ["link.png", "nothing.png", "pipe.png"]
    assert index.read(folder) == report.index
    assert {"Pro/new.png", "Pro/photo.jpg"} < {row.image for row in report.index}
    assert not (folder / "Pro/new.tif").exists() and not (folder / "Pro/photo.jpe").exists()
    assert integrity_check.check("smears").index == report.index
    assert len(quarantine(folder)) == 4
    counts = index.count(report.index)
    assert index.count(integrity_check.current_index("smears")) == counts
    assert read_json(folder / "dataset.json")["images"] == counts


def test_a_conversion_never_overwrites_another_image_and_keeps_its_group(folder):
    name = index.read(folder)[0].image
    taken, tiff = folder / name, folder / name.replace(".png", ".tif")
    kept = taken.read_bytes()
    tiff.write_bytes(encoded(smear(1), "TIFF"))
    text = (folder / "groups.csv").read_text()
    (folder / "groups.csv").write_text(f"{text}{name.replace('.png', '.tif')},mine\n")
    report = integrity_check.check("smears")
    assert report.converted == [(name.replace(".png", "-2.png"), "TIFF made PNG")]
    assert taken.read_bytes() == kept
    assert f"{name.replace('.png', '-2.png')},mine\n" in (folder / "groups.csv").read_text()


def test_equal_images_are_reported_and_refused_under_two_classes(folder):
    first = index.read(folder)[0]
    (folder / "Benign/copy.png").write_bytes((folder / first.image).read_bytes())
    rows = integrity_check.check("smears").index
    assert index.duplicates(rows) == [[first.image, "Benign/copy.png"]]
    index.refuse_conflicts(rows, "")
    (folder / "Pro/copy.png").write_bytes((folder / first.image).read_bytes())
    integrity_check.check("smears")
    with pytest.raises(LeukoBenchError, match=rf"{first.image} and Pro/copy\.png\. .*data check smears"):
        integrity_check.current_index("smears")


def test_a_damaged_index_names_the_command_that_repairs_it(folder):
    (folder / "index.csv").write_text("image,sha256,width,height,bytes\na,b,c,d,e\n")
    with pytest.raises(LeukoBenchError, match=rf"{folder / 'index.csv'} is damaged\. .*data check smears"):
        integrity_check.current_index("smears")
    (folder / "index.csv").unlink()
    assert len(integrity_check.current_index("smears")) == 8


def test_broken_files_of_a_dataset_without_an_index_are_reported_once(folder):
    (folder / "index.csv").unlink()
    name = sorted(path.name for path in (folder / "Pre").iterdir())[0]
    (folder / "Pre" / name).write_bytes(b"")
    with pytest.raises(LeukoBenchError, match=rf"1 unusable .*Pre/{name}: zero bytes"):
        integrity_check.current_index("smears")
    assert len(integrity_check.current_index("smears")) == 7


@pytest.mark.parametrize("text", ["{", "[]", '{"images": 3}'])
def test_a_damaged_description_is_an_error_and_moves_nothing(folder, text):
    (folder / "dataset.json").write_text(text)
    (folder / "Pro" / "broken.png").write_bytes(b"")
    before = contents(folder)
    with one_line_error("dataset.json is damaged"):
        integrity_check.check("smears")
    assert contents(folder) == before


@pytest.mark.slow
def test_a_kill_at_any_step_of_a_check_loses_no_image_and_no_group(folder, monkeypatch):
    names = [row.image for row in index.read(folder)]
    cut = (folder / names[2]).read_bytes()[:-300]
    (folder / names[2]).write_bytes(cut)
    (folder / "Pro/new.tif").write_bytes(encoded(smear(6), "TIFF"))
    for table, column in ((index.GROUPS, "group"), (index.SPLIT, "split")):
        before = (folder / table).read_text() if (folder / table).exists() else f"image,{column}\n"
        (folder / table).write_text(f"{before}Pro/new.tif,test\n")
    old, states = visible(folder), []
    monkeypatch.setattr(integrity_check.transaction, "together", kill_each_commit(states))
    integrity_check.check("smears")
    new = visible(folder)
    assert all(state in (old, new) for state in states) and old in states and new in states
    assert new[f"_quarantine/{names[2]}"] == cut and names[2] not in new and "Pro/new.tif" not in new
    assert all(b"Pro/new.png,test" in new[table] for table in (index.GROUPS, index.SPLIT))
