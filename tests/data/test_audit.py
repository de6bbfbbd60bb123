"""The audit finds planted pairs, reports them across the split, and clears a dataset without any."""

import contextlib
import io
import re
from dataclasses import replace

import pytest
from checks import one_line_error
from fake_runs import read_table
from planted_signal import plant

from data import all_dataset, manifest
from data.auditing import audit, audit_tables
from data.auditing.audit import Group, PlacedPair
from data.grouping.related_images import Pair
from data.splitting import splits
from data.synthetic import generator as synthetic
from guide.audit import audit as command
from utils.io.files import read_json
from utils.paths import raw_dir
from utils.runs import shortcuts_file
from visualization.displays.audit import GroupsDisplay, PairsDisplay, ShortcutsDisplay


def audited(name, root):
    """Audit a dataset with the command; return the audit, its folder, and what was printed."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        command(name, root=root)
    return audit.read(root, name), audit.folder(root, name), shown.getvalue()


@pytest.fixture(scope="module")
def planted(home):
    """What was planted, and the audit of these smears."""
    made = plant(raw_dir("planted"), scenes=24, alone=24)
    return made, *audited("planted", home / "audit-runs")


@pytest.fixture(scope="module")
def small(home):
    return audited("tiny", home / "small-audit-runs")


@pytest.mark.slow
def test_planted_pairs_are_reported_with_their_subsets_and_shifts(planted):
    made, _, folder, _ = planted
    told = read_json(folder / "audit.json")
    found = read_table(folder / "duplicates.csv") + read_table(folder / "overlaps.csv")
    subsets = {row.image: row.split for row in splits.prepare_split("planted").manifest.rows}
    for kind, expected in (("exact", made.exact), ("near", made.near), ("overlap", made.overlaps.keys())):
        reported = {(row["first"], row["second"]): row for row in found if row["kind"] == kind}
        assert len(expected & reported.keys()) >= 0.9 * len(expected), kind
        assert len(expected & reported.keys()) >= 0.95 * len(reported), kind
        (leak,) = (leak for leak in told["leaks"] if leak["kind"] == kind)
        across = [pair for pair in reported if subsets[pair[0]] != subsets[pair[1]]]
        tested = {image for pair in across for image in pair if subsets[image] == "test"}
        two_classes = sum(first.split("/")[0] != second.split("/")[0] for first, second in reported)
        assert (leak["pairs"], leak["across_classes"]) == (len(reported), two_classes)
        assert (leak["across_split"], leak["test_images"]) == (len(across), len(tested))
        for pair, row in reported.items():
            assert (row["first_split"], row["second_split"]) == (subsets[pair[0]], subsets[pair[1]])
            if kind == "overlap" and pair in expected:
                assert (float(row["dx"]), float(row["dy"])) == pytest.approx(made.overlaps[pair], abs=4)
    assert any(row["first_split"] != row["second_split"] for row in found)  # else the loop above proves nothing
    assert {row["kind"] for row in read_table(folder / "overlaps.csv")} == {"overlap"}


def test_the_written_audit_is_read_again(small):
    found, folder, _ = small
    root = folder.parent.parent
    before = (folder / "audit.json").read_bytes()
    assert found.write(folder).read_bytes() == before
    kept = shortcuts_file.read(root, found.manifest)
    assert [rung.baseline for rung in kept] == [*shortcuts_file.SEES]
    measured, stored = ([(each.baseline, each.images, each.correct) for each in rows] for rows in (found.ladder, kept))
    assert measured == stored
    assert audit.read(root, "nothing") is None
    (folder / "audit.json").write_text('{"dataset": "tiny"}')
    try:
        with one_line_error("audit.json is damaged", "run_guide.py audit tiny"):
            audit.read(root, "tiny")
    finally:
        (folder / "audit.json").write_bytes(before)


@pytest.mark.slow
def test_files_of_an_audit_and_groups_that_keep_the_pairs_together(planted):
    made, found, folder, _ = planted
    tables = [f"{name}.{suffix}" for name in ("audit", "ladder", "every_group") for suffix in ("md", "html", "tex")]
    records = ["audit.json", "ladder.csv", "every_group.csv", "groups.csv", "duplicates.csv", "overlaps.csv"]
    assert {path.name for path in folder.iterdir()} == {*tables, *records, "figures"}
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert figures == {"ladder.png", "groups.png", "duplicates.png", "overlaps.png"}
    group = {row["image"]: row["group"] for row in read_table(folder / "groups.csv")}
    images = [row.image for row in splits.prepare_split("planted").manifest.rows]
    assert sorted(group) == images and not found.given and found.agreement is None
    assert all(group[one] == group[other] for one, other in made.exact | made.near)
    assert sum(each.images for each in found.groups) == len(images)
    for each, row in zip(found.groups, read_table(folder / "every_group.csv"), strict=True):
        assert sum(each.classes.values()) == sum(each.subsets.values()) == each.images == int(row["images"])
        assert all(int(row[label]) == each.classes.get(label, 0) for label in synthetic.CLASSES)


@pytest.mark.slow
def test_the_screen_is_narrow_and_ends_with_sentences(planted):
    _, found, _, shown = planted
    assert max(len(line) for line in shown.splitlines() if line[:1] in "│┃┏└") <= 80
    assert f"{found.verdict.word.capitalize()}: " in shown
    assert " test images (" in shown and "they are not patients." in shown
    assert shown.rstrip().endswith("Research only, not a diagnosis.")


def test_given_groups_take_precedence(home, small):
    found, folder, shown = small
    true = {row["image"]: row["group"] for row in read_table(home / "data" / "raw" / "tiny" / "groups.csv")}
    stored = {row["image"]: row["group"] for row in read_table(folder / "groups.csv")}
    assert stored == true and found.given and -1 <= found.agreement <= 1
    assert {group.name for group in found.groups} == set(true.values())
    assert "Groups that came with the dataset" in shown and "Stain groups replace patients" not in shown


def pair_of(first, second, first_split="train", second_split="test", kind="overlap"):
    return PlacedPair(first, second, kind, 3.0, -4.0, 0.5, 99, 12, first_split, second_split)


def test_a_test_image_counts_once_and_only_with_a_partner_in_another_subset():
    pairs = [
        pair_of("a/1", "a/2"),
        pair_of("a/2", "b/3", "test", "val"),
        pair_of("a/4", "a/5", "test", "test"),
        pair_of("a/6", "a/7", "train", "val"),
    ]
    found = audit.leak("overlap", pairs)
    assert (found.pairs, found.across_classes, found.across_split, found.test_images) == (4, 1, 3, 1)
    table = manifest.from_rows(
        [manifest.Row("a/1", "a", "val", "", "0" * 64), manifest.Row("b/2", "b", "test", "", "1" * 64)]
    )
    (placed,) = audit.placed([Pair("a/1", "b/2", "near", 0.0, 0.0, 1.0, 3, 7)], table)
    assert (placed.first_split, placed.second_split, placed.bits, placed.inliers) == ("val", "test", 3, 7)
    assert placed.across_classes and placed.leaked_test_images == ["b/2"]


def test_groups_are_counted_by_class_and_subset():
    table = manifest.from_rows(
        [
            manifest.Row(f"{label}/{k}", label, split, "", f"{label}{k}")
            for label, k, split in (("a", 1, "train"), ("a", 2, "test"), ("b", 3, "train"), ("b", 4, "val"))
        ]
    )
    found = audit.count({"a/1": "y", "a/2": "x", "b/3": "x"}, table)
    assert found == [Group("x", 2, {"a": 1, "b": 1}, {"test": 1, "train": 1}), Group("y", 1, {"a": 1}, {"train": 1})]


def test_sentences_tell_a_clean_dataset_from_a_leaking_one(small):
    found, _, _ = small
    clean = audit_tables.sentences(replace(found, pairs=[], together=None))
    assert any(line.startswith("No test image") for line in clean) and not any(" labels" in line for line in clean)
    leaking = " ".join(audit_tables.sentences(replace(found, pairs=[pair_of("Pre/1", "Pro/2")])))
    assert "1 pairs that show one place have two different labels" in leaking
    assert re.search(r"1 of \d+ test images", leaking)


def test_the_table_explains_the_number_of_stain_groups(small):
    found, _, _ = small
    published = {
        "images": {"train": sum(all_dataset.PUBLISHED.values())},
        "classes": [*all_dataset.PUBLISHED],
        "clusters": all_dataset.PATIENTS,
        "stability": [(2, 0.8512), (4, 0.9053), (all_dataset.PATIENTS, 0.4488)],
    }
    for each, patients in (
        (found, False),
        (replace(found, **published), True),
        (replace(found, **published | {"clusters": 4}), False),
        (replace(found, **published | {"images": found.images}), False),
    ):
        words = audit_tables.groups(each).words_below
        assert ("published number of patients" in words and "0.45" in words and "4, is 0.91" in words) == patients
        assert ("nearly as stable as the most stable one" in words) != patients


def test_displays_hold_the_numbers(small):
    found, _, _ = small
    ladder = ShortcutsDisplay.from_shortcuts(found.ladder).plot()
    assert [rung[0] for rung in ladder.baselines] == [rung.baseline for rung in found.ladder[1:]]
    assert ladder.chance == found.verdict.chance
    assert [text.get_text() for text in ladder.axes_.texts] == [
        f"{100 * r.accuracy:.1f}  ({100 * r.low:.1f}–{100 * r.high:.1f})" for r in found.ladder[1:]
    ]
    groups = GroupsDisplay.from_groups(found.groups, found.classes).plot()
    assert sum(map(sum, groups.counts.values())) == sum(found.images.values())
    assert len(groups.axes_.patches) == len(found.groups) * len(found.classes)


def test_a_sheet_shows_the_most_serious_pairs():
    within = [pair_of(f"a/{k:02d}", f"a/{k + 50}", "train", "train") for k in range(40)]
    leaking = [pair_of(f"a/{k:02d}", f"a/{k + 50}") for k in range(40, 49)]
    classes = [pair_of("a/91.png", "b/92.jpg", "train", "train")]
    chosen = PairsDisplay.from_pairs("x", within + leaking + classes, most=5)
    assert chosen.total == 50 and len(chosen.pairs) == 5
    assert chosen.pairs[0] == classes[0] and all(pair in leaking for pair in chosen.pairs[1:])
    assert len(PairsDisplay.from_pairs("x", within, most=5).pairs) == 5
    chosen.plot(title="Pairs")  # missing images are no error
    captions = [axes.get_title() for axes in chosen.figure_.axes]
    assert captions[0] == "91 (train)\n92 (train)\nmoved by +3, -4 px, two classes"
