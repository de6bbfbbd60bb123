"""Figures of a run's page with alternative texts, and their cache."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from utils.runs import stress_file
from utils.tables.table import percent
from visualization import style
from visualization.displays import reliability, risk_coverage
from visualization.displays.stress import BarsDisplay, StainDisplay, StepsDisplay
from visualization.displays.training_curves import TrainingDisplay
from webapp.http.problem_responses import Problem
from webapp.runs.catalogue import Entry
from webapp.runs.test_predictions import calibrated, readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CACHE_BYTES = 32_000_000  # of drawn figures


@dataclass(frozen=True)
class Drawn:
    """One kind of figure of a run.

    Attributes:
        title: of the figure.
        words: caption.
        inches: width and height, so that the page can reserve the space.
        has: whether a run has the data.
        draw: draws it.
        alt: alternative text.
    """

    title: str
    words: str
    inches: tuple[float, float]
    has: Callable[[Entry], bool]
    draw: Callable[[Entry], "Figure"]
    alt: Callable[[Entry], str]

    @property
    def width(self) -> int:
        """Pixels."""
        return round(self.inches[0] * style.DPI)

    @property
    def height(self) -> int:
        """Pixels."""
        return round(self.inches[1] * style.DPI)


def _curves(entry: Entry) -> "Figure":
    shown, figure = TrainingDisplay.from_run(entry.run), style.new_figure(*FIGURES["curves"].inches)
    with style.applied():
        for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
            shown.plot(ax=axes, what=what)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def _curves_alt(entry: Entry) -> str:
    shown = TrainingDisplay.from_run(entry.run)
    best = shown.values["val_accuracy"][shown.epochs.index(shown.best_epoch)]
    return (
        f"Lines of accuracy and loss over {len(shown.epochs)} epochs. The validation accuracy of the kept epoch, "
        f"{shown.best_epoch}, is {percent(best, 1)} %."
    )


def _reliability_alt(entry: Entry) -> str:
    found = calibrated(entry)
    before, after = (percent(found[state]["ece"], 1) for state in ("before", "after"))
    return (
        f"Two reliability diagrams: the calibration error is {before} % as predicted and {after} % at temperature "
        f"{found['temperature']:.2f}."
    )


def _risk_alt(entry: Entry) -> str:
    found = calibrated(entry)["selective"]
    at = f"{percent(found['coverage'], 1)} % of the test images" if found["error"] is not None else "no test image"
    return f"Error rate over the share of images answered, most confident first; at the threshold {at}."


def _stressed(entry: Entry) -> bool:
    return entry.finished and any(row["family"] == stress_file.NONE for row in stress_file.read(entry.run))


def _of_steps(entry: Entry) -> StepsDisplay:
    return StepsDisplay.from_rows(stress_file.read(entry.run), "accuracy")


def _steps(entry: Entry) -> "Figure":
    figure = style.new_figure(*FIGURES["stress-steps"].inches)
    with style.applied():
        _of_steps(entry).plot(ax=figure.subplots())
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _steps_alt(entry: Entry) -> str:
    shown = _of_steps(entry)
    texts = [f"{name} from {percent(values[0], 1)} to {percent(values[-1], 1)} %" for name, _, values in shown.curves]
    return f"Accuracy over the severity steps of each perturbation: {', '.join(texts)}."


def _bars(entry: Entry) -> "Figure":
    figure = style.new_figure(*FIGURES["stress-bars"].inches)
    BarsDisplay.from_rows(stress_file.read(entry.run)).plot(ax=figure.subplots())
    return figure


def _bars_alt(entry: Entry) -> str:
    shown = BarsDisplay.from_rows(stress_file.read(entry.run))
    return f"Bars of accuracy: {', '.join(f'{name} {percent(value, 1)} %' for name, value in shown.bars)}."


def _stain(entry: Entry) -> "Figure":
    figure = style.new_figure(*FIGURES["stress-stain"].inches)
    StainDisplay.from_run(entry.run).plot(ax=figure.subplots())
    return figure


def _stain_alt(entry: Entry) -> str:
    shown = StainDisplay.from_run(entry.run)
    texts = [f"{name} {percent(shown.shares[k][k], 0)} %" for k, name in enumerate(shown.classes)]
    return f"Share of answers that are the class of the donor stain: {', '.join(texts)}."


FIGURES = {
    "curves": Drawn(
        "Training", "The star is the epoch whose weights were kept, chosen on the validation images only. Training "
        "that improves while validation does not is overfitting.",
        (9.2, 3.6), lambda e: bool(e.run.history()), _curves, _curves_alt,
    ),
    "reliability": Drawn(
        "Reliability", "On the dotted line the accuracy equals the confidence; below it, the model is overconfident.",
        (8.4, 5.6), lambda e: e.finished,
        lambda e: reliability.draw(e.run, calibrated(e)["temperature"]), _reliability_alt,
    ),
    "risk-coverage": Drawn(
        "Selective prediction", "The further right the curve stays low, the more images can be answered with few "
        "mistakes.",
        (7.6, 5.2), lambda e: e.finished,
        lambda e: risk_coverage.draw(e.run, calibrated(e)["selective"]), _risk_alt,
    ),
    "stress-steps": Drawn(
        "Perturbations with severity steps", "The same test images, perturbed with rising severity. A model that uses "
        "the cells keeps its accuracy where only the colours change.",
        (8.4, 5.2), lambda e: _stressed(e) and bool(_of_steps(e).curves),
        _steps, _steps_alt,
    ),
    "stress-bars": Drawn(
        "Perturbations without severity steps", "Cells removed is the control: it should be near chance.",
        (6.4, 5.2), _stressed, _bars, _bars_alt,
    ),
    "stress-stain": Drawn(
        "Answers under the stain swap", "The answers when each image has the stain of another class.",
        (6.4, 5.2), lambda e: e.finished and StainDisplay.from_run(e.run) is not None,
        _stain, _stain_alt,
    ),
}  # fmt: skip


class FigureCache:
    """Figures as PNG bytes, at most CACHE_BYTES; drawn under a lock, as matplotlib's settings are shared."""

    def __init__(self) -> None:
        self._drawing, self._lock = Lock(), Lock()
        self._kept: OrderedDict[tuple, bytes] = OrderedDict()

    def png(self, entry: Entry, name: str) -> bytes:
        """Return a figure of a run.

        Raises:
            Problem: 404, there is no such figure, or the run lacks the data.
        """
        key = entry.run, entry.signature, name
        found = self._get(key)
        if found is None:
            with self._drawing:  # another thread may have drawn it
                found = self._get(key) or self._draw(entry, name)
            with self._lock:
                self._kept[key] = found
                while sum(map(len, self._kept.values())) > CACHE_BYTES and len(self._kept) > 1:
                    self._kept.popitem(last=False)
        return found

    def _get(self, key: tuple) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _draw(self, entry: Entry, name: str) -> bytes:
        drawn = FIGURES.get(name)
        with readable(entry):
            if drawn is None or not drawn.has(entry):
                raise Problem(404, "No such figure", f"Run {entry.id} has no figure of that name.")
            return style.png(drawn.draw(entry))
