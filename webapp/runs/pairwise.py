"""GET /versus: two runs compared: their scores, how they agree, and the images on which they differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from utils.metrics import grouped_tests
from utils.runs import image_groups, split_spec
from utils.tables.cost import seconds
from utils.tables.significance import chance
from utils.tables.table import difference, number, percent, quantity
from utils.text import MISSING, dotted
from webapp.http.templates import render
from webapp.runs import test_predictions
from webapp.runs.catalogue import Entry
from webapp.runs.config_table import text
from webapp.runs.confusion_cell_pages import explained, paged
from webapp.runs.test_predictions import Answer

router = APIRouter(include_in_schema=False)

Format = Callable[[Any], str]
SHOWN = {
    "all": "All that differ",
    "a": "Only the first is correct",
    "b": "Only the second is correct",
    "wrong": "Both are wrong, in different ways",
}  # filters of the images: value in the URL, label on the page


@dataclass(frozen=True)
class Line:
    """One score of two runs.

    Attributes:
        better: "a" or "b", the run with the better value; "" where neither.
    """

    title: str
    a: str
    b: str
    difference: str
    better: str


@dataclass(frozen=True)
class Agreement:
    """Agreement of two runs on the same images.

    Attributes:
        both, only_a, only_b: number of images predicted correctly by both or by one run.
        same_wrong, other_wrong: number of images with the same wrong class, or with different wrong classes.
        p: of the exact test over groups of images; p_images: of McNemar's, which assumes independent images.
        differ: the images predicted differently, largest difference of probabilities first.
    """

    both: int
    only_a: int
    only_b: int
    same_wrong: int
    other_wrong: int
    p: float
    p_images: float
    differ: list[tuple[Answer, Answer]]

    def shown(self, which: str) -> list[tuple[Answer, Answer]]:
        """Return the images of a filter, a key of SHOWN."""
        tests: dict[str, Callable[[Answer, Answer], bool]] = {
            "a": lambda a, b: a.right,
            "b": lambda a, b: b.right,
            "wrong": lambda a, b: not a.right and not b.right,
        }
        test = tests.get(which)
        return [pair for pair in self.differ if test is None or test(*pair)]


def agreement(a: Entry, b: Entry) -> Agreement | None:
    """Compare the answers of two finished runs; None where their test images differ."""
    if a.record.row["test_identity"] != b.record.row["test_identity"]:
        return None
    first, second = test_predictions.of(a), test_predictions.of(b)
    if first.classes != second.classes or first.of.keys() != second.of.keys():
        return None
    pairs = [(answer, second.of[image]) for image, answer in first.of.items()]
    only_a = sum(one.right and not two.right for one, two in pairs)
    only_b = sum(two.right and not one.right for one, two in pairs)
    groups, _ = image_groups.of_images(a.record.run, list(first.of))
    tested = grouped_tests.paired_test(*([each[k].right for each in pairs] for k in (0, 1)), groups)
    differ = [pair for pair in pairs if pair[0].predicted != pair[1].predicted]
    same_wrong = sum(not one.right and one.predicted == two.predicted for one, two in pairs)
    return Agreement(
        both=sum(one.right and two.right for one, two in pairs),
        only_a=only_a,
        only_b=only_b,
        same_wrong=same_wrong,
        other_wrong=len(differ) - only_a - only_b,
        p=tested.p,
        p_images=tested.p_images,
        differ=sorted(differ, key=lambda pair: (-_distance(*pair), pair[0].image)),
    )


def numbers(a: Entry, b: Entry) -> list[Line]:
    """Return the scores of two finished runs."""
    held = [entry.record.row | entry.measured for entry in (a, b)]
    return [_line(title, held[0].get(key), held[1].get(key), *how) for key, (title, *how) in NUMBERS.items()]


def settings(a: Entry, b: Entry) -> list[tuple[str, str, str]]:
    """Return field and both values where the configurations of two runs differ."""
    first, second = dotted(a.config), dotted(b.config)
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return [(name, text(first.get(name)), text(second.get(name))) for name in names]


def _distance(one: Answer, two: Answer) -> float:
    """Return the total variation distance of two answers, 0..1."""
    return sum(abs(p - q) for p, q in zip(one.probabilities, two.probabilities, strict=True)) / 2


def _line(
    title: str,
    a: float | None,
    b: float | None,
    show: Callable[[Any], str],
    show_difference: Callable[[Any], str],
    sign: int,
) -> Line:
    known = a is not None and b is not None
    difference = b - a if known else None
    better = "" if not known or a == b or not sign else "b" if difference * sign > 0 else "a"
    return Line(title, show(a), show(b), show_difference(difference), better)


def _points(value: float | None) -> str:
    return difference(value)


def _plain(digits: int) -> Callable[[float | None], str]:
    return lambda value: difference(value, digits, 1)


def _counted(value: float | None) -> str:
    return MISSING if value is None else f"{'-' if value < 0 else '+'}{quantity(abs(value))}"


def _four(value: float | None) -> str:
    return number(value, 4)


# By key: title, format of a value, format of a difference, and whether higher (1) or lower (-1) is better.
NUMBERS: dict[str, Sequence[Any]] = {
    "accuracy": ("Test accuracy, %", percent, _points, 1),
    "balanced_accuracy": ("Balanced accuracy, %", percent, _points, 1),
    "f1_macro": ("F1, macro, %", percent, _points, 1),
    "auc_ovr_macro": ("AUC, one against the rest", _four, _plain(4), 1),
    "log_loss": ("Log loss", _four, _plain(4), -1),
    "calibration_error": ("Calibration error as predicted, %", percent, _points, -1),
    "calibration_error_scaled": ("Calibration error with temperature, %", percent, _points, -1),
    "grey": ("Accuracy in grey, %", percent, _points, 1),
    "stain_swap": ("Accuracy under stain swap, %", percent, _points, 1),
    "flip_rate": ("Stain flip rate, %", percent, _points, -1),
    "shortcut_margin": ("Shortcut margin, points", _points, _points, 1),
    "nucleus_mass": ("Heatmap in nuclei, %", percent, _points, 1),
    "parameters": ("Parameters", quantity, _counted, -1),
    "training_seconds": ("Training, s", seconds, _plain(0), -1),
    "latency_ms_p50": ("One image, ms", lambda value: number(value, 1), _plain(1), -1),
}


@router.get("/versus")
def side_by_side(
    request: Request, a: str = "", b: str = "", show: str = "all", page: int = Query(1, ge=1, le=100_000)
) -> HTMLResponse:
    """Show the scores of two runs and their agreement; without two runs only the form."""
    catalogue = request.app.state.services.catalogue
    groups = grouped(catalogue.entries())
    chosen = [catalogue.find(id) for id in (a, b) if id]
    unusable = [entry for entry in chosen if not entry.finished]
    context = {"groups": groups, "first": a, "second": b, "unusable": unusable, "agreement": None}
    if len(chosen) < 2 or unusable:
        return render(request, "versus.html", pair=None, **context)
    first, second = chosen
    show = show if show in SHOWN else "all"
    with test_predictions.readable(first), test_predictions.readable(second):
        context["agreement"] = found = agreement(first, second)
    differ = found.shown(show) if found else []
    shown, pages = paged(differ, page)
    return render(
        request,
        "versus.html",
        pair=(first, second),
        lines=numbers(first, second),
        settings=settings(first, second),
        classes=first.config["classes"],
        which=SHOWN,
        show=show,
        counts={key: len(found.shown(key)) for key in SHOWN} if found else {},
        count=len(differ),
        shown=[(one, two, test_predictions.at_hand(first, one)) for one, two in shown],
        page=page,
        pages=pages,
        p=chance(found.p) if found else "",
        p_images=chance(found.p_images) if found else "",
        explained=[explained(entry) for entry in chosen],
        **context,
    )


def grouped(entries: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    """Group finished runs by their test images, largest group first, each sorted by accuracy."""
    sets: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.record:
            sets.setdefault(entry.record.row["test_identity"], []).append(entry)
    ordered = sorted(sets.values(), key=lambda group: (-len(group), group[0].id))
    return [(_title(group), sorted(group, key=lambda e: -e.record.row["accuracy"])) for group in ordered]


def _title(group: Sequence[Entry]) -> str:
    row = group[0].record.row
    splits = split_spec.words(*(entry.record.row["split"] for entry in group))
    return f"{row['dataset']}, {splits}: {row['images']:,} test images"
