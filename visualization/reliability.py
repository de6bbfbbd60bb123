"""Reliability diagrams: how often a model is right when it says how sure it is, before and after its temperature."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from utils import calibration, metrics, statistics
from utils.artifacts import Run
from utils.calibration import Bin
from visualization import style

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "reliability.png"


@dataclass
class ReliabilityDisplay:
    """Store the bins of one model's test images and draw them on demand.

    Attributes:
        bins: of equally many images, the least certain first.
        error: expected calibration error, 0..1.
    """

    bins: Sequence[Bin]
    error: float
    title: str = ""
    axes_: Any = field(default=None, repr=False)

    @classmethod
    def from_arrays(cls, probabilities: "np.ndarray", labels: "np.ndarray", title: str = "") -> Self:
        """Bin images by their highest probability.

        Args:
            probabilities: (images, classes).
            labels: (images,) indices of the true classes.
            title: above the diagram, before the calibration error.
        """
        found = calibration.reliability(probabilities, labels)
        return cls(found, calibration.ece(probabilities, labels), title)

    def plot(self, *, ax: "Axes | None" = None, counts: "Axes | None" = None) -> Self:
        """Draw accuracy against confidence with 95 % Wilson bars, and below the number of images of every bin."""
        if ax is None or counts is None:
            ax, counts = style.new(4.4, 5.2).subplots(2, 1, sharex=True, height_ratios=(4, 1))
        x = [each.confidence for each in self.bins]
        y = [each.accuracy for each in self.bins]
        ends = [statistics.wilson(round(each.accuracy * each.images), each.images) for each in self.bins]
        reach = [[value - low for value, (low, _) in zip(y, ends, strict=True)]]
        reach += [[high - value for value, (_, high) in zip(y, ends, strict=True)]]
        with style.look():
            ax.plot([0, 1], [0, 1], color=style.GREY, linestyle=":", linewidth=1, zorder=1)
            ax.errorbar(
                x, y, reach, color=style.colour(0), marker="o", markersize=5, linewidth=1.4, elinewidth=0.9, capsize=2,
            )  # fmt: skip
            ax.set_title(style.wrap(f"{self.title}ECE {100 * self.error:.2f} %", 34))
            ax.set_ylabel("Share named rightly")
            ax.set_ylim(-0.02, 1.02)
            ax.grid(True)
            counts.vlines(x, 0, [each.images for each in self.bins], color=style.colour(0), linewidth=3)
            counts.set_ylim(0, None)
            counts.set_xlim(min(0.95, *x) - 0.02, 1.01)
            counts.set_ylabel("Images")
            counts.set_xlabel("Confidence (highest probability)")
            counts.grid(True, axis="y")
        self.axes_ = ax
        return self


def draw(run: Run, temperature: float) -> "Figure":
    """Draw the test images of a run before and after temperature scaling, side by side."""
    _, labels, probabilities = metrics.arrays(run.predictions("test"))
    states = {
        "As predicted, ": probabilities,
        f"At temperature {temperature:.2f}, ": calibration.scaled(probabilities, temperature),
    }
    figure = style.new(8.4, 5.6)
    with style.look():
        axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(4, 1))
        for column, (title, state) in enumerate(states.items()):
            ReliabilityDisplay.from_arrays(state, labels, title).plot(ax=axes[0][column], counts=axes[1][column])
        for ax in axes[:, 1]:
            ax.set_ylabel("")
        axes[0][0].set_xlim(min(ax.dataLim.x0 for ax in axes[1]) - 0.03, 1.01)
    about = f"{len(labels):,} test images, temperature fitted on validation images; dotted: ideal"
    style.head(figure, f"Is {run.label()} as often right as it is sure?", about)
    return figure


def save(run: Run, found: dict[str, Any], folder: Path) -> Path:
    """Draw a run at its temperature, of what `calibration_tables.measure` found; return the file's path."""
    return style.save(draw(run, found["temperature"]), folder / FILE)
