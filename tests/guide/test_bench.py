"""Benchmarks: what is recorded, what the page says of it, and the command."""

import json
import re

import pytest

import models
from benchmarks import page, recording
from benchmarks.recording import Claim, Column, Plot, Result, Series, Sheet
from data.loading import tf_loader
from guide import bench
from guide.app import main
from utils.errors import LeukoBenchError
from utils.system.environment import VECTOR_UNITS


@pytest.fixture
def result():
    claims = [
        Claim("slow / fast", "x", 3, recording.ratios([8, 9, 6], [2, 2, 2])),
        Claim("memory", "MB", 100, recording.spread([120.5]), at_most=True, why="it reads all of them"),
        Claim("difference", "", 1e-4, recording.spread([2e-6]), at_most=True),
    ]
    sheets = [
        Sheet("Times", (Column("way", "Way"), Column("seconds", "Seconds", 1)), [{"way": "a|b", "seconds": None}])
    ]
    plots = [Plot("Growth", "Images", "Seconds", [Series("a", [1, 10], [1, 9], [1, 8], [2, 9])], "xy", 5)]
    return Result("Things", "How things were compared.", claims, sheets, plots, ["One was left out."])


def test_ways_are_timed_in_turn():
    order = []
    seconds = recording.alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b") or 7.0}, 3)
    assert order == ["a", "b"] * 3
    assert seconds["b"] == [7.0] * 3 and all(0 <= value < 1 for value in seconds["a"])


def test_a_ratio_is_of_each_repetition_and_claims_know_their_direction(result):
    ratio = result.claims[0]
    assert (ratio.measured.median, ratio.measured.low, ratio.measured.high) == (4, 3, 4.5)
    assert [claim.reached for claim in result.claims] == [True, False, True]


def test_what_was_recorded_comes_back_and_makes_the_page(result, tmp_path):
    path = recording.record("things", result, tmp_path / "figures", "python run_guide.py bench things")
    made, read = recording.read(path)
    assert read == recording.read(path)[1] and read.claims == list(result.claims)
    assert made["machine"]["cores"] >= 1 and set(made["machine"]["vector_units"].split(", ")) <= {"", *VECTOR_UNITS}
    assert made["command"] == "python run_guide.py bench things"
    written = page.write(tmp_path / "figures", tmp_path / "docs" / "performance.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in written.splitlines() if line.startswith("|")]
    assert ["slow / fast", "at least x 3.00"] in rows
    assert "x 4.00" in written and "3.00-4.50" in written and "at most 100.0 MB" in written and "2.0e-06" in written
    assert (
        "- Not reached: memory: it reads all of them" in written
        and "- One was left out." in written
        and "a\\|b" in written
    )
    assert (tmp_path / "docs" / "performance" / "things-1.png").read_bytes().startswith(b"\x89PNG")
    assert page.text(tmp_path / "figures") == written


def test_a_damaged_file_is_one_line(result, tmp_path):
    path = recording.record("things", result, tmp_path, "x")
    path.write_text(json.dumps({"title": "Things"}))
    with pytest.raises(LeukoBenchError) as caught:
        recording.read(path)
    assert str(caught.value) == f"{path} is damaged ('about'). Measure it again: python run_guide.py bench things"


def test_the_page_says_what_the_files_say():
    assert page.PAGE.read_text(encoding="utf-8") == page.text()
    shown = set(re.findall(r"\((performance/[^)]+)\)", page.text()))
    pictures = (page.PAGE.parent / "performance").glob("*")
    there = {path.relative_to(page.PAGE.parent).as_posix() for path in pictures}
    assert shown == there


def test_the_benchmark_of_a_device_takes_batches_as_training_does():
    from benchmarks import device_load

    images = device_load.images(models.config_for("cnn", image_size=32), 9, 4, recording.Options(quick=True))
    taken = [pixels.shape for pixels, _ in tf_loader.fixed_batches(images, 4)]
    assert taken == [(4, 32, 32, 3)] * 2


def test_every_measured_benchmark_can_be_run_again():
    assert {path.stem for path in recording.FOLDER.glob("*.json")} <= set(bench.benchmarks())


def test_the_command_lists_the_benchmarks_and_knows_no_others(capsys):
    assert main(["bench"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in bench.benchmarks()) and "run_guide.py bench NAME" in listed
    assert main(["bench", "frozn"]) == 1
    known = ", ".join(bench.benchmarks())
    assert (
        capsys.readouterr().err
        == f"Error: Unknown benchmark 'frozn'. Did you mean 'frozen'? There are: {known}, all.\n"
    )
