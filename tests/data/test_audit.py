"""The audit: what is planted is found and reported across the split, what is clean is called so."""

import contextlib
import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data import all_dataset, manifest
from data.auditing import audit, audit_tables, split_leakage
from data.auditing.audit import Group
from data.auditing.split_leakage import Shared
from data.datasets import importer
from data.grouping.related_images import Pair
from data.splitting import splits
from data.synthetic import generator as synthetic
from guide.audit import audit as command
from utils.errors import LeukoBenchError
from utils.runs import shortcuts_file
from visualization.displays.audit import GroupsDisplay, LadderDisplay, PairsDisplay

SIZE, SHIFT = 160, (36, 20)  # pixels of an image; right and down, of the second of two overlapping fields
OVERLAPS, COPIES = 3, 2  # of each class


def smear(label, number, size):
    patient = synthetic.patient_of(3, synthetic.CLASSES, label, number % 4, 4, "confounded")
    return synthetic.draw(np.random.default_rng([3, number]), label, size, patient)[0]


@pytest.fixture(scope="module")
def planted(home):
    """Smears with overlapping fields, images compressed again and exact copies among them, audited by the command."""
    source, overlaps, near, exact = home / "planted-images", [], [], []
    for label in synthetic.CLASSES:
        (source / label).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(smear(label, number, SIZE)).save(source / label / f"{number:02d}.png")
        for number in range(OVERLAPS):
            wide = smear(label, 100 + number, 2 * SIZE)
            for name, (x, y) in (("one", (8, 8)), ("two", (8 + SHIFT[0], 8 + SHIFT[1]))):
                Image.fromarray(wide[y : y + SIZE, x : x + SIZE]).save(source / label / f"{name}-{number}.png")
            overlaps.append((f"{label}/one-{number}.png", f"{label}/two-{number}.png"))
        for number in range(COPIES):
            with Image.open(source / label / f"{number:02d}.png") as picture:
                picture.save(source / label / f"again-{number}.jpg", quality=80)
            near.append((f"{label}/{number:02d}.png", f"{label}/again-{number}.jpg"))
    copied = source / "Pro" / "copy.png"
    copied.write_bytes((source / "Pro" / "09.png").read_bytes())
    exact.append(("Pro/09.png", "Pro/copy.png"))
    importer.import_dataset(source, "planted", as_is=True)
    root = home / "audit-runs"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        command("planted", root=root)
    return root, {"exact": exact, "near": near, "overlap": overlaps}, said.getvalue()


def rows(path):
    with open(path, encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_planted_pairs_are_reported_with_their_subsets_and_shifts(planted):
    root, pairs, _ = planted
    folder = root / "audit" / "planted"
    found = rows(folder / "duplicates.csv") + rows(folder / "overlaps.csv")
    subsets = {row.image: row.split for row in splits.prepare_split("planted").manifest.rows}
    told = json.loads((folder / "audit.json").read_text())
    for kind, expected in pairs.items():
        expected = {tuple(sorted(pair)) for pair in expected}
        reported = {(row["first"], row["second"]): row for row in found if row["kind"] == kind}
        assert len(expected & reported.keys()) >= 0.9 * len(expected), kind
        assert len(expected & reported.keys()) >= 0.95 * len(reported), kind
        leak = next(leak for leak in told["leaks"] if leak["kind"] == kind)
        across = [pair for pair in reported if subsets[pair[0]] != subsets[pair[1]]]
        tested = {image for pair in across for image in pair if subsets[image] == "test"}
        assert (leak["pairs"], leak["across_classes"]) == (len(reported), 0)
        assert (leak["across_split"], leak["test_images"]) == (len(across), len(tested))
        for pair, row in reported.items():
            assert (row["first_split"], row["second_split"]) == (subsets[pair[0]], subsets[pair[1]])
            if kind == "overlap" and pair in expected:
                assert (float(row["dx"]), float(row["dy"])) == pytest.approx([-SHIFT[0], -SHIFT[1]], abs=3)
    assert any(row["first_split"] != row["second_split"] for row in found)  # else the above shows nothing
    assert {row["kind"] for row in rows(folder / "overlaps.csv")} == {"overlap"}


def test_what_was_written_is_read_again(planted):
    root, _, _ = planted
    found = audit.read(root, "planted")
    folder = audit.folder(root, "planted")
    assert folder == root / "audit" / "planted"
    before = (folder / "audit.json").read_bytes()
    assert found.write(root).read_bytes() == before
    kept = shortcuts_file.read(root, found.manifest)
    assert [rung.baseline for rung in kept] == [*shortcuts_file.SEES]
    assert [(rung.baseline, rung.images, rung.correct) for rung in found.ladder] == [
        (rung.baseline, rung.images, rung.correct) for rung in kept
    ]
    assert {path.name for path in folder.iterdir()} == {
        "audit.json", "audit.md", "audit.html", "audit.tex", "ladder.csv", "ladder.md", "ladder.html", "ladder.tex",
        "every_group.csv", "every_group.md", "every_group.html", "every_group.tex", "groups.csv", "duplicates.csv",
        "overlaps.csv", "figures",
    }  # fmt: skip
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "ladder.png", "groups.png", "duplicates.png", "overlaps.png",
    }  # fmt: skip
    assert audit.read(root, "nothing") is None
    (folder / "audit.json").write_text('{"dataset": "planted"}')
    try:
        with pytest.raises(LeukoBenchError, match=r"^.*audit\.json is damaged\. Make it again: python run_guide\.py"):
            audit.read(root, "planted")
    finally:
        (folder / "audit.json").write_bytes(before)


def test_groups_keep_the_pairs_together_and_hold_every_image(planted):
    root, pairs, _ = planted
    found = audit.read(root, "planted")
    group = {row["image"]: row["group"] for row in rows(audit.folder(root, "planted") / "groups.csv")}
    images = [row.image for row in splits.prepare_split("planted").manifest.rows]
    assert sorted(group) == images and not found.given and found.agreement is None
    assert all(group[one] == group[other] for one, other in pairs["exact"] + pairs["near"])
    assert sum(each.images for each in found.groups) == len(images)
    for each, row in zip(found.groups, rows(audit.folder(root, "planted") / "every_group.csv"), strict=True):
        assert sum(each.classes.values()) == sum(each.subsets.values()) == each.images == int(row["images"])
        assert all(int(row[label]) == each.classes.get(label, 0) for label in synthetic.CLASSES)


def test_screen_is_narrow_and_ends_with_words(planted):
    _, _, shown = planted
    assert max(len(line) for line in shown.splitlines() if line[:1] in "│┃┏└") <= 80
    assert "Confounded: " in shown and " test images (" in shown and "they are not patients." in shown
    assert shown.rstrip().endswith("Research only, not a diagnosis.")


def test_groups_that_came_with_the_dataset_win(home, tmp_path, capsys):
    command("tiny", root=tmp_path)
    found = audit.read(tmp_path, "tiny")
    true = {row["image"]: row["group"] for row in rows(home / "data" / "raw" / "tiny" / "groups.csv")}
    kept = {row["image"]: row["group"] for row in rows(tmp_path / "audit" / "tiny" / "groups.csv")}
    assert kept == true and found.given and -1 <= found.agreement <= 1
    assert {group.name for group in found.groups} == set(true.values())
    shown = capsys.readouterr().out
    assert "Groups that came with the dataset" in shown and "Stain groups stand in" not in shown


def shared(first, second, first_split="train", second_split="test", kind="overlap"):
    return Shared(first, second, kind, 3.0, -4.0, 0.5, 99, 12, first_split, second_split)


def test_a_test_image_counts_once_and_only_when_its_partner_is_no_test_image():
    pairs = [
        shared("a/1", "a/2"), shared("a/2", "b/3", "test", "val"), shared("a/4", "a/5", "test", "test"),
        shared("a/6", "a/7", "train", "val"),
    ]  # fmt: skip
    found = split_leakage.leak("overlap", pairs)
    assert (found.pairs, found.across_classes, found.across_split, found.test_images) == (4, 1, 3, 1)
    table = manifest.from_rows(
        [manifest.Row("a/1", "a", "val", "", "0" * 64), manifest.Row("b/2", "b", "test", "", "1" * 64)]
    )
    (placed,) = split_leakage.shared([Pair("a/1", "b/2", "near", 0.0, 0.0, 7, 1.0, 3)], table)
    assert (placed.first_split, placed.second_split, placed.bits, placed.inliers) == ("val", "test", 3, 7)
    assert placed.across_classes and placed.tested == ["b/2"]


def test_groups_are_counted_by_class_and_subset():
    table = manifest.from_rows(
        [
            manifest.Row(f"{label}/{k}", label, split, "", f"{label}{k}")
            for label, k, split in (("a", 1, "train"), ("a", 2, "test"), ("b", 3, "train"), ("b", 4, "val"))
        ]
    )
    found = audit.count({"a/1": "y", "a/2": "x", "b/3": "x"}, table)
    assert found == [Group("x", 2, {"a": 1, "b": 1}, {"test": 1, "train": 1}), Group("y", 1, {"a": 1}, {"train": 1})]


def test_words_say_what_is_clean(planted):
    root, _, _ = planted
    found = audit.read(root, "planted")
    clean = replace(found, pairs=[], together=None)
    said = audit_tables.sentences(clean)
    assert "No test image was found to show a place that training or validation images show." in said
    wrong = replace(found, pairs=[shared("Pre/1", "Pro/2")])
    said = " ".join(audit_tables.sentences(wrong))
    assert "1 pairs of one place lie under two classes" in said and re.search(r"1 of \d+ test images", said)


def test_words_say_where_the_number_of_stain_groups_comes_from(planted):
    root, _, _ = planted
    found = audit.read(root, "planted")
    searched = "The number of groups is the largest that is nearly as stable as the most stable one, and 1 where none "
    given = (
        "The number of groups is that of the patients as published, not one found in the images: its stability is "
        "0.45, that of the most stable number, 4, is 0.91."
    )
    published = {
        "images": {"train": sum(all_dataset.PUBLISHED.values())}, "classes": [*all_dataset.PUBLISHED],
        "clusters": all_dataset.PATIENTS, "stability": [(2, 0.8512), (4, 0.9053), (all_dataset.PATIENTS, 0.4488)],
    }  # fmt: skip
    for each, said, unsaid in (
        (found, searched, given),
        (replace(found, **published), given, searched),
        (replace(found, **published | {"clusters": 4}), searched, given),
        (replace(found, **published | {"images": found.images}), searched, given),
    ):
        words = audit_tables.groups(each).words_below
        assert said in words and unsaid not in words


def test_displays_hold_the_numbers(planted):
    root, _, _ = planted
    found = audit.read(root, "planted")
    ladder = LadderDisplay.from_ladder(found.ladder).plot()
    assert [rung[0] for rung in ladder.rungs] == [rung.baseline for rung in found.ladder[1:]]
    assert ladder.chance == found.verdict.chance
    assert [text.get_text() for text in ladder.axes_.texts] == [
        f"{100 * r.accuracy:.1f}  ({100 * r.low:.1f}–{100 * r.high:.1f})" for r in found.ladder[1:]
    ]
    groups = GroupsDisplay.from_groups(found.groups, found.classes).plot()
    assert sum(map(sum, groups.counts.values())) == sum(found.images.values())
    assert len(groups.axes_.patches) == len(found.groups) * len(found.classes)


def test_a_sheet_shows_the_gravest_pairs():
    within = [shared(f"a/{k:02d}", f"a/{k + 50}", "train", "train") for k in range(40)]
    leaking = [shared(f"a/{k:02d}", f"a/{k + 50}") for k in range(40, 49)]
    classes = [shared("a/91.png", "b/92.jpg", "train", "train")]
    chosen = PairsDisplay.from_pairs("x", within + leaking + classes, most=5)
    assert chosen.total == 50 and len(chosen.pairs) == 5
    assert chosen.pairs[0] == classes[0] and all(pair in leaking for pair in chosen.pairs[1:])
    assert len(PairsDisplay.from_pairs("x", within, most=5).pairs) == 5
    chosen.plot(title="Pairs")  # images that are not at hand are no error
    captions = [axes.get_title() for axes in chosen.figure_.axes]
    assert captions[0] == "91 (train)\n92 (train)\nmoved by +3, -4 px, two classes"
