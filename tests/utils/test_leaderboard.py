"""Leaderboard: grouping of runs into rows, values of the columns, order, and reproducible files."""

import re
import shutil
from pathlib import Path
from statistics import stdev

import fake_runs
import pytest
from command_line import packages_of

from guide.leaderboard import leaderboard as command
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import group_accuracy, leaderboard, split_spec
from utils.runs.stress_file import CONTROL
from utils.tables import leaderboard as leaderboard_tables
from utils.tables import recipes as recipes_tables
from visualization.displays import leaderboard as leaderboard_figures

FAMILIES = {"grey": 0.4, "stain swap": 0.2, "hue": 0.5, "blur": 0.7, "cells removed": 0.25}


def rows_of(root):
    return leaderboard.rows(leaderboard.read(root)[0])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Runs of a plain network that depends on the stain, on both splits with two seeds, and of a grey recipe."""
    place = tmp_path_factory.mktemp("built") / "runs"
    for seed, accuracy in ((1, 1.0), (2, 0.9)):
        for split, lost in (("64/16/20", 0.0), ("grouped", 0.2)):
            run = fake_runs.fake_run(place, "cnn", seed=seed, accuracy=accuracy - lost, split=split)
            fake_runs.write_stress(run, FAMILIES, flip_rate=0.6)
            fake_runs.write_shortcuts(run, {"majority class": 0.25, "colour histogram": 0.85})
            fake_runs.write_faithfulness(run, {"gradcam": 0.3, "random": 0.1})
    run = fake_runs.fake_run(place, "cnn", seed=1, accuracy=0.95, settings=["recipe=gray"])
    fake_runs.write_stress(run, FAMILIES | {"grey": 0.95, "stain swap": 0.9}, flip_rate=0.01)
    run = fake_runs.fake_run(place, "cnn", seed=1, accuracy=0.85, split="grouped", settings=["recipe=gray"])
    fake_runs.write_stress(run, FAMILIES | {"grey": 0.85, "stain swap": 0.8}, flip_rate=0.01)
    return place


@pytest.fixture
def root(built, tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(tmp_path / "data"))
    return Path(shutil.copytree(built, tmp_path / "runs"))


def test_seeds_and_both_splits_share_a_row_and_recipes_have_their_own(root):
    gray, plain = rows_of(root)
    assert (gray["name"], plain["name"]) == ("cnn (gray)", "cnn")
    assert (plain["random_runs"], plain["grouped_runs"], gray["random_runs"]) == (2, 2, 1)
    assert plain["random_accuracy"] == pytest.approx(0.95) and plain["grouped_accuracy"] == pytest.approx(0.75)
    assert plain["random_accuracy_sd"] == pytest.approx(stdev([1.0, 0.9])) and gray["random_accuracy_sd"] is None
    assert plain["leakage_gap"] == pytest.approx(0.2)
    assert (plain["random_grey"], plain["random_stain_swap"], plain["random_flip_rate"]) == (0.4, 0.2, 0.6)
    assert plain["random_shortcut_margin"] == pytest.approx(0.95 - 0.85)
    assert plain["best_shortcut"] == "colour histogram" and gray["best_shortcut"] == "colour histogram"
    assert plain["random_nucleus_mass"] == 0.3 and gray["random_nucleus_mass"] is None
    assert plain["most_frequent_class"] == 0.25


def test_accuracies_and_gaps_have_intervals_over_groups(root):
    gray, plain = rows_of(root)
    for row in (gray, plain):
        for kind in ("random", "grouped"):
            low, high = row[f"{kind}_accuracy_low"], row[f"{kind}_accuracy_high"]
            assert 0 < low < row[f"{kind}_accuracy"] < high < 1
            assert row[f"{kind}_effective_size"] * row[f"{kind}_design_effect"] == pytest.approx(40)
        assert row["leakage_gap_low"] < row["leakage_gap"] < row["leakage_gap_high"]
    assert plain["leakage_gap_low"] < 0, "0.2 on five groups is no evidence"
    stain, *_ = leaderboard_tables.shown([gray, plain])
    assert re.search(r"95.00\n± 7.07\n[\d.]+-[\d.]+", stain.rows[1][2]) and " to\n" in stain.rows[1][4]


def test_seeds_are_averaged_per_image_and_test_sets_are_joined(root):
    (members,) = [each for each in leaderboard.alike(leaderboard.read(root)[0]) if len(each) == 4]
    random = [member for member in members if member.split.kind == "random"]
    ((right, groups),) = group_accuracy.answers(random).values()
    assert set(right) == {0.5, 1.0} and right.mean() == pytest.approx(0.95) and len(groups) == len(right) == 40
    assert group_accuracy.accuracy(random[:1]).estimate == pytest.approx(1.0)
    assert group_accuracy.accuracy(members).images == 40 * len({each.row["test_identity"] for each in members})
    assert group_accuracy.accuracy([]) is None


def test_order_is_by_stain_swap_on_the_grouped_split(root):
    best_of_all = fake_runs.fake_run(root, "resnet50", accuracy=1.0)
    assert [row["model"] for row in rows_of(root)] == ["cnn", "cnn", "resnet50"]  # a missing one comes last
    fake_runs.write_stress(best_of_all, {"stain swap": 1.0})
    assert [row["model"] for row in rows_of(root)][-1] == "resnet50"  # the random split does not stand in for it
    grouped = fake_runs.fake_run(root, "resnet50", accuracy=0.5, split="grouped")
    fake_runs.write_stress(grouped, {"stain swap": 0.79})
    assert [row["name"] for row in rows_of(root)] == ["cnn (gray)", "resnet50", "cnn"]


def test_folds_share_a_row_and_the_later_of_equal_runs_is_used(tmp_path):
    for split, accuracy in (("kfold:5:1", 0.8), ("kfold:5:2", 0.9), ("grouped-kfold:5:1", 0.7), ("grouped", 0.5)):
        fake_runs.fake_run(tmp_path, "cnn", accuracy=accuracy, split=split)
    fake_runs.fake_run(tmp_path, "cnn", accuracy=0.6, split="kfold:5:2")  # again, with nothing changed
    (row,) = rows_of(tmp_path)
    assert row["shares"] == "64/16/20" and (row["random_runs"], row["grouped_runs"]) == (2, 2)
    assert row["random_accuracy"] == pytest.approx(0.7) and row["grouped_accuracy"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("split", "shares"),
    [
        ("64/16/20", "64/16/20"),
        ("64 / 16 / 20 %", "64/16/20"),
        ("90/10", "72/18/10"),
        ("kfold:10:3", "72/18/10"),
        ("KFOLD:7:1", "68.6/17.1/14.3"),
        ("Grouped", "64/16/20"),
        (" grouped:70/10/20", "70/10/20"),
        ("grouped-kfold:5:2", "64/16/20"),
        ("", "64/16/20"),
    ],
)
def test_shares_and_kind_of_every_split(split, shares):
    scheme = split_spec.of_run({"split": split})
    assert scheme.shares == shares
    assert scheme.kind == ("grouped" if "grouped" in split.lower() else "random")


def test_different_settings_have_rows_with_unique_names(tmp_path):
    for settings in ([], ["image_size=64"], ["cache_mb=7", "heatmap_method=scorecam"], ["epochs=3"]):
        fake_runs.fake_run(tmp_path, "cnn", settings=settings)
    old = fake_runs.fake_run(tmp_path, "cnn", seed=9)
    config = old.config()  # of before there were recipes, interventions and flavours
    later = ("offline", "rate_drop")  # which are off, and yet not empty
    earlier = {k: v for k, v in config.items() if (v and k not in later) or k == "seed"}
    files.write_json(old.file("config.json"), earlier)
    found = rows_of(tmp_path)
    assert sorted(row["random_runs"] for row in found) == [1, 1, 2]
    assert len({row["name"] for row in found}) == 3
    assert any(row["name"] == "cnn 64 px" for row in found)
    for run in leaderboard.read(tmp_path)[0]:
        fake_runs.write_stress(run.run, {"grey": 0.5})
    stressed = recipes_tables.rows(leaderboard.read(tmp_path)[0])
    assert {row["name"] for row in stressed} == {row["name"] for row in found}


def test_missing_measures_name_their_command(root, tmp_path):
    assert leaderboard_tables.missing([row for row in rows_of(root) if row["name"] == "cnn"]) == []
    fake_runs.fake_run(tmp_path / "bare", "cnn")
    bare = rows_of(tmp_path / "bare")
    lines = leaderboard_tables.missing(bare)
    for words in ("train MODEL --split grouped", "stress RUN", "audit --split SPLIT", "faithfulness RUN"):
        assert any(line.endswith(f"python run_guide.py {words}") for line in lines)
    assert "stress-tested" in leaderboard_tables.sentences(bare)[-1]
    for table in leaderboard_tables.shown(bare):
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert leaderboard_tables.shown(bare)[0].rows[0][3:] == ["–"] * 4


def test_sentences_name_the_extreme_rows(root):
    fall, stood, firm, shortcut, gap = leaderboard_tables.sentences(rows_of(root))[1:]
    assert re.findall(r"[\d.]+ %", fall) == ["95.0 %", "20.0 %", "60.0 %", "25.0 %"] and "cnn," in fall
    assert re.findall(r"[\d.]+ %", stood)[:2] == ["95.0 %", "90.0 %"] and "cnn (gray)" in stood
    assert "colour histogram (48 numbers" in shortcut and "85.0 %" in shortcut
    assert "cnn (gray)" in firm and "70.0 %" in firm and "(blur)" in firm
    assert "cnn loses 20.00 points" in gap and "2 + 2 runs" in gap and "0 of 2 gaps" in gap
    assert "trained on such a change" not in fall + stood, "a grey recipe did not train on swapped stains"


def test_recipe_table_marks_trained_families(root):
    found = recipes_tables.rows(leaderboard.read(root)[0])
    random, grouped = recipes_tables.shown(found)
    assert "random split" in random.title and "grouped split" in grouped.title
    assert random.columns == ("Family", "plain", "gray")
    cells = {row[0]: row[1:] for row in random.rows}
    assert cells["unchanged"] == ["95.00", "95.00"]
    assert cells["grey"] == ["40.00", "95.00*"] and cells["hue"] == ["50.00", "50.00*"]
    assert cells["blur"] == ["70.00", "70.00"]  # mean of five severities
    assert cells["lowest of the unseen"] == ["20.00", "70.00"]  # neither its own families nor the control
    assert cells["epochs at most"][0].isdecimal()
    assert float(cells[CONTROL][0]) < 70


def test_values_over_different_runs_are_marked(tmp_path):
    for seed, accuracy in ((1, 0.6), (2, 1.0)):
        run = fake_runs.fake_run(tmp_path, "cnn", seed=seed, accuracy=accuracy)
        if seed == 1:
            fake_runs.write_stress(run, {"stain swap": 0.6, "blur": 0.5})
    fake_runs.fake_run(tmp_path, "cnn", seed=1, accuracy=0.5, split="grouped")
    (row,) = rows_of(tmp_path)
    assert row["leakage_gap"] == pytest.approx(0.6 - 0.5), "over the seed that has both"
    assert row["random_accuracy"] == pytest.approx(0.8) and row["random_accuracy_of_swapped"] == pytest.approx(0.6)
    assert leaderboard_tables.sentences([row])[1].count("60.0 %") == 2
    assert leaderboard_tables.shown([row])[0].rows[0][-1] == "60.00\n(1/2)"


def test_stress_test_on_a_sample_and_unmeasured_families(root):
    run = fake_runs.fake_run(root, "vgg16", accuracy=0.9)
    path = fake_runs.write_stress(run, {"blur": 0.9})
    whole = path.read_text()
    lowest = recipes_tables.shown(recipes_tables.rows(leaderboard.read(root)[0]))[-1].rows[-2]
    assert lowest == ["lowest of the unseen", "–"]
    path.write_text(whole.replace(",40,", ",2,"))
    assert not any(row["model"] == "vgg16" for row in recipes_tables.rows(leaderboard.read(root)[0]))
    (row,) = (row for row in rows_of(root) if row["model"] == "vgg16")
    assert row["random_lowest_unseen"] is None


def test_runs_with_controls_take_nothing_from_runs_without(root):
    before = {row["runs"]: row["random_lowest_unseen"] for row in rows_of(root)}
    assert any(before.values())
    run = fake_runs.fake_run(root, "vgg16", accuracy=0.9)
    fake_runs.write_stress(run, FAMILIES | {"same-class swap": 0.1, "tinted grey": 0.05, "other camera": 0.06})
    after = {row["runs"]: row["random_lowest_unseen"] for row in rows_of(root)}
    assert {key: after[key] for key in before} == before
    assert after[run.path.name] == pytest.approx(min(FAMILIES["stain swap"], FAMILIES["grey"]))


def test_trained_changes_are_marked(root):
    run = fake_runs.fake_run(root, "cnn", accuracy=0.9, settings=["recipe=stain_swap"])
    fake_runs.write_stress(run, FAMILIES | {"stain swap": 0.99})
    found = rows_of(root)
    (cells,) = (row for row in leaderboard_tables.shown(found)[0].rows if row[-1].startswith("99"))
    assert cells[-1] == "99.00*" and "*" not in cells[-2]
    assert "trained on such a change" in leaderboard_tables.sentences(found)[2]


@pytest.mark.slow
def test_the_command_writes_the_same_bytes_twice_without_images_and_without_keras(root, tmp_path, capsys):
    program = "import sys; from pathlib import Path; from guide.leaderboard import leaderboard as c; "
    shown, packages = packages_of(program + "c(Path(sys.argv[1]))", root)
    assert not packages & {"keras", "tensorflow"} and "Research only" in shown
    made = {path: path.read_bytes() for path in root.iterdir() if path.is_file() and path.name[0] != "."}
    made[root / "figures" / leaderboard_figures.FILE] = (root / "figures" / leaderboard_figures.FILE).read_bytes()
    assert {path.name for path in made} == {
        *(f"{stem}.{suffix}" for stem in ("leaderboard", "recipes") for suffix in ("csv", "md", "html", "tex")),
        leaderboard_figures.FILE,
    }
    for path in made:
        path.unlink()
    command(root)
    assert {path: path.read_bytes() for path in made} == made
    assert max(map(len, capsys.readouterr().out.split("Which of these")[0].splitlines())) <= 80
    assert str(tmp_path) not in "".join(content.decode(errors="replace") for content in made.values())


def test_damaged_runs_are_skipped_and_a_root_without_runs_is_an_error(root, capsys):
    fake_runs.fake_run(root, "vgg16").file("predictions.csv").write_text("no table")
    command(root)
    fake_runs.write_stress(fake_runs.fake_run(root, "alexnet"), {"grey": 0.5}).write_text("no table")
    command(root)
    assert capsys.readouterr().err.count("left out: ") == 3  # one, then two
    assert "alexnet" not in (root / "leaderboard.md").read_text()
    assert "vgg16" not in (root / "leaderboard.md").read_text()
    with pytest.raises(LeukoBenchError, match=r"holds no finished runs for a leaderboard\. Train one"):
        leaderboard.read(root / "nowhere")


def test_datasets_are_never_ranked_together(root):
    fake_runs.fake_run(root, "vgg16", dataset="others", test_identity="e" * 16)
    found = rows_of(root)
    fake_runs.fake_run(root, "cnn", dataset="others", test_identity="e" * 16)
    assert [row["name"] for row in rows_of(root)].count("cnn") == 2  # told apart by their tables
    tables = leaderboard_tables.shown(found)
    assert [table.title.rpartition(" ")[2] for table in tables] == ["(synthetic)"] * 3 + ["(others)"] * 3
    assert len(leaderboard_figures.draw(found, root / "figures")) == 2


def test_figure_shows_the_values_of_the_rows(root):
    found = rows_of(root)
    display = leaderboard_figures.LeaderboardDisplay.from_rows(found).plot()
    marks = {bar.get_label(): bar[0].get_xdata().tolist() for bar in display.axes_.containers}
    assert marks["random split"] == pytest.approx([95.0, 95.0])
    assert marks["stain swap"] == pytest.approx([90.0, 20.0]) and marks["in grey"] == pytest.approx([95.0, 40.0])
    assert [text.get_text() for text in display.axes_.get_yticklabels()] == ["cnn (gray)", "cnn"]


def test_figure_omits_runs_without_stress_test_unless_all_lack_it(root, tmp_path):
    fake_runs.fake_run(root, "vgg16", accuracy=1.0)
    drawn = leaderboard_figures.figure(rows_of(root))
    assert [text.get_text() for text in drawn.axes[0].get_yticklabels()] == ["cnn (gray)", "cnn"]
    assert "Left out: 1 without a stress test." in drawn.get_suptitle().replace("\n", " ")
    at = [bar[0].get_ydata()[0] for bar in drawn.axes[0].containers]
    assert len(set(at)) == len(at) == 5, "equal values do not hide each other"
    fake_runs.fake_run(tmp_path / "bare", "vgg16")
    bare = leaderboard_figures.figure(rows_of(tmp_path / "bare"))
    assert len(bare.axes[0].get_yticklabels()) == 1 and "Left out" not in bare.get_suptitle()


def test_blocks_of_file_numbers_have_rows_and_a_table_of_their_own(root):
    for fold in (1, 2):
        run = fake_runs.fake_run(root, "cnn", seed=1, accuracy=0.7, split=f"capture:5:37:{fold}")
        fake_runs.write_stress(run, FAMILIES, flip_rate=0.5)
    found = rows_of(root)
    (row,) = [each for each in found if leaderboard.board(each) == split_spec.CAPTURE]
    assert (row["capture_runs"], row["random_runs"], row["leakage_gap"]) == (2, 0, None)
    assert row["capture_accuracy"] == pytest.approx(0.7, abs=0.02) and row["shares"] == "capture:5:37"
    tables = [each for each in leaderboard_tables.shown(found) if split_spec.APART[split_spec.CAPTURE] in each.title]
    assert len(tables) == 1 and len(tables[0].rows) == 1
    assert leaderboard_figures.LeaderboardDisplay.from_rows([row]).accuracies["capture_accuracy"] == [
        row["capture_accuracy"]
    ]
