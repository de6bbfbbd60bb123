"""Training curves: accuracy and loss of training and validation images over the epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from utils.runs.run_folder import Run
from visualization import style
from visualization.compared_runs import Subject
from visualization.displays.display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, VALIDATION = style.SUBSET_COLOURS["train"], "#D55E00"


@dataclass
class TrainingDisplay(Display):
    """Store the history of a run and draw it on demand.

    Attributes:
        epochs: (n,) numbers from 1.
        values: "accuracy", "val_accuracy", "loss", "val_loss": n numbers each.
        phases: name of the phase of each epoch.
        best_epoch: epoch of the kept weights.
    """

    epochs: list[int]
    values: dict[str, list[float]]
    phases: list[str]
    best_epoch: int

    @classmethod
    def from_run(cls, run: Run) -> Self:
        """Read the history of a run, finished or not; the best epoch is recomputed where timing.json does not name it.

        Raises:
            LeukoBenchError: there is no finished epoch, or a file is damaged.
        """
        history = run.history()
        names = ("accuracy", "val_accuracy", "loss", "val_loss")
        values = {name: [row.get(name, float("nan")) for row in history] for name in names}
        epochs = [row["epoch"] for row in history]
        best = run.timing()["training"].get("best_epoch") if run.finished else None
        if best not in epochs:
            best = max(zip(values["val_accuracy"], (-e for e in epochs), strict=True))[1] * -1
        return cls(epochs, values, [row["phase"] for row in history], best)

    @property
    def boundaries(self) -> list[tuple[float, str]]:
        """Start of each later phase, half way between two epochs, and its name."""
        pairs = pairwise(zip(self.epochs, self.phases, strict=True))
        return [((before + after) / 2, name) for (before, old), (after, name) in pairs if old != name]

    def plot(self, *, ax: "Axes | None" = None, what: str = "accuracy") -> Self:
        """Draw "accuracy" or "loss" of training and validation images."""
        from matplotlib.ticker import MaxNLocator

        dots = "o" if len(self.epochs) <= 25 else None
        with self._canvas(ax, 5, 3.4) as ax:
            for key, colour, line, name in (
                (what, TRAIN, "-", "training"),
                (f"val_{what}", VALIDATION, "--", "validation"),
            ):
                ax.plot(self.epochs, self.values[key], line, color=colour, marker=dots, markersize=3.5, label=name)
            best = self.values[f"val_{what}"][self.epochs.index(self.best_epoch)]
            ax.plot([self.best_epoch], [best], color=VALIDATION, label="kept epoch", zorder=5, **style.STAR)
            ax.grid(True)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            ax.set_xlim(self.epochs[0] - 0.6, self.epochs[-1] + 0.6)
            for at, name in self.boundaries:
                ax.axvline(at, color=style.GREY, linewidth=1, linestyle=":")
                ax.text(
                    at,
                    1.0,
                    f" {name} begins",
                    transform=ax.get_xaxis_transform(),
                    va="bottom",
                    ha="left" if at < sum(ax.get_xlim()) / 2 else "right",
                    fontsize=8,
                    color=style.GREY,
                )
            ax.set_xlabel("Epoch")
            ax.set_ylabel(what.capitalize())
        return self


def draw(subjects: Sequence[Subject], about: str) -> "Figure":
    """Draw accuracy and loss of every model: one model per row, or two where there are many."""
    across = 1 if len(subjects) <= 4 else 2
    rows = style.grid(len(subjects), across)[0]
    figure = style.new_figure(8.6 if across == 1 else 15, 1.2 + rows * 2.5)
    with style.applied():
        cells = figure.subplots(rows, 2 * across, squeeze=False).flat
        for subject in subjects:
            display = TrainingDisplay.from_run(subject.run)
            for what in ("accuracy", "loss"):
                axes = next(cells)
                display.plot(ax=axes, what=what)
                # The name of a phase is written above the frame, so the title moves up one line.
                name = style.short(subject.name, 40) if what == "accuracy" else ""
                axes.set_title(name, loc="left", pad=16 if display.boundaries else 6)
        for axes in cells:
            axes.set_axis_off()
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
    style.set_heading(figure, "Training and validation over the epochs", about)
    return figure
