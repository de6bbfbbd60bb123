"""F1 of every model and class, as a heatmap."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, Self

from visualization import style
from visualization.compared_runs import Subject
from visualization.displays.display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTERS = 30  # characters of a model's name in a line


@dataclass
class ClassScoresDisplay(Display):
    """Store the F1 of every model and class and draw it as a heatmap on demand.

    Attributes:
        values: one list per model, in class order; None where F1 is not defined.
        supports: test images of each class.
    """

    names: list[str]
    classes: list[str]
    supports: list[int]
    values: list[list[float | None]]

    @classmethod
    def from_subjects(cls, subjects: Sequence[Subject]) -> Self:
        """Take the F1 of a comparison's rows by class."""
        first = subjects[0].per_class
        values = [[row["f1"] for row in s.per_class] for s in subjects]
        return cls([s.name for s in subjects], [r["class"] for r in first], [r["support"] for r in first], values)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw models as rows and classes as columns; "–" where a class has no image and was never predicted."""
        import numpy as np
        import seaborn as sns

        shape = len(self.names), len(self.classes)
        values = np.array([[np.nan if v is None else v for v in row] for row in self.values], dtype=float)
        lowest = float(np.nanmin(values)) if np.isfinite(values).any() else 0
        low = max(0.0, min(0.9, floor(lowest * 10) / 10))
        with self._canvas(ax, 1.1 * shape[1] + 3, 0.5 * shape[0] + 2) as ax:
            sns.heatmap(
                values,
                annot=True,
                fmt=".3f" if shape[1] <= 8 else ".2f",
                cmap="viridis",
                vmin=low,
                vmax=1,
                ax=ax,
                linewidths=0.6,
                linecolor="white",
                annot_kws={"fontsize": 10 if shape[1] <= 8 else 9},
                cbar_kws={"label": f"F1, colours from {low:g} to 1", "fraction": 0.05, "pad": 0.02},
            )
            ax.set_facecolor("#f2f2f2")
            for i, k in np.argwhere(np.isnan(values)):
                ax.text(k + 0.5, i + 0.5, "–", ha="center", va="center")
            turn = shape[1] > 6
            heads = [f"{style.wrap(c, 14)}\n(n = {n:,})" for c, n in zip(self.classes, self.supports, strict=True)]
            if turn:
                heads = [f"{style.wrap(c, 20)} ({n:,})" for c, n in zip(self.classes, self.supports, strict=True)]
            ax.set_xticks(
                np.arange(shape[1]) + 0.5,
                heads,
                rotation=45 if turn else 0,
                ha="right" if turn else "center",
                rotation_mode="anchor" if turn else "default",
            )
            ax.set_yticks(np.arange(shape[0]) + 0.5, [style.wrap(name, LETTERS) for name in self.names], rotation=0)
            ax.tick_params(length=0)
        return self


def draw(subjects: Sequence[Subject], about: str) -> "Figure":
    """Draw the F1 of every model and class."""
    display = ClassScoresDisplay.from_subjects(subjects)
    long = min(LETTERS, max(len(name) for name in display.names)) * 0.09
    wide = (1.05 if len(display.classes) <= 6 else 0.72) * len(display.classes)
    lines = max(style.wrap(name, LETTERS).count("\n") + 1 for name in display.names)
    height = 2.5 + len(display.names) * max(0.45, 0.2 * lines)
    return display.figure(max(6, wide + long + 1.6), height, "F1 of every class", about)
