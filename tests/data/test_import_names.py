"""Names, links, pictures under two classes and kills: nothing of a source is lost or joined without a word."""

import os
import random
import signal
import subprocess
import sys
import time
import unicodedata
import zipfile

import numpy as np
import pytest
from checks import assert_facts, one_line_error
from command_line import run_guide
from drawn_sources import lay, png, product, zipped
from PIL import Image

from data.datasets import importer, index, integrity_check
from data.datasets.name_encoding import decode_names
from data.datasets.placement import Options
from data.splitting import splits
from utils.io.files import read_csv
from utils.paths import PROJECT


@pytest.fixture(autouse=True)
def raw(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home/raw"


def brought(source, name="x", **options):
    return importer.import_dataset(source, name, options=Options(**options))


def table(imported, name, column):
    return {row["image"]: row[column] for row in read_csv(imported.path / name, ("image", column))}


class Member(zipfile.ZipInfo):
    """A zip member whose name is stored as these bytes, without the flag of UTF-8."""

    raw = b""

    def _encodeFilenameFlags(self):
        return self.raw, self.flag_bits & ~0x800


WORDS = {
    "utf-8": ("Größe", "naïf", "淋巴细胞", "Бласт"),
    "gbk": ("淋巴细胞", "单核细胞", "嗜碱性", "异常"),
    "cp932": ("リンパ球", "単球", "正常", "好酸球"),
    "cp437": ("Mädchen", "früh", "Größe", "späte"),
    "cp866": ("Бласты", "норма", "зрелый"),
}


@pytest.mark.parametrize("folder", [False, True], ids=["zip", "folder"])
@pytest.mark.parametrize("encoding", WORDS)
def test_names_that_are_not_marked_as_utf8(tmp_path, encoding, folder):
    if folder:
        for rank, word in enumerate(WORDS[encoding]):
            place = tmp_path / "in" / os.fsdecode(word.encode(encoding))
            place.mkdir(parents=True)
            for number in range(2):
                name = os.fsdecode(f"{word}{number}.png".encode(encoding))
                (place / name).write_bytes(png(100 * rank + number))
        source = tmp_path / "in"
    else:
        source = tmp_path / "in.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for rank, word in enumerate(WORDS[encoding]):
                for number in range(2):
                    member = Member("x.png")
                    member.raw = f"{word}/{word}{number}.png".encode(encoding)
                    member.filename = f"{rank}-{number}.png"
                    archive.writestr(member, png(100 * rank + number))
    said = run_guide("data", "import", source, "--name", "x")
    assert said.returncode == 0, said.stderr
    assert {row.image for row in index.read(importer.raw_dir("x"))} == {
        f"{word}/{word}{number}.png" for word in WORDS[encoding] for number in range(2)
    }
    if encoding == "utf-8":
        assert said.stderr == ""
    else:
        assert_facts(said.stderr.strip(), encoding, "--encoding")
    again = brought(source, "again", encoding=encoding)
    assert {row.image for row in again.index} == {row.image for row in index.read(importer.raw_dir("x"))}


def test_an_encoding_that_does_not_exist_or_fit_is_one_line(tmp_path):
    with one_line_error("'klingon'", "gbk"):
        decode_names([b"a"], "klingon")
    with one_line_error("'ascii'", "--encoding"):
        decode_names([b"\xff"], "ascii")


@pytest.mark.parametrize(
    ("spellings", "name"),
    [
        (("Oak", "oak"), "Oak"),
        (("Fr\u00fch", "Fru\u0308h"), "Früh"),
        (("Early Pre", "Early  Pre", "early pre "), "Early Pre"),
        (("STRASSE", "straße"), "STRASSE"),
    ],
)
def test_classes_that_differ_in_case_form_or_blanks_are_joined_and_said(tmp_path, spellings, name):
    source = lay(tmp_path / "in", "elm", f"{spellings[0]}*5", *spellings[1:])
    said = run_guide("data", "import", source, "--name", "x")
    assert index.count(index.read(importer.raw_dir("x"))) == {name: 3 + 2 * len(spellings), "elm": 2}
    assert_facts(next(line for line in said.stdout.splitlines() if "spelling" in line), f"{name} = ")


def test_classes_that_would_get_one_name_are_refused(tmp_path):
    with one_line_error("a?", "a:", "'a_'"):
        brought(lay(tmp_path / "in", "a?", "a:", "b"))


ODD = {
    "_0_12.png": "_0_12.png", "images_001.jpeg": "images_001.jpeg", ".hidden.png": "_hidden.png", "__x.png": "__x.png",
    "a\nb.png": "a_b.png", "tab\t.png": "tab_.png", "q?.png": "q_.png", "a:b.png": "a_b-2.png", "AUX.png": "AUX_.png",
    "con.tar.png": "con_.tar.png", " lead.png": "lead.png", "Fru\u0308h.png": "Früh.png", "-dash.png": "-dash.png",
}  # fmt: skip


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
def test_odd_names_of_files_are_kept_or_made_safe_and_none_is_lost(tmp_path, archive):
    source = lay(tmp_path / "in", "_unknown", "oak")
    for number, name in enumerate(ODD):
        (source / "oak" / name).write_bytes(png(1000 + number))
    for name in (".DS_Store", "Thumbs.db", "._0.png", "desktop.ini", "notes.txt"):
        (source / "oak" / name).write_bytes(b"x")
    for place in ("__MACOSX/oak", ".git/objects", ".ipynb_checkpoints"):
        (source / place).mkdir(parents=True)
        (source / place / "p.png").write_bytes(png(1))
    imported = brought(zipped(source) if archive else source)
    kept = {row.image for row in imported.index}
    assert {f"oak/{name}" for name in ODD.values()} <= kept
    assert len(kept) == 4 + len(ODD)
    assert index.count(imported.index)["_unknown"] == 2
    assert +imported.skipped == {
        "of the system": 5, "that are not images": 1, "in .git": 1, "in .ipynb_checkpoints": 1,
    }  # fmt: skip
    renamed = table(imported, "names.csv", "source")
    assert renamed["oak/_hidden.png"] == "oak/.hidden.png" and "oak/_0_12.png" not in renamed


def test_a_class_with_an_underscore_survives_check_and_split(tmp_path):
    imported = brought(lay(tmp_path / "in", "_unknown*6", "oak*6", "_quarantine*6"))
    assert set(index.count(imported.index)) == {"_unknown", "oak", "_quarantine_"}
    assert index.count(integrity_check.check("x").index) == index.count(imported.index)
    assert set(splits.prepare_split("x").manifest.classes) == {"_unknown", "oak", "_quarantine_"}


def test_the_longest_names_survive_import_check_and_split(tmp_path):
    long = ["a" * 251 + ".png", "b" * 251 + ".png", "ü" * 125 + ".tiff", "c" * 251 + ".bmp"]
    folder = "k" * 255
    source = lay(tmp_path / "in", f"{folder}*6", "elm*6")
    for number, name in enumerate(long):
        picture = Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8))
        for place in (folder, "elm"):
            picture = picture.rotate(90)
            picture.save(source / place / name)
    imported = brought(source)
    assert all(len(part.encode()) <= 200 for row in imported.index for part in row.image.split("/"))
    assert len(imported.index) == 20
    sources = table(imported, "names.csv", "source")
    assert sorted(sources.values()) == sorted(f"{place}/{name}" for place in (folder, "elm") for name in long)
    copied = imported.path / "elm" / ("z" * 251 + ".gif")  # by hand, later
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(copied)
    report = integrity_check.check("x")
    assert len(report.index) == 21 and not report.quarantined
    assert len(splits.prepare_split("x").manifest.rows) == 21


def link(source, name, target):
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).symlink_to(target)


@pytest.mark.parametrize("where", ["", "v1/images/"])
def test_a_class_behind_a_link_is_an_error_that_names_a_way_on(tmp_path, where):
    store = lay(tmp_path / "store", "elm*3", "ash*3")
    source = lay(tmp_path / "in", f"{where}oak*3")
    link(source, f"{where}elm", store / "elm")
    link(source, f"{where}ash", store / "ash")
    with one_line_error("'ash'", "--follow-links", "--ignore ash"):
        brought(source)
    assert index.count(brought(source, "y", follow_links=True).index) == {"ash": 3, "elm": 3, "oak": 3}
    assert index.count(brought(source, "z", follow_links=True, ignore=("ash",)).index) == {"elm": 3, "oak": 3}


def test_links_of_files_and_loops(tmp_path):
    source = lay(tmp_path / "in", "oak*3", "elm*3")
    cache = lay(tmp_path / "cache", "elm*2")
    for number, path in enumerate(sorted((cache / "elm").iterdir())):
        (source / "elm" / f"linked{number}.png").symlink_to(path)
        path.write_bytes(png(600 + number))
    link(source, "oak/loop", source)
    link(source, "elm/other", source / "oak")
    imported = brought(source)
    assert index.count(imported.index) == {"elm": 3, "oak": 3}
    assert sorted(imported.quarantined) == [
        ("elm/linked0.png", "symbolic link out of the folder"),
        ("elm/linked1.png", "symbolic link out of the folder"),
        ("elm/other", "symbolic link to a folder"),
        ("oak/loop", "symbolic link to a folder"),
    ]
    (source / "elm/other").unlink()
    followed = brought(source, "y", follow_links=True)
    assert index.count(followed.index) == {"elm": 5, "oak": 3}
    assert followed.quarantined == [("oak/loop", "symbolic link to a folder above it")]


def test_all_pictures_under_two_classes_at_once(tmp_path, raw):
    source = lay(tmp_path / "in", "oak*6", "elm*6", "ash*6")
    first, second = sorted((source / "oak").iterdir())[:2]
    (source / "elm/again.png").write_bytes(first.read_bytes())
    (source / "ash/again.png").write_bytes(first.read_bytes())
    (source / "ash/other.png").write_bytes(second.read_bytes())
    said = run_guide("data", "import", source, "--name", "x")
    listed = raw.parent / "conflicts-x.csv"
    assert (said.returncode, len(said.stderr.splitlines())) == (1, 1)
    assert_facts(said.stderr.strip(), "2 pictures", "5 files", f"oak/{first.name}", listed, "--conflicts quarantine")
    assert [row["picture"] for row in read_csv(listed, ("picture", "file", "class"))] == list("11122")
    assert not list(raw.iterdir())
    assert run_guide("data", "import", source, "--name", "x", "--conflicts", "quarantine").returncode == 0
    assert index.count(index.read(raw / "x")) == {"ash": 6, "elm": 6, "oak": 4}
    assert len(read_csv(raw / "x/quarantine.csv", ("file", "reason"))) == 5 and not listed.exists()
    assert len([path for path in (raw / "x/_quarantine").rglob("*") if path.is_file()]) == 5


@pytest.mark.slow
def test_a_killed_import_leaves_nothing_or_all(tmp_path, raw):
    source = lay(tmp_path / "in", *product(("train", "test"), ("oak", "elm", "ash"), 40))
    program = "import sys\nfrom pathlib import Path\nfrom data.datasets import importer\nprint(1, flush=True)\n"
    program += "importer.import_dataset(Path(sys.argv[1]), 'x')"
    draw, seen = random.Random(4), set()
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", program, str(source)], cwd=PROJECT, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(draw.uniform(0, 0.35))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = (raw / "x").exists()
        seen.add(there)
        if there:
            assert len(index.read(raw / "x")) == len(index.listing(raw / "x")) == 240
            assert len(read_csv(raw / "x/split.csv", ("image", "split"))) == 240
            integrity_check.current_index("x")
            (raw / "x").rename(tmp_path / f"done{len(list(tmp_path.iterdir()))}")
    assert len(brought(source).index) == 240
    assert sorted(path.name for path in raw.iterdir()) == ["x"]


def test_what_nfc_does_to_names_never_joins_two_files(tmp_path):
    source = lay(tmp_path / "in", "oak", "elm")
    for number, form in enumerate(("NFC", "NFD")):
        (source / "oak" / unicodedata.normalize(form, "é.png")).write_bytes(png(300 + number))
    assert {"oak/é.png", "oak/é-2.png"} <= {row.image for row in brought(source).index}
