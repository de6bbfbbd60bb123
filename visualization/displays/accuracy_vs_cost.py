"""Accuracy against the time of a prediction and of the training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from visualization import label_placement, style
from visualization.compared_runs import Subject
from visualization.displays.display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COSTS = {
    "latency_ms_p50": ("Milliseconds for one image (median, logarithmic)", "Accuracy against latency"),
    "training_seconds": ("Seconds of training (logarithmic)", "Accuracy against training time"),
}


NAMED = 12  # most models that are labelled beside their markers; more are listed in a legend


@dataclass
class TradeoffDisplay(Display):
    """Store accuracy and one cost of every model and draw them on demand.

    Attributes:
        costs: positive numbers; a model without one is listed in `left_out`.
        accuracies: shares in 0..1.
        intervals: 95 % Wilson interval of each.
        indices: position of each model in the comparison.
    """

    cost: str
    names: list[str]
    costs: list[float]
    accuracies: list[float]
    intervals: list[tuple[float, float]]
    indices: list[int]
    left_out: list[str]

    @classmethod
    def from_subjects(cls, subjects: Sequence[Subject], cost: str) -> Self:
        """Take a column of a comparison's rows, one of COSTS."""
        known = [s for s in subjects if (s.row[cost] or 0) > 0]
        return cls(
            cost,
            [s.name for s in known],
            [s.row[cost] for s in known],
            [s.row["accuracy"] for s in known],
            [(s.row["accuracy_low"], s.row["accuracy_high"]) for s in known],
            [s.index for s in known],
            [s.name for s in subjects if s not in known],
        )

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw one labelled point for each model."""
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        label, title = COSTS[self.cost]
        with self._canvas(ax, 6, 4.4) as ax:
            ax.set_title(title)
            ax.set_xlabel(label)
            ax.set_ylabel("Accuracy in percent")
            if not self.names:
                ax.text(0.5, 0.5, "not measured in any run", ha="center", va="center", transform=ax.transAxes)
                ax.set_xticks([])
                ax.set_yticks([])
                return self
            ax.set_xscale("log")
            for i, name, cost, value, (low, high) in zip(
                self.indices, self.names, self.costs, self.accuracies, self.intervals, strict=True
            ):
                ax.errorbar(
                    cost,
                    100 * value,
                    [[100 * (value - low)], [100 * (high - value)]],
                    color=style.colour(i),
                    marker=style.marker(i),
                    markersize=8,
                    elinewidth=0.9,
                    capsize=2,
                    alpha=0.95,
                    label=style.short(name, 36),
                )
            low, high = min(self.costs), max(self.costs)
            ax.set_xlim(low / max(1.8, (high / low) ** 0.14), high * max(2.2, (high / low) ** 0.22))
            ax.margins(y=0.12)
            decades = ax.get_xlim()[1] / ax.get_xlim()[0]
            steps = (1, 2, 3, 5, 7) if decades < 10 else (1, 2, 5) if decades < 200 else (1,)
            ax.xaxis.set_major_locator(LogLocator(subs=steps))
            ax.xaxis.set_major_formatter(FuncFormatter(style.plain_number))
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.grid(True)
        return self

    def name_points(self) -> None:
        """Write the labels beside the points; call it once the figure has its final size."""
        points = [(cost, 100 * value) for cost, value in zip(self.costs, self.accuracies, strict=True)]
        spans = [(100 * low, 100 * high) for low, high in self.intervals]
        label_placement.label_points(self.axes_, points, [style.short(name, 34) for name in self.names], spans)


def draw(subjects: Sequence[Subject], about: str) -> "Figure":
    """Draw accuracy against latency and against training time."""
    many, names = len(subjects) > NAMED, [style.short(s.name, 36) for s in subjects]
    across = style.legend_columns(names, 7.2, 3)
    below = 0.22 * style.grid(len(subjects), across)[0] if many else 0
    figure = style.new_figure(7.2, (8.6 if len(subjects) > 6 else 7.6) + below)
    with style.applied():
        displays = [
            TradeoffDisplay.from_subjects(subjects, cost).plot(ax=axes)
            for cost, axes in zip(COSTS, figure.subplots(2, 1), strict=True)
        ]
        if many:
            handles = {n: h for d in displays for h, n in zip(*d.axes_.get_legend_handles_labels(), strict=True)}
            figure.legend(handles.values(), handles, loc="outside lower center", ncols=across)
    style.set_heading(figure, "Accuracy against cost", about)
    for display in displays if not many else ():
        display.name_points()
    return figure
