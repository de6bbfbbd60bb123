"""Layouts of folders that people bring: subsets, folds, patients and classes; splits from folders and from a file."""

import pytest
from checks import assert_facts, one_line_error
from command_line import run_guide
from drawn_sources import lay, png, product, zipped

from data.datasets import importer, index
from data.datasets.folder_roles import subset_of
from data.datasets.placement import Options
from data.datasets.structure import UnclearLayout
from utils.io.files import read_csv


@pytest.fixture(autouse=True)
def raw(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home/raw"


def brought(source, name="x", **options):
    return importer.import_dataset(source, name, options=Options(**options))


def table(imported, name, column):
    return {row["image"]: row[column] for row in read_csv(imported.path / name, ("image", column))}


CELLS = ("Basophil", "Lymphocyte", "Monocyte")
LAYOUTS = {
    "subsets of other names": (
        product(("TRAINING", "TESTING", "TESTING_EASY"), CELLS), CELLS, {"train", "test", "test_easy"},
    ),
    "below wrappers": (product(("release-v2/images/Train", "release-v2/images/Test"), CELLS), CELLS, {"train", "test"}),
    "two tests": (
        product(("training_data", "TestA", "TestB"), ("ery", "gran")), ("ery", "gran"), {"train", "test_a", "test_b"},
    ),
    "dev": (product(("train", "dev", "test"), "xyz"), "xyz", {"train", "val", "test"}),
    "images within subsets": (
        product(("train/images", "valid/images", "test/images"), "pq"), "pq", {"train", "val", "test"},
    ),
    "images within one": ([*product(("train/images",), "pq"), *product(("test",), "pq")], "pq", {"train", "test"}),
    "a class is rare": (
        [*product(("train", "val"), CELLS), "test/Basophil", "test/Monocyte"], CELLS, {"train", "val", "test"},
    ),
    "folds": (product(("fold_0", "fold_1", "fold_2"), ("ll", "nl")), ("ll", "nl"), set()),
    "folds, other word": (product(("d/Split-A", "d/Split-B"), CELLS), CELLS, set()),
    "a fold lacks a class": ([*product(("cv1", "cv2"), CELLS), "cv3/Monocyte", "cv3/Basophil"], CELLS, set()),
    "sites of cells": (product(("Lahore", "Tehran"), CELLS), CELLS, set()),
    "patients above classes": (product([f"Patient {n}" for n in range(7)], ("u", "v")), ("u", "v"), set()),
    "numbers above classes": (product([f"{n}" for n in range(10200, 10208)], "01"), "01", set()),
    "slides below classes": (
        product(("Reactive", "Clonal"), ("Slide_7_100x", "Slide_8_100x")), ("Clonal", "Reactive"), set(),
    ),
    "patients below classes": (product(("one", "two"), ("P1", "P2", "P3")), ("one", "two"), set()),
    "magnifications": (product(("lumen", "wall"), ("40X", "100X", "200X")), ("lumen", "wall"), set()),
    "subsets below classes": (product(("cats", "dogs"), ("train", "test")), ("cats", "dogs"), {"train", "test"}),
    "sites of subsets": (
        product(("site1/train", "site1/test", "site2/train", "site2/test"), "kl"), "kl", {"train", "test"},
    ),
    "flat": (["red", "white", "_unknown"], ("_unknown", "red", "white"), set()),
    "one has parts": (["sick/a", "sick/b", "well"], ("sick", "well"), set()),
    "numbers": (["0", "1", "2"], ("0", "1", "2"), set()),
}  # fmt: skip


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_and_subsets_are_told_apart_by_structure(tmp_path, layout, archive):
    folders, classes, expected = LAYOUTS[layout]
    source = lay(tmp_path / "in", *folders)
    imported = brought(zipped(source) if archive else source)
    assert set(index.count(imported.index)) == set(classes)
    assert set(imported.subsets) == expected
    assert sum(index.count(imported.index).values()) == sum(int(text.partition("*")[2] or 2) for text in folders)
    assert (imported.path / "split.csv").exists() == bool(expected)
    for image, subset in (table(imported, "split.csv", "split") if expected else {}).items():
        assert subset in expected and (imported.path / image).is_file()


@pytest.mark.parametrize(
    ("folders", "group"),
    [
        (product([f"case-{n}" for n in range(6)], CELLS), "case-3"),
        (product(("good", "bad"), ("Patient_03", "Patient_04")), "Patient_03"),
        (product(("train/good", "train/bad", "test/good", "test/bad"), ("subject 1", "subject 2")), "subject 1"),
    ],
)
def test_patients_become_groups(tmp_path, folders, group):
    imported = brought(lay(tmp_path / "in", *folders))
    assert imported.grouped == len(imported.index)
    assert group in table(imported, "groups.csv", "group").values()


@pytest.mark.parametrize(
    ("stray", "name"),
    [
        ([*product(("train", "test"), "AB"), "pictures*1"], "pictures"),
        ([*product(("data/train", "data/test"), "AB"), "paper_fig*3", "site/a", "site/b"], "paper_fig"),
        ([*product(("Train", "Test"), CELLS), "readme_files/deep/er"], "readme_files"),
        (["A*9", "B*9", "docs*1", "figures/x*1"], "docs"),
        (["cohort/A*9", "cohort/B*9", "assets*1"], "assets"),
    ],
)
def test_stray_folders_are_named_and_left_out(tmp_path, stray, name):
    source = lay(tmp_path / "in", *stray)
    (source / "banner.png").write_bytes(png(77))
    said = run_guide("data", "import", source, "--name", "x")
    classes, *rest = said.stdout.splitlines()
    assert said.returncode == 0
    assert name not in classes
    assert_facts(next(line for line in rest if line.startswith("Left out")), f"{name} ", ". 1")
    assert (importer.raw_dir("x") / "index.csv").exists()


@pytest.mark.parametrize(
    ("folders", "levels"),
    [
        (product(("spring", "autumn"), ("oak", "elm")), {1: ["autumn", "spring"], 2: ["elm", "oak"]}),
        (product(("w/b1", "w/b2"), ("c1", "c2")), {2: ["b1", "b2"], 3: ["c1", "c2"]}),
        (["cells/oak*40", "cells/elm*40", "other_pictures*1"], {1: ["cells", "other_pictures"], 2: ["elm", "oak"]}),
        (["fold_1", "fold_2"], {1: ["fold_1", "fold_2"]}),
        (["only/slide 1", "only/slide 2"], {2: ["slide 1", "slide 2"]}),
    ],
)
def test_where_structure_cannot_tell_the_options_that_decide_are_named(tmp_path, folders, levels):
    source = lay(tmp_path / "in", *folders)
    with pytest.raises(UnclearLayout) as caught:
        brought(source)
    assert caught.value.levels == levels
    for level, names in levels.items():
        assert_facts(str(caught.value), f"--classes-are {level} ({', '.join(names)})", "--ignore")
        imported = brought(source, f"level-{level}", classes_are=level)
        assert set(index.count(imported.index)) == set(names)
    said = run_guide("data", "import", source)
    assert (said.returncode, said.stdout, len(said.stderr.splitlines())) == (1, "", 1)


def test_the_menu_asks_for_the_level_of_the_classes_only_where_it_is_unclear(tmp_path):
    source = lay(tmp_path / "in", *product(("spring", "autumn"), ("oak", "elm")))
    said = run_guide(text=f"i\n{source}\nmenu\n2\n\nq\n", merged=True).stdout
    assert_facts(next(line for line in said.splitlines() if "$ python" in line), "--classes-are 2")
    assert "spring" in said and set(index.count(index.read(importer.raw_dir("menu")))) == {"elm", "oak"}
    source = lay(tmp_path / "clear", "oak", "elm")
    said = run_guide(text=f"i\n{source}\nclear\n\nq\n", merged=True).stdout
    assert "classes are [" not in said and "Imported 4 images" in said


def test_ignored_folders_are_left_out_and_must_exist(tmp_path):
    source = lay(tmp_path / "in", "oak", "elm", "elm/old", "blurred*3")
    imported = brought(source, ignore=("Blurred", "elm/old"))
    assert index.count(imported.index) == {"elm": 2, "oak": 2}
    assert imported.skipped["in ignored folders"] == 5
    with one_line_error("--ignore blured", "'blurred'"):
        brought(source, "y", ignore=("blured",))
    with one_line_error("--classes-are 4", "1 to 2"):
        brought(source, "y", classes_are=4)


@pytest.mark.parametrize(
    ("name", "subset"),
    {
        "TRAIN": "train", "training_set": "train", "Train-Images": "train", "valid": "val", "Validation": "val",
        "dev": "val", "test": "test", "Testing": "test", "test-data": "test", "TestA": "test_a", "TESTB": "test_b",
        "TEST_SIMPLE": "test_simple", "external_test": "test_external", "test 2": "test_2", "测试集": "test",
        "Holdout": "test", "Früh": "", "fold_1": "", "contest": "", "tested": "", "blasts": "", "trainers": "",
    }.items(),
)  # fmt: skip
def test_names_of_subsets(name, subset):
    assert subset_of(name) == subset


def test_tests_of_different_folders_keep_different_names(tmp_path):
    imported = brought(lay(tmp_path / "in", *product(("train", "test", "testing"), "AB")))
    assert imported.subsets == {"test": 4, "test_2": 4, "train": 4}


def test_same_name_in_two_subsets_and_copies_across_them(tmp_path):
    source = lay(tmp_path / "in", *product(("train", "test"), "AB", 4))
    for place in ("train/A", "test/A"):
        (source / place / "one.png").write_bytes(png(5 if "train" in place else 6))
    (source / "test/B/copy.png").write_bytes(next((source / "train/B").iterdir()).read_bytes())
    said = run_guide("data", "import", source, "--name", "x")
    splits_of = table(importer.Imported("x", importer.raw_dir("x")), "split.csv", "split")
    assert len(splits_of) == 19 and sorted(splits_of.values()).count("test") == 10
    assert_facts(said.stderr.strip(), "1 images of test are also in train")


@pytest.mark.parametrize("tops", [("train", "val"), ("Train", "Dev"), ("val", "test"), ("train", "extra")])
def test_subsets_without_train_or_test_are_refused_and_can_be_completed(tmp_path, tops):
    source = lay(tmp_path / "in", *product(tops, CELLS, 3))
    with one_line_error("--test-from", "--split FILE", "--split none"):
        brought(source)
    pooled = brought(source, "pooled", split="none")
    assert (pooled.subsets, (pooled.path / "split.csv").exists(), len(pooled.index)) == ({}, False, 18)
    if subset_of(tops[0]) == "train":
        assert brought(source, "held", test_from=tops[1]).subsets == {"test": 9, "train": 9}


def test_a_fold_can_be_the_test_subset(tmp_path):
    source = lay(tmp_path / "in", *product(("fold_1", "fold_2", "fold_3"), CELLS))
    assert brought(source, test_from="fold_3").subsets == {"test": 6, "train": 12}
    with one_line_error("--test-from fold_9", "fold_1"):
        brought(source, "y", test_from="fold_9")


def test_folds_with_splits_of_their_own_are_refused(tmp_path):
    source = lay(tmp_path / "in", *product(("fold1/train", "fold1/test", "fold2/train", "fold2/test"), CELLS))
    with one_line_error("fold1, fold2", "Import one"):
        brought(source)


def test_both_halves_of_the_all_dataset_become_subsets(tmp_path):
    classes = ("Benign", "[Malignant] early Pre-B", "[Malignant] Pre-B", "[Malignant] Pro-B")
    imported = brought(lay(tmp_path / "in", *product(("Train", "Test"), classes)))
    assert index.count(imported.index) == {"Benign": 4, "Early": 4, "Pre": 4, "Pro": 4}
    assert imported.subsets == {"test": 8, "train": 8}


FORMS = {
    "path": lambda label, path: path,
    "path of Windows": lambda label, path: f".\\{path}".replace("/", "\\"),
    "with the source": lambda label, path: f"in/{path}",
    "class and file": lambda label, path: f"{label}/{path.rpartition('/')[2]}",
    "file": lambda label, path: path.rpartition("/")[2],
    "stem": lambda label, path: path.rpartition("/")[2][:-4],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_split_from_a_file(tmp_path, form):
    source = lay(tmp_path / "in", "part/oak*6", "part/elm*6")
    paths = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.png"))
    told = ("Training", "validation", "TEST", "external_test")
    rows = [
        f"{FORMS[form](path.split('/')[1], path)},{told[number % 4]},g{number % 3}"
        for number, path in enumerate(paths[:-1])
    ]
    (tmp_path / "split.csv").write_text("\n".join(["image,split,group", *rows]), encoding="utf-8")
    said = run_guide("data", "import", source, "--name", "x", "--split", tmp_path / "split.csv")
    assert said.returncode == 0, said.stderr
    found = table(importer.Imported("x", importer.raw_dir("x")), "split.csv", "split")
    assert sorted(found.values()) == ["test"] * 3 + ["test_external"] * 2 + ["train"] * 3 + ["val"] * 3
    assert "1 images in no subset" in said.stdout
    assert len(set(table(importer.Imported("x", importer.raw_dir("x")), "groups.csv", "group").values())) == 3


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("oak/{oak0},train\nghost.png,test", ("'ghost.png'", "no image of the source", "1 such rows")),
        ("{oak0},train\n{oak0},test\n{elm0},test", ("{oak0}", "'train'", "'test'")),
        ("oak/{oak0},train\n{oak0},test\n{elm0},test", ("{oak0}", "'train'", "'test'")),
        ("{oak0},train\n{elm0},val", ("no test", "train, val")),
        ("{oak0},test", ("no train",)),
        ("{oak0},train\n{elm0},reserve", ("'reserve'", "test_<name>")),
        ("{oak0},train\nsame.png,test", ("'same.png'", "several images")),
        ("", ("no train", "no test")),
    ],
)
def test_a_wrong_split_file_is_one_line_and_imports_nothing(tmp_path, raw, text, facts):
    source = lay(tmp_path / "in", "oak*2", "elm*2")
    names = {f"{place}0": min((source / place).iterdir()).name for place in ("oak", "elm")}
    for place in ("oak", "elm"):
        (source / place / "same.png").write_bytes(png(len(place) + ord(place[0])))
    (tmp_path / "s.csv").write_text("image,split\n" + text.format(**names) + "\n")
    with one_line_error(str(tmp_path / "s.csv"), *(fact.format(**names) for fact in facts)):
        brought(source, split=str(tmp_path / "s.csv"))
    assert not raw.exists() or not list(raw.iterdir())
