"""Faithfulness of each heatmap method, with baselines that do not depend on the model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from utils.heatmap_methods import METHODS, title
from utils.runs import faithfulness_file, run_folder
from utils.runs.faithfulness_file import BASELINES
from utils.runs.run_folder import Run
from utils.tables import faithfulness as faithfulness_tables
from utils.tables.faithfulness import SAME, failed
from visualization import style
from visualization.compared_runs import about_run
from visualization.displays.display import Display, set_rows, write_beside

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
ORDER = (*METHODS, *BASELINES)  # sets the colour and marker of a method, equal in every figure


@dataclass
class FaithfulnessDisplay(Display):
    """Store the measures of a run's heatmaps and draw them on demand.

    Attributes:
        rows: of `faithfulness_file.read`, in the order of the table.
        curves: of `faithfulness_file.read_curves`; empty in older runs.
    """

    rows: list[dict[str, Any]]
    curves: dict[tuple[str, str], tuple[list[float], list[float]]]

    @classmethod
    def from_run(cls, run: Run) -> Self:
        """Read the files of a run.

        Raises:
            LeukoBenchError: faithfulness.csv is missing or damaged.
        """
        rows = faithfulness_tables.order(faithfulness_file.read(run))
        return cls(rows, faithfulness_file.read_curves(run))

    @property
    def measures(self) -> list[str]:
        """Measures with a value in at least one row."""
        return [key for key in BARS if any(row[key] is not None for row in self.rows)]

    def plot_bars(self, measure: str, *, ax: "Axes | None" = None) -> Self:
        """Draw one measure of every method, best method on top, baselines grey and hatched."""
        with self._canvas(ax, 3.6, 2.4) as ax:
            for place, row in enumerate(self.rows):
                value = row[measure]
                if value is None:
                    ax.text(0, place, " none", va="center", fontsize=8, color=style.GREY)
                    continue
                method = row["method"]
                ax.barh(place, value, 0.7, color=_colour(method), hatch=_hatch(method), edgecolor="white")
                if measure == "deletion_auc_mean":
                    ax.errorbar(value, place, xerr=[[value - row["low"]], [row["high"] - value]], color="black")
                write_beside(ax, place, f"{value:.3f}", fontsize=8)
            line = {"nucleus_mass": self.rows[0]["nucleus_area"], "randomisation": SAME}.get(measure)
            if line is not None:
                ax.axvline(line, color="black", linestyle=":", linewidth=1.2)
            ax.axvline(0, color=style.GREY, linewidth=0.8)
            set_rows(ax, [_name(row, "\n") for row in self.rows])
            ax.tick_params(axis="y", length=0)
            ax.set_title(BARS[measure])
            ax.grid(True, axis="x")
        return self

    def plot_curves(self, curve: str, *, ax: "Axes | None" = None) -> Self:
        """Draw one curve of every method."""
        with self._canvas(ax, 3.6, 2.4) as ax:
            for row in self.rows:
                method = row["method"]
                shares, values = self.curves.get((method, curve), ([], []))
                ax.plot(
                    shares,
                    values,
                    color=_colour(method),
                    label=_name(row, ", "),
                    linestyle=":" if method in BASELINES else "-",
                    marker=style.marker(_place(method)),
                    markersize=4,
                    markevery=max(1, len(shares) // 7),
                )
            across, up = CURVES[curve]
            ax.set_xlabel(across)
            ax.set_ylabel(up)
            ax.set_title(curve.capitalize())
            ax.grid(True)
        return self


def _place(method: str) -> int:
    return ORDER.index(method) if method in ORDER else len(ORDER)


def _colour(method: str) -> str:
    return style.GREY if method in BASELINES else style.colour(_place(method))


def _hatch(method: str) -> str:
    return style.HATCHES[1 + BASELINES.index(method)] if method in BASELINES else ""


def _name(row: dict[str, Any], joint: str) -> str:
    fails = failed(row) and row["method"] not in BASELINES  # they fail by design
    return title(row["method"]) + (f"{joint}fails the sanity check" if fails else "")


def figure(run: Run) -> "Figure":
    """Draw all measures of a run, and its curves if it has some."""
    display = FaithfulnessDisplay.from_run(run)
    curves = [name for name in CURVES if any(key[1] == name for key in display.curves)]
    bars = display.measures
    names = [_name(row, ", ") for row in display.rows]
    lines = -(-len(bars) // ACROSS)
    across = -(-len(bars) // lines)
    tall = sum(2 if "," in name else 1 for name in names)
    heights = [0.24 * tall + 0.9] * lines + [2.7] * -(-len(curves) // across)
    width = max(6.4, 3.2 * across + 1.4)
    drawn = style.new_figure(width, sum(heights) + 1.4)
    with style.applied():
        grid = drawn.subplots(len(heights), across, squeeze=False, height_ratios=heights)
        for place, axes in enumerate(grid[:lines].flat):
            if place < len(bars):
                display.plot_bars(bars[place], ax=axes)
                axes.tick_params(labelleft=place % across == 0)
            else:
                axes.set_axis_off()
        for place, axes in enumerate(grid[lines:].flat):
            if place < len(curves):
                display.plot_curves(curves[place], ax=axes)
            else:
                axes.set_axis_off()
        if curves:
            labels = grid[lines][0].get_legend_handles_labels()
            columns = style.legend_columns(names, width, len(names))
            drawn.legend(*labels, loc="outside lower center", ncols=columns)
    about = f"{about_run(run, int(display.rows[0]['images']))}. {style.NOTICE}"
    style.set_heading(drawn, f"Faithfulness of the heatmaps of {run.label()}", about)
    return drawn


def draw(run: Run) -> Path:
    """Draw the measures of a run into its figures and return the path.

    Raises:
        LeukoBenchError: faithfulness.csv is missing or damaged, or the folder cannot be written.
    """
    return style.save(figure(run), run.file(run_folder.FIGURES) / "faithfulness.png")
