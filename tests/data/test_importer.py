import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from checks import assert_facts, one_line_error
from command_line import run_guide
from PIL import Image

from data import all_dataset
from data.datasets import importer, index, kaggle_download
from utils.errors import LeukoBenchError
from utils.io.files import read_csv, read_json
from utils.paths import PROJECT

FIRST = {"Benign": "Benign", "Early": "Early", "Pre": "Pre", "Pro": "Pro"}
SECOND = {
    "Benign": "Benign",
    "Early": "[Malignant] early Pre-B",
    "Pre": "[Malignant] Pre-B",
    "Pro": "[Malignant] Pro-B",
}


def picture(seed, size=24):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def jpeg(seed):
    buffer = io.BytesIO()
    picture(seed).save(buffer, "JPEG")
    return buffer.getvalue()


def lay(folder, names=FIRST, count=2, seed=0):
    """Write `count` different images into each class folder."""
    for rank, place in enumerate(names.values()):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / place / f"{number}.jpg").write_bytes(jpeg(seed + 100 * rank + number))
    return folder


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def error_of(*arguments, **options):
    with pytest.raises(LeukoBenchError) as error:
        importer.import_dataset(*arguments, **options)
    return str(error.value)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home" / "raw"


def left(raw):
    """Everything below data/raw, hidden folders too."""
    return sorted(path.name for path in raw.iterdir()) if raw.exists() else []


LAYOUTS = {
    "first release": ("", FIRST),
    "second release": ("", SECOND),
    "below Original": ("Original", FIRST),
    "nested": ("archive/Blood cell Cancer [ALL]", SECOND),
    "any case": ("ORIGINAL", {"a": "benign", "b": "EARLY", "c": "pre", "d": "PRO"}),
    "with parts": ("", {"a": "Benign/1", "b": "Early/batch", "c": "Pre/x/y", "d": "Pro"}),
}


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_releases_in_any_nesting(raw, tmp_path, layout, archive):
    prefix, names = LAYOUTS[layout]
    source = tmp_path / "My dataset"
    lay(source / prefix, names)
    path = zipped(source, tmp_path / "My dataset.zip") if archive else source
    imported = importer.import_dataset(path)
    assert imported.path == raw / "My-dataset"
    assert index.count(imported.index) == {"Benign": 2, "Early": 2, "Pre": 2, "Pro": 2}
    assert read_json(imported.path / "dataset.json") == {
        "name": "My-dataset",
        "classes": ["Benign", "Early", "Pre", "Pro"],
        "images": {"Benign": 2, "Early": 2, "Pre": 2, "Pro": 2},
        "source": "My dataset",
        "synthetic": None,
    }
    for rank, label in enumerate(imported.index[::2]):
        assert (imported.path / label.image).read_bytes() == jpeg(100 * rank)
    assert index.read(imported.path) == imported.index
    assert left(raw) == ["My-dataset"]


def test_originals_are_preferred_to_segmented_copies(raw, tmp_path):
    lay(tmp_path / "in/Original")
    lay(tmp_path / "in/Segmented", seed=1000)
    imported = importer.import_dataset(tmp_path / "in")
    assert (len(imported.index), imported.placement.segmented) == (8, 8)
    assert (imported.path / "Benign/0.jpg").read_bytes() == jpeg(0)
    assert len(importer.import_dataset(tmp_path / "in/Segmented", "only-segmented").index) == 8


def test_files_of_one_name_and_class_all_survive(raw, tmp_path):
    source = lay(tmp_path / "in")
    for number, place in enumerate(("a", "b", "B")):
        (source / "Pro" / place).mkdir()
        (source / "Pro" / place / "0.jpg").write_bytes(jpeg(900 + number))
    picture(950).save(source / "Pro/0.tif")
    imported = importer.import_dataset(source)
    names = [row.image for row in imported.index if row.label == "Pro"]
    assert names == ["Pro/0-2.jpg", "Pro/0.jpg", "Pro/0.png", "Pro/1.jpg", "Pro/B-0.jpg", "Pro/a-0.jpg"]
    assert len({(imported.path / name).read_bytes() for name in names}) == 6


def test_other_files_are_ignored_and_images_outside_classes_counted(raw, tmp_path):
    source = lay(tmp_path / "in")
    for name in ("Thumbs.db", "Pro/.DS_Store", "Pro/._0.jpg", "readme.txt"):
        (source / name).write_bytes(b"x")
    (source / "__MACOSX/Pro").mkdir(parents=True)
    (source / "__MACOSX/Pro/0.jpg").write_bytes(b"x")
    (source / "logo.jpg").write_bytes(jpeg(999))
    imported = importer.import_dataset(source)
    assert (len(imported.index), imported.placement.left_out, imported.quarantined) == (8, {".": 1}, [])
    assert +imported.skipped == {"of the system": 4, "that are not images": 1}


def test_bad_files_go_to_quarantine_and_odd_ones_are_converted(raw, tmp_path):
    source = lay(tmp_path / "in")
    (source / "Pro/empty.jpg").write_bytes(b"")
    (source / "Pro/cut.jpg").write_bytes(jpeg(5)[:-200])
    (source / "Pro/text.png").write_bytes(b"no image")
    picture(6).convert("L").save(source / "Pro/grey.jpg")
    (source / "Pro/photo.JPE").write_bytes(jpeg(7))
    (tmp_path / "secret.jpg").write_bytes(jpeg(8))
    (source / "Pro/out.jpg").symlink_to(tmp_path / "secret.jpg")
    (source / "Pro/folder").symlink_to(tmp_path)
    (source / "Pro/inside.jpg").symlink_to(source / "Pro/0.jpg")
    os.mkfifo(source / "Pro/pipe.jpg")
    imported = importer.import_dataset(source)
    expected = [
        ("Pro/folder", "symbolic link to a folder"),
        ("Pro/cut.jpg", "truncated"),
        ("Pro/empty.jpg", "zero bytes"),
        ("Pro/out.jpg", "symbolic link out of the folder"),
        ("Pro/pipe.jpg", "not a regular file"),
        ("Pro/text.png", "not an image"),
    ]
    assert imported.quarantined == expected
    rows = read_csv(imported.path / "quarantine.csv", ("file", "reason"))
    assert [(row["file"], row["reason"]) for row in rows] == expected
    assert imported.converted == [("Pro/grey.png", "grey made RGB")]
    assert (imported.path / "Pro/photo.jpg").read_bytes() == jpeg(7)
    kept = sorted(p.relative_to(imported.path).as_posix() for p in imported.path.glob("_quarantine/*/*"))
    assert kept == ["_quarantine/Pro/cut.jpg", "_quarantine/Pro/text.png"]
    assert index.duplicates(imported.index) == [["Pro/0.jpg", "Pro/inside.jpg"]]
    assert not (imported.path / "Pro/inside.jpg").is_symlink()


def test_an_archive_cannot_write_outside_or_fill_the_disk(raw, tmp_path):
    path = zipped(lay(tmp_path / "in"), tmp_path / "in.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Pro/../../../evil.jpg", jpeg(1))
        archive.writestr("/Pro/absolute.jpg", jpeg(2))
        archive.writestr("C:\\Pro\\drive.jpg", jpeg(3))
        link = zipfile.ZipInfo("Pro/link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("Pro/bomb.jpg", b"\0" * 65_000_000)
        archive.writestr("Pro/windows\\style.jpg", jpeg(4))
        secret = zipfile.ZipInfo("Pro/secret.jpg")
        archive.writestr(secret, jpeg(5))
        secret.flag_bits |= 1
        archive.writestr("Pro/damaged.jpg", jpeg(6), zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    at = content.index(jpeg(6))
    content[at + 100 : at + 110] = b"\0" * 10
    path.write_bytes(content)
    imported = importer.import_dataset(path)
    assert imported.quarantined == [
        ("/Pro/absolute.jpg", "path out of the archive"),
        ("C:/Pro/drive.jpg", "path out of the archive"),
        ("Pro/../../../evil.jpg", "path out of the archive"),
        ("Pro/bomb.jpg", "larger than 64 MB"),
        ("Pro/link.jpg", "symbolic link in an archive"),
        ("Pro/secret.jpg", "encrypted"),
        ("Pro/damaged.jpg", "damaged in the archive (Bad CRC-32 for file 'Pro/damaged.jpg')"),
    ]
    assert len(imported.index) == 9
    assert (imported.path / "Pro/style.jpg").read_bytes() == jpeg(4)
    assert not list(tmp_path.rglob("evil.jpg"))


def test_another_dataset_keeps_its_classes(raw, tmp_path):
    names = {"a": "train/lymphocyte", "b": "train/Pro-B", "c": "test/lymphocyte", "d": "test/Pro-B"}
    lay(tmp_path / "other/images", names)
    imported = importer.import_dataset(tmp_path / "other", as_is=True)
    assert index.count(imported.index) == {"Pro-B": 4, "lymphocyte": 4}
    names = [row.image for row in imported.index if row.label == "Pro-B"]
    assert names == [f"Pro-B/{name}.jpg" for name in ("0", "1", "images-train-0", "images-train-1")]
    lay(tmp_path / "patients", {"a": "sick/p1", "b": "sick/p2", "c": "well/p3"})
    assert index.count(importer.import_dataset(tmp_path / "patients").index) == {"sick": 4, "well": 2}


def test_groups(raw, tmp_path):
    source = lay(tmp_path / "in/Original")
    (source / "Pro/own.jpg").write_bytes(jpeg(77))
    table = tmp_path / "groups.csv"
    table.write_text('image,group\nOriginal/Benign/0.jpg,"p, 1"\nEarly/1.jpg,p2\nown.jpg,p3\n')
    imported = importer.import_dataset(tmp_path / "in", groups=table)
    assert imported.grouped == 3
    assert (imported.path / "groups.csv").read_text() == (
        'image,group\nBenign/0.jpg,"p, 1"\nEarly/1.jpg,p2\nPro/own.jpg,p3\n'
    )
    for text, facts in (
        ("image,group\n1.jpg,p1\n", ("'1.jpg'", "'Benign/0.jpg'")),  # several files have this name
        ("image,group\na.jpg,p1\na.jpg,p2\n", ("a.jpg", "'p1'", "'p2'")),
        ("file,group\n", ("file, group", "image, group")),
    ):
        table.write_text(text)
        assert_facts(error_of(tmp_path / "in", "x", groups=table), str(table), *facts)
    assert left(raw) == ["in"]


def test_an_error_is_one_line_and_leaves_nothing(raw, tmp_path):
    source = lay(tmp_path / "in")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    lay(tmp_path / "other", {"a": "cats", "b": "dogs"})
    lay(tmp_path / "partly", {"a": "benign", "b": "early", "c": "dogs"})
    for path, facts in (
        ("none", ("There is no", "zip")),
        ("empty", ("no images",)),
        ("text.zip", ("neither a folder nor", "zip")),
        ("partly", ("Pre or Pro", "benign, dogs, early", "--as-is")),
    ):
        assert_facts(error_of(tmp_path / path), str(tmp_path / path), *facts)
    assert_facts(error_of(tmp_path / "other/cats", as_is=True), "0 class folders", "at least 2")
    assert_facts(error_of(source, "../up"), "'../up'", "64 letters, digits, dots, dashes or underscores")
    assert left(raw) == []
    importer.import_dataset(source)
    assert_facts(error_of(source), "'in'", "--name", str(raw / "in"))


def test_an_image_of_two_classes_and_a_class_without_images_are_errors(raw, tmp_path):
    source = lay(tmp_path / "in/Original")
    shutil.copy(source / "Early/1.jpg", source / "Pro/9.jpg")
    assert_facts(error_of(tmp_path / "in"), "two classes", "Original/Early/1.jpg", "Original/Pro/9.jpg")
    (source / "Pro/9.jpg").unlink()
    for path in (source / "Pre").iterdir():
        path.write_bytes(b"")
    assert_facts(error_of(source), "'Pre'", "Pre/0.jpg: zero bytes")
    assert left(raw) == []


def test_a_difference_from_the_published_counts_is_reported():
    counts = dict(all_dataset.PUBLISHED)
    assert all_dataset.published_difference(counts) is None
    assert all_dataset.published_difference({"cats": 1}) is None
    difference = all_dataset.published_difference(counts | {"Pre": 960, "Pro": 805})
    assert_facts(difference, "Pre 960 of 963", "Pro 805 of 804")


@contextmanager
def another_user():
    """Give up root's right to read and write everything within the block."""
    # Imported first: the other user may not be able to read the environment.
    import PIL.Image
    import psutil  # noqa: F401
    import simplejpeg  # noqa: F401

    PIL.Image.init()
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def shared():
    """A folder that every user can reach."""
    place = Path(tempfile.mkdtemp(prefix="leukobench-"))
    place.chmod(0o777)
    yield place
    for path in place.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o777)
    shutil.rmtree(place)


def test_files_without_permission_go_to_quarantine(shared, monkeypatch):
    source = lay(shared / "in")
    (source / "Pro/1.jpg").chmod(0)
    (source / "Pro/locked").mkdir()
    (source / "Pro/locked").chmod(0)
    monkeypatch.setenv("LEUKOBENCH_DATA", str(shared / "home"))
    with another_user():
        imported = importer.import_dataset(source, "x")
    assert len(imported.index) == 7
    assert imported.quarantined == [
        ("Pro/locked", "folder cannot be read (permission denied)"),
        ("Pro/1.jpg", "permission denied"),
    ]


def test_unreadable_sources_and_unwritable_folders_are_one_line(shared, monkeypatch):
    source = lay(shared / "in")
    archive = zipped(source, shared / "in.zip")
    archive.chmod(0)
    (shared / "home").mkdir()
    (shared / "home").chmod(0o555)

    def denied(path, home, *facts):
        monkeypatch.setenv("LEUKOBENCH_DATA", str(shared / home))
        with another_user():
            assert_facts(error_of(path, "x"), *facts)

    denied(source, "home", f"{shared}/home/raw/x: Permission denied", "LEUKOBENCH_DATA")
    for path in (archive, source):
        path.chmod(0)
        denied(path, "home2", f"{path}: permission denied")
    assert list((shared / "home").iterdir()) == []
    source.chmod(0o755)
    (source / "Pro").chmod(0)
    denied(source, "home2", "class Pro", "Benign, Early, Pre.", "Pro: folder cannot be read (permission denied)")


def test_a_file_that_cannot_be_written_whole_leaves_nothing(raw, tmp_path):
    import resource

    source = lay(tmp_path / "in")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
    try:
        error = error_of(source, "x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_facts(error, f"{raw / 'x'}: File too large", "LEUKOBENCH_DATA")
    assert left(raw) == []


SLOW = """
import signal, sys, time
from pathlib import Path
from data.datasets import importer
def progress(done, total):
    if done == 3:
        print("three", flush=True)
        time.sleep(60)
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a parent ignores it
importer.import_dataset(Path(sys.argv[1]), "x", progress=progress)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_import_leaves_nothing_or_everything(raw, tmp_path, how):
    source = lay(tmp_path / "in")
    command = [sys.executable, "-c", SLOW, str(source)]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline() == "three\n"
    assert not (raw / "x").exists()
    process.send_signal(how)
    process.communicate()
    if how == signal.SIGINT:
        assert left(raw) == []
    time.sleep(0.05)
    assert len(importer.import_dataset(source, "x").index) == 8  # it also cleans up after a kill
    assert left(raw) == ["x"]


def test_a_failed_download_reports_the_reason_and_the_manual_way(raw, monkeypatch):
    import kagglehub
    import requests
    from kagglehub.exceptions import KaggleApiHTTPError

    def answer(status):
        response = requests.Response()
        response.status_code = status
        return KaggleApiHTTPError("some\nlong text", response=response)

    monkeypatch.setattr(requests, "head", lambda *_, **__: requests.Response())
    for problem, words in (
        (requests.exceptions.ConnectTimeout(), "Kaggle does not answer in time"),
        (requests.exceptions.ProxyError(), "the proxy refuses the connection"),
        (requests.exceptions.SSLError(), "the secure connection to Kaggle cannot be verified"),
        (requests.exceptions.ConnectionError("[Errno -2] Name or service not known"), "no connection to Kaggle"),
        (answer(403), "Kaggle refuses access (HTTP 403)"),
        (answer(404), "Kaggle answers HTTP 404"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("Invalid Kaggle\ncredentials file."), "Invalid Kaggle credentials file"),
    ):

        def fail(handle, problem=problem):
            assert handle == "mehradaria/leukemia"
            raise problem

        monkeypatch.setattr(kagglehub, "dataset_download", fail)
        with one_line_error(f": {words}. ", "kaggle.com/datasets/mehradaria/leukemia", "data import PATH"):
            kaggle_download.download()
    assert left(raw) == []


def test_a_download_is_imported(raw, tmp_path, monkeypatch):
    import kagglehub
    import requests

    lay(tmp_path / "cache/versions/1/Original")
    limits = []
    monkeypatch.setattr(requests, "head", lambda url, timeout: limits.append(timeout) or requests.Response())
    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle: str(tmp_path / "cache/versions/1"))
    imported = kaggle_download.download()
    assert (imported.name, len(imported.index), limits) == ("ALL_dataset", 8, [(5, 15)])
    assert json.loads((raw / "ALL_dataset/dataset.json").read_text())["name"] == "ALL_dataset"


def test_the_commands_report_what_they_did(raw, tmp_path):
    source = lay(tmp_path / "in", count=10)
    (source / "Pro/empty.jpg").write_bytes(b"")
    (source / "Pro/copy.jpg").write_bytes(jpeg(300))
    picture(6).convert("L").save(source / "Pro/grey.jpg")
    (source / "notes.txt").write_text("")
    said = run_guide("data", "import", source)
    assert_facts(said.stdout.splitlines()[0], "ALL dataset", "Benign 10, Early 10, Pre 10, Pro 13")
    lines = said.stdout.splitlines()[10:]
    facts = (
        ("1 that are not images",),
        ("(1): Pro/grey.png (grey made RGB).",),
        ("(1): Pro/empty.jpg (zero bytes).",),
        (str(raw / "in" / "quarantine.csv"),),
        (": 1", "Pro/copy.jpg", "Pro/0.jpg"),
        ("42 images", str(raw / "in")),
        ("python run_guide.py train cnn --dataset in",),
    )
    for line, expected in zip(lines, facts, strict=True):
        assert_facts(line, *expected)
    assert_facts(said.stderr.strip(), "Benign 10 of 504, Early 10 of 985, Pre 10 of 963, Pro 12 of 804")
    assert run_guide("data", "check").stdout.splitlines()[-1] == "All images are readable and unchanged."
    (raw / "in/Pre/1.jpg").unlink()
    split = run_guide("data", "split")
    assert (split.returncode, split.stdout) == (1, "")
    assert_facts(split.stderr.strip(), "'in'", "1 missing (Pre/1.jpg)", "python run_guide.py data check in")
    assert "Missing since the last check: Pre/1.jpg." in run_guide("data", "check", "in").stdout.splitlines()
    split = run_guide("data", "split", "in", "--split", "50/25/25")
    assert split.stdout.splitlines()[-1].startswith("Manifest ")
    assert sorted(path.name for path in (raw.parent / "splits").iterdir()) == ["in-50-25-25-seed42"]
