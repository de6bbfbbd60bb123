import math

import pandas as pd
import pytest
from checks import one_line_error

from utils.errors import LeukoBenchError
from utils.metrics import predictions

CLASSES = ("Benign", "Early", "Pre")
# Six images: true, probabilities. Argmax: Benign, Benign (tie with Early), Early, Early, Pre, Early.
ROWS = [
    ("Benign", 0.8, 0.1, 0.1),
    ("Benign", 0.4, 0.4, 0.2),
    ("Early", 0.2, 0.7, 0.1),
    ("Early", 0.1, 0.8, 0.1),
    ("Pre", 0.1, 0.3, 0.6),
    ("Pre", 0.3, 0.6, 0.1),
]


def table(rows=ROWS, classes=CLASSES):
    values = [(f"{row[0]}/{k}.png", "test", *row) for k, row in enumerate(rows)]
    return pd.DataFrame(values, columns=["image", "split", "label", *(f"p_{name}" for name in classes)])


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_equals_newcombe_1998_table_1(right, images, low, high):
    assert predictions.wilson(right, images) == pytest.approx((low, high), abs=5e-5)


def test_summary_equals_the_case_worked_by_hand():
    found = predictions.summary(table())
    assert found["confusion"] == [[2, 0, 0], [0, 2, 0], [0, 1, 1]]
    assert found["images"] == 6
    assert found["accuracy"] == pytest.approx(5 / 6)
    assert (found["accuracy_low"], found["accuracy_high"]) == predictions.wilson(5, 6)
    assert found["balanced_accuracy"] == pytest.approx((1 + 1 + 0.5) / 3)
    by_class = {row["class"]: row for row in found["per_class"]}
    assert by_class["Early"] == {
        "class": "Early",
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "support": 2,
        # 0.7 and 0.8 against 0.1, 0.4, 0.3, 0.6: every pair in order
        "auc": 1.0,
    }
    assert by_class["Pre"]["f1"] == pytest.approx(2 / 3)
    # 0.6 beats 0.1 0.2 0.1 0.1; 0.1 ties with three, which count a half each, and loses to 0.2
    assert by_class["Pre"]["auc"] == pytest.approx((4 + 1.5) / 8)
    # 0.8 beats all; 0.4 beats 0.2 0.1 0.1 0.3
    assert by_class["Benign"]["auc"] == 1.0
    assert found["auc_ovr_macro"] == pytest.approx((1 + 1 + 5.5 / 8) / 3)
    assert found["macro"]["f1"] == pytest.approx((1 + 0.8 + 2 / 3) / 3)
    assert found["weighted"]["precision"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert found["log_loss"] == pytest.approx(-sum(map(math.log, (0.8, 0.4, 0.7, 0.8, 0.6, 0.1))) / 6)


def test_weighted_averages_weigh_by_support():
    found = predictions.summary(table([*ROWS[:2], ROWS[4]]))
    assert found["weighted"]["recall"] == found["accuracy"] == 1.0
    found = predictions.summary(table([ROWS[0], ROWS[4], ROWS[5]]))
    assert found["weighted"]["recall"] == pytest.approx(2 / 3)
    assert found["macro"]["recall"] == pytest.approx((1 + 0 + 0.5) / 3)  # Early was predicted, never true


def test_a_class_without_images_has_no_recall_and_no_auc():
    found = predictions.summary(table(ROWS[:2]))
    early = found["per_class"][1]
    assert early == {"class": "Early", "precision": None, "recall": None, "f1": None, "support": 0, "auc": None}
    assert found["per_class"][0]["auc"] is None  # no other class to tell it from
    assert found["auc_ovr_macro"] is None
    assert found["balanced_accuracy"] == found["macro"]["f1"] == 1.0


def test_of_equal_probabilities_the_first_class_is_predicted():
    assert predictions.confusion(table([("Pre", 0.25, 0.25, 0.5), ("Pre", 0.2, 0.4, 0.4)])).tolist()[2] == [0, 1, 1]


def test_summary_holds_plain_values_only():
    import json

    json.dumps(predictions.summary(table()), allow_nan=False)


def test_float32_rows_are_made_to_sum_to_one():
    found = predictions.summary(table([("Benign", 0.3333333, 0.3333333, 0.3333333)]))
    assert found["log_loss"] == pytest.approx(math.log(3), abs=1e-12)


@pytest.mark.parametrize("bad", [(0.5, 0.5, 0.5), (math.nan, 0.5, 0.5), (math.inf, 0, 0), (1.2, -0.1, -0.1), (0, 0, 0)])
def test_invalid_probabilities_are_refused(bad):
    with pytest.raises(LeukoBenchError, match=r"sum to 1; 'Pre/1\.png' has .*Evaluate the run again\.$"):
        predictions.summary(table([ROWS[0], ("Pre", *bad)]))


def test_an_unknown_label_and_an_empty_table_are_refused():
    with one_line_error("'Prae'", "Benign, Early, Pre."):
        predictions.summary(table([("Prae", 0.1, 0.2, 0.7)]))
    with pytest.raises(LeukoBenchError, match="no predictions"):
        predictions.summary(table([]))


def test_cell_order_is_worst_first():
    rows = [("Early", 0.6, 0.3, 0.1), ("Early", 0.9, 0.1, 0.0), ("Early", 0.1, 0.2, 0.7), ("Benign", 0.9, 0.1, 0.0)]
    found = predictions.cell(table(rows), "Early", "Benign")
    assert list(found["image"]) == ["Early/1.png", "Early/0.png"]
    assert list(found.columns) == ["image", "label", "predicted", "p_Benign", "p_Early", "p_Pre"]
    assert list(predictions.cell(table(rows), "Early")["predicted"]) == ["Benign", "Pre", "Benign"]
    assert list(predictions.cell(table(rows), predicted="Pre")["label"]) == ["Early"]
    assert predictions.cell(table(rows), "Pre").empty


def test_cell_of_right_answers_lists_the_least_certain_first_and_ties_by_image():
    rows = [("Pre", 0.1, 0.0, 0.9), ("Pre", 0.3, 0.1, 0.6), ("Pre", 0.1, 0.0, 0.9)]
    assert list(predictions.cell(table(rows), "Pre", "Pre")["image"]) == ["Pre/1.png", "Pre/0.png", "Pre/2.png"]
