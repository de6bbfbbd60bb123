import hashlib
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from checks import assert_facts
from fake_runs import fake_run

from data.datasets import index
from data.datasets.index import Indexed
from data.grouping.related_images import Found
from data.splitting import group_assignment, splits
from data.splitting import groups as split_groups
from data.synthetic import generator as synthetic
from models.engine import launcher
from utils.console import STOPPED
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import split_spec
from utils.runs.comparison import group
from utils.runs.records import measure
from utils.tables import comparison_views
from utils.tables import leakage as leakage_tables


def made_up(data_folder, sizes, mixed=False, name="made-up"):
    """Images in groups of these sizes by class, which the dataset's groups.csv names; mixed: of the next class too."""
    rows, names, labels = [], [], sorted(sizes)
    for k, label in enumerate(labels):
        for number, size in enumerate(sizes[label]):
            for image in range(size):
                shown = labels[(k + (mixed and image % 3 == 0)) % len(labels)]
                digest = hashlib.sha256(f"{label} {number} {image}".encode()).hexdigest()
                rows.append(Indexed(f"{shown}/{label}-{number:03d}-{image:03d}.png", digest, 8, 8, 100))
                names.append((rows[-1].image, f"patient {label} {number}"))
    files.write_text(data_folder / "raw" / name / index.GROUPS, files.csv_text(("image", "group"), names))
    return rows


def assign(rows, text="grouped", seed=42, name="made-up"):
    return splits.make_manifest(name, rows, split_spec.parse(text), seed, text)


def subsets_of_groups(table):
    found = defaultdict(set)
    for row in table.rows:
        found[row.group].add(row.split)
    return found


UNEVEN = {"a": [40, 22, 17, 9, 5, 3, 3, 2, 2, 1, 1, 1], "b": [12] * 10, "c": [30, 8, 8, 8, 8, 4, 2, 1, 1]}


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("text", ["grouped", "grouped:70/10/20", "grouped-kfold:5:2", "grouped-kfold:2:1"])
def test_no_group_lies_in_two_subsets(data_folder, text, mixed):
    rows = made_up(data_folder, UNEVEN, mixed)
    for seed in range(5):
        table = assign(rows, text, seed)
        assert all(len(subsets) == 1 for subsets in subsets_of_groups(table).values())
        assert "" not in subsets_of_groups(table)
        assert split_groups.parted(table) == 0
        assert all(count for subset in table.counts().values() for count in subset.values())
    assert split_groups.parted(assign(rows, "64/16/20")) > 0  # which a split by image does not keep


def test_subsets_are_balanced_as_far_as_the_groups_allow(data_folder):
    exact = made_up(data_folder, {"a": [5] * 20, "b": [2] * 50, "c": [1] * 200})
    for seed in range(5):
        counts = assign(exact, seed=seed).counts()
        assert sum(counts["test"].values()) == 80 and abs(sum(counts["val"].values()) - 64) <= 1
        assert counts["test"] == {"a": 20, "b": 20, "c": 40}
        assert max(abs(counts["val"][label] - total * 0.16) for label, total in (("a", 100), ("b", 100))) <= 4
    uneven = made_up(data_folder, UNEVEN)
    for seed in range(5):
        counts = assign(uneven, seed=seed).counts()["test"]  # wanted: 21.2, 24 and 14 images
        assert abs(counts["a"] - 21) <= 1 and counts["b"] == 24 and abs(counts["c"] - 14) <= 2


def test_no_exchange_of_two_groups_would_be_more_even():
    rng = np.random.default_rng(3)
    counts = rng.multinomial(30, [0.5, 0.3, 0.2], 14) * rng.integers(1, 4, (14, 1))
    wanted = np.transpose([split_spec.fold_sizes(int(total), 3) for total in counts.sum(axis=0)])
    weights = counts.sum() // counts.sum(axis=0)

    def cost(bins):
        images = np.array([counts[bins == k].sum(axis=0) for k in range(3)]) - wanted
        return (weights * images**2).sum() + (images.sum(axis=1) ** 2).sum()

    bins = group_assignment.assign(counts, wanted, [1, 1, 1])
    random = [cost(rng.integers(0, 3, 14)) for _ in range(2000)]
    assert cost(bins) < min(random)
    for one in range(14):
        for other in range(one):
            swapped = bins.copy()
            swapped[[one, other]] = swapped[[other, one]]
            assert cost(swapped) >= cost(bins)


def test_grouped_folds_cover_every_image_once(data_folder):
    rows = made_up(data_folder, UNEVEN, mixed=True)
    tables = [assign(rows, text) for text in split_spec.expand("grouped-kfold:5")]
    tested = [row.image for table in tables for row in table.subset("test")]
    assert sorted(tested) == sorted(row.image for row in rows)
    assert len({table.test_identity for table in tables}) == 5


def test_a_grouped_split_depends_on_seed_and_content_alone(data_folder):
    rows = made_up(data_folder, UNEVEN)
    first = assign(rows)
    assert assign(rows[::-1]) == first
    assert assign(rows, seed=43).test_identity != first.test_identity
    given = split_groups.given("made-up")
    renamed = [Indexed(f"{row.label}/x{row.sha256[:9]}.png", row.sha256, 8, 8, 100) for row in rows]
    names = [(new.image, f"slide {hash(given[old.image])}") for old, new in zip(rows, renamed, strict=True)]
    files.write_text(data_folder / "raw/other" / index.GROUPS, files.csv_text(("image", "group"), names))
    assert assign(renamed, name="other").test_identity == first.test_identity


def test_equal_images_join_their_groups(data_folder):
    rows = made_up(data_folder, {"a": [4, 4, 4, 4], "b": [3, 3, 3, 3]})
    copy = Indexed("a/copy.png", next(row.sha256 for row in rows if "a-000" in row.image), 8, 8, 100)
    bridge = Indexed("a/zz.png", next(row.sha256 for row in rows if "a-001" in row.image), 8, 8, 100)
    lone = Indexed("b/lone.png", "f" * 64, 8, 8, 100)
    path = data_folder / "raw/made-up" / index.GROUPS
    files.write_text(path, path.read_text() + f"{bridge.image},patient a 2\n{lone.image},\n")
    table = assign([*rows, copy, bridge, lone])
    groups = {row.image: row.group for row in table.rows}
    assert groups["a/copy.png"] == groups["a/a-000-000.png"] == "patient a 0"
    assert groups["a/a-001-000.png"] == groups["a/a-002-000.png"] == groups["a/zz.png"] == "patient a 1"
    assert groups["b/lone.png"] == f"image-{'f' * 12}"
    assert splits.straddling(table) == []
    assert_facts(split_groups.described("made-up", table), "7 given", "1 images without a group")


def test_stain_groups_are_used_only_without_given_groups(data_folder, monkeypatch):
    from data.grouping import stain_groups

    synthetic.make("smears", images_per_class=8, size=32, patients=4)
    monkeypatch.setattr(stain_groups, "find", lambda name: pytest.fail("given groups exist"))
    table = splits.prepare_split("smears", "grouped").manifest
    assert split_groups.described("smears", table) == "groups: 16 given"
    (data_folder / "raw/smears" / index.GROUPS).unlink()
    asked = []
    stained = {row.image: f"g{int(row.image[-6:-4]) % 4:03d}" for row in table.rows}
    found = Found(stained, (), (), 4, None)
    monkeypatch.setattr(stain_groups, "find", lambda name: asked.append(name) or found)
    table = splits.prepare_split("smears", "grouped").manifest
    assert {row.image: row.group for row in table.rows} == stained
    assert asked == ["smears"]
    assert split_groups.described("smears", table) == "stain groups: 4; these are not patients"
    assert {row.group for row in splits.prepare_split("smears").manifest.rows} == {""}


@pytest.mark.parametrize(
    ("text", "label", "count", "least"),
    [
        ("grouped", "b", 1, 3),
        ("grouped-kfold:5:1", "b", 1, 5),
        ("grouped-kfold:7:7", "a", 6, 7),
        ("grouped-kfold:2:1", "b", 1, 4),
    ],
)
def test_a_class_with_too_few_groups_is_refused(data_folder, text, label, count, least):
    rows = made_up(data_folder, {"a": [9] * 6, "b": [30], "c": [5] * 6})
    with pytest.raises(LeukoBenchError, match=rf"'{label}' .*\({count}\) for the split {text}, .* at least {least}\."):
        assign(rows, text)


def test_a_subset_with_few_images_of_a_class_is_reported(data_folder):
    few = made_up(data_folder, {"a": [90, 1, 1], "b": [30, 30, 1]})
    assert all(count for subset in assign(few).counts().values() for count in subset.values())
    thin = split_groups.thin(assign(few), split_spec.parse("grouped"))
    assert [words for words in thin if "'a'" in words] == [f"{s} has 1 of 92 images of 'a'" for s in ("val", "test")]
    assert split_groups.thin(assign(made_up(data_folder, UNEVEN)), split_spec.parse("grouped")) == []


def test_a_split_text_is_parsed_into_folds_and_shares():
    assert split_spec.expand("kfold:3") == ["kfold:3:1", "kfold:3:2", "kfold:3:3"]
    assert split_spec.expand(" Grouped-kfold : 2 ") == ["grouped-kfold:2:1", "grouped-kfold:2:2"]
    for text in ("64/16/20", "grouped", "kfold:5:2"):
        assert split_spec.expand(text) == [text]
    scheme = split_spec.parse("grouped:70/10/20")
    assert (scheme.test, scheme.val, scheme.grouped) == (Fraction(1, 5), Fraction(1, 8), True)
    slugs = [split_spec.parse(text).slug for text in ("grouped", "grouped-kfold:5:2", "kfold:5:2", "90/10")]
    assert slugs == ["grouped-64-16-20", "grouped-kfold5-2", "kfold5-2", "90-10"]
    with pytest.raises(LeukoBenchError, match=r"^Unknown split 'groupd'\."):
        split_spec.expand("groupd")


@pytest.fixture
def trained(home, monkeypatch):
    """Replace training: collect (models, split, seed), None where a flag is not given."""
    calls = []

    def train_each(names, options, batch_sizes):
        given = dict(pairwise(options))
        seed = given.get("--seed")
        calls.append((names, given.get("--split"), seed))
        return [launcher.Outcome(name, STOPPED if seed == "130" else 0) for name in names]

    monkeypatch.setattr(launcher, "train_each", train_each)
    return calls


def test_train_takes_folds_and_seeds_one_after_another(trained, home, capsys):
    from guide.train import train

    assert train(["cnn"], dataset="tiny", root=home / "no") == 0
    assert train(["cnn", "resnet50"], dataset="tiny", split="kfold:2", seed=[1, 2, 1], root=home / "no") == 0
    assert trained == [
        (["cnn"], "", None),
        *[(["cnn", "resnet50"], f"kfold:2:{fold}", seed) for fold in (1, 2) for seed in ("1", "2")],
    ]
    shown = capsys.readouterr().out
    assert "[4/4] cnn kfold:2:2 seed 2, resnet50 kfold:2:2 seed 2" in shown
    trained.clear()
    assert train(["cnn"], dataset="tiny", seed=[130, 7], root=home / "no") == STOPPED
    assert trained == [(["cnn"], "", "130")]
    assert "Not started: cnn seed 7." in capsys.readouterr().out
    trained.clear()
    train(["cnn"], dataset="tiny", set_=["split=kfold:2"], root=home / "no")
    assert [split for _, split, _ in trained] == ["kfold:2:1", "kfold:2:2"]


def test_train_reports_groups_and_their_errors_before_training(trained, home, capsys):
    from guide.train import train

    synthetic.make("grouped", images_per_class=10, size=32, patients=5)
    train(["cnn"], dataset="grouped", split="grouped-kfold:5", root=home / "no")
    assert [split for _, split, _ in trained] == [f"grouped-kfold:5:{fold}" for fold in range(1, 6)]
    assert "grouped, groups: 20 given\n" in capsys.readouterr().out
    trained.clear()
    with pytest.raises(LeukoBenchError, match=r"^Class 'Benign' of 'tiny' lies in too few groups \(2\)"):
        train(["cnn"], dataset="tiny", split="grouped", root=home / "no")
    assert trained == []


@pytest.mark.parametrize(
    ("flags", "split", "seed"),
    [((), "grouped", 7), (("--seed", "42", "--split", "64/16/20"), "64/16/20", 42), (("--seed", "3"), "grouped", 3)],
)
def test_a_flag_overrides_the_file_even_at_its_default(monkeypatch, tmp_path, flags, split, seed):
    from models.engine import cli
    from models.engine.training import trainer

    seen = []

    def train(config, *_):
        seen.append(config)
        raise LeukoBenchError("enough")

    files.write_json(tmp_path / "s.json", {"seed": 7, "split": "grouped"})
    monkeypatch.setattr(trainer, "train", train)
    monkeypatch.setattr(sys, "argv", ["train", "--config", str(tmp_path / "s.json"), *flags])
    with pytest.raises(SystemExit):
        cli.run_train("cnn")
    assert [(config.split, config.seed) for config in seen] == [(split, seed)]


def test_data_split_prints_groups_and_shares(home, capsys):
    from guide import data

    synthetic.make("grouped", images_per_class=10, size=32, patients=5)
    data.split("grouped", "grouped")
    shown = capsys.readouterr().out
    assert "grouped, groups: 20 given\n" in shown
    cells = [part.strip() for part in next(line for line in shown.splitlines() if "test" in line.split()).split("│")]
    shares = [line for line in shown.splitlines() if "test" in line and "20.0" in line]
    assert cells[1:4] == ["test", "8", "2"] and len(shares) == 1
    data.split("grouped")
    assert "groups are in several subsets; --split grouped keeps each in one." in capsys.readouterr().out


def named(name):
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def fakes(root):
    """Random 0.95 and 0.85 over two seeds, grouped folds 0.7, 0.6 and 0.5 of five; another model on random alone."""
    runs = [
        fake_run(root, "cnn", seed=seed, accuracy=accuracy, settings=[f"split={split}"], test_identity=named(split))
        for split, seed, accuracy in (
            ("64/16/20", 1, 0.95),
            ("64/16/20", 2, 0.85),
            ("grouped-kfold:5:1", 1, 0.7),
            ("grouped-kfold:5:2", 1, 0.6),
            ("grouped-kfold:5:4", 1, 0.1),  # made again below
            ("grouped-kfold:5:4", 1, 0.5),
            ("90/10", 1, 0.9),
        )
    ]
    return [*runs, fake_run(root, "resnet50", accuracy=0.8, test_identity=named("64/16/20"))]


def test_mean_deviation_and_gap(tmp_path):
    rows = leakage_tables.summary([measure(run) for run in fakes(tmp_path)])
    assert [row["name"] for row in rows] == ["cnn 64/16/20", "cnn 72/18/10", "resnet50"]
    first, other, alone = rows
    assert first["random_accuracy_mean"] == pytest.approx(0.9)
    assert first["random_accuracy_sd"] == pytest.approx(np.std([0.95, 0.85], ddof=1))
    assert (first["random_runs"], first["random_seeds"], first["random_folds"]) == (2, 2, "")
    assert first["grouped_accuracy_mean"] == pytest.approx(0.6)
    assert first["grouped_accuracy_sd"] == pytest.approx(0.1)
    assert (first["grouped_runs"], first["grouped_seeds"], first["grouped_folds"]) == (3, 1, "3 of 5")
    assert first["leakage_gap"] == pytest.approx(0.95 - 0.6), "over the seed that has both"
    assert other["leakage_gap"] is None and other["grouped_runs"] == 0
    assert alone["random_accuracy_sd"] is None and alone["grouped_accuracy_mean"] is None
    (table,) = leakage_tables.tables(rows)
    assert Counter(row[1] for row in table.rows) == {"random": 3, "grouped": 1}
    row = next(row for row in table.rows if row[1] == "grouped")
    assert row[2:6] == ["3 of 5", "1", "3", "60.00 ± 10.00"]
    assert row[7].splitlines()[0] == "+35.00" and len(row) == 8
    assert leakage_tables.tables([]) == []


def test_a_comparison_counts_the_runs_on_other_test_images(tmp_path):
    runs = fakes(tmp_path)

    def compared(some):
        return {comparison.rows[0]["split"]: comparison for comparison in group([measure(run) for run in some])}

    by_split = compared(runs)
    rows = leakage_tables.records(by_split["64/16/20"])
    assert [(row["name"], row["grouped_folds"]) for row in rows] == [("cnn", "3 of 5")]
    assert leakage_tables.records(by_split["grouped-kfold:5:1"]) == rows
    assert leakage_tables.records(by_split["90/10"]) == []
    runs[2].file("predictions.csv").unlink()
    by_split = compared([run for run in runs if run != runs[2]])
    assert leakage_tables.records(by_split["64/16/20"])[0]["grouped_folds"] == "2 of 5"
    written = comparison_views.write(by_split["64/16/20"], tmp_path / "out")
    assert {"leakage.csv", "leakage.md"} <= {path.name for path in written}
