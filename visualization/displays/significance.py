"""Significance of differences: accuracies in order, and a bar for each set of models without a significant one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from utils.tables.significance import Standing
from visualization import style
from visualization.displays.display import Display, draw_share, set_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass
class SignificanceDisplay(Display):
    """Store the standings of models, best first, and draw them on demand."""

    standings: Sequence[Standing]

    @property
    def sets(self) -> list[list[int]]:
        """Positions of the models in each set without a significant difference."""
        count = max(max(each.groups) for each in self.standings) + 1
        return [[k for k, each in enumerate(self.standings) if group in each.groups] for group in range(count)]

    def plot(self, *, ax: "Axes | None" = None, bars: "Axes | None" = None) -> Self:
        """Draw accuracies with their intervals over groups, and one bar for each set with a dot at each member."""
        count = len(self.standings)
        if ax is None or bars is None:
            ax, bars = style.new_figure(9, 0.4 * count + 1.4).subplots(1, 2, sharey=True, width_ratios=(3, 1))
        with self._canvas(ax) as ax:
            for k, each in enumerate(self.standings):
                value, known = each.row["accuracy"], each.low is not None and each.high is not None
                low, high = (each.low, each.high) if known else (value, value)
                draw_share(ax, k, value, low, high, k, markersize=7, capsize=3 if known else 0, elinewidth=1.5)
            set_rows(ax, [style.wrap(each.row["name"], 34) for each in self.standings])
            ax.set_xlim(None, min(100.5, ax.get_xlim()[1]))
            ax.set_xlabel("Accuracy in percent, 95 % over groups")
            ax.grid(True)
            for x, members in enumerate(self.sets):
                bars.plot([x] * len(members), members, color="#333333", linewidth=2.6, marker="o", markersize=5.5)
            for k, each in enumerate(self.standings):
                bars.text(len(self.sets) - 0.3, k, each.letters, va="center", fontsize=9)
            bars.set_xlim(-0.7, len(self.sets) + 0.9)
            bars.set_xticks([])
            bars.tick_params(length=0, labelleft=False)
            bars.spines[:].set_visible(False)
            bars.grid(True, axis="y")
            bars.set_xlabel("Dots on one bar:\nno significant\ndifference")
        return self


def draw(standings: Sequence[Standing], about: str) -> "Figure":
    """Draw models that were compared pairwise, from `utils.tables.significance.standings`."""
    display = SignificanceDisplay(standings)
    figure = style.new_figure(8.6 + 0.18 * len(display.sets), 0.4 * len(standings) + 2.2)
    with style.applied():
        ax, bars = figure.subplots(1, 2, sharey=True, width_ratios=(3, 0.6 + 0.14 * len(display.sets)))
        display.plot(ax=ax, bars=bars)
    style.set_heading(figure, "Significant differences: exact tests over groups of all pairs, Holm-corrected", about)
    return figure
