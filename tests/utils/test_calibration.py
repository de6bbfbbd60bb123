"""Calibration and selective prediction: on simulated answers whose truth is known, and through the command."""

import json

import numpy as np
import pytest
from fake_runs import fake_run
from simulated_logits import simulated

from guide.app import main
from guide.calibrate import calibrate
from utils.errors import LeukoBenchError
from utils.io import files
from utils.metrics import calibration, predictions, selective_prediction
from utils.runs import calibration_file
from visualization import style
from visualization.displays import reliability, risk_coverage


def test_ece_worked_by_hand():
    # Two bins of two: confidences 0.6 and 0.7 with one right, 0.8 and 0.9 with both right.
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7]])
    labels = np.array([0, 1, 0, 0])
    found = calibration.reliability(probabilities, labels, bins=2)
    assert [(each.images, each.accuracy) for each in found] == [(2, 0.5), (2, 1.0)]
    assert [each.confidence for each in found] == pytest.approx([0.65, 0.85])
    assert calibration.ece(probabilities, labels, bins=2) == pytest.approx((2 * 0.15 + 2 * 0.15) / 4)
    assert calibration.ece(probabilities, labels, bins=1) == pytest.approx(0.0)  # mean confidence and accuracy: 0.75
    assert calibration.brier(probabilities, labels) == pytest.approx(2 * (0.1**2 + 0.4**2 + 0.2**2 + 0.7**2) / 4)
    assert calibration.log_loss(probabilities, labels) == pytest.approx(-np.log([0.9, 0.6, 0.8, 0.3]).mean())


def test_ece_is_none_where_calibrated_and_right_where_overconfident():
    probabilities, labels = simulated(20_000)
    assert calibration.ece(probabilities, labels) < 0.012  # what 15 bins of 1,333 images leave to chance
    sure = np.full((20_000, 2), (0.95, 0.05))
    right = np.random.default_rng(1).random(20_000) < 0.7
    assert calibration.ece(sure, 1 - right.astype(int)) == pytest.approx(0.95 - right.mean())
    hot, labels = simulated(20_000, temperature=3)
    gap = hot.max(axis=1).mean() - (hot.argmax(axis=1) == labels).mean()
    assert calibration.ece(hot, labels) >= gap > 0.1


def test_bins_hold_equally_many_whatever_the_order():
    probabilities, labels = simulated(1_500)
    assert [each.images for each in calibration.reliability(probabilities, labels)] == [100] * 15
    shuffled = np.random.default_rng(2).permutation(1_500)
    expected = calibration.ece(probabilities, labels)
    assert calibration.ece(probabilities[shuffled], labels[shuffled]) == pytest.approx(expected)


def test_images_that_differ_by_rounding_alone_share_a_bin():
    sure = 0.3 + np.random.default_rng(3).normal(0, 1e-8, 600)
    probabilities = np.stack([sure, *[(1 - sure) / 3] * 3], axis=1)
    labels = (sure > 0.3).astype(int)  # sorting by the noise would find a difference of 100 %
    (only,) = calibration.reliability(probabilities, labels)
    assert only.images == 600 and calibration.ece(probabilities, labels) < 0.25


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_recovered(temperature):
    probabilities, labels = simulated(5_000, temperature, seed=4)
    found = calibration.fit_temperature(probabilities, labels)
    assert found == pytest.approx(temperature, rel=0.06)
    other, truth = simulated(5_000, temperature, seed=5)
    mended = calibration.scaled(other, found)
    assert mended.argmax(axis=1).tolist() == other.argmax(axis=1).tolist()
    assert mended.sum(axis=1) == pytest.approx(1) and calibration.ece(mended, truth) < 0.025
    if temperature != 1:
        assert calibration.log_loss(mended, truth) < calibration.log_loss(other, truth)


def test_scaling_of_rounded_zeros_and_of_nothing():
    probabilities = np.array([[1.0, 0.0], [0.25, 0.75]])
    assert calibration.scaled(probabilities, 1) == pytest.approx(probabilities)
    assert calibration.scaled(probabilities, 2)[1] == pytest.approx(np.sqrt([1, 3]) / (1 + 3**0.5))
    assert 0.01 <= calibration.fit_temperature(probabilities, np.array([0, 1])) < 0.1  # all are right
    for empty in (calibration.fit_temperature, calibration.ece):
        with pytest.raises(LeukoBenchError, match=r"There are no .*predictions"):
            empty(probabilities[:0], np.array([], int))


def test_risk_coverage_worked_by_hand():
    # Confidences 0.9 right, 0.8 wrong and right together, 0.6 right.
    probabilities = np.array([[0.8, 0.2], [0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])
    found = selective_prediction.curve(probabilities, np.array([0, 0, 1, 1]))
    assert found.thresholds.tolist() == [0.9, 0.8, 0.6] and found.coverage.tolist() == [0.25, 0.75, 1.0]
    assert found.risk == pytest.approx([0, 1 / 3, 1 / 4])
    assert found.aurc == pytest.approx((0 + 1 / 3 + 1 / 3 + 1 / 4) / 4)
    assert selective_prediction.threshold(found, 0.3) == 0.6 and selective_prediction.threshold(found, 0.2) == 0.9
    assert selective_prediction.realised(probabilities, np.array([0, 0, 1, 1]), 0.8) == (0.75, pytest.approx(1 / 3))


def test_no_answers_if_the_most_confident_are_wrong():
    probabilities, labels = np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([1, 0])
    least = selective_prediction.threshold(selective_prediction.curve(probabilities, labels), 0.1)
    assert least is None and selective_prediction.realised(probabilities, labels, least) == (0.0, None)


def test_chosen_threshold_holds_on_other_images():
    chosen, truth = simulated(20_000, seed=6)
    least = selective_prediction.threshold(selective_prediction.curve(chosen, truth), 0.1)
    coverage, error = selective_prediction.realised(*simulated(20_000, seed=7), least)
    assert error == pytest.approx(0.1, abs=0.015) and 0.2 < coverage < 0.8
    errors = (chosen.argmax(axis=1) != truth).mean()  # the area if the order were random
    assert selective_prediction.curve(chosen, truth).aurc < 0.65 * errors


def test_command_writes_what_the_functions_give(tmp_path, capsys):
    run = fake_run(tmp_path, images=200, accuracy=0.85)
    calibrate(["cnn"], errors=0.05, root=tmp_path)
    shown = capsys.readouterr().out
    assert "5.0 % errors wanted" in shown and "Conformal prediction sets" in shown
    assert max(len(line) for line in shown.splitlines() if line.strip() and not line.startswith("  ")) <= 80
    assert all(f"\n{word}: " in shown for word in ("T", "AURC", "Level"))
    assert f"\n{run.id}, split 64/16/20, seed 42\n" in shown
    found = json.loads(run.file("calibration.json").read_text())
    _, labels, probabilities = predictions.arrays(run.predictions("test"))
    _, truth, given = predictions.arrays(run.predictions("val"))
    assert found == calibration_file.measure(run, 0.05)
    assert found["temperature"] == calibration.fit_temperature(given, truth)
    assert found["before"]["ece"] == calibration.ece(probabilities, labels) and found["bins"] == 15
    assert found["after"]["ece"] == calibration.ece(calibration.scaled(probabilities, found["temperature"]), labels)
    assert set(found["conformal"]) == {"0.90", "0.95"} and found["selective"]["wanted"] == 0.05
    before = {name: run.file(f"figures/{name}").read_bytes() for name in (reliability.FILE, risk_coverage.FILE)}
    calibrate(["cnn"], errors=0.05, root=tmp_path)
    assert before == {name: run.file(f"figures/{name}").read_bytes() for name in before}


def test_runs_of_one_model_have_unique_names(tmp_path, capsys):
    runs = [fake_run(tmp_path, seed=seed) for seed in (42, 43)]
    calibrate([run.id for run in runs], root=tmp_path)
    shown = capsys.readouterr().out
    assert [shown.count(f"seed {seed}") for seed in (42, 43)] == [4, 4], "once a table, once beside the files"


def test_temperature_does_not_depend_on_test_images(tmp_path):
    run = fake_run(tmp_path, images=100, accuracy=0.8)
    before = calibration_file.measure(run)
    table = run.predictions()
    test = table["split"] == "test"
    table.loc[test, "label"] = np.roll(table.loc[test, "label"].to_numpy(), 1)
    files.write_text(run.file("predictions.csv"), table.to_csv(index=False))
    after = calibration_file.measure(run)
    assert after["temperature"] == before["temperature"] and after["before"] != before["before"]
    assert after["selective"]["threshold"] == before["selective"]["threshold"]
    assert after["conformal"]["0.90"]["threshold"] == before["conformal"]["0.90"]["threshold"]


def test_errors_are_one_line(tmp_path, capsys):
    run = fake_run(tmp_path)
    assert main(["calibrate", "cnn", "--errors", "2", "--root", str(tmp_path)]) == 2
    table = run.predictions()
    files.write_text(run.file("predictions.csv"), table[table["split"] == "test"].to_csv(index=False))
    assert main(["calibrate", "cnn", "--root", str(tmp_path)]) == 1
    assert f"Error: Run {run.id} has no predictions of the subset 'val'" in capsys.readouterr().err
    assert not run.file("calibration.json").exists()


@pytest.mark.parametrize("accuracy", [0.85, 1.0])
def test_figures_say_what_they_are_about_and_show_all_bins(tmp_path, accuracy):
    run = fake_run(tmp_path, images=200, accuracy=accuracy)  # all right: a temperature near 0, all bins near 1
    found = calibration_file.measure(run, 0.1)
    diagram, risk = reliability.draw(run, found["temperature"]), risk_coverage.draw(run, found["selective"])
    for figure in (diagram, risk):
        about = figure.get_suptitle().replace("\n", " ")
        assert "synthetic, split 64/16/20, seed 42, 200 test images" in about and style.NOTICE in about
    for ax in diagram.axes[:2]:
        (left, right), (low, _) = ax.get_xlim(), ax.get_ylim()
        x, y = ax.containers[0].lines[0].get_data()
        assert (x > left).all() and (x.clip(max=1 - reliability.SUREST) <= right).all() and (y >= low).all()
    assert (diagram.axes[0].get_xscale() == "function") == (accuracy == 1)
    assert risk.axes[0].get_xlim()[0] <= 90


def test_the_figure_shows_the_bins_and_the_chosen_threshold(tmp_path):
    run = fake_run(tmp_path, images=200, accuracy=0.85)
    found = calibration_file.measure(run, 0.1)
    _, labels, probabilities = predictions.arrays(run.predictions("test"))
    points = calibration.reliability(probabilities, labels)
    drawn = reliability.draw(run, found["temperature"]).axes[0].containers[0].lines[0]
    assert drawn.get_ydata() == pytest.approx([each.accuracy for each in points])
    marked = risk_coverage.draw(run, found["selective"]).axes[0].lines[-1].get_xydata()[0]
    assert marked == pytest.approx([100 * found["selective"][key] for key in ("coverage", "error")])
