"""Base class of all Displays."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from visualization import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
