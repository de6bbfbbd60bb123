"""Base class of all Displays."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from visualization import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Display:
    """Numbers of one plot, drawn on demand, in the manner of scikit-learn's Displays.

    Attributes:
        axes_: axes of the last drawing; None before the first one.
    """

    axes_: "Axes | None" = None

    @contextmanager
    def _canvas(self, ax: "Axes | None", width: float = 6, height: float = 4, **subplots: Any) -> "Iterator[Axes]":
        """Set the project's style and yield the axes to draw on: `ax`, or those of a new figure of this size in inches.

        Args:
            ax: axes to draw on; None makes a figure.
            width, height: of a new figure.
            subplots: arguments of `Figure.subplots` for a new figure.
        """
        with style.applied():
            self.axes_ = ax if ax is not None else style.new_figure(width, height).subplots(**subplots)
            yield self.axes_

    def figure(self, width: float, height: float, title: str, about: str, legend: int = 0) -> "Figure":
        """Return a figure with this plot and a heading, and a legend with `legend` columns below if not 0."""
        figure = style.new_figure(width, height)
        with style.applied():
            self.plot(ax=figure.subplots())
            if legend:
                figure.legend(loc="outside lower center", ncols=legend)
        style.set_heading(figure, title, about)
        return figure


def set_rows(ax: "Axes", names: Sequence[str], **options: Any) -> None:
    """Label the rows of a horizontal plot, the first row at the top."""
    ax.set_yticks(range(len(names)), names, **options)
    ax.set_ylim(len(names) - 0.5, -0.5)


def draw_share(ax: "Axes", y: float, value: float, low: float, high: float, index: int, **options: Any) -> None:
    """Draw a share with its interval in percent, in the colour and marker of the i-th model."""
    reach = [[100 * (value - low)], [100 * (high - value)]]
    ax.errorbar(100 * value, y, xerr=reach, color=style.colour(index), marker=style.marker(index), **options)


def write_beside(ax: "Axes", y: float, text: str, fontsize: float = 9) -> None:
    """Write a text to the right of the axes, at the height of a row."""
    ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=fontsize)
