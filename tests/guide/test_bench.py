"""Benchmarks: stored results, the generated page, and the command `bench`."""

import json
import re
from math import isnan

import pytest
from checks import one_line_error

from benchmarks import page, results, runs
from benchmarks.program import alternate
from benchmarks.results import Claim, Column, Plot, Result, Series, Sheet
from guide import bench
from guide.app import main
from utils.system.environment import VECTOR_UNITS


@pytest.fixture
def result():
    claims = [
        Claim("slow / fast", "x", 3, results.ratios([8, 9, 6], [2, 2, 2])),
        Claim("memory", "MB", 100, results.spread([120.5]), at_most=True, why="it reads all of them"),
        Claim("difference", "", 1e-4, results.spread([2e-6]), at_most=True),
    ]
    sheets = [
        Sheet("Times", (Column("way", "Way"), Column("seconds", "Seconds", 1)), [{"way": "a|b", "seconds": None}])
    ]
    plots = [Plot("Growth", "Images", "Seconds", [Series("a", [1, 10], [1, 9], [1, 8], [2, 9])], "xy", 5)]
    return Result("Things", "How things were compared.", claims, sheets, plots, ["One was skipped."])


def test_functions_are_timed_in_turn():
    order = []
    seconds = alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b") or 7.0}, 3)
    assert order == ["a", "b"] * 3
    assert seconds["b"] == [7.0] * 3 and all(0 <= value < 1 for value in seconds["a"])


def test_ratios_are_per_repetition_and_targets_have_a_direction(result):
    ratio = result.claims[0]
    assert (ratio.measured.median, ratio.measured.low, ratio.measured.high) == (4, 3, 4.5)
    assert [claim.reached for claim in result.claims] == [True, False, True]


@pytest.mark.parametrize(
    ("sizes", "seconds", "expected"),
    [
        ([10, 100, 1000, 10_000], [4, 4, 4, 400], 2),  # growth that begins late
        ([10, 100, 1000, 10_010, 100_010], [1.0, 1.01, 1.2, 3.0, 21.0], 1),  # start-up time is not growth
    ],
)
def test_exponent_ignores_start_up_time(sizes, seconds, expected):
    assert runs._growth_exponent(sizes, seconds) == pytest.approx(expected)


def test_exponent():
    assert results.exponent([100, 1000, 10_000], [3.0 * n**1.5 for n in (100, 1000, 10_000)]) == pytest.approx(1.5)
    assert isnan(results.exponent([10], [1.0]))


def test_stored_result_is_read_again_and_makes_the_page(result, tmp_path):
    path = results.record("things", result, tmp_path / "json", "python run_guide.py bench things")
    made, read = results.read(path)
    assert read.claims == list(result.claims)
    assert made["machine"]["cores"] >= 1 and set(made["machine"]["vector_units"].split(", ")) <= {"", *VECTOR_UNITS}
    assert made["command"] == "python run_guide.py bench things"
    written = page.write(tmp_path / "json", tmp_path / "docs" / "performance.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in written.splitlines() if line.startswith("|")]
    assert ["slow / fast", "at least x 3.00"] in rows
    for fact in ("x 4.00", "3.00-4.50", "at most 100.0 MB", "2.0e-06", "it reads all of them", "One was skipped"):
        assert fact in written
    assert "a\\|b" in written
    assert (tmp_path / "docs" / "performance" / "things-1.png").read_bytes().startswith(b"\x89PNG")
    assert page.text(tmp_path / "json") == written


def test_damaged_result_is_an_error_with_the_command_to_run(result, tmp_path):
    path = results.record("things", result, tmp_path, "x")
    path.write_text(json.dumps({"title": "Things"}))
    with one_line_error(path, "run_guide.py bench things"):
        results.read(path)


def test_performance_page_is_up_to_date():
    text = page.text()
    assert page.PAGE.read_text(encoding="utf-8") == text
    pictures = {f"performance/{path.name}" for path in (page.PAGE.parent / "performance").glob("*")}
    assert set(re.findall(r"\((performance/[^)]+)\)", text)) == pictures
    assert {path.stem for path in results.FOLDER.glob("*.json")} <= set(bench.benchmarks())


def test_command_lists_benchmarks_and_rejects_unknown_names(capsys):
    assert main(["bench"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in bench.benchmarks()) and "run_guide.py bench NAME" in listed
    assert main(["bench", "frozn"]) == 1
    error = capsys.readouterr().err
    assert "'frozn'" in error and "'frozen'?" in error and ", ".join(bench.benchmarks()) in error
