"""Confusion matrices of one model, and of all models side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from utils.metrics import predictions
from utils.runs.run_folder import Run
from visualization import style
from visualization.compared_runs import Subject
from visualization.displays.display import Display

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass
class ConfusionDisplay(Display):
    """Store a confusion matrix and draw it on demand.

    Attributes:
        matrix: (classes, classes) counts; rows are true classes, columns predicted ones.
        classes: class names in that order.
        title: name of the model.
    """

    matrix: "np.ndarray"
    classes: Sequence[str]
    title: str = ""

    @classmethod
    def from_predictions(cls, table: "pd.DataFrame", title: str = "") -> Self:
        """Count a table of predictions."""
        return cls(predictions.confusion(table), predictions.class_names(table), title)

    @classmethod
    def from_run(cls, run: Run, subset: str = "test") -> Self:
        """Count the predictions of a run on "test" or "val"."""
        return cls.from_predictions(run.predictions(subset), run.label())

    @property
    def shares(self) -> "np.ndarray":
        """(classes, classes) shares of each true class, rows sum to 1; NaN where a class has no image."""
        import numpy as np

        support = self.matrix.sum(axis=1, keepdims=True)
        return np.divide(self.matrix, support, out=np.full(self.matrix.shape, np.nan), where=support > 0)

    def plot(
        self, *, ax: "Axes | None" = None, normalised: bool = False, support: bool = True, letters: float = 0
    ) -> Self:
        """Draw the matrix.

        Args:
            ax: where to draw; None makes a figure.
            normalised: show percent of the true class instead of counts.
            support: write the number of images of each true class.
            letters: font size of the numbers in points; 0 chooses one that fits the number of classes.
        """
        import numpy as np
        import seaborn as sns

        count = len(self.classes)
        side = max(4.2, 0.58 * count + 2.2)
        shares = self.shares
        values = shares if normalised else self.matrix
        size = letters or (13 if count <= 5 else 10.5 if count <= 8 else 9.5)
        texts = [[self._text(i, j, normalised) for j in range(count)] for i in range(count)]
        names = [style.wrap(name, 18) if count <= 6 else style.short(name, 24) for name in self.classes]
        ticks = 10 if count <= 8 else 8.5
        with self._canvas(ax, side, side - 0.3) as ax:
            sns.heatmap(
                # The colour is always the share of the true class, in both forms.
                np.nan_to_num(shares),
                annot=np.array(texts, dtype=object),
                fmt="",
                cmap=style.MATRIX_COLOURS,
                vmin=0,
                vmax=1,
                cbar=False,
                square=True,
                ax=ax,
                linewidths=0.6,
                linecolor="white",
                annot_kws={"fontsize": size},
                xticklabels=names,
                yticklabels=False,
            )
            turn = count > 6 or any(len(name) > 9 for name in self.classes)
            ax.set_xticks(
                np.arange(count) + 0.5,
                names,
                rotation=45 if turn else 0,
                ha="right" if turn else "center",
                rotation_mode="anchor" if turn else "default",
                fontsize=ticks,
            )
            rows = self.matrix.sum(axis=1)
            labels = [f"{name}\n(n = {n:,})" if support else name for name, n in zip(names, rows, strict=True)]
            if count > 8:
                labels = [f"{name} ({n:,})" if support else name for name, n in zip(names, rows, strict=True)]
            ax.set_yticks(np.arange(count) + 0.5, labels, rotation=0, fontsize=ticks)
            ax.tick_params(length=0)
            ax.set_xlabel("Predicted class")
            ax.set_ylabel("True class")
            for i in np.flatnonzero(np.isnan(values).any(axis=1) | (rows == 0)):
                ax.axhspan(i, i + 1, color="#f2f2f2", zorder=1.5)
        return self

    def _text(self, i: int, j: int, normalised: bool) -> str:
        count, row = self.matrix[i, j], self.matrix[i].sum()
        if not row:
            return "–"
        if not count and len(self.classes) > 8:
            return ""  # zeros would hide the other numbers
        if not normalised:
            return f"{count:,}"
        share = 100 * count / row
        return f"{share:.1f}" if len(self.classes) <= 5 else f"{share:.0f}" if share >= 1 or not count else "<1"


def draw(display: ConfusionDisplay, about: str) -> "Figure":
    """Draw counts and percent of one model: side by side, or stacked where there are many classes."""
    count = len(display.classes)
    long = max(len(name) for name in display.classes)
    side = max(3.6, 0.52 * count + 1.2) + min(long, 18) * 0.06
    stacked = count > 7
    figure = style.new_figure(side + 0.9, 2 * side + 1.2) if stacked else style.new_figure(2 * side + 1.2, side + 1.1)
    with style.applied():
        for axes, normalised in zip(figure.subplots(*((2, 1) if stacked else (1, 2))), (False, True), strict=True):
            display.plot(ax=axes, normalised=normalised)
            axes.set_title("Percent of the true class" if normalised else "Number of images")
    style.set_heading(figure, f"Confusion matrix of {display.title}", about)
    return figure


def draw_together(subjects: Sequence[Subject], about: str) -> "Figure":
    """Draw the row-normalised matrices of all models side by side."""
    displays = [ConfusionDisplay.from_predictions(s.table, s.name) for s in subjects]
    count = len(displays[0].classes)
    rows, columns = style.grid(len(displays), 4 if count <= 6 else 3)
    side = max(2.7, 0.3 * count)
    names = min(18 if count <= 6 else 24, max(len(name) for name in displays[0].classes)) * 0.075
    figure = style.new_figure(columns * side + names + 0.5, rows * (side + 0.2) + (names if names > 0.7 else 0.1) + 1.1)
    with style.applied():
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for index, axes in enumerate(grid.flat):
            if index >= len(displays):
                axes.set_axis_off()
                continue
            displays[index].plot(ax=axes, normalised=True, support=False, letters=9.5 if count <= 5 else 6.5)
            axes.set_title(style.wrap(displays[index].title, 28), fontsize=10)
            axes.set_xlabel("")
            axes.set_ylabel("")
            lowest = index + columns >= len(displays)
            axes.tick_params(labelleft=index % columns == 0, labelbottom=lowest)
        figure.supxlabel("Predicted class", fontsize=10)
        figure.supylabel("True class", fontsize=10)
    style.set_heading(figure, "Percent of each true class, all models", about)
    return figure
