"""Results of the stress test: a page about one run, and a comparison of several runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from data.perturbations.registry import REFERENCE
from utils.io import files
from utils.runs import stress_file
from utils.runs.run_folder import Run
from utils.tables.table import difference, percent
from visualization import style
from visualization.compared_runs import Subject, about_run
from visualization.displays.display import Display, set_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "stress.png"
MEASURES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "ece": "Calibration error, before temperature scaling",
    "heatmap_similarity": "Heatmap similarity",
}
UNCHANGED = "unchanged"


@dataclass
class StepsDisplay(Display):
    """Store one measure of the perturbations with severity steps and draw it over the steps on demand.

    Attributes:
        measure: one of MEASURES.
        curves: (name, steps, values) of each perturbation, from step 0, the unchanged images.
    """

    measure: str
    curves: list[tuple[str, list[int], list[float]]]

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]], measure: str) -> Self:
        """Take the rows of `utils.stress_file.read`."""
        plain = next(row[measure] for row in rows if row["family"] == stress_file.NONE)
        curves = []
        for (family, change), group in groupby(rows, key=lambda row: (row["family"], row["change"])):
            known = [(row["severity"], row[measure]) for row in group if row["severity"] and row[measure] is not None]
            if known and plain is not None:
                steps, values = zip(*known, strict=True)
                name = f"{family}, {change}" if change in ("less", "more", "darker", "brighter") else family
                curves.append((name, [0, *steps], [plain, *values]))
        return cls(measure, curves)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw one line for each perturbation."""
        with self._canvas(ax, 5, 3.4) as ax:
            for k, (name, steps, values) in enumerate(self.curves):
                ax.plot(
                    steps,
                    values,
                    color=style.colour(k),
                    linestyle=style.line(k),
                    marker=style.marker(k),
                    markersize=4.5,
                    linewidth=1.4,
                    label=name,
                )
            if not self.curves:
                ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes)
            ax.set_xticks(range(6), [UNCHANGED, *map(str, range(1, 6))])
            ax.set_title(MEASURES[self.measure])
            ax.set_xlabel("Severity")
            low = min([0.0, *(value for *_, values in self.curves for value in values)])
            ax.set_ylim(*((0, None) if self.measure == "ece" else (low - 0.02, 1.02)))
            ax.grid(True)
        return self


@dataclass
class BarsDisplay(Display):
    """Store (name, accuracy in 0..1) of each perturbation without severity steps and draw them on demand."""

    bars: list[tuple[str, float]]

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]]) -> Self:
        """Take the rows of `utils.stress_file.read`."""
        bars = []
        for row in rows:
            stain = f", {row['change']} of {row['donor']}" if row["family"] == REFERENCE else ""
            name = UNCHANGED if row["family"] == stress_file.NONE else row["family"] + stain
            bars += [] if row["severity"] else [(name, row["accuracy"])]
        return cls(bars)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw one bar for each perturbation; the control, where a low accuracy is correct, is hatched."""
        names = [name for name, _ in self.bars]
        with self._canvas(ax, 5, 0.3 * len(self.bars) + 1) as ax:
            drawn = ax.barh(range(len(names)), [100 * value for _, value in self.bars], color=style.colour(0))
            for name, bar in zip(names, drawn, strict=True):
                if name == UNCHANGED:
                    bar.set_color(style.GREY)
                if name == stress_file.CONTROL:
                    bar.set(facecolor="white", edgecolor=style.colour(1), hatch="///")
            ax.bar_label(drawn, [f"{100 * value:.1f}" for _, value in self.bars], padding=3, fontsize=8.5)
            named = [f"{name}\n(control: should be low)" if name == stress_file.CONTROL else name for name in names]
            set_rows(ax, named, fontsize=8.5)
            ax.set_xlim(0, 112)
            ax.set_xticks(range(0, 101, 20))
            ax.set_xlabel("Accuracy in percent")
            ax.set_title("Perturbations without severity steps")
        return self


@dataclass
class StainDisplay(Display):
    """Store the distribution of answers under the stain of each class and draw it on demand.

    Attributes:
        classes: names, in order.
        shares: one row for each donor class, one column for each answer; a row sums to 1, or is 0 without donors.
    """

    classes: list[str]
    shares: list[list[float]]

    @classmethod
    def from_run(cls, run: Run) -> Self | None:
        """Read the answers under the stain swap; None where it was not measured."""
        path, classes = run.file(stress_file.ANSWERS), list(run.config()["classes"])
        rows = files.read_csv(path, stress_file.ANSWERS_HEADER) if path.is_file() else []
        run.check(stress_file.ANSWERS)
        counts = {(donor, answer): 0 for donor in classes for answer in classes}
        for row in rows:
            if row["family"] == stress_file.SWAP:
                counts[row["donor"], row["answer"]] += int(row["images"])
        if not any(counts.values()):
            return None
        totals = {donor: sum(counts[donor, answer] for answer in classes) for donor in classes}
        return cls(classes, [[counts[d, a] / max(totals[d], 1) for a in classes] for d in classes])

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw the shares as a matrix; a dark diagonal means that answers follow the stain."""
        count = len(self.classes)
        with self._canvas(ax, 4, 3.6) as ax:
            ax.pcolormesh(self.shares, cmap=style.MATRIX_COLOURS, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
            for i, row in enumerate(self.shares):
                for k, value in enumerate(row):
                    colour = "white" if value > 0.5 else "black"
                    ax.text(k + 0.5, i + 0.5, f"{100 * value:.0f}", ha="center", va="center", color=colour)
            names = [style.wrap(style.short(name, 20), 10) for name in self.classes]
            ax.set_xticks([k + 0.5 for k in range(count)], names, fontsize=8.5)
            ax.set_yticks([k + 0.5 for k in range(count)], names, fontsize=8.5)
            ax.set_ylim(count, 0)
            ax.set_ylabel("Class of the donor stain")
            ax.set_title("Stain swap: answers in % of a row")
            ax.set_xlabel(
                "Answer. A dark diagonal means that answers follow\n"
                "the stain. Unlike the stain flip rate, it includes\n"
                "answers that were the donor's class before the swap."
            )
        return self


def figure(run: Run, name: str = "") -> "Figure":
    """Draw the stress test of a run on one page.

    Raises:
        LeukoBenchError: stress.csv is damaged.
    """
    rows = stress_file.read(run)
    drawn = style.new_figure(11.5, 13.2)
    with style.applied():
        upper, lower = drawn.subfigures(2, 1, height_ratios=(1.75, 1))
        panels = upper.subplots(2, 2).flat
        for axes, measure in zip(panels, MEASURES, strict=True):
            StepsDisplay.from_rows(rows, measure).plot(ax=axes)
        handles, names = upper.axes[0].get_legend_handles_labels()
        if names:
            upper.legend(handles, names, loc="outside lower center", ncols=5)
        left, right = lower.subplots(1, 2, width_ratios=(1.25, 1))
        BarsDisplay.from_rows(rows).plot(ax=left)
        stain = StainDisplay.from_run(run)
        if stain:
            stain.plot(ax=right)
        else:
            right.set_axis_off()
    about = f"{about_run(run, rows[0]['images'])}. {_headlines(run, rows)}. {style.NOTICE}"
    style.set_heading(drawn, f"{name or run.label()} under stress", about)
    return drawn


def _headlines(run: Run, rows: Sequence[dict[str, Any]]) -> str:
    margin, flips = stress_file.margin(run), stress_file.flip_rate(rows)
    above = "not known" if margin is None else f"{difference(margin, 1)} points"
    moved = "not measured" if flips is None else f"{percent(flips, 1)} %"
    return f"Shortcut margin {above}, stain flip rate {moved}"


def draw(run: Run, path: Path) -> Path:
    """Draw the stress test of a run into a PNG file and return its path."""
    return style.save(figure(run), path)


def comparison(subjects: Sequence[Subject], about: str) -> "Figure | None":
    """Draw accuracy by family and flip rate of the runs with a stress test; None where there are none."""
    stressed = [(subject, rows) for subject in subjects if (rows := stress_file.read(subject.run))]
    if not stressed:
        return None
    families = list(dict.fromkeys(family for _, rows in stressed for family in stress_file.families(rows)))
    drawn = style.new_figure(9.5, 0.42 * len(families) + 0.32 * len(stressed) + 3)
    with style.applied():
        upper, lower = drawn.subplots(2, 1, height_ratios=(len(families) + 1, 0.7 * len(stressed) + 1))
        for subject, rows in stressed:
            values = stress_file.families(rows)
            there = [y for y, family in enumerate(families) if family in values]
            upper.plot(
                [100 * values[families[y]] for y in there],
                there,
                linestyle="none",
                color=style.colour(subject.index),
                marker=style.marker(subject.index),
                markersize=8,
                alpha=0.9,
                label=style.short(subject.name, 34),
            )
        titles = {stress_file.NONE: UNCHANGED, stress_file.CONTROL: f"{stress_file.CONTROL} (should be low)"}
        set_rows(upper, [titles.get(family, family) for family in families])
        upper.set_xlim(-2, 102)
        upper.set_xlabel("Accuracy in percent, mean over the severity steps")
        upper.grid(True)
        flips = [(s, rate) for s, rows in stressed if (rate := stress_file.flip_rate(rows)) is not None]
        bars = lower.barh(range(len(flips)), [100 * rate for _, rate in flips])
        for bar, (subject, _) in zip(bars, flips, strict=True):
            bar.set(color=style.colour(subject.index), hatch=style.hatch(subject.index))
        lower.bar_label(bars, [f"{100 * rate:.1f}" for _, rate in flips], padding=3, fontsize=8.5)
        lower.set_yticks(range(len(flips)), [style.wrap(style.short(s.name, 34), 22) for s, _ in flips], fontsize=8.5)
        lower.set_ylim(max(len(flips), 1) - 0.5, -0.5)
        lower.set_xlim(0, 105)
        lower.set_xlabel("Stain flip rate in percent: answers that became the class of the donor stain")
        handles, names = upper.get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=style.legend_columns(names, 9.5, 3))
    style.set_heading(drawn, "Accuracy under stress", about)
    return drawn
