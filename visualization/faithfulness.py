"""What the measures of faithfulness say of each method's heatmaps, beside maps that know nothing of the model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from utils import artifacts, faithfulness_tables
from utils.artifacts import Run
from utils.faithfulness_tables import BASELINES, SAME
from utils.heatmap_methods import title
from visualization import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = {
    "deletion_auc_mean": "Deletion AUC\nlower is better",
    "insertion_auc": "Insertion AUC\nhigher is better",
    "road": "ROAD\nhigher is better",
    "nucleus_mass": "Share inside nuclei\ndotted: a flat map",
    "pointing_game": "Highest place in a nucleus",
    "randomisation": "Correlation with untrained\nfrom the dotted line on: fails",
}
CURVES = {
    "deletion": ("Pixels removed, highest first", "Probability"),
    "insertion": ("Pixels restored, highest first", "Probability"),
    "randomisation": ("Layers without weights, last first", "Correlation"),
}
ACROSS = 3


@dataclass
class FaithfulnessDisplay:
    """Store the measures of a run's heatmaps and draw them on demand.

    Attributes:
        rows: of `faithfulness_tables.read`, in the order of the table.
        curves: of `faithfulness_tables.read_curves`; empty in runs from before there were any.
    """

    rows: list[dict[str, Any]]
    curves: dict[tuple[str, str], tuple[list[float], list[float]]]
    axes_: Any = field(default=None, repr=False)

    @classmethod
    def from_run(cls, run: Run) -> Self:
        """Read the files of a run.

        Raises:
            LeukoBenchError: faithfulness.csv is missing or damaged.
        """
        rows = faithfulness_tables.order(faithfulness_tables.read(run))
        return cls(rows, faithfulness_tables.read_curves(run))

    @property
    def measures(self) -> list[str]:
        """Measures that any row has."""
        return [key for key in BARS if any(row[key] is not None for row in self.rows)]

    def plot_bars(self, measure: str, *, ax: "Axes | None" = None) -> Self:
        """Draw one measure of every method, best method on top, baselines grey and hatched."""
        ax = ax or style.new(3.6, 2.4).subplots()
        with style.look():
            for place, row in enumerate(self.rows):
                value = row[measure]
                if value is None:
                    ax.text(0, place, " none", va="center", fontsize=8, color=style.GREY)
                    continue
                ax.barh(place, value, 0.7, color=self._colour(place), hatch=self._hatch(place), edgecolor="white")
                if measure == "deletion_auc_mean":
                    ax.errorbar(value, place, xerr=[[value - row["low"]], [row["high"] - value]], color="black")
                ax.text(1.02, place, f"{value:.3f}", transform=ax.get_yaxis_transform(), va="center", fontsize=8)
            line = {"nucleus_mass": self.rows[0]["nucleus_area"], "randomisation": SAME}.get(measure)
            if line is not None:
                ax.axvline(line, color="black", linestyle=":", linewidth=1.2)
            ax.axvline(0, color=style.GREY, linewidth=0.8)
            ax.set_yticks(range(len(self.rows)), [title(row["method"]) for row in self.rows])
            ax.set_ylim(len(self.rows) - 0.5, -0.5)
            ax.tick_params(axis="y", length=0)
            ax.set_title(BARS[measure])
            ax.grid(True, axis="x")
        self.axes_ = ax
        return self

    def plot_curves(self, curve: str, *, ax: "Axes | None" = None) -> Self:
        """Draw one curve of every method."""
        ax = ax or style.new(3.6, 2.4).subplots()
        with style.look():
            for place, row in enumerate(self.rows):
                shares, values = self.curves.get((row["method"], curve), ([], []))
                ax.plot(
                    shares, values, color=self._colour(place), label=title(row["method"]),
                    linestyle=":" if row["method"] in BASELINES else "-",
                    marker=style.marker(place), markersize=4, markevery=max(1, len(shares) // 7),
                )  # fmt: skip
            across, up = CURVES[curve]
            ax.set_xlabel(across)
            ax.set_ylabel(up)
            ax.set_title(curve.capitalize())
            ax.grid(True)
        self.axes_ = ax
        return self

    def _colour(self, place: int) -> str:
        return style.GREY if self.rows[place]["method"] in BASELINES else style.colour(place)

    def _hatch(self, place: int) -> str:
        method = self.rows[place]["method"]
        return style.HATCHES[1 + BASELINES.index(method)] if method in BASELINES else ""


def figure(run: Run) -> "Figure":
    """Draw all measures of a run, and the curves where there are any."""
    display = FaithfulnessDisplay.from_run(run)
    curves = [name for name in CURVES if any(key[1] == name for key in display.curves)]
    bars = display.measures
    lines = -(-len(bars) // ACROSS)
    heights = [0.24 * len(display.rows) + 0.9] * lines + [2.7] * bool(curves)
    drawn = style.new(11, sum(heights) + 1.2)
    with style.look():
        grid = drawn.subplots(len(heights), ACROSS, squeeze=False, height_ratios=heights)
        for place, axes in enumerate(grid.flat):
            if place < len(bars):
                display.plot_bars(bars[place], ax=axes)
            elif lines * ACROSS <= place < lines * ACROSS + len(curves):
                display.plot_curves(curves[place - lines * ACROSS], ax=axes)
            else:
                axes.set_axis_off()
        if curves:
            labels = grid[-1][0].get_legend_handles_labels()
            drawn.legend(*labels, loc="outside lower center", ncols=len(display.rows))
    about = f"{run.config()['dataset']}, {display.rows[0]['images']:,.0f} test images. {style.NOTICE}"
    style.head(drawn, f"Are the heatmaps of {run.label()} worth anything?", about)
    return drawn


def draw(run: Run) -> Path:
    """Draw the measures of a run into its figures and return the path.

    Raises:
        LeukoBenchError: faithfulness.csv is missing or damaged, or the folder cannot be written.
    """
    return style.save(figure(run), run.file(artifacts.FIGURES) / "faithfulness.png")
