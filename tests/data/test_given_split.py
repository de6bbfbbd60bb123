"""The split that came with a dataset: kept, used by default, several test sets; small classes in every subset."""

import hashlib
from collections import Counter

import pytest
from checks import one_line_error

from data import catalog, manifest
from data.auditing import audit
from data.datasets import index, integrity_check
from data.datasets.index import Indexed
from data.grouping.related_images import Pair
from data.splitting import given_split, image_assignment, splits
from data.splitting import groups as split_groups
from data.synthetic import generator as synthetic
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import raw_dir
from utils.runs import run_folder, split_spec


def images_of(counts):
    """Return an index of invented images, some of each class."""
    return [
        Indexed(f"{label}/{k:03d}.png", hashlib.sha256(f"{label}{k}".encode()).hexdigest(), 8, 8, 100)
        for label, count in counts.items()
        for k in range(count)
    ]


def give(dataset, subsets, groups=None):
    """Write split.csv, and groups.csv, of a dataset: by image."""
    folder = raw_dir(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / index.SPLIT, files.csv_text(("image", "split"), subsets.items()))
    if groups:
        files.write_text(folder / index.GROUPS, files.csv_text(("image", "group"), groups.items()))


def in_turn(rows, *subsets):
    """Give the images of each class to subsets in turn."""
    numbers, found = Counter(), {}
    for row in rows:
        found[row.image] = subsets[numbers[row.label] % len(subsets)]
        numbers[row.label] += 1
    return found


def table_of(dataset, rows, seed=42):
    return splits.make_manifest(dataset, rows, split_spec.parse("given"), seed, "given")


@pytest.fixture
def smears(data_folder):
    """Tiny smears with a split of their own: two test sets, validation taken from train, two images in no subset."""
    synthetic.make("smears", images_per_class=12, size=32, patients=4, seed=3)
    rows = integrity_check.current_index("smears")
    (raw_dir("smears") / index.GROUPS).unlink()
    chosen = in_turn(rows, "train", "train", "train", "train", "test_b", "test_a")
    for image in [row.image for row in rows][:2]:
        del chosen[image]
    give("smears", chosen)
    return "smears"


def test_given_is_a_kind_of_its_own():
    scheme = split_spec.parse(" Given ")
    assert (scheme.kind, scheme.slug, scheme.shares, scheme.grouped, scheme.folds) == (
        "given",
        "given",
        "given",
        False,
        0,
    )
    assert split_spec.expand("Given") == ["given"]
    assert set(split_spec.COMPARED) < set(split_spec.KINDS)
    assert split_spec.words("given") == split_spec.OWN and split_spec.words("90/10") == "split 90/10"
    assert split_spec.words("given", "90/10") == f"split 90/10 and {split_spec.OWN}"


def test_a_split_that_came_with_a_dataset_is_the_default_and_is_kept(smears):
    assert catalog.datasets() == [smears]
    assert given_split.default(smears) == given_split.default("") == "given"
    folder = splits.prepare_split(smears)
    table, listed = folder.manifest, given_split.read(smears)
    assert folder.path.name == "smears-given-seed42"
    assert table.subsets == ("train", "val", "test_a", "test_b") and table.test_sets == ("test_a", "test_b")
    for row in table.rows:
        assert listed[row.image] == ("train" if row.split == "val" else row.split)
        assert (folder.path / row.split / row.image).is_file()
    assert {row.image for row in table.rows} == set(listed) and len(listed) == 46
    assert table.subset("test") == table.subset("test_a") != () and folder.subset("test") == folder.path / "test_a"
    assert splits.prepare_split(smears, "64/16/20").manifest.subsets == ("train", "val", "test")
    said = given_split.described(smears, table)
    assert said == (
        "Using the dataset's own split (given): train 24, val 6 (taken from train), test_a 8, test_b 8; "
        "2 images of the dataset in no subset"
    )
    synthetic.make("plain", images_per_class=3, size=32, patients=1)
    assert given_split.default("plain") == given_split.default("") == split_spec.DEFAULT  # "": several datasets
    with one_line_error("'plain'", "split.csv", "--split FILE", "--split 64/16/20"):
        splits.prepare_split("plain", "given")


@pytest.mark.parametrize("counts", [{"a": 40, "b": 25, "c": 10}, {"Früh": 2, "spät": 9}])
def test_missing_validation_images_are_a_fifth_of_each_class(data_folder, counts):
    rows = images_of(counts) + [
        Indexed(f"{label}/t.png", hashlib.sha256(f"t{label}".encode()).hexdigest(), 8, 8, 1) for label in counts
    ]
    give("own", {row.image: "test" if row.image.endswith("/t.png") else "train" for row in rows})
    table = table_of("own", rows)
    for label, count in counts.items():
        assert abs(table.counts()["val"][label] - count / 5) <= 1 and table.counts()["val"][label] >= 1
        assert table.counts()["train"][label] >= 1 and table.counts()["test"][label] == 1
    assert table_of("own", rows[::-1]) == table
    assert table_of("own", rows, seed=7).test_identity == table.test_identity
    if counts.get("a"):
        assert table_of("own", rows, seed=7).subset("val") != table.subset("val")
    give("own", {row.image: "val" if k % 2 else "train" for k, row in enumerate(rows)} | {rows[-1].image: "test"})


def test_a_group_is_not_divided_between_train_and_val(data_folder):
    rows = images_of({"x": 40, "y": 40})
    groups = {row.image: f"{row.label}-{int(row.image[2:5]) // 5}" for row in rows}
    give("own", {row.image: "test" if row.image[2:5] in ("038", "039") else "train" for row in rows}, groups)
    table = table_of("own", rows)
    places = {}
    for row in table.rows:
        if row.split != "test":
            places.setdefault(row.group, set()).add(row.split)
    assert all(len(subsets) == 1 for subsets in places.values())
    assert all(count >= 5 for count in table.counts()["val"].values())
    assert split_groups.parted(table) == 2  # the owner's test set divides two groups; it is kept
    one = {row.image: f"{row.label}-all" for row in rows}
    give("own", given_split.read("own"), one)
    with one_line_error("no validation images", "'x'", "groups", ": 1,", "at least 2"):
        table_of("own", rows)


@pytest.mark.parametrize(
    ("subsets", "facts"),
    [
        (("train", "val"), ("no test images", "train, val", "do not become", "--split FILE", "--split 64/16/20")),
        (("train",), ("no test images", "--split FILE")),
        (("test", "val"), ("no training images of 'a', 'b'", "--ignore")),
        (("train", "tset"), ("'tset'", "Did you mean 'test'?", "test_<name>")),
        (("train", "test_É"), ("'test_É'", "test_<name>")),
        (("train", ""), ("''", "Valid: train")),
    ],
)
def test_what_is_no_split_is_refused_with_what_to_do(data_folder, subsets, facts):
    rows = images_of({"a": 6, "b": 6})
    give("own", in_turn(rows, *subsets))
    with one_line_error(*facts):
        table_of("own", rows)


def test_classes_without_images_in_a_subset(data_folder):
    rows = images_of({"a": 10, "b": 10, "c": 10})
    chosen = in_turn(rows, "train", "train", "train", "val", "test")
    give("own", {image: "train" if image < "b" else subset for image, subset in chosen.items()})
    table = table_of("own", rows)
    assert table.classes == ("a", "b", "c") and table.counts()["test"]["a"] == 0
    files.write_json(raw_dir("own") / index.DATASET, {"images": {"a": 10, "b": 10, "c": 10}})
    said = given_split.described("own", table)
    assert "val has no image of a, so no score for it; test has no image of a" in said and "\n" not in said
    give("own", {image: subset for image, subset in chosen.items() if image > "b"})
    with one_line_error("no training images of 'a'"):  # a class that is in no subset is not left out in silence
        table_of("own", rows)
    give("own", {image: "train" if image < "c" else subset for image, subset in chosen.items()})
    with one_line_error("one class only, 'c'", "at least 2 classes"):
        table_of("own", rows)
    give("own", {"a/000.png": "train"})
    with open(raw_dir("own") / index.SPLIT, "a") as handle:
        handle.write("a/000.png,test\n")
    with one_line_error("'a/000.png'", "train and test"):
        table_of("own", rows)


def test_split_folders_have_a_folder_for_each_class(smears):
    give(smears, {image: s for image, s in given_split.read(smears).items() if not (s == "test_b" and image < "C")})
    folder = splits.prepare_split(smears)
    assert folder.manifest.counts()["test_b"]["Benign"] == 0
    names = {place.name for place in (folder.path / "test_b").iterdir()}
    assert names == set(folder.manifest.classes)
    (folder.path / "test_b" / "Benign").rmdir()
    assert splits.prepare_split(smears) == folder and (folder.path / "test_b" / "Benign").is_dir()


def test_the_audit_counts_places_shown_before_in_the_main_test_set(data_folder):
    row = lambda image, split: manifest.Row(image, image[0], split, "", "0" * 64)  # noqa: E731
    table = manifest.from_rows([row("a/1", "train"), row("a/2", "test_a"), row("b/3", "test_b"), row("b/4", "val")])
    found = [Pair(one, other, "near", 1, 1, 0.5, 1, 1) for one, other in
             (("a/1", "a/2"), ("a/2", "b/3"), ("b/3", "b/4"), ("a/2", "a/9"))]  # fmt: skip
    placed = audit.placed(found, table)
    assert [(pair.first_split, pair.second_split) for pair in placed] == [
        ("train", "test"), ("test", "test_b"), ("test_b", "val")
    ]  # fmt: skip
    assert [pair.leaked_test_images for pair in placed] == [["a/2"], [], []]


@pytest.mark.parametrize("names", [["val", "test_b", "test_a", "train"], ["test_10", "test", "test_a"], ["val"], []])
def test_the_main_test_set_is_test_or_the_first_by_name(names):
    tests = run_folder.test_sets(names)
    main = "test" if "test" in names else min((name for name in names if name.startswith("test_")), default=None)
    assert (tests[0] if tests else None) == main
    assert run_folder.resolve("test", names) == (main or "test") and run_folder.resolve("test_b", names) == "test_b"


@pytest.mark.parametrize("text", ["64/16/20", "90/10", "98/1/1", "1/1/98", "kfold:3:2", "kfold:2:1", "kfold:2:2"])
@pytest.mark.parametrize("seed", range(4))
def test_small_classes_have_an_image_in_every_subset(data_folder, text, seed):
    scheme = split_spec.parse(text)
    rows = images_of({"many": 200, "few": scheme.needed, "some": scheme.needed + 2})
    counts = splits.make_manifest("drawn", rows, scheme, seed, text).counts()
    assert min(count for of_subset in counts.values() for count in of_subset.values()) >= 1
    assert {sum(of[label] for of in counts.values()) for label in ("few",)} == {scheme.needed}


@pytest.mark.parametrize(("text", "few", "needed"), [("64/16/20", 2, 3), ("kfold:5:1", 4, 5), ("kfold:2:1", 3, 4)])
def test_what_cannot_be_split_is_said_with_the_number_needed(data_folder, text, few, needed):
    with one_line_error("'drawn'", text, f"at least {needed} images", f"'tiny' has {few}"):
        splits.make_manifest("drawn", images_of({"many": 50, "tiny": few}), split_spec.parse(text), 42, text)


@pytest.mark.parametrize("text", ["64/16/20", "90/10", "kfold:5:3", "70/10/20"])
def test_larger_classes_get_the_shares_as_before(data_folder, text):
    scheme, rows = split_spec.parse(text), images_of({"a": 61, "b": 33, "c": 20})
    found = image_assignment.subsets(rows, scheme, 1)
    totals = index.count(rows)
    test = {label: sum(found[row.image] == "test" for row in rows if row.label == label) for label in totals}
    if scheme.folds:
        assert test == {label: split_spec.fold_sizes(n, scheme.folds)[scheme.fold - 1] for label, n in totals.items()}
    else:
        assert test == split_spec.apportion(totals, scheme.test)
    rest = {label: totals[label] - test[label] for label in totals}
    val = {label: sum(found[row.image] == "val" for row in rows if row.label == label) for label in totals}
    assert val == split_spec.apportion(rest, scheme.val)


def test_an_unreadable_split_is_one_line(smears):
    (raw_dir(smears) / index.SPLIT).write_text("file,subset\n")
    with pytest.raises(LeukoBenchError, match="columns file, subset; it needs image, split"):
        splits.prepare_split(smears)
