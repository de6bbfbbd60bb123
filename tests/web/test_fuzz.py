"""Thousands of damaged and hostile image files: each gets an answer or a reason, and the server stays intact."""

import io
import json
import random
import struct
import threading
import time
import zipfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image, ImageCms

from utils.paths import raw_dir

pytest_plugins = ["hostile_servers"]

SEED = 20_260_101
OF_EACH_SEED = 70  # mutants
IN_A_REQUEST = 15  # and a good image, whose answer must stay the same
FIRST, GROWTH = 500, 150_000_000  # images after which memory is measured for the first time; bytes it may then grow
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def save(image, kind, **options):
    buffer = io.BytesIO()
    image.copy().save(buffer, kind, **options)  # Pillow leaves settings of one format on the image
    return buffer.getvalue()


def chunk(name, content=b""):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, *chunks, depth=8, colour=2, interlaced=0):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunk(*each) for each in chunks) + chunk(b"IEND")


def interlaced(pixels):
    """Encode as PNG in the seven passes of Adam7."""
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    rows = b"".join(b"\0" + row.tobytes() for y, dy, x, dx in passes for row in pixels[y::dy, x::dx])
    return png(pixels.shape[1], pixels.shape[0], (b"IDAT", zlib.compress(rows)), interlaced=1)


@cache
def good():
    """Return a smear of the dataset that the run was trained on."""
    return min(raw_dir("tiny").rglob("*.png")).read_bytes()


@cache
def seeds():
    """Return whole files of every kind, by name."""
    smear = Image.open(io.BytesIO(good())).convert("RGB").resize((64, 56))
    pixels = np.asarray(smear)
    other = Image.fromarray(pixels[::-1].copy())
    frames = {"save_all": True, "append_images": [other, smear]}
    turned = Image.Exif()
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = pixels.astype(np.uint16) * 257
    grey16 = Image.fromarray(np.ascontiguousarray(deep[:, :, 1]))
    found = {
        "jpeg": save(smear, "JPEG", quality=90),
        "jpeg progressive": save(smear, "JPEG", progressive=True),
        "jpeg cmyk": save(smear.convert("CMYK"), "JPEG"),
        "jpeg grey": save(smear.convert("L"), "JPEG"),
        "jpeg turned": save(smear, "JPEG", exif=turned),
        "jpeg profile": save(smear, "JPEG", icc_profile=profile),
        "jpeg restarts": save(smear, "JPEG", restart_marker_rows=1, subsampling=0),
        "mpo": save(smear, "MPO", save_all=True, append_images=[other.copy()]),
        "png": save(smear, "PNG"),
        "png alpha": save(smear.convert("RGBA"), "PNG"),
        "png palette": save(smear.quantize(16), "PNG", transparency=3),
        "png bits": save(smear.convert("1"), "PNG"),
        "png 16 grey": save(grey16, "PNG"),
        "png 16 rgb": cv2.imencode(".png", deep[:, :, ::-1])[1].tobytes(),
        "png interlaced": interlaced(pixels),
        "png profile": save(smear, "PNG", icc_profile=profile),
        "apng": save(smear, "PNG", **frames),
        "gif": save(smear.quantize(32), "GIF"),
        "gif animated": save(smear, "GIF", **frames),
        "tiff": save(smear, "TIFF"),
        "tiff pages": save(smear, "TIFF", **frames),
        "tiff 16": save(grey16, "TIFF"),
        "tiff float": save(smear.convert("F"), "TIFF"),
        "tiff lab": save(smear.convert("RGB").convert("LAB"), "TIFF"),
        "bmp": save(smear, "BMP"),
        "bmp palette": save(smear.quantize(8), "BMP"),
        "webp": save(smear, "WEBP"),
        "webp lossless": save(smear.convert("RGBA"), "WEBP", lossless=True),
        "webp animated": save(smear, "WEBP", **frames),
        "ppm": save(smear, "PPM"),
        "pgm": save(smear.convert("L"), "PPM"),
        "jp2": save(smear, "JPEG2000"),
        "j2k": save(smear, "JPEG2000", no_jp2=True),
    }
    for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        found[f"tiff as {kind}"] = save(smear, "TIFF", compression=kind)
    return found


def mutated(name, content, others, random):
    """Return one mutant and what was done."""
    data, size = bytearray(content), len(content)

    def place():
        return random.randrange(size)

    def stretch(most):
        start = place()
        return start, min(size, start + random.randint(1, most))

    how = random.choice(("flip", "flip", "head", "head", "cut", "insert", "repeat", "drop", "blank", "splice", "tail"))
    if how == "flip":
        for _ in range(random.choice((1, 2, 4, 8, 32))):
            data[place()] ^= 1 << random.randrange(8)
    elif how == "head":  # with sizes, counts and offsets
        width, order = random.choice((1, 2, 4)), random.choice(("big", "little"))
        start = random.randrange(min(size - 4, random.choice((32, 200))))
        value = random.choice(EXTREMES) & (256**width - 1)
        data[start : start + width] = value.to_bytes(width, order)
    elif how == "cut":
        del data[place() :]
    elif how == "insert":
        start = place()
        data[start:start] = random.randbytes(random.randint(1, 64))
    elif how == "repeat":
        start, end = stretch(600)
        data[start:start] = data[start:end] * random.randint(1, 30)
    elif how == "drop":
        start, end = stretch(200)
        del data[start:end]
    elif how == "blank":
        start, end = stretch(100)
        data[start:end] = bytes([random.choice((0, 255))]) * (end - start)
    elif how == "splice":
        second = random.choice(others)
        data = data[: place()] + second[random.randrange(len(second)) :]
    else:
        data += random.choice((bytes(100), random.randbytes(100), content, b"\xff\xd9", b"<script>alert(1)</script>"))
    return f"{name} {how}", bytes(data)


def mutants():
    chosen = random.Random(SEED)
    held = list(seeds().values())
    return [mutated(name, content, held, chosen) for name, content in seeds().items() for _ in range(OF_EACH_SEED)]


def tiff(*entries, end=b"", following=0):
    """Return a little-endian TIFF of one directory with entries (tag, type, count, value)."""
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + struct.pack("<I", following) + end


def gif(width, height, frame, count):
    picture = b"\x21\xf9\x04\x04\x01\x00\x00\x00\x2c" + bytes(4) + struct.pack("<HH", *frame) + b"\0\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\xff\xff\xff\0\0\0" + picture * count + b";"


def scans(side, count):
    """Return a progressive JPEG with its last scan repeated: a small file that decodes slowly."""
    content = save(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    return content[:start] + content[start:-2] * count + b"\xff\xd9"


def sized_jpeg(width, height):
    content = bytearray(seeds()["jpeg"])
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@cache
def bombs():
    """Return small files that would become large, or take long."""
    packer = zlib.compressobj(9)  # 50,000 x 50,000 black pixels of one bit
    much = b"".join(packer.compress(bytes(6251 * 1000)) for _ in range(50)) + packer.flush()
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(50_000_000))
    giant = ((256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1))
    webp = (
        b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xfe\x3f\0" * 2 + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    )
    return {
        "png 50,000 x 50,000": png(50_000, 50_000, (b"IDAT", much), depth=1, colour=0),
        "png 50,000 x 50,000 rgb": png(50_000, 50_000, (b"IDAT", much)),
        "png small with much data": png(100, 100, (b"IDAT", much)),
        "png 2^31 - 1": png(2**31 - 1, 2**31 - 1, (b"IDAT", much)),
        "png 0 x 0": png(0, 0, (b"IDAT", zlib.compress(b""))),
        "png text": png(8, 8, (b"zTXt", b"a\0\0" + much), (b"IDAT", zlib.compress(bytes(200)))),
        "png profile": png(8, 8, (b"iCCP", b"a\0\0" + much), (b"IDAT", zlib.compress(bytes(200)))),
        "png one row": png(25_000_000, 1, (b"IDAT", zlib.compress(bytes(75_000_001)))),
        "png 50,000 chunks": png(8, 8, *[(b"tEXt", b"a\0b")] * 50_000, (b"IDAT", zlib.compress(bytes(200)))),
        "gif 5,000 frames": gif(100, 100, (1, 1), 5_000),
        "gif 65,535 x 65,535": gif(65_535, 65_535, (1, 1), 1),
        "gif frame of 65,535": gif(1, 1, (65_535, 65_535), 1),
        "tiff counts": tiff(*giant, (273, 4, 0xFFFF_FFFF, 8), (279, 4, 0xFFFF_FFFF, 8)),
        "tiff lengths": tiff(*giant, (273, 4, 1, 8), (279, 4, 1, 0xFFFF_FFFF)),
        "tiff circle": tiff(*giant, (273, 4, 1, 8), (279, 4, 1, 4096), following=8, end=bytes(5000)),
        "tiff 50,000 x 50,000": tiff((256, 4, 1, 50_000), (257, 4, 1, 50_000), *giant[2:], (273, 4, 1, 8)),
        "tiff text": tiff(*giant, (270, 2, 0x7FFF_FFFF, 8), (273, 4, 1, 8), (279, 4, 1, 4096), end=bytes(5000)),
        "tiff samples": tiff(*giant, (277, 3, 1, 65_535), (273, 4, 1, 8), (279, 4, 1, 4096), end=bytes(5000)),
        "bmp 2^31 - 1": b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 2**31 - 1, -(2**31 - 1), 1, 24, *[0] * 6),
        "webp 16,383 x 16,383": b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp,
        "webp lossless 25 million": save(Image.new("RGB", (5_000, 5_000), (200, 120, 160)), "WEBP", lossless=True),
        "jpeg 65,500 x 65,500": sized_jpeg(65_500, 65_500),
        "jpeg 5,000 x 5,000": sized_jpeg(5_000, 5_000),
        "jpeg scans": scans(4_000, 3_000),
        "ppm 10^9": b"P6 1000000000 1000000000 255\n" + bytes(100),
        "ppm long number": b"P6 " + b"9" * 100_000 + b" 1 255\n" + bytes(100),
        "jp2 2^31 - 1": seeds()["jp2"].replace(struct.pack(">II", 56, 64), struct.pack(">II", 2**31 - 1, 2**31 - 1)),
        "zip": zipped.getvalue(),
        "zip called png": b"\x89PNG\r\n\x1a\n" + zipped.getvalue(),
    }


def polyglots():
    """Return pictures that are something else as well."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("run.sh", "#!/bin/sh")
    jpeg, picture = seeds()["jpeg"], seeds()["png"]
    script = b"GIF89a/*\0\0\0\0\0*/=1;alert(1);//"
    return {
        "jpeg and zip": jpeg + zipped.getvalue(),
        "jpeg and html": jpeg[:2] + b"\xff\xfe\x00\x2e<html><script>alert(1)</script><!-- comment -->" + jpeg[2:],
        "gif and script": script + seeds()["gif"][len(script) :],
        "png and html": picture + b"<html><body><script>alert(1)</script>",
        "png and pickle": picture + b"cos\nsystem\n(S'true'\ntR.",
        "pdf and jpeg": b"%PDF-1.4\n" + jpeg,
        "bmp and script": b"BM=1;alert(1);/*" + seeds()["bmp"][16:],
    }


FOREIGN = {
    "nothing": b"",
    "one byte": b"\0",
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "svg entities": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/x) (w) file\nshowpage\n%%EOF",
    "html": b"<!DOCTYPE html><html><script>alert(1)</script></html>",
    "javascript": b"alert(1)",
    "pickle": b"cos\nsystem\n(S'true'\ntR.",
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(200),
    "gzip": b"\x1f\x8b\x08\0" + bytes(60),
    "icon": save(Image.new("RGB", (16, 16)), "ICO"),
    "targa": save(Image.new("RGB", (16, 16)), "TGA"),
    "pcx": save(Image.new("RGB", (16, 16)), "PCX"),
    "dds": save(Image.new("RGB", (16, 16)), "DDS"),
    "psd": b"8BPS\0\1" + bytes(100),
    "mp4": b"\0\0\0\x18ftypmp42" + bytes(100),
    "avif": b"\0\0\0\x1cftypavif" + bytes(100),
    "fits": b"SIMPLE  =                    T" + b" " * 3000,
    "dicom": bytes(128) + b"DICM" + bytes(100),
    "xpm": b'/* XPM */\nstatic char *a[] = {"1 1 1 1", "a c #000000", "a"};',
    "xbm": b"#define a_width 1\n#define a_height 1\nstatic char a_bits[] = {0x01};",
    "metafile": b"\xd7\xcd\xc6\x9a" + bytes(100),
    "text": "Prüfbild".encode(),
}


def strict(text):
    """Read JSON as browsers do: NaN and Infinity are none."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in an answer"))


def judged(server, named):
    """Send named files and a good one in one request; return the results."""
    response = server.ask(*(content for _, content in named), good())
    names = [name for name, _ in named]
    assert response.status_code == 200, (response.status_code, response.text[:300], names)
    *found, last = strict(response.text)["images"]
    assert len(found) == len(named), names
    for name, each in zip(names, found, strict=True):
        if each["problem"]:
            assert 400 <= each["problem"]["status"] < 500, (name, each["problem"])
            detail = each["problem"]["detail"]
            assert "Traceback" not in detail and " object at 0x" not in detail and "/work" not in detail, (name, detail)
        else:
            assert each["answers"] and each["width"] and each["height"], (name, each)
    return dict(zip(names, found, strict=True)), last["answers"]


def judged_apart(server, named, size=IN_A_REQUEST):
    """Send named files in several requests; return the results."""
    found = {}
    for some in grouped(named, size):
        found |= judged(server, some)[0]
    return found


def statuses(found):
    return {name: each["problem"] and each["problem"]["status"] for name, each in found.items()}


def assert_alike(value, other):
    """Compare two parts of answers; in another batch a probability may differ in its last bits."""
    if isinstance(value, dict):
        assert value.keys() == other.keys()
        value, other = list(value.values()), list(other.values())
    if isinstance(value, list):
        assert len(value) == len(other)
        for one, another in zip(value, other, strict=True):
            assert_alike(one, another)
    else:
        assert value == (pytest.approx(other, abs=1e-5) if isinstance(other, float) else other)


def grouped(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


def test_no_file_breaks_the_server(served):
    begun = time.perf_counter()
    served.faults()
    served.standing_by()
    held = mutants()
    random.Random(SEED).shuffle(held)
    heavy = [*bombs().items(), *polyglots().items()]
    before = judged(served, [("good", good())])[1]
    children = {child.pid for child in served.children()}
    said, measured, count = Counter(), {}, 0
    memory = {"at the start": served.memory()}
    # What takes most memory comes before both measurements.
    parts = [*grouped(heavy, 4), *grouped(held, IN_A_REQUEST), *grouped(heavy, 4)]
    with ThreadPoolExecutor(2) as pool:
        for several in grouped(parts, 2):
            for (found, after), part in zip(pool.map(lambda part: judged(served, part), several), several, strict=True):
                assert_alike(after, before)  # what the good image got
                said.update(
                    str(each["problem"]["status"]) if each["problem"] else "answered" for each in found.values()
                )
                count += len(part)
            if count >= FIRST:
                measured.setdefault("then", served.memory())
    memory |= {f"after {FIRST} images": measured["then"], "at the end": served.memory()}
    seconds = time.perf_counter() - begun
    print(f"\n{count:,} files in {seconds:.0f} s: {dict(said.most_common())}; restarted processes:", end=" ")
    print(len({child.pid for child in served.children()} - children))
    print("Memory of the server and its children, MB:", {name: round(value / 1e6) for name, value in memory.items()})
    assert count >= 2_000
    assert said["answered"] >= 300 and said["415"] >= 100 and said["422"] >= 300, said  # mutants reach every depth
    assert memory["at the end"] - measured["then"] < GROWTH, memory
    assert not served.faults()


def test_whole_files_of_every_kind_are_read_or_refused_with_a_reason(served):
    found = judged_apart(served, [*seeds().items()])
    refused = {name: each["problem"]["detail"] for name, each in found.items() if each["problem"]}
    several = {"apng", "gif animated", "tiff pages", "webp animated"}
    assert refused.keys() == several | {"tiff float"}
    assert all("frames" in refused[name] for name in several)
    assert (found["jpeg turned"]["width"], found["jpeg turned"]["height"]) == (56, 64)


def test_what_is_no_picture_is_refused_by_its_content(served):
    found = statuses(judged_apart(served, [*FOREIGN.items()]))
    assert found == dict.fromkeys(FOREIGN, 415) | {"nothing": 422}


def test_bombs_are_refused(served):
    sizes = "50,000 x", "2^31", "65,5", "10^9"
    giants = [(name, content) for name, content in bombs().items() if any(size in name for size in sizes)]
    found = statuses(judged_apart(served, giants, 4))
    assert set(found.values()) <= {413, 415, 422}, found


@pytest.mark.parametrize("fragment", [{}, {"X-Fragment": "1"}])
def test_the_page_takes_the_same_files(served, fragment):
    held = [*seeds().items(), *FOREIGN.items(), *polyglots().items(), *mutants()[::9]]
    for part in grouped(held, IN_A_REQUEST):
        response = served.ask(*(content for _, content in part), good(), path="/predict", headers=fragment)
        assert response.status_code == 200, ([name for name, _ in part], response.text[:300])
        assert "<script>alert" not in response.text and "Traceback" not in response.text


@pytest.mark.parametrize("path", ["/api/v1/predict", "/predict"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 3_000), (3_000, 1), (1, 25_000_000), (25_000_000, 1)])
def test_narrow_pictures(served, size, path):
    width, height = size
    rows = zlib.compress((b"\0" + b"\xc8\x78\xa0" * width) * height)
    response = served.ask(png(width, height, (b"IDAT", rows)), path=path, heatmap="own")
    assert response.status_code in (200, 422), response.text[-300:]


def test_large_pictures_do_not_pile_up(served):
    """Files of one kilobyte with 75 MB of pixels: of one request only one is decoded at a time."""
    picture, most, done = bombs()["webp lossless 25 million"], [], threading.Event()
    process = psutil.Process(served.pid)
    judged(served, [("large", picture)])
    before = process.memory_info().rss
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(judged, served, [(f"large {k}", picture) for k in range(10)])
        asked.add_done_callback(lambda _: done.set())
        while not done.wait(0.02):
            most.append(process.memory_info().rss)
    assert all(each["answers"] for each in asked.result()[0].values())
    print(f"\nten pictures of 25 million pixels: the server grew by {(max(most) - before) / 1e6:.0f} MB at most")
    assert max(most) - before < 400_000_000
