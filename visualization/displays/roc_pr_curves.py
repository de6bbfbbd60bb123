"""ROC and precision-recall curves, each class against the rest."""

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

GRID = 501  # points of a macro-averaged curve


@dataclass
class ThresholdDisplay(Display):
    """Store one-versus-rest ROC or precision-recall curves of one model and draw them on demand.

    Attributes:
        kind: "roc" (x: false positive rate, y: true positive rate) or "pr" (x: recall, y: precision).
        classes: class names in order.
        curves: (x, y) of each class; None for a class of all or none of the images.
        areas: area under each curve (ROC AUC, or average precision); None likewise.
        macro: (x, y), mean of the classes' curves at equal x.
    """

    kind: str
    classes: Sequence[str]
    curves: "list[tuple[np.ndarray, np.ndarray] | None]"
    areas: list[float | None]
    macro: "tuple[np.ndarray, np.ndarray] | None"
    title: str = ""

    @classmethod
    def from_predictions(cls, table: "pd.DataFrame", kind: str = "roc", title: str = "") -> Self:
        """Compute the curves of a table of predictions."""
        import numpy as np
        from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

        names, truth, probabilities = predictions.arrays(table)
        curves: list[tuple[np.ndarray, np.ndarray] | None] = []
        areas: list[float | None] = []
        for k in range(len(names)):
            here, score = truth == k, probabilities[:, k]
            if here.all() or not here.any():
                curves.append(None)
                areas.append(None)
            elif kind == "roc":
                x, y, _ = roc_curve(here, score)
                curves.append((x, y))
                areas.append(float(roc_auc_score(here, score)))
            else:
                precision, recall, _ = precision_recall_curve(here, score)
                curves.append((recall[::-1], precision[::-1]))
                areas.append(float(average_precision_score(here, score)))
        known = [curve for curve in curves if curve is not None]
        at = np.linspace(0, 1, GRID)
        macro = (at, np.mean([np.interp(at, x, y) for x, y in known], axis=0)) if known else None
        return cls(kind, names, curves, areas, macro, title)

    @classmethod
    def from_run(cls, run: Run, kind: str = "roc", subset: str = "test") -> Self:
        """Compute the curves of a run's "test" or "val" images."""
        return cls.from_predictions(run.predictions(subset), kind, run.model)

    @property
    def area(self) -> float | None:
        """Mean area over the classes; None where no class has one."""
        known = [area for area in self.areas if area is not None]
        return sum(known) / len(known) if known else None

    def plot(self, *, ax: "Axes | None" = None, name: str | None = None, index: int = 0, label: str = "") -> Self:
        """Draw the curve of class `name`, or the macro curve, in the colour and line of the i-th model."""
        curve = self.macro if name is None else self.curves[list(self.classes).index(name)]
        with self._canvas(ax, 4.6, 4.4) as ax:
            if curve is not None:
                stepped = "default" if self.kind == "roc" or name is None else "steps-pre"
                ax.plot(
                    *curve,
                    color=style.colour(index),
                    linestyle=style.line(index),
                    linewidth=1.8,
                    label=label or self.title,
                    drawstyle=stepped,
                    clip_on=False,
                )
            ax.set_aspect("equal")
            ax.set_xlim(0, 1)
            ax.set_ylim(0, 1)
            ax.grid(True)
        return self


def draw(subjects: Sequence[Subject], about: str, kind: str) -> "Figure":
    """Draw "roc" or "pr" curves of all models: the macro curve, its corner enlarged, and a panel for each class."""
    displays = [ThresholdDisplay.from_predictions(s.table, kind, s.name) for s in subjects]
    classes = displays[0].classes
    rows, columns = style.grid(len(classes) + 2, 3 if len(classes) <= 7 else 4)
    area = "AUC" if kind == "roc" else "AP"
    xlabel, ylabel = ("False positive rate", "True positive rate") if kind == "roc" else ("Recall", "Precision")
    width = 2.9 * columns + 0.4
    labels = [f"{style.short(d.title, 36)}, {area} {'-' if d.area is None else f'{d.area:.4f}'}" for d in displays]
    across = style.legend_columns(labels, width, 3)
    bottom = 0.5 + 0.22 * style.grid(len(displays), across)[0]
    figure = style.new_figure(width, 3.0 * rows + 0.9 + bottom)
    with style.applied():
        cells = iter(figure.subplots(rows, columns, squeeze=False).flat)
        for title, name, corner in [
            ("Mean of the classes", None, False),
            ("The same, enlarged", None, True),
            *((c, c, False) for c in classes),
        ]:
            axes = next(cells)
            for index, display in enumerate(displays):
                display.plot(ax=axes, name=name, index=index, label=labels[index])
            axes.set_title(style.wrap(title, 26))
            if not axes.lines:
                axes.text(0.5, 0.5, "no such image\nin the test set", ha="center", va="center", color=style.GREY)
            if corner:
                for drawn in axes.lines:
                    drawn.set_clip_on(True)
                axes.set_xlim(*((0, 0.2) if kind == "roc" else (0.8, 1)))
                axes.set_ylim(0.8, 1.005)
            elif kind == "roc":
                axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=0.9, linestyle=":", zorder=1)
        for axes in cells:
            axes.set_axis_off()
        for k, axes in enumerate(figure.axes):
            axes.set_xlabel(xlabel)
            axes.set_ylabel(ylabel if k % columns == 0 else "")
        handles, names = figure.axes[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, names, loc="outside lower center", ncols=across)
    kindly = "ROC" if kind == "roc" else "Precision-recall"
    style.set_heading(figure, f"{kindly} curves, each class against the rest", about)
    return figure
