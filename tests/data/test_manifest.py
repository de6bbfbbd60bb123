from dataclasses import replace

import pytest

from data import manifest
from data.manifest import Row
from utils.errors import LeukoBenchError

ROWS = [
    Row("b/2.png", "b", "test", "", "22"),
    Row("a/1.png", "a", "train", "patient, one", "11"),
    Row("a/ü.png", "a", "test", "", "33"),
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
    assert manifest.from_rows([ROWS[0], replace(ROWS[1], sha256="44"), ROWS[2]]).test_identity == identity
    assert manifest.from_rows([replace(ROWS[0], sha256="44"), *ROWS[1:]]).test_identity != identity
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
