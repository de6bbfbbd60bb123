import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from checks import one_line_error
from real_dataset import real_dataset

from data import catalog
from data.datasets import importer, index, integrity_check
from data.datasets.index import Indexed
from data.splitting import splits
from data.synthetic import generator as synthetic
from utils.errors import LeukoBenchError
from utils.runs import split_spec

PUBLISHED = {"Benign": 504, "Early": 985, "Pre": 963, "Pro": 804}


@pytest.fixture
def smears(data_folder):
    synthetic.make("smears", images_per_class=10, size=32, patients=2)
    return "smears"


def made_up(counts, copies=()):
    """Return an index of invented images; `copies` are pairs of numbers of equal images within a class."""
    same = {b: a for a, b in copies}
    rows = []
    for label, count in counts.items():
        for number in range(count):
            digest = hashlib.sha256(f"{label}{same.get(number, number)}".encode()).hexdigest()
            rows.append(Indexed(f"{label}/{number:04d}.png", digest, 8, 8, 100))
    return rows


def assign(rows, text="64/16/20", seed=42):
    return splits.make_manifest("made-up", rows, split_spec.parse(text), seed, text)


def sizes(table):
    return {subset: len(table.subset(subset)) for subset in table.subsets}


def test_the_published_counts_give_the_published_split(data_folder):
    table = assign(made_up(PUBLISHED))
    assert sizes(table) == {"train": 2083, "val": 521, "test": 652}
    for label, count in PUBLISHED.items():
        for subset, share in (("train", 0.64), ("val", 0.16), ("test", 0.2)):
            assert abs(table.counts()[subset][label] - share * count) <= 1


@pytest.mark.slow
def test_the_real_dataset_is_split_as_published(data_folder):
    imported = importer.import_dataset(real_dataset(), "real")
    assert Counter(row.label for row in imported.index) == PUBLISHED
    assert (imported.quarantined, imported.converted) == ([], [])
    split = splits.prepare_split("real")
    assert sizes(split.manifest) == {"train": 2083, "val": 521, "test": 652}
    assert splits.straddling(split.manifest) == []
    # Published results depend on these: they must never change.
    assert split.manifest.hash == "5981e8c9d7b78b52"
    assert splits.prepare_split("real", "90/10").manifest.hash == "880cfab51a26295d"
    folder = Path(split.path)
    assert {s: len(list((folder / s).glob("*/*"))) for s in split.manifest.subsets} == sizes(split.manifest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64/16/20", (64, 16, 20)),
        ("80/10/10", (80, 10, 10)),
        ("90/10", (72, 18, 10)),
        (" 62.5% / 17.5% / 20% ", (62, 18, 20)),
        ("kfold:5:1", (64, 16, 20)),
        ("kfold:4:4", (60, 15, 25)),
    ],
)
def test_fractions_and_folds(data_folder, text, expected):
    assert tuple(sizes(assign(made_up({"a": 60, "b": 40}), text)).values()) == expected


def test_folds_cover_every_image_once(data_folder):
    rows = made_up({"a": 53, "b": 31, "c": 17}, copies=[(1, 2), (3, 4), (5, 6)])
    tested = [row.image for fold in range(1, 6) for row in assign(rows, f"kfold:5:{fold}").subset("test")]
    assert sorted(tested) == sorted(row.image for row in rows)


def test_a_split_depends_on_seed_and_content_not_on_names(data_folder):
    rows = made_up({"a": 50, "b": 50})
    renamed = [Indexed(f"{row.label}/x-{row.image[2:]}", *list(vars(row).values())[1:]) for row in rows]
    first = assign(rows)
    assert assign(rows[::-1]) == first
    assert assign(renamed).test_identity == first.test_identity
    assert assign(rows, seed=43).test_identity != first.test_identity


def test_equal_images_stay_in_one_subset_and_the_counts_stay_exact(data_folder):
    copies = [(number, number + 1) for number in range(0, 400, 2)]
    for seed in range(10):
        table = assign(made_up(PUBLISHED, copies), seed=seed)
        assert sizes(table) == {"train": 2083, "val": 521, "test": 652}
        assert splits.straddling(table) == []
    # Exact counts take precedence where nothing else is left to fill a subset; the cut is reported.
    table = assign(made_up({"a": 5, "b": 5}, [(0, 1), (0, 2), (0, 3), (0, 4)]), "60/20/20")
    assert sizes(table) == {"train": 6, "val": 2, "test": 2}
    assert len(splits.straddling(table)) == 2


SHARES = ("64/16/20", "90/10", "kfold:5:1", "grouped:70/10/20", "grouped-kfold:5:1")  # valid forms
SUM = ("above 0", "sum to 100")
ALL_FOLDS = ("5 splits", "{}:1")
FOLD = ("at least 2 folds", "from 1 to K")


@pytest.mark.parametrize(
    ("facts", "texts"),
    [
        (SHARES, ["", "100", "64-16-20", "60/20/10/10", "a/b", "-10/110"]),
        (SHARES, ["grouped:", "grouped-64/16/20", "grouped:kfold:5:", "groups"]),
        (SUM, ["grouped:80/30", "64/16/10", "80/0/20", "100/0"]),
        (ALL_FOLDS, ["kfold:5", "grouped-kfold:5"]),
        (FOLD, ["kfold:1", "kfold:1:1", "kfold:5:0", "kfold:5:6"]),
    ],
)
def test_a_wrong_split_names_the_received_text_and_the_valid_forms(facts, texts):
    for text in texts:
        with one_line_error(f"'{text}'", *(fact.format(text) for fact in facts)):
            split_spec.parse(text)


def test_a_class_with_too_few_images_is_refused(data_folder):
    with pytest.raises(LeukoBenchError, match=r"64/16/20 of 'made-up' needs at least 3 images .*'rare' has 2"):
        assign(made_up({"a": 100, "rare": 2}))
    with pytest.raises(LeukoBenchError, match=r"'made-up' has fewer than 2 classes with images: a\."):
        assign(made_up({"a": 100}))


def test_the_split_folder_is_linked_reused_and_repaired(smears, data_folder, monkeypatch):
    split = splits.prepare_split(smears)
    assert split.path == data_folder / "splits" / "smears-64-16-20-seed42"
    assert split.manifest_path.read_text() == split.manifest.text()
    assert {row.group for row in split.manifest.rows} == {f"patient-{number:03d}" for number in range(1, 9)}
    for row in split.manifest.rows:
        assert (split.path / row.split / row.image).samefile(data_folder / "raw" / smears / row.image)
    built = []
    real_build = splits.build
    monkeypatch.setattr(splits, "build", lambda *a: built.append(1) or real_build(*a))
    assert splits.prepare_split(smears) == split
    assert built == []
    one = split.manifest.rows[3]
    for damage in (
        lambda: (split.path / one.split / one.image).unlink(),
        lambda: (split.path / "train" / one.label / "extra.png").write_bytes(b"x"),
        lambda: split.manifest_path.write_text("image\n"),
        lambda: shutil.rmtree(split.path / "val"),
        lambda: shutil.rmtree(split.path),
    ):
        damage()
        built.clear()
        assert splits.prepare_split(smears) == split
        assert built == [1]
        assert len(list(split.path.glob("*/*/*"))) == 40
    assert [p.name for p in (data_folder / "splits").iterdir()] == [split.path.name]


def test_where_links_fail_files_are_copied(smears, monkeypatch):
    def refuse(*_, **__):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    split = splits.prepare_split(smears)
    row = split.manifest.rows[0]
    copy = split.path / row.split / row.image
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == row.sha256
    assert copy.stat().st_nlink == 1


def test_a_failed_build_leaves_the_old_folder(smears, data_folder, monkeypatch):
    split = splits.prepare_split(smears)
    gone = split.manifest.rows[0]
    (split.path / gone.split / gone.image).unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(splits, "_link_or_copy", full)
    with pytest.raises(LeukoBenchError, match=rf"{split.path}: No space left on device\. .*LEUKOBENCH_DATA"):
        splits.prepare_split(smears)
    assert [p.name for p in (data_folder / "splits").iterdir()] == [split.path.name]
    assert len(list(split.path.glob("*/*/*"))) == 39


def test_a_changed_dataset_is_noticed(smears, data_folder):
    first, second, third, *_ = splits.prepare_split(smears).manifest.rows
    folder = data_folder / "raw" / smears
    (folder / first.image).unlink()
    (folder / second.image).rename(folder / "Benign/renamed.png")
    (folder / third.image).write_bytes(b"short")
    found = (f"2 missing ({first.image})", "1 new (Benign/renamed.png)", f"1 changed ({third.image})")
    with one_line_error(*found, "data check"):
        splits.prepare_split(smears)
    integrity_check.check(smears)
    assert len(splits.prepare_split(smears).manifest.rows) == 38


def test_a_split_is_rebuilt_from_its_stored_manifest(smears, data_folder):
    before = splits.prepare_split(smears)
    assert splits.restore_split(smears, before.manifest, "64/16/20", 42) == before, "its folder still holds it"
    (data_folder / "raw" / smears / index.GROUPS).unlink()
    now = splits.prepare_split(smears)
    assert now.path == before.path and now.manifest.hash != before.manifest.hash
    again = splits.restore_split(smears, before.manifest, "64/16/20", 42)
    assert again.manifest == before.manifest and again.path.name == f"smears-{before.manifest.hash}"
    assert again.manifest_path.read_text() == before.manifest.text()
    assert len(list(again.path.glob("*/*/*"))) == 40
    assert splits.prepare_split(smears) == now, "the present split is not touched"
    gone = before.manifest.rows[5].image
    (data_folder / "raw" / smears / gone).unlink()
    integrity_check.check(smears)
    with pytest.raises(LeukoBenchError, match=rf"'smears' .*{before.manifest.hash}.*: 1 of 40 \(first: {gone}\)"):
        splits.restore_split(smears, before.manifest, "64/16/20", 42)


def test_a_dataset_is_found_by_name_or_because_it_is_the_only_one(data_folder, monkeypatch):
    make = synthetic.make
    monkeypatch.setattr(synthetic, "make", lambda name="synthetic", **_: make(name, 1, 32, 1))
    assert catalog.ensure_dataset("") == "synthetic"  # made, as there was none
    assert catalog.datasets() == ["synthetic"]
    assert catalog.ensure_dataset("") == "synthetic"
    (data_folder / "raw" / "_junk").mkdir()
    (data_folder / "raw" / "not-a-dataset").mkdir()
    (data_folder / "raw" / "file").write_text("")
    assert catalog.ensure_dataset("synthetic") == "synthetic"
    synthetic.make("other")
    with pytest.raises(LeukoBenchError, match=r"other, synthetic\..*--dataset other"):
        catalog.ensure_dataset("")
    with pytest.raises(LeukoBenchError, match=r"'synthetc'.*'synthetic'\? .*other, synthetic\..*data import PATH"):
        catalog.ensure_dataset("synthetc")
