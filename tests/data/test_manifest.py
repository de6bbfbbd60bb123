from dataclasses import replace

import pytest
from checks import one_line_error

from data import manifest
from data.manifest import Row
from utils.errors import LeukoBenchError

ONE, TWO, THREE, FOUR = (digit * 64 for digit in "1234")  # hashes of images
ROWS = [
    Row("b/2.png", "b", "test", "", TWO),
    Row("a/1.png", "a", "train", "patient, one", ONE),
    Row("a/ü.png", "a", "test", "", THREE),
]


def test_a_manifest_survives_writing_and_reading(tmp_path):
    table = manifest.from_rows(ROWS)
    table.write(tmp_path / "m.csv")
    again = manifest.read(tmp_path / "m.csv")
    assert again == table
    assert again.hash == table.hash
    assert [row.image for row in again.rows] == ["a/1.png", "a/ü.png", "b/2.png"]


def test_the_hash_does_not_depend_on_the_order_of_rows():
    assert manifest.from_rows(ROWS).hash == manifest.from_rows(ROWS[::-1]).hash


@pytest.mark.parametrize("field", ["image", "label", "split", "group", "sha256"])
def test_the_hash_depends_on_every_column(field):
    changed = [replace(ROWS[0], **{field: "other"}), *ROWS[1:]]
    assert manifest.from_rows(changed).hash != manifest.from_rows(ROWS).hash


def test_the_test_identity_depends_on_content_and_label_of_the_test_images_alone():
    identity = manifest.from_rows(ROWS).test_identity
    assert manifest.from_rows([replace(ROWS[0], image="b/other.png"), *ROWS[1:]]).test_identity == identity
    assert manifest.from_rows([ROWS[0], replace(ROWS[1], sha256=FOUR), ROWS[2]]).test_identity == identity
    assert manifest.from_rows([replace(ROWS[0], sha256=FOUR), *ROWS[1:]]).test_identity != identity
    assert manifest.from_rows([replace(ROWS[0], label="a"), *ROWS[1:]]).test_identity != identity


def test_counts_list_every_class_in_every_subset():
    assert manifest.from_rows(ROWS).counts() == {"test": {"a": 1, "b": 1}, "train": {"a": 1, "b": 0}}


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (None, "There is no {}"),
        ("image,label\n", "{} has columns image, label; it needs image, label, split, group, sha256"),
        ("image,label,split,group,sha256\n", "{} lists no images. .*python run_guide.py data split"),
    ],
)
def test_a_missing_or_incomplete_manifest_is_refused(tmp_path, content, facts):
    path = tmp_path / "m.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LeukoBenchError, match=facts.format(path)):
        manifest.read(path)


INVALID = [
    *(
        ("split", text)
        for text in ("Train", "testing", "test_", "test_A", "../../raw/other", "test/..", "val\n", "/tmp")
    ),
    *(
        ("image", text)
        for text in ("2.png", "b/", "/b/2.png", "b/../2.png", "../b/2.png", "b/.", "../../../etc/passwd")
    ),
    *(("image", text) for text in ("b\\2.png", "b/c/2.png", "C:/2.png", "b/C:2.png", "b/2\x00.png", "b/2\t.png", "")),
    *(("image", text) for text in ("b/" + "x" * 256, "a/1.png")),
    *(("label", text) for text in ("", "a", "B", "b/", "..")),
    *(("sha256", text) for text in ("", "22", TWO[1:], TWO + "2", "g" * 64, "A" * 64, "../" + TWO[3:])),
]


@pytest.mark.parametrize(("field", "value"), INVALID, ids=[f"{field} {value[:30]!r}" for field, value in INVALID])
def test_a_row_that_names_no_image_of_a_class_is_refused(tmp_path, field, value):
    path = tmp_path / "m.csv"
    manifest.from_rows([replace(ROWS[0], **{field: value}), *ROWS[1:]]).write(path)
    with one_line_error(path, "damaged", "line "):
        manifest.read(path)


def test_several_test_sets_are_valid(tmp_path):
    for splits in (("train", "test_a", "test_9_b"), ("train", "val", "test")):
        table = manifest.from_rows([replace(row, split=split) for row, split in zip(ROWS, splits, strict=True)])
        table.write(tmp_path / f"{table.hash}.csv")
        assert manifest.read(tmp_path / f"{table.hash}.csv") == table


def test_an_image_listed_twice_and_a_name_of_another_content_are_refused(tmp_path):
    manifest.from_rows([*ROWS, ROWS[0]]).write(tmp_path / "m.csv")
    with one_line_error("twice", "b/2.png"):
        manifest.read(tmp_path / "m.csv")
    table = manifest.from_rows(ROWS)
    table.write(tmp_path / "0123456789abcdef.csv")
    with one_line_error(table.hash, "0123456789abcdef"):
        manifest.read(tmp_path / "0123456789abcdef.csv")
