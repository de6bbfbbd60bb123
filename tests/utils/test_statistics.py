"""Intervals, paired tests and letters: against the literature, against other libraries, and on simulated answers."""

import itertools

import numpy as np
import pytest
from checks import contents
from fake_runs import answer, fake_run, read_table
from scipy.stats import binomtest

from guide import compare as commands
from utils.io import files
from utils.metrics import delong, group_intervals
from utils.metrics import significance as significance_tests
from utils.runs import comparison as run_comparison
from utils.runs import image_groups
from utils.tables import significance as significance_tables
from utils.text import MISSING
from visualization import style
from visualization.displays import significance


def intervals_table(comparison):
    return significance_tables.intervals_table(significance_tables.intervals(comparison))


def pairs_table(comparison):
    return significance_tables.pairs_table(significance_tables.pairs(comparison))


def ends(hits, groups):
    found = group_intervals.mean_interval(hits, groups)
    return found.low, found.high


@pytest.fixture
def single(monkeypatch):
    """Make each test image a group of its own: five groups cannot show a difference."""
    monkeypatch.setattr(image_groups, "of_images", lambda run, images: (list(images), "groups of one image"))


def in_groups(random, groups, size, mean, spread):
    """Draw hits of images in groups that go right or wrong together: each group has a share of its own."""
    shares = random.beta(mean * spread, (1 - mean) * spread, groups)
    names = np.repeat([f"g{k}" for k in range(groups)], size)
    return random.random(groups * size) < np.repeat(shares, size), names


def test_over_groups_the_interval_covers_where_wilson_fails():
    random = np.random.default_rng(1)
    inside = {"wilson": 0, "groups": 0}
    for _ in range(300):
        hits, groups = in_groups(random, 50, 12, 0.85, 3)  # correlation within a group 1 / (1 + 3)
        for name, (low, high) in {
            "wilson": significance_tests.wilson(int(hits.sum()), len(hits)),
            "groups": ends(hits, groups),
        }.items():
            inside[name] += low <= 0.85 <= high
    assert inside["groups"] >= 0.90 * 300  # 95 % less three standard errors of 300 simulations
    assert inside["wilson"] <= 0.75 * 300


@pytest.mark.parametrize("counts", [(0, 0), (1, 8), (8, 1), (5, 5), (0, 12), (3, 40)])
def test_mcnemar_equals_the_binomial_test(counts):
    expected = binomtest(counts[0], sum(counts), 0.5).pvalue if sum(counts) else 1.0
    assert significance_tests.mcnemar_exact(*counts) == pytest.approx(expected)


def test_holm_worked_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, and never less than the one before.
    assert significance_tests.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance_tests.holm([]) == [] and significance_tests.holm([0.8, 0.9]) == [1.0, 1.0]


def test_letters_worked_by_hand():
    # A best to D worst; A differs from C and D, B from D: A-B, B-C and C-D cannot be told apart.
    sets = significance_tests.homogeneous_sets([(0, 2), (0, 3), (1, 3)], 4)
    assert sets == [[0, 1], [1, 2], [2, 3]]
    assert significance_tests.letters(sets, 4) == ["a", "ab", "bc", "c"]
    assert significance_tests.homogeneous_sets([], 3) == [[0, 1, 2]]
    assert significance_tests.homogeneous_sets([(0, 1), (0, 2), (1, 2)], 3) == [[0], [1], [2]]
    assert significance_tests.letters([[k] for k in range(54)], 54)[-3:] == ["Z", "(53)", "(54)"]


@pytest.mark.parametrize("seed", range(20))
def test_two_models_share_a_letter_exactly_without_a_significant_difference(seed):
    random, count = np.random.default_rng(seed), 8
    apart = [pair for pair in itertools.combinations(range(count), 2) if random.random() < 0.4]
    sets = [set(part) for part in significance_tests.homogeneous_sets(apart, count)]
    for i, j in itertools.combinations(range(count), 2):
        assert any({i, j} <= part for part in sets) == ((i, j) not in apart)
    for part in sets:  # none can take one more model
        assert all(any((min(i, k), max(i, k)) in apart for i in part) for k in set(range(count)) - part)


def test_one_group_has_no_interval():
    random = np.random.default_rng(13)
    labels = np.repeat([0, 1], 20)
    one, other = (delong.macro(np.stack([-x, x], axis=1), labels) for x in labels + random.normal(0, 1, (2, 40)))
    alone = ["g"] * 40
    assert delong.interval(one, alone) == (None, None)
    assert delong.difference(one, other, alone) == (one.value - other.value, None, None, None)
    assert delong.difference(one, one, alone) == (0, None, None, None)
    # Two groups, but each class in one of them: nothing tells classes from groups.
    assert delong.interval(one, labels) == (None, None)


def test_groups_come_from_the_manifest_then_from_the_audit_then_from_nowhere(tmp_path):
    run = fake_run(tmp_path)
    images = list(run.predictions("test")["image"])
    groups, words = image_groups.of_images(run, images)
    assert set(groups) == {f"patient-{k}" for k in range(5)} and words == "groups of the manifest"
    audit = tmp_path / "audit" / "synthetic" / "groups.csv"
    rows = [(image, f"g{k % 3}") for k, image in enumerate(images)]
    files.write_text(audit, files.csv_text(("image", "group"), rows))
    assert image_groups.of_images(run, images)[1] == "groups of the manifest"
    run.manifest_path().unlink()
    image_groups._of_manifest.cache_clear()
    groups, words = image_groups.of_images(run, images)
    assert set(groups) == {"g0", "g1", "g2"} and words == "stain groups of the audit"
    audit.unlink()
    assert image_groups.of_images(run, images) == (images, "images, as no groups are known")


def test_compare_writes_letters_and_pairs(tmp_path, capsys, single):
    for name, wrong in (("a", range(0)), ("b", range(1)), ("c", range(4, 20)), ("d", range(4, 21))):
        answer(fake_run(tmp_path, name), set(wrong))
    commands.compare(figures=False, tables="significance,intervals", root=tmp_path)
    shown = capsys.readouterr().out
    folder = tmp_path / "comparison"
    letters = {row["name"]: row["letters"] for row in read_table(folder / "significance.csv")}
    assert letters == {"a": "a", "b": "a", "c": "b", "d": "b"}
    assert "share a letter" in shown and "over 40 groups of one image" in shown
    pairs = {(row["first"], row["second"]): row for row in read_table(folder / "pairs.csv")}
    assert set(pairs) == set(itertools.combinations("abcd", 2))
    row = pairs["b", "c"]
    assert (row["only_first"], row["only_second"], row["told_apart"]) == ("16", "1", "yes")
    assert float(row["mcnemar_p"]) == pytest.approx(binomtest(1, 17).pvalue)
    # Of six p, sorted: those of a-d, a-c and b-d, b-c, then a-b and c-d, which are 1.
    assert all(float(each["group_p"]) == pytest.approx(float(each["mcnemar_p"])) for each in pairs.values())
    expected = significance_tests.holm([float(each["group_p"]) for each in pairs.values()])
    assert [float(each["group_p_holm"]) for each in pairs.values()] == pytest.approx(expected)
    assert float(row["difference"]) == pytest.approx(15 / 40)
    assert float(row["difference_low"]) < 15 / 40 < float(row["difference_high"])
    first = contents(folder)
    commands.compare(figures=False, root=tmp_path)
    assert contents(folder) == first


def test_images_of_few_groups_tell_nothing_apart(tmp_path):
    """Sixteen of 40 images differ, but in five groups: over images that would be significant."""
    runs = [answer(fake_run(tmp_path, name), set(wrong)) for name, wrong in (("a", ()), ("b", range(16)))]
    (comparison,) = run_comparison.compare(runs)
    (row,) = significance_tables.pairs(comparison)
    assert row["mcnemar_p"] < 0.001 and row["groups"] == 5 and row["group_p"] >= 2 / 2**5
    assert row["told_apart"] == "no" and {each.letters for each in significance_tables.standings(comparison)} == {"a"}


def test_a_single_run_has_intervals_and_no_pairs(tmp_path):
    (comparison,) = run_comparison.compare([answer(fake_run(tmp_path), set())])
    assert significance_tables.standings(comparison) == [] and pairs_table(comparison) == []
    (row,) = significance_tables.intervals(comparison)
    assert 0.5 < row["cluster_low"] < 0.9 and row["cluster_high"] == 1 and row["effective_size"] < 40
    assert row["auc_ovr_macro"] == 1 and row["auc_low"] is row["auc_high"] is None
    assert intervals_table(comparison).rows[0][-2:] == ["1.0000", MISSING]


def test_table_warns_of_few_groups(tmp_path, monkeypatch):
    (comparison,) = run_comparison.compare([answer(fake_run(tmp_path), {1})])
    few = "95 % intervals, over 5 groups of the manifest (so few make the interval over groups too narrow)"
    assert intervals_table(comparison).title == few
    monkeypatch.setattr(image_groups, "of_images", lambda run, images: ([f"g{k % 20}" for k in range(40)], "groups"))
    (again,) = run_comparison.compare(comparison.runs)  # what is computed from a comparison is kept with it
    assert intervals_table(again).title == "95 % intervals, over 20 groups"


def test_one_group_leaves_dashes_and_empty_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(image_groups, "of_images", lambda run, images: (["g"] * len(images), "group"))
    runs = [answer(fake_run(tmp_path, n), set(w)) for n, w in (("a", ()), ("b", range(1)), ("c", range(4, 20)))]
    commands.compare(figures=False, root=tmp_path)
    pairs, intervals, letters = (
        read_table(tmp_path / f"comparison/{name}.csv") for name in ("pairs", "intervals", "significance")
    )
    for row in pairs:
        empty = ("difference_low", "difference_high", "auc_low", "auc_high", "auc_p", "auc_p_holm")
        assert row["auc_difference"] and {row[key] for key in empty} == {""}
    for row in intervals + letters:
        assert row["cluster_low"] == row["cluster_high"] == row.get("auc_low", "") == ""
    assert [row["letters"] for row in letters] == ["a", "a", "a"]  # one group shows no difference
    (comparison,) = run_comparison.compare(runs)
    assert intervals_table(comparison).title == "95 % intervals, over 1 group"
    assert {row[-1] for table in pairs_table(comparison) for row in table.rows} == {MISSING}
    assert significance.draw(significance_tables.standings(comparison), "made up").axes


def test_a_pair_without_spread_does_not_count_in_holms_correction(tmp_path):
    runs = [answer(fake_run(tmp_path, n), set(w)) for n, w in (("a", ()), ("b", range(3)), ("c", range(4, 20)))]
    tied = fake_run(tmp_path, "d")
    table = tied.predictions()
    table[[name for name in table.columns if name.startswith("p_")]] = 0.25
    files.write_text(tied.file("predictions.csv"), table.to_csv(index=False))
    (comparison,) = run_comparison.compare([*runs, tied])
    rows = {(row["first"], row["second"]): row for row in significance_tables.pairs(comparison)}
    apart = rows["a", "d"]
    assert apart["auc_difference"] == 0.5 and apart["auc_p"] is apart["auc_p_holm"] is None
    known = [row for row in rows.values() if row["auc_p"] is not None]
    assert len(known) == 5
    corrected = significance_tests.holm([row["auc_p"] for row in known])
    assert [row["auc_p_holm"] for row in known] == corrected


def test_figure_and_table_have_the_same_sets(tmp_path, single):
    runs = [answer(fake_run(tmp_path, n), set(w)) for n, w in (("a", ()), ("b", range(1)), ("c", range(4, 20)))]
    (comparison,) = run_comparison.compare(runs)
    found = significance_tables.standings(comparison)
    assert significance.SignificanceDisplay(found).sets == [[0, 1], [2]]
    figure = significance.draw(found, "made up")
    bars = [list(drawn.get_ydata()) for drawn in figure.axes[1].lines]
    assert bars == [[0, 1], [2]] and style.png(figure) == style.png(significance.draw(found, "made up"))
