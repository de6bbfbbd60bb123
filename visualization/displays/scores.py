"""Scores of all models: accuracy with its interval, grouped bars, radar chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, pi
from typing import TYPE_CHECKING, Self

from visualization import style
from visualization.compared_runs import Subject
from visualization.displays.display import Display, draw_share, set_rows, write_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision_macro": "Macro precision",
    "recall_macro": "Macro recall",
    "f1_macro": "Macro F1",
    "auc_ovr_macro": "Macro AUC",
}


@dataclass
class ScoresDisplay(Display):
    """Store the scores of all models and draw them on demand.

    Attributes:
        names: of the models.
        values: one dict per model with the keys of METRICS; None where a score is not defined.
        intervals: 95 % Wilson interval of each accuracy.
    """

    names: list[str]
    values: list[dict[str, float | None]]
    intervals: list[tuple[float, float]]

    @classmethod
    def from_subjects(cls, subjects: Sequence[Subject]) -> Self:
        """Take the scores of a comparison's rows."""
        values = [{key: s.row[key] for key in METRICS} for s in subjects]
        return cls(
            [s.name for s in subjects], values, [(s.row["accuracy_low"], s.row["accuracy_high"]) for s in subjects]
        )

    @property
    def floor(self) -> float:
        """Lower end of the enlarged scale: the lowest score, rounded down to a tenth, at most 0.9."""
        lowest = min((v for row in self.values for v in row.values() if v is not None), default=0)
        return max(0.0, min(0.9, floor(lowest * 10 - 0.2) / 10))

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw bars grouped by metric, with the interval of the accuracy."""
        count = len(self.names)
        width = 0.84 / count
        with self._canvas(ax, max(7.5, 0.22 * count * len(METRICS) + 2), 4) as ax:
            for i, (name, row) in enumerate(zip(self.names, self.values, strict=True)):
                places = [k - 0.42 + (i + 0.5) * width for k in range(len(METRICS))]
                heights = [row[key] for key in METRICS]
                ax.bar(
                    places,
                    [value or 0 for value in heights],
                    width * 0.92,
                    color=style.colour(i),
                    hatch=style.hatch(i),
                    edgecolor="white",
                    linewidth=0,
                    label=style.short(name, 36),
                )
                low, high = self.intervals[i]
                value = row["accuracy"]
                ax.errorbar(
                    places[0], value, [[value - low], [high - value]], color="black", elinewidth=1.1, capsize=2.5
                )
                for place, value, key in zip(places, heights, METRICS, strict=True):
                    if value is None:
                        ax.text(place, 0.01, "not defined", rotation=90, ha="center", va="bottom", fontsize=7.5)
                    elif count <= 4:
                        top = high if key == "accuracy" else value
                        ax.text(place, top + 0.012, f"{100 * value:.1f}", ha="center", va="bottom", fontsize=8)
            ax.set_xticks(range(len(METRICS)), [style.wrap(text, 12) for text in METRICS.values()])
            ax.tick_params(axis="x", length=0)
            ax.set_ylim(0, 1.06 if count <= 4 else 1.01)
            ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
            ax.set_ylabel("Score (numbers: percent)" if count <= 4 else "Score")
            ax.grid(True, axis="y")
        return self

    def plot_accuracy(self, *, ax: "Axes | None" = None) -> Self:
        """Draw each accuracy as a point with its interval, on an enlarged scale."""
        with self._canvas(ax, 7.5, 0.36 * len(self.names) + 1.4) as ax:
            for i, (row, (low, high)) in enumerate(zip(self.values, self.intervals, strict=True)):
                value = row["accuracy"]
                draw_share(ax, i, value, low, high, i, markersize=8, capsize=4, elinewidth=1.8)
                write_beside(ax, i, f"{100 * value:.2f}  ({100 * low:.1f}–{100 * high:.1f})")
            set_rows(ax, [style.wrap(name, 30) for name in self.names])
            ax.set_xlim(None, min(100.4, ax.get_xlim()[1]))
            ax.set_xlabel("Accuracy in percent, with its 95 % Wilson interval")
            ax.grid(True, axis="x")
        return self

    def plot_radar(self, *, ax: "Axes | None" = None) -> Self:
        """Draw one closed line for each model over the metrics that all models have; the centre is `floor`."""
        keys = [key for key in METRICS if all(row[key] is not None for row in self.values)]
        angles = [2 * pi * k / len(keys) for k in range(len(keys))]
        with self._canvas(ax, 6, 5, subplot_kw={"projection": "polar"}) as ax:
            ax.set_theta_offset(pi / 2)
            ax.set_theta_direction(-1)
            for i, (name, row) in enumerate(zip(self.names, self.values, strict=True)):
                ring = [row[key] for key in keys]
                ax.plot(
                    [*angles, angles[0]],
                    [*ring, ring[0]],
                    color=style.colour(i),
                    linestyle=style.line(i),
                    marker=style.marker(i),
                    markersize=4.5,
                    linewidth=1.7,
                    label=style.short(name, 36),
                    clip_on=False,
                )
                if len(self.names) <= 3:
                    ax.fill(angles, ring, color=style.colour(i), alpha=0.08)
            ax.set_xticks(angles, [style.wrap(METRICS[key], 12) for key in keys])
            ax.tick_params(axis="x", pad=12)
            ax.set_ylim(self.floor, 1)
            steps = [self.floor + k * (1 - self.floor) / 4 for k in range(1, 5)]
            ax.set_yticks(steps, [f"{step:.3g}" for step in steps], fontsize=8, color=style.GREY)
            ax.set_rlabel_position(180 / len(keys))
            ax.grid(True, color="#c4c4c4")
            ax.spines["polar"].set_visible(False)
        return self


def draw_bars(subjects: Sequence[Subject], about: str) -> "Figure":
    """Draw grouped metric bars."""
    width = max(8, 0.16 * len(subjects) * len(METRICS) + 1)
    across = style.legend_columns([style.short(s.name, 36) for s in subjects], width, 4)
    height, title = (
        4.6 + 0.2 * (len(subjects) // across),
        "Scores on the test images, with the interval of the accuracy",
    )
    return ScoresDisplay.from_subjects(subjects).figure(width, height, title, about, legend=across)


def draw_accuracy(subjects: Sequence[Subject], about: str) -> "Figure":
    """Draw the accuracies with their intervals on an enlarged scale."""
    figure = style.new_figure(8.6, 0.38 * len(subjects) + 2.0)
    with style.applied():
        ScoresDisplay.from_subjects(subjects).plot_accuracy(ax=figure.subplots())
    style.set_heading(figure, "Accuracy with its 95 % interval", about)
    return figure


def draw_radar(subjects: Sequence[Subject], about: str) -> "Figure":
    """Draw the radar chart of all models."""
    across = style.legend_columns([style.short(s.name, 36) for s in subjects], 7.4, 3)
    figure = style.new_figure(7.4, 6.0 + 0.24 * style.grid(len(subjects), across)[0])
    display = ScoresDisplay.from_subjects(subjects)
    with style.applied():
        display.plot_radar(ax=figure.subplots(subplot_kw={"projection": "polar"}))
        figure.legend(loc="outside lower center", ncols=across)
    style.set_heading(figure, f"Scores as a radar chart, centre at {display.floor:g}", about)
    return figure
