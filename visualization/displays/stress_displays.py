"""The parts of a page about stress: curves over the steps, bars for changes without steps, where the stain leads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

from data.perturbations.registry import REFERENCE
from utils.io import files
from utils.runs.run_folder import Run
from utils.tables import stress as stress_tables
from visualization import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "ece": "Calibration error, before temperature scaling",
    "heatmap_similarity": "Heatmap similarity",
}
UNCHANGED = "unchanged"


@dataclass
class StepsDisplay:
    """Store one measure of the changes that have steps and draw it over them on demand.

    Attributes:
        measure: one of MEASURES.
        curves: (name, steps, values) of each change, from step 0, the unchanged images.
    """

    measure: str
    curves: list[tuple[str, list[int], list[float]]]
    axes_: Any = field(default=None, repr=False)

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]], measure: str) -> Self:
        """Take the rows of `utils.stress_tables.read`."""
        plain = next(row[measure] for row in rows if row["family"] == stress_tables.NONE)
        curves = []
        for (family, change), group in groupby(rows, key=lambda row: (row["family"], row["change"])):
            known = [(row["severity"], row[measure]) for row in group if row["severity"] and row[measure] is not None]
            if known and plain is not None:
                steps, values = zip(*known, strict=True)
                name = f"{family}, {change}" if change in ("less", "more", "darker", "brighter") else family
                curves.append((name, [0, *steps], [plain, *values]))
        return cls(measure, curves)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw a line a change."""
        ax = ax or style.new(5, 3.4).subplots()
        with style.look():
            for k, (name, steps, values) in enumerate(self.curves):
                ax.plot(
                    steps, values, color=style.colour(k), linestyle=style.line(k), marker=style.marker(k),
                    markersize=4.5, linewidth=1.4, label=name,
                )  # fmt: skip
            if not self.curves:
                ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes)
            ax.set_xticks(range(6), [UNCHANGED, *map(str, range(1, 6))])
            ax.set_title(MEASURES[self.measure])
            ax.set_xlabel("Severity")
            low = min([0.0, *(value for *_, values in self.curves for value in values)])
            ax.set_ylim(*((0, None) if self.measure == "ece" else (low - 0.02, 1.02)))
            ax.grid(True)
        self.axes_ = ax
        return self


@dataclass
class BarsDisplay:
    """Store the accuracy of the changes without steps and draw it on demand: (name, accuracy in 0..1) each."""

    bars: list[tuple[str, float]]
    axes_: Any = field(default=None, repr=False)

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]]) -> Self:
        """Take the rows of `utils.stress_tables.read`."""
        bars = []
        for row in rows:
            stain = f", {row['change']} of {row['donor']}" if row["family"] == REFERENCE else ""
            name = UNCHANGED if row["family"] == stress_tables.NONE else row["family"] + stain
            bars += [] if row["severity"] else [(name, row["accuracy"])]
        return cls(bars)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw a bar a change; the control is hatched, for there low is right."""
        ax = ax or style.new(5, 0.3 * len(self.bars) + 1).subplots()
        names = [name for name, _ in self.bars]
        with style.look():
            drawn = ax.barh(range(len(names)), [100 * value for _, value in self.bars], color=style.colour(0))
            for name, bar in zip(names, drawn, strict=True):
                if name == UNCHANGED:
                    bar.set_color(style.GREY)
                if name == stress_tables.CONTROL:
                    bar.set(facecolor="white", edgecolor=style.colour(1), hatch="///")
            ax.bar_label(drawn, [f"{100 * value:.1f}" for _, value in self.bars], padding=3, fontsize=8.5)
            named = [f"{name}\n(control: low is right)" if name == stress_tables.CONTROL else name for name in names]
            ax.set_yticks(range(len(names)), named, fontsize=8.5)
            ax.set_ylim(len(names) - 0.5, -0.5)
            ax.set_xlim(0, 112)
            ax.set_xticks(range(0, 101, 20))
            ax.set_xlabel("Accuracy in percent")
            ax.set_title("Changes without steps")
        self.axes_ = ax
        return self


@dataclass
class StainDisplay:
    """Store how often each answer was given under the stain of each class and draw it on demand.

    Attributes:
        classes: names, in order.
        shares: a row a donor class, a column an answer; each row sums to 1, or is 0 where a class lent no stain.
    """

    classes: list[str]
    shares: list[list[float]]
    axes_: Any = field(default=None, repr=False)

    @classmethod
    def from_run(cls, run: Run) -> Self | None:
        """Read the answers under `stain swap`; None where they were not measured."""
        path, classes = run.file(stress_tables.ANSWERS), list(run.config()["classes"])
        rows = files.read_csv(path, stress_tables.ANSWERS_HEADER) if path.is_file() else []
        counts = {(donor, answer): 0 for donor in classes for answer in classes}
        for row in rows:
            if row["family"] == stress_tables.SWAP:
                counts[row["donor"], row["answer"]] += int(row["images"])
        if not any(counts.values()):
            return None
        totals = {donor: sum(counts[donor, answer] for answer in classes) for donor in classes}
        return cls(classes, [[counts[d, a] / max(totals[d], 1) for a in classes] for d in classes])

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw the shares as a matrix: a dark diagonal means that the answer follows the stain."""
        ax = ax or style.new(4, 3.6).subplots()
        count = len(self.classes)
        with style.look():
            ax.pcolormesh(self.shares, cmap=style.MATRIX_COLOURS, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
            for i, row in enumerate(self.shares):
                for k, value in enumerate(row):
                    colour = "white" if value > 0.5 else "black"
                    ax.text(k + 0.5, i + 0.5, f"{100 * value:.0f}", ha="center", va="center", color=colour)
            names = [style.wrap(style.short(name, 20), 10) for name in self.classes]
            ax.set_xticks([k + 0.5 for k in range(count)], names, fontsize=8.5)
            ax.set_yticks([k + 0.5 for k in range(count)], names, fontsize=8.5)
            ax.set_ylim(count, 0)
            ax.set_ylabel("Class whose stain was put on")
            ax.set_title("Stain swap: answers in % of a row")
            ax.set_xlabel(
                "Answer. A dark diagonal: answers follow the stain.\n"
                "It also holds answers from before the swap,\n"
                "which the stain flip rate does not count."
            )
        self.axes_ = ax
        return self
