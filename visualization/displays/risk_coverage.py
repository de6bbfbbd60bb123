"""Risk against coverage: how many answers are wrong when a model answers only where it is sure."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from utils.metrics import predictions, selective_prediction
from utils.metrics.selective_prediction import Curve
from utils.runs.run_folder import Run
from visualization import style
from visualization.compared_runs import about_run
from visualization.displays.display import Display

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "risk_coverage.png"


@dataclass
class RiskCoverageDisplay(Display):
    """Store the risk-coverage curve of one model and draw it on demand."""

    curve: Curve
    title: str = ""

    @classmethod
    def from_predictions(cls, table: "pd.DataFrame", title: str = "") -> Self:
        """Compute the curve of a table of predictions."""
        _, labels, probabilities = predictions.arrays(table)
        return cls(selective_prediction.curve(probabilities, labels), title)

    @property
    def start(self) -> float:
        """Share of images up to which no answer is wrong; 0..1."""
        wrong = self.curve.coverage[self.curve.risk > 0]
        return float(min(wrong, default=0))

    def plot(self, *, ax: "Axes | None" = None, index: int = 0) -> Self:
        """Draw the share of wrong answers over the share of images answered, in percent, in the i-th model's colour."""
        # Between two thresholds nothing can be answered: a point is held until the next one is reached.
        with self._canvas(ax, 5.6, 4) as ax:
            ax.plot(
                100 * self.curve.coverage, 100 * self.curve.risk, drawstyle="steps-pre", color=style.colour(index),
                linestyle=style.line(index), linewidth=1.6, label=f"{self.title}AURC {self.curve.aurc:.4f}",
            )  # fmt: skip
            ax.set_xlim(0, 101)
            ax.set_ylim(0, max(ax.get_ylim()[1], 105 * self.curve.risk.max()))
            ax.set_xlabel("Images answered, in percent, the surest first")
            ax.set_ylabel("Wrong among these, in percent")
            ax.grid(True)
        return self


def draw(run: Run, chosen: dict[str, Any]) -> "Figure":
    """Draw a run's validation and test images with the threshold that was chosen on the former.

    Args:
        run: with predictions.
        chosen: the part "selective" of what `calibration_tables.measure` found.
    """
    figure = style.new(7.6, 5.2)
    with style.look():
        ax = figure.subplots()
        starts = []
        for index, (subset, words) in enumerate(style.SUBSET_NAMES.items()):
            if subset != "train":
                display = RiskCoverageDisplay.from_predictions(run.predictions(subset), f"{words}, ")
                starts.append(display.plot(ax=ax, index=index).start)
        ax.axhline(100 * chosen["wanted"], color=style.GREY, linestyle=":", linewidth=1, label="wanted")
        if chosen["error"] is not None:
            point = 100 * chosen["coverage"], 100 * chosen["error"]
            words = f"test images at {chosen['threshold']:.4f} and above"
            ax.plot(*point, "o", color=style.colour(2), markersize=8, markeredgecolor="white", label=words)
            starts.append(chosen["coverage"])
        ax.set_xlim(10 * math.floor(10 * min(0.9, *starts)), 101)  # before there is no mistake
        figure.legend(loc="outside lower center", ncols=2)
    images = len(run.predictions("test"))
    words = f"threshold for {100 * chosen['wanted']:g} % wrong answers chosen on the validation images"
    about = f"{about_run(run, images)}, {words}. {style.NOTICE}"
    style.head(figure, f"{run.label()}: answering only where it is sure", about)
    return figure


def save(run: Run, found: dict[str, Any], folder: Path) -> Path:
    """Draw a run with what `calibration_tables.measure` found; return the file's path."""
    return style.save(draw(run, found["selective"]), folder / FILE)
