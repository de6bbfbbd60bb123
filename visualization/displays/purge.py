"""Purge curves: accuracy against the embargo, beside as many training images removed at random."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from data.auditing.purge import Curve
from visualization import style
from visualization.displays.display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass
class PurgeDisplay(Display):
    """Store a purge curve and draw it on demand."""

    curve: Curve

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw both accuracies in percent over the embargo, and the accuracy on folds that were dealt by image."""
        embargoes = [point.embargo for point in self.curve.points]
        with self._canvas(ax, 6.4, 4) as ax:
            ax.axhline(100 * self.curve.by_image, color=style.GREY, linestyle=":", label="folds by image")
            lines = (("as many removed at random", "control"), ("neighbours removed", "purged"))
            for index, (label, name) in enumerate(lines):
                values = [100 * getattr(point, name) for point in self.curve.points]
                look = {"color": style.colour(index), "marker": style.marker(index), "linestyle": style.line(index)}
                ax.plot(embargoes, values, label=label, **look)
            ax.set_xlabel("Embargo in file numbers on each side of a test block")
            ax.set_ylabel("Accuracy in percent")
            ax.grid(True)
        return self


def save(curve: Curve, path: Path) -> Path:
    """Draw a curve and return the path of the file."""
    title = f"What neighbours by number give away: {curve.features}"
    about = f"{curve.dataset}, {curve.images:,} images, {curve.folds} blocks of each class. {style.NOTICE}"
    return style.save(PurgeDisplay(curve).figure(7, 4.8, title, about, legend=3), path)
