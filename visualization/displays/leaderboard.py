"""The leaderboard as a figure: each model's accuracy on both kinds of split and under stain changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from utils.runs.leaderboard import board
from utils.runs.split_spec import APART
from visualization import style
from visualization.displays.display import Display, set_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "leaderboard.png"
# Columns of the leaderboard that are drawn, with their names in the legend, in its order.
ACCURACIES = {
    "random_accuracy": "random split",
    "grouped_accuracy": "grouped split",
    "random_grey": "in grey",
    "random_stain_swap": "stain swap",
    "grouped_stain_swap": "grouped split, stain swap",
}
ACCURACIES_APART = {
    kind: {f"{kind}_accuracy": words, f"{kind}_grey": "in grey", f"{kind}_stain_swap": "stain swap"}
    for kind, words in APART.items()
}
STRESSED = (
    *("random_grey", "random_stain_swap", "grouped_stain_swap"),
    *(f"{kind}_{name}" for kind in APART for name in ("grey", "stain_swap")),
)
DODGE = 0.14  # shift between two kinds of accuracy in row heights, so that equal ones stay visible
TITLE = "Accuracy with and without the help of the stain"
WORDS = (
    "Each line is a model with a stress test; models without one are left out. Markers close together mean that the "
    "answers do not depend on the stain, markers far apart mean that they do. The dotted line is the accuracy of "
    "always predicting the most frequent class."
)


@dataclass
class LeaderboardDisplay(Display):
    """Store the accuracies of every row of a leaderboard and draw them on demand.

    Attributes:
        names: of the models, best first.
        accuracies: for each of ACCURACIES or ACCURACIES_APART one share in 0..1 per model; None where not measured.
        deviations: standard deviations over seeds and folds, in the same form.
        chance: share of the most frequent class, 0..1.
    """

    names: list[str]
    accuracies: dict[str, list[float | None]]
    deviations: dict[str, list[float | None]]
    chance: float

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]]) -> Self:
        """Take rows of `utils.runs.leaderboard.rows`, of one dataset and one kind of split."""
        keys = ACCURACIES_APART.get(board(rows[0]), ACCURACIES)
        return cls(
            [row["name"] for row in rows],
            {key: [row[key] for row in rows] for key in keys},
            {key: [row[f"{key}_sd"] for row in rows] for key in keys},
            rows[0]["most_frequent_class"],
        )

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw one line for each model from its lowest to its highest accuracy, and a marker for each accuracy."""
        with self._canvas(ax, 8, 0.6 * len(self.names) + 1.4) as ax:
            for y in range(len(self.names)):
                known = [100 * values[y] for values in self.accuracies.values() if values[y] is not None]
                ax.plot([min(known), max(known)], [y, y], color="#c4c9ce", lw=3, zorder=1, solid_capstyle="round")
            names = {key: words for each in (ACCURACIES, *ACCURACIES_APART.values()) for key, words in each.items()}
            for k, key in enumerate(self.accuracies):
                there = [y for y, value in enumerate(self.accuracies[key]) if value is not None]
                if not there:
                    continue
                values = [100 * self.accuracies[key][y] for y in there]
                spreads = [100 * (self.deviations[key][y] or 0) for y in there]
                places = [y + DODGE * (k - len(self.accuracies) // 2) for y in there]
                ax.errorbar(
                    values,
                    places,
                    xerr=spreads,
                    color=style.colour(k),
                    marker=style.marker(k),
                    markersize=8,
                    markeredgecolor="white",
                    markeredgewidth=0.7,
                    elinewidth=1.4,
                    linestyle="none",
                    label=names[key],
                    zorder=3,
                )
            always = "most frequent class"
            ax.axvline(100 * self.chance, color=style.GREY, linestyle=":", linewidth=1.2, zorder=0, label=always)
            set_rows(ax, [style.wrap(name, 28) for name in self.names])
            ax.set_xlim(-1, 101)
            ax.set_xlabel("Test accuracy in percent; bars: standard deviation over seeds and folds")
            ax.grid(True, axis="x")
        return self


def figure(rows: Sequence[dict[str, Any]]) -> "Figure":
    """Draw rows as for `from_rows` with legend and heading; only those with a stress test, if there are any."""
    shown = [row for row in rows if any(row.get(key) is not None for key in STRESSED)] or rows
    display = LeaderboardDisplay.from_rows(shown)
    left = len(rows) - len(shown)
    without = f" Left out: {left:,} without a stress test." if left else ""
    split = APART.get(board(rows[0]), "the grouped split")
    about = f"{rows[0]['dataset']}, sorted by stain swap on {split}.{without} {style.NOTICE}"
    return display.figure(8.6, 0.6 * len(display.names) + 2.3, TITLE, about, legend=3)


def draw(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw a leaderboard into a folder and return the PNGs: one for each dataset, and one for its own split.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    parts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        parts.setdefault((row["dataset"], f"-{board(row)}" if board(row) in APART else ""), []).append(row)
    names = [FILE, *(f"leaderboard-{style.slug(dataset + given)}.png" for dataset, given in [*parts][1:])]
    return [style.save(figure(part), folder / name) for part, name in zip(parts.values(), names, strict=True)]
