"""Hyperparameter search: best accuracy so far, and accuracy against each setting."""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Self

from utils.io import files
from visualization import style
from visualization.displays.display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ABOUT = ("trial", "state", "val_accuracy", "val_loss", "epochs", "seconds", "reason")  # the other columns are settings
CHOICES = ("dense", "weight_decay")  # settings with few values, drawn at equal distances
LOGARITHMIC = ("learning_rate", "fine_tune_learning_rate")
NAMES = {"dense": "Hidden units of the head", "augmentation": "Strength of the augmentation"}


@dataclass
class TuningDisplay(Display):
    """Store the trials of a search and draw them on demand.

    Attributes:
        trials: (n,) numbers of the completed trials, from 1.
        accuracy, loss: (n,) best validation accuracy of each, and the loss of that epoch.
        settings: by name, the n values of a setting.
        failed: numbers of the failed trials.
    """

    trials: list[int]
    accuracy: list[float]
    loss: list[float]
    settings: dict[str, list[float]]
    failed: list[int]

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the trials.csv of a search."""
        rows = files.read_csv(path, ABOUT)
        done = [row for row in rows if row["val_accuracy"]]
        names = [name for name in (rows[0] if rows else ()) if name not in ABOUT]
        return cls(
            [int(row["trial"]) for row in done],
            [float(row["val_accuracy"]) for row in done],
            [float(row["val_loss"]) for row in done],
            {name: [float(row[name]) for row in done] for name in names},
            [int(row["trial"]) for row in rows if row["state"] == "failed"],
        )

    @property
    def best_so_far(self) -> list[float]:
        """Highest accuracy up to each trial, (n,)."""
        return list(accumulate(self.accuracy, max))

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw the accuracy of every trial and the best so far."""
        from matplotlib.ticker import MaxNLocator

        with self._canvas(ax, 5, 3.4) as ax:
            ax.plot(self.trials, self.best_so_far, drawstyle="steps-post", color=style.colour(0), label="best so far")
            ax.plot(self.trials, self.accuracy, "o", color=style.GREY, markersize=4, label="trial")
            if self.failed:
                low = [min(self.accuracy)] * len(self.failed)
                ax.plot(self.failed, low, "x", color=style.WRONG, markersize=6, label="failed, no accuracy")
            self._star(ax, self.trials)
            ax.grid(True)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            ax.set_xlim(0.4, max(self.trials + self.failed) + 0.6)
            ax.set_xlabel("Trial")
            ax.set_ylabel("Validation accuracy")
        return self

    def plot_setting(self, name: str, *, ax: "Axes | None" = None) -> Self:
        """Draw the accuracy of the trials against one setting; the best trial is a star."""
        from matplotlib.ticker import FuncFormatter

        values = self.settings[name]
        few = name in CHOICES
        levels = sorted(set(values))
        at = [levels.index(value) for value in values] if few else values
        with self._canvas(ax, 4, 3.4) as ax:
            ax.scatter(at, self.accuracy, s=22, color=style.colour(0), alpha=0.75, linewidths=0)
            self._star(ax, at)
            if few:
                ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
                ax.set_xlim(-0.6, len(levels) - 0.4)
            elif name in LOGARITHMIC:
                ax.set_xscale("log")
                ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.grid(True)
            ax.set_xlabel(NAMES.get(name, name.replace("_", " ").capitalize()))
        return self

    def _star(self, ax: "Axes", at: list[float]) -> None:
        best = max(range(len(at)), key=lambda k: (self.accuracy[k], -self.loss[k], -k))
        ax.plot([at[best]], [self.accuracy[best]], color=style.colour(1), label="best trial", **style.STAR)


def write(trials: Path, target: Path) -> Path:
    """Draw a search from its trials.csv into a PNG file and return its path.

    Raises:
        LeukoBenchError: the file is missing or damaged, or the figure cannot be written.
    """
    display = TuningDisplay.from_file(trials)
    rows, columns = style.grid(1 + len(display.settings), 3)
    figure = style.new_figure(4 * columns, 1 + 3.1 * rows)
    with style.applied():
        cells = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
        display.plot(ax=cells[0])
        for axes, name in zip(cells[1:], display.settings, strict=False):
            display.plot_setting(name, ax=axes)
        for axes in cells[1 + len(display.settings) :]:
            axes.set_axis_off()
        for axes in cells[columns : 1 + len(display.settings) : columns]:
            axes.set_ylabel("Validation accuracy")
        handles, names = cells[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4)
    model, data = trials.parent.parent.name, trials.parent.name.rpartition("-")[0]
    about = f"{len(display.trials)} trials on {data}, validation images. {style.NOTICE}"
    style.set_heading(figure, f"Hyperparameter search of {model}", about)
    return style.save(figure, target)
