"""Ablation of the augmentations: test accuracy by setting, on the fly and with copies made beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from visualization import style
from visualization.displays.display import Display, draw_share, set_rows, write_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WAYS = ("without", "on the fly", "made beforehand")


@dataclass
class AblationDisplay(Display):
    """Store the accuracies of an ablation and draw them on demand.

    Attributes:
        settings: names, from top to bottom.
        points: (setting, way, mean accuracy, low, high, accuracy of each seed), shares in 0..1; low and high are the
            95 % Wilson interval of one run, or one standard deviation around the mean of several.
    """

    settings: list[str]
    points: list[tuple[str, str, float, float, float, list[float]]]

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]]) -> Self:
        """Take the rows of `utils.tables.ablation.rows`."""
        points = []
        for row in rows:
            way = "without" if row["setting"] == "none" else WAYS[2] if row["copies"] else WAYS[1]
            value = row["accuracy"]
            if row["accuracy_sd"] is None:
                low, high = row["accuracy_low"], row["accuracy_high"]
            else:
                low, high = value - row["accuracy_sd"], value + row["accuracy_sd"]
            seeds = [float(part) for part in row["accuracies"].split()]
            points.append((row["setting"], way, value, low, high, seeds))
        return cls(list(dict.fromkeys(row["setting"] for row in rows)), points)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw a point with its interval for each setting and way; dotted: accuracy without augmentation."""
        ways = [way for way in WAYS if any(point[1] == way for point in self.points)]
        with self._canvas(ax, 7.5, 0.7 * len(self.settings) + 1.4) as ax:
            for setting, way, value, low, high, seeds in self.points:
                pair = sum(point[0] == setting for point in self.points) > 1
                y = self.settings.index(setting) + (0.17 if way == WAYS[2] else -0.17) * pair
                k = WAYS.index(way)
                several = len(seeds) > 1
                cap = 0 if several else 4
                draw_share(ax, y, value, low, high, k, markersize=8, capsize=cap, elinewidth=1.8, linestyle="none")
                if several:
                    ax.plot([100 * each for each in seeds], [y] * len(seeds), "|", color="black", markersize=9)
                spread = f"± {100 * (high - value):.2f}" if several else f"({100 * low:.1f}–{100 * high:.1f})"
                write_beside(ax, y, f"{100 * value:.2f}  {spread}")
                if way == WAYS[0]:
                    ax.axvline(100 * value, color=style.GREY, linestyle=":", linewidth=1.2, zorder=0)
            for way in ways:
                k = WAYS.index(way)
                ax.plot([], [], color=style.colour(k), marker=style.marker(k), linestyle="none", label=way)
            set_rows(ax, self.settings)
            ax.set_xlim(None, min(100.4, ax.get_xlim()[1]))
            single = all(len(point[5]) == 1 for point in self.points)
            about = "with its 95 % Wilson interval" if single else "mean ± standard deviation; ticks: seeds"
            ax.set_xlabel(f"Test accuracy in percent, {about}")
            ax.grid(True, axis="x")
        return self


def figure(rows: Sequence[dict[str, Any]]) -> "Figure":
    """Draw an ablation with its legend and heading."""
    display = AblationDisplay.from_rows(rows)
    first = rows[0]
    about = f"{first['model']} on {first['dataset']}, {first['images']:,} test images. {style.NOTICE}"
    height = 0.62 * len(display.settings) + 2.4
    return display.figure(8.6, height, "Effect of each augmentation", about, legend=len(WAYS))


def draw(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Draw an ablation into a PNG file and return its path.

    Raises:
        LeukoBenchError: the file cannot be written.
    """
    return style.save(figure(rows), path)
