"""Risk-coverage curves: error rate against the share of images answered, most confident first."""

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
        """Coverage up to which no answer is wrong, 0..1."""
        wrong = self.curve.coverage[self.curve.risk > 0]
        return float(min(wrong, default=0))

    def plot(self, *, ax: "Axes | None" = None, index: int = 0) -> Self:
        """Draw the error rate over the coverage in percent, in the colour of the i-th model."""
        # Coverage is a step function of the threshold.
        with self._canvas(ax, 5.6, 4) as ax:
            ax.plot(
                100 * self.curve.coverage,
                100 * self.curve.risk,
                drawstyle="steps-pre",
                color=style.colour(index),
                linestyle=style.line(index),
                linewidth=1.6,
                label=f"{self.title}AURC {self.curve.aurc:.4f}",
            )
            ax.set_xlim(0, 101)
            ax.set_ylim(0, max(ax.get_ylim()[1], 105 * self.curve.risk.max()))
            ax.set_xlabel("Images answered in percent, most confident first")
            ax.set_ylabel("Wrong answers among these in percent")
            ax.grid(True)
        return self


def draw(run: Run, chosen: dict[str, Any]) -> "Figure":
    """Draw the curves of a run's validation and test images, with the threshold chosen on the validation images.

    Args:
        run: with predictions.
        chosen: the entry "selective" of `calibration_file.measure`.
    """
    figure = style.new_figure(7.6, 5.2)
    with style.applied():
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
        ax.set_xlim(10 * math.floor(10 * min(0.9, *starts)), 101)  # no mistake below
        figure.legend(loc="outside lower center", ncols=2)
    images = len(run.predictions("test"))
    words = f"threshold for {100 * chosen['wanted']:g} % wrong answers chosen on the validation images"
    about = f"{about_run(run, images)}, {words}. {style.NOTICE}"
    style.set_heading(figure, f"Selective prediction of {run.label()}", about)
    return figure


def save(run: Run, found: dict[str, Any], folder: Path) -> Path:
    """Draw a run with the result of `calibration_file.measure` and return the path of the file."""
    return style.save(draw(run, found["selective"]), folder / FILE)
