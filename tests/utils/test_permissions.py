"""Files and folders that this user may not read are called that: one line, and the other runs are listed."""

import os
import re

import pytest
from checks import assert_facts
from command_line import as_nobody, run_guide
from fake_runs import fake_run

from data.synthetic import generator
from utils.errors import LeukoBenchError
from utils.runs import cache as run_cache
from utils.runs import run_folder

FILES = ("environment.json", "history.csv", "timing.json", "predictions.csv", "metrics.json", ".")
RUN = ("config.json", "..", *(pytest.param(name, marks=pytest.mark.slow) for name in FILES))
WORDS = ("damaged", "no run", "There is no", "train again", "evaluate", "Choose", "Errno", "Traceback")


def closed(work, *places):
    """Do some work as another user while places have mode 0; return what it printed on one line each."""
    work()  # imports what the other user cannot
    run_cache._open.clear()
    for folder in {parent for place in places for parent in place.parents}:
        (folder / run_cache.FILE).unlink(missing_ok=True)
    try:
        for place in places:
            place.chmod(0)
        return as_nobody(work)
    finally:
        for place in places:
            place.chmod(0o777)


def say(*words):
    def work():
        done = run_guide(*words, merged=True, COLUMNS="400")
        return f"{done.returncode}\n{done.stdout}"

    return work


@pytest.fixture(autouse=True)
def open_to_all():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("name", RUN)
def test_a_part_of_a_run_is_unreadable(shared_folder, name):
    root = shared_folder / "lab"
    run, other = fake_run(root, "smearnet"), fake_run(root, "vgg16")
    place = (run.path / name).resolve()
    listed = closed(say("runs", "--root", root), place)
    assert listed.startswith("0\n") and other.path.name in listed
    compared = closed(say("compare", "--no-figures", "--root", root), place)
    assert compared.startswith("0\n") and "vgg16" in compared
    alone = closed(say("compare", "smearnet", "--no-figures", "--root", root), place)
    said = {"runs": listed, "compare": compared, "compare smearnet": alone}
    if name == "predictions.csv":
        del said["runs"]  # which does not read it
    if name == "metrics.json":
        del said["compare"], said["compare smearnet"]
    for command, text in said.items():
        (line, *more) = dict.fromkeys(re.findall(r"Cannot read .*", text))
        assert not more and "permission denied" in line and str(place) in line, (command, text)
        assert not [word for word in WORDS if word in text.replace(line, "", 1).replace("(Wilson", "")], text
        assert not [word for word in WORDS if word in line], line
    if "compare smearnet" in said:
        assert alone.startswith("1\nError: ") and alone.count("\n") == 2


@pytest.mark.parametrize("name", [".", "index.csv", "dataset.json", "Early", "Pro/pro-0002.png", "groups.csv"])
def test_a_part_of_a_dataset_is_unreadable(shared_folder, monkeypatch, name):
    monkeypatch.setenv("LEUKOBENCH_DATA", str(shared_folder / "data"))
    generator.make("lab", images_per_class=6, size=32, patients=2, seed=7)
    run_guide("data", "check", "lab")
    folder = shared_folder / "data" / "raw" / "lab"
    said = [closed(say("data", words, "lab"), folder / name) for words in ("check", "split")]
    unneeded = {"dataset.json": 1, "Pro/pro-0002.png": 1, "groups.csv": 0}.get(name)
    for text in said[: unneeded or 2][1 if unneeded == 0 else 0 :]:
        assert text.startswith("1\n") and text.count("\n") == 2, text
        assert "ermission denied" in text and str(folder) in text and "Make it readable" in text
        assert not [word for word in WORDS if word in text], text
    assert not (folder / "_quarantine").exists()
    assert run_guide("data", "check", "lab").returncode == 0


def test_an_unreadable_root_and_file_of_predictions(shared_folder):
    run = fake_run(shared_folder / "lab", "cnn")

    def read():
        try:
            return str(len(run.predictions()))
        except LeukoBenchError as error:
            return str(error)

    assert_facts(closed(read, run.file("predictions.csv")), run.file("predictions.csv"), "permission denied")
    assert_facts(closed(read, run.path), run.path, "permission denied")

    def find():
        try:
            return str(run_folder.find_runs(run.root))
        except LeukoBenchError as error:
            return str(error)

    assert_facts(closed(find, run.root), run.root, "permission denied")
