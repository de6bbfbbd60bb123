"""Table of a purge curve, and its result in sentences."""

from data.auditing.purge import Curve
from utils.runs.split_spec import EMBARGO
from utils.tables.table import Table, difference, number, percent


def table(curve: Curve) -> Table:
    """Return one line for each embargo."""
    rows = [
        [
            *(str(point.embargo), number(point.train, 0), percent(point.purged), percent(point.control)),
            _interval(point.cost, point.cost_low, point.cost_high),
            _interval(point.gap, point.gap_low, point.gap_high),
        ]
        for point in curve.points
    ]
    below = (
        f"Test images: {curve.folds} blocks of file numbers of each class, each tested once. Embargo: file numbers "
        "left out of training on both sides of a test block; images that show the same place as a test image are never "
        "trained on. Random: accuracy without as many training images of the same classes, drawn at random. Cost: "
        "random minus purged, in points. Gap: accuracy on folds by image minus purged, in points. Intervals: 95 %, "
        f"over {curve.points[0].groups if curve.points else 0} groups of {EMBARGO} numbers of a class."
    )
    columns = ("Embargo", "Train\nimages", "Purged\n%", "Random\n%", "Cost", "Gap to folds\nby image")
    return Table(f"Accuracy without the neighbours: {curve.features}", columns, rows, frozenset(), below)


def _interval(value: float, low: float, high: float) -> str:
    return f"{difference(value, 1)} [{difference(low, 1)}, {difference(high, 1)}]"


def sentences(curve: Curve) -> list[str]:
    """Return the result in sentences."""
    if not curve.points:
        return ["No embargo leaves training images of every class: give a smaller one with --embargo."]
    point = min(curve.points, key=lambda each: abs(each.embargo - EMBARGO))
    words = (
        f"Accuracy {percent(curve.by_image, 1)} % on folds by image, {percent(point.purged, 1)} % on blocks of file "
        f"numbers with an embargo of {point.embargo}"
    )
    if point.gap_low > 0:
        return [f"{words}: images near in capture give the class away."]
    return [f"{words}: that images near in capture give the class away cannot be told from chance."]
