"""A real training on a split that came with its dataset, with two test sets, from the default to every reader."""

from collections import Counter

import pytest
from command_line import run_guide
from small_training import only_run

from data import manifest
from data.datasets import index, integrity_check
from data.synthetic import generator as synthetic
from models.engine.explain import explainer
from models.engine.run_io import run_loader
from models.engine.sweep import plan
from utils.io import files
from utils.paths import raw_dir
from utils.runs import comparison, leaderboard
from utils.tables import comparison_views

SMALL = ("--set", "image_size=32", "--set", "filters=[4,8,8]", "--set", "dense=8", "--set", "epochs=1")


@pytest.mark.slow
def test_a_training_keeps_the_split_of_its_dataset_from_default_to_ranking(data_folder):
    synthetic.make("cells", images_per_class=12, size=32, patients=2, seed=5)
    numbers, chosen = Counter(), {}
    for row in integrity_check.current_index("cells"):
        numbers[row.label] += 1
        subset = {1: "test_day", 2: "test_day", 3: "test_night", 4: "val", 5: ""}.get(numbers[row.label], "train")
        if subset and (subset, row.label) != ("test_night", "Pro"):
            chosen[row.image] = subset
    files.write_text(raw_dir("cells") / index.SPLIT, files.csv_text(("image", "split"), chosen.items()))
    root = data_folder / "runs"
    done = run_guide("train", "cnn", *SMALL, "--root", root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Using the dataset's own split (given): train 28, val 4, test_day 8, test_night 3") == 1
    run = only_run(root)
    assert run.config()["split"] == "given"
    table = manifest.read(run.manifest_path())
    assert {row.image: row.split for row in table.rows} == chosen
    predicted = run.predictions()
    assert dict(zip(predicted["image"], predicted["split"], strict=True)) == {
        image: subset for image, subset in chosen.items() if subset != "train"
    }
    assert set(run.predictions("test")["split"]) == {"test_day"}
    measured = run.metrics()
    assert {name: each["images"] for name, each in measured.items()} == {"val": 4, "test": 8, "test_night": 3}
    assert measured["test_night"]["auc_ovr_macro"] is None and measured["test"]["auc_ovr_macro"] is not None
    assert measured["test_night"]["per_class"][-1]["recall"] is None

    (compared,) = comparison.compare([run])
    assert (compared.test_identity, compared.rows[0]["images"]) == (table.test_identity, 8)
    (other,) = compared.other_tests
    assert (other["test_set"], other["images"], other["accuracy"]) == (
        "test_night", 3, measured["test_night"]["accuracy"]
    )  # fmt: skip
    assert "own split" in compared.title and "Other test sets" in str(comparison_views.views(compared)["other_tests"])
    (row,) = leaderboard.rows(leaderboard.read(root)[0])
    assert (row["given_runs"], row["random_runs"], row["grouped_runs"], row["leakage_gap"]) == (1, 0, 0, None)
    assert row["given_accuracy"] == measured["test"]["accuracy"]

    assert explainer.read_test(run, explainer.panel(table)).shape == (8, 32, 32, 3)
    settings = [each for each in SMALL if each != "--set"]
    (job,) = plan.jobs(plan.Plan(["cnn"], settings=settings))
    plan.look([job], root)
    assert (job.spec.split, job.state, job.run) == ("given", plan.BEFORE, run)  # the run's configuration has one hash
    assert plan.jobs(plan.Plan(["cnn"], splits=["given"], settings=settings))[0].spec.key == job.spec.key

    given = raw_dir("cells") / index.SPLIT
    given.unlink()  # the run is read from its manifest
    assert run_loader.split_of(run).manifest == table
    shown = run_guide("confusion", "cnn", "--subset", "test_night", "--root", root)
    assert shown.returncode == 0 and "test_night images" in shown.stdout
    wrong = run_guide("classification", "cnn", "--subset", "test_nite", "--root", root)
    assert wrong.returncode == 1 and "Did you mean 'test_night'? It has: val, test_day, test_night." in wrong.stderr
