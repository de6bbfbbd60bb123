"""Which models cannot be told apart: accuracies in order, and a bar beside each set of models without a difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from utils.tables.significance import Standing
from visualization import style
from visualization.displays.display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass
class SignificanceDisplay(Display):
    """Store the standings of models, best first, and draw them on demand."""

    standings: Sequence[Standing]

    @property
    def sets(self) -> list[list[int]]:
        """Places of the models of each set that cannot be told apart."""
        count = max(max(each.groups) for each in self.standings) + 1
        return [[k for k, each in enumerate(self.standings) if group in each.groups] for group in range(count)]

    def plot(self, *, ax: "Axes | None" = None, bars: "Axes | None" = None) -> Self:
        """Draw accuracies with their intervals over groups, and beside them one bar a set with a dot at each member."""
        count = len(self.standings)
        if ax is None or bars is None:
            ax, bars = style.new(9, 0.4 * count + 1.4).subplots(1, 2, sharey=True, width_ratios=(3, 1))
        with self._canvas(ax) as ax:
            for k, each in enumerate(self.standings):
                value = each.row["accuracy"]
                known = each.low is not None and each.high is not None
                reach = [[100 * (value - each.low)], [100 * (each.high - value)]] if known else None
                ax.errorbar(
                    100 * value, k, xerr=reach, color=style.colour(k), marker=style.marker(k), markersize=7,
                    capsize=3, elinewidth=1.5,
                )  # fmt: skip
            ax.set_yticks(range(count), [style.wrap(each.row["name"], 34) for each in self.standings])
            ax.set_ylim(count - 0.5, -0.5)
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
            bars.set_xlabel("Models with a dot\non one bar cannot\nbe told apart")
        return self


def draw(standings: Sequence[Standing], about: str) -> "Figure":
    """Draw models that were compared pair by pair, as `statistics_tables.standings` has them."""
    display = SignificanceDisplay(standings)
    figure = style.new(8.6 + 0.18 * len(display.sets), 0.4 * len(standings) + 2.2)
    with style.look():
        ax, bars = figure.subplots(1, 2, sharey=True, width_ratios=(3, 0.6 + 0.14 * len(display.sets)))
        display.plot(ax=ax, bars=bars)
    style.head(figure, "Which models can be told apart? Exact McNemar tests of all pairs, corrected by Holm", about)
    return figure
