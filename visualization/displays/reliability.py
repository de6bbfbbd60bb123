"""Reliability diagrams: accuracy against confidence, before and after temperature scaling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from utils.metrics import calibration, predictions, significance
from utils.metrics.calibration import Bin
from utils.runs.run_folder import Run
from visualization import style
from visualization.compared_runs import about_run
from visualization.displays.display import Display

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "reliability.png"
ZOOM = 0.97  # median confidence above which the axis is enlarged towards 1
SUREST = 1e-5  # smallest 1 - confidence on an enlarged axis
TICKS = (0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.997, 0.999, 0.9999)


@dataclass
class ReliabilityDisplay(Display):
    """Store the bins of one model's test images and draw them on demand.

    Attributes:
        bins: with equal numbers of images, least confident first.
        error: expected calibration error, 0..1.
    """

    bins: Sequence[Bin]
    error: float
    title: str = ""

    @classmethod
    def from_arrays(cls, probabilities: "np.ndarray", labels: "np.ndarray", title: str = "") -> Self:
        """Bin images by their highest probability.

        Args:
            probabilities: (images, classes).
            labels: (images,) indices of the true classes.
            title: text above the diagram, before the calibration error.
        """
        found = calibration.reliability(probabilities, labels)
        return cls(found, calibration.ece(probabilities, labels), title)

    @property
    def ends(self) -> list[tuple[float, float]]:
        """95 % Wilson interval of each bin's accuracy."""
        return [significance.wilson(round(each.accuracy * each.images), each.images) for each in self.bins]

    @property
    def floor(self) -> float:
        """Lower end of the accuracy axis: the highest tenth below all bars and confidences."""
        lowest = min(*(low for low, _ in self.ends), *(each.confidence for each in self.bins))
        return math.floor(lowest * 10) / 10

    def plot(self, *, ax: "Axes | None" = None, counts: "Axes | None" = None) -> Self:
        """Draw accuracy against confidence with 95 % Wilson bars, and the number of images of each bin below."""
        if ax is None or counts is None:
            ax, counts = style.new_figure(4.4, 5.2).subplots(2, 1, sharex=True, height_ratios=(4, 1))
        x = [each.confidence for each in self.bins]
        y = [each.accuracy for each in self.bins]
        reach = [[value - low for value, (low, _) in zip(y, self.ends, strict=True)]]
        reach += [[high - value for value, (_, high) in zip(y, self.ends, strict=True)]]
        ideal = [k / 1000 for k in range(1001)]
        with self._canvas(ax) as ax:
            ax.plot(ideal, ideal, color=style.GREY, linestyle=":", linewidth=1, zorder=1)
            ax.errorbar(
                x,
                y,
                reach,
                color=style.colour(0),
                marker="o",
                markersize=5,
                linewidth=1.4,
                elinewidth=0.9,
                capsize=2,
            )
            ax.set_title(style.wrap(f"{self.title}ECE {100 * self.error:.2f} %", 34))
            ax.set_ylabel("Accuracy")
            ax.set_ylim(self.floor, 1.02)
            ax.grid(True)
            counts.vlines(x, 0, [each.images for each in self.bins], color=style.colour(0), linewidth=3)
            counts.set_ylim(0, None)
            counts.set_xlim(min(0.95, *x) - 0.02, 1.01)
            counts.set_ylabel("Images")
            counts.set_xlabel("Confidence (highest probability)")
            counts.grid(True, axis="y")
        return self


def draw(run: Run, temperature: float) -> "Figure":
    """Draw the reliability of a run's test predictions before and after temperature scaling, side by side."""
    _, labels, probabilities = predictions.arrays(run.predictions("test"))
    states = {
        "As predicted, ": probabilities,
        f"At temperature {temperature:.2f}, ": calibration.scaled(probabilities, temperature),
    }
    figure = style.new_figure(8.4, 5.6)
    displays = [ReliabilityDisplay.from_arrays(state, labels, title) for title, state in states.items()]
    with style.applied():
        axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(4, 1))
        for column, display in enumerate(displays):
            display.plot(ax=axes[0][column], counts=axes[1][column])
        for ax in axes[:, 1]:
            ax.set_ylabel("")
        axes[0][0].set_ylim(min(display.floor for display in displays), 1.02)
        known = [each.confidence for display in displays for each in display.bins]
        axes[0][0].set_xlim(min(known) - 0.03, 1.01)
        if max(median(each.confidence for each in display.bins) for display in displays) > ZOOM:
            _enlarge(axes[0][0], axes[1], known)
    about = f"{about_run(run, len(labels))}, temperature fitted on validation images; dotted: ideal. {style.NOTICE}"
    style.set_heading(figure, f"Reliability of {run.label()}", about)
    return figure


def _enlarge(ax: "Axes", lower: "Sequence[Axes]", known: Sequence[float]) -> None:
    """Use a logarithmic axis of 1 - confidence, as nearly all bins are close to 1.

    Args:
        ax: axes whose x axis the others share.
        lower: axes that carry the label of the x axis.
        known: confidences of all bins.
    """
    import numpy as np

    def spread(confidence: "np.ndarray") -> "np.ndarray":
        return -np.log10(np.maximum(1 - np.asarray(confidence), SUREST))

    ax.set_xscale("function", functions=(spread, lambda doubt: 1 - 10.0 ** -np.asarray(doubt)))
    ticks = [tick for tick in TICKS if tick > min(known) - 0.03]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8.5)
    ax.set_xlim(min(known) - 0.03, 1 - max(SUREST, 0.7 * (1 - max(known))))
    for each in lower:
        each.set_xlabel("Confidence (highest probability), enlarged towards 1")


def save(run: Run, found: dict[str, Any], folder: Path) -> Path:
    """Draw a run with the result of `calibration_file.measure` and return the path of the file."""
    return style.save(draw(run, found["temperature"]), folder / FILE)
