"""How models stand the stress: a page about one run, and one that compares several."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.runs.run_folder import Run
from utils.tables import stress as stress_tables
from utils.tables.table import difference, percent
from visualization import style
from visualization.compared_runs import Subject, about_run
from visualization.displays.stress_displays import MEASURES, UNCHANGED, BarsDisplay, StainDisplay, StepsDisplay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "stress.png"


def figure(run: Run, name: str = "") -> "Figure":
    """Draw one page about a stressed run.

    Raises:
        LeukoBenchError: stress.csv is damaged.
    """
    rows = stress_tables.read(run)
    drawn = style.new(11.5, 13.2)
    with style.look():
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
    style.head(drawn, f"{name or run.label()} under stress", about)
    return drawn


def _headlines(run: Run, rows: Sequence[dict[str, Any]]) -> str:
    margin, flips = stress_tables.margin(run), stress_tables.flip_rate(rows)
    above = "not known" if margin is None else f"{difference(margin, 1)} points"
    moved = "not measured" if flips is None else f"{percent(flips, 1)} %"
    return f"Shortcut margin {above}, stain flip rate {moved}"


def draw(run: Run, path: Path) -> Path:
    """Draw the page of a stressed run into a PNG file and return its path."""
    return style.save(figure(run), path)


def comparison(subjects: Sequence[Subject], about: str) -> "Figure | None":
    """Draw the accuracy of the stressed runs by family, and their flip rates; None where no run was stressed."""
    stressed = [(subject, rows) for subject in subjects if (rows := stress_tables.read(subject.run))]
    if not stressed:
        return None
    families = list(dict.fromkeys(family for _, rows in stressed for family in stress_tables.families(rows)))
    drawn = style.new(9.5, 0.42 * len(families) + 0.32 * len(stressed) + 3)
    with style.look():
        upper, lower = drawn.subplots(2, 1, height_ratios=(len(families) + 1, 0.7 * len(stressed) + 1))
        for subject, rows in stressed:
            values = stress_tables.families(rows)
            there = [y for y, family in enumerate(families) if family in values]
            upper.plot(
                [100 * values[families[y]] for y in there], there, linestyle="none", color=style.colour(subject.index),
                marker=style.marker(subject.index), markersize=8, alpha=0.9, label=style.short(subject.name, 34),
            )  # fmt: skip
        titles = {stress_tables.NONE: UNCHANGED, stress_tables.CONTROL: f"{stress_tables.CONTROL} (low is right)"}
        upper.set_yticks(range(len(families)), [titles.get(family, family) for family in families])
        upper.set_ylim(len(families) - 0.5, -0.5)
        upper.set_xlim(-2, 102)
        upper.set_xlabel("Accuracy in percent, mean over the steps")
        upper.grid(True)
        flips = [(s, rate) for s, rows in stressed if (rate := stress_tables.flip_rate(rows)) is not None]
        bars = lower.barh(range(len(flips)), [100 * rate for _, rate in flips])
        for bar, (subject, _) in zip(bars, flips, strict=True):
            bar.set(color=style.colour(subject.index), hatch=style.hatch(subject.index))
        lower.bar_label(bars, [f"{100 * rate:.1f}" for _, rate in flips], padding=3, fontsize=8.5)
        lower.set_yticks(range(len(flips)), [style.wrap(style.short(s.name, 34), 22) for s, _ in flips], fontsize=8.5)
        lower.set_ylim(max(len(flips), 1) - 0.5, -0.5)
        lower.set_xlim(0, 105)
        lower.set_xlabel("Stain flip rate in percent: answers that became the class whose stain was put on")
        handles, names = upper.get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=style.legend_columns(names, 9.5, 3))
    style.head(drawn, "Accuracy under stress", about)
    return drawn
