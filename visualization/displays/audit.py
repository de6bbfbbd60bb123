"""Figures of an audit: accuracies of the shortcut baselines, image groups, and pairs of images of one field."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from data.auditing.audit import Audit, Group, PlacedPair
from utils.runs import split_spec
from utils.runs.shortcuts_file import MAJORITY, WITHOUT_CELLS, Shortcut
from utils.tables.shortcuts import verdict
from visualization import style
from visualization.displays.display import Display, set_rows, write_beside
from visualization.images import thumbnails as thumbnail_images

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLIND, SEEING = style.PALETTE[1], style.PALETTE[0]
PAIRS = 24  # pairs on a contact sheet
NAMED = 30  # most groups that are named below their bars
SIDE = 96  # pixels of a thumbnail


@dataclass
class ShortcutsDisplay(Display):
    """Store the accuracy of every shortcut baseline with its interval and draw them on demand.

    Attributes:
        baselines: (name, sees the cells, accuracy, low, high), shares in 0..1, in the order of the table.
        chance: accuracy of the most frequent class, 0..1.
    """

    baselines: list[tuple[str, bool, float, float, float]]
    chance: float

    @classmethod
    def from_shortcuts(cls, shortcuts: Sequence[Shortcut]) -> Self:
        """Take a ladder as `data.shortcuts.ladder` or `utils.shortcut_tables.read` returns it."""
        baselines = [
            (each.baseline, each.baseline not in WITHOUT_CELLS, each.accuracy, each.low, each.high)
            for each in shortcuts
            if each.baseline != MAJORITY
        ]
        return cls(baselines, verdict(shortcuts).chance)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw a point with its 95 % interval for each baseline, and a line at chance level."""
        with self._canvas(ax, 7.5, 0.42 * len(self.baselines) + 1.6) as ax:
            for cells, colour, marker, label in (
                (False, BLIND, "s", "without stained cells"),
                (True, SEEING, "o", "whole image, no shape of a cell"),
            ):
                at = [k for k, baseline in enumerate(self.baselines) if baseline[1] == cells]
                values = [100 * self.baselines[k][2] for k in at]
                below = [100 * (self.baselines[k][2] - self.baselines[k][3]) for k in at]
                above = [100 * (self.baselines[k][4] - self.baselines[k][2]) for k in at]
                ax.errorbar(
                    values,
                    at,
                    xerr=[below, above],
                    color=colour,
                    marker=marker,
                    markersize=7,
                    capsize=3,
                    elinewidth=1.6,
                    linestyle="none",
                    label=label,
                )
            for k, (_, _, value, low, high) in enumerate(self.baselines):
                write_beside(ax, k, f"{100 * value:.1f}  ({100 * low:.1f}–{100 * high:.1f})")
            chance = f"chance ({100 * self.chance:.1f} %)"
            ax.axvline(100 * self.chance, color=style.GREY, linestyle="--", linewidth=1.3, zorder=0, label=chance)
            set_rows(ax, [baseline[0] for baseline in self.baselines])
            ax.set_xlim(0, 102)
            ax.set_xlabel("Test accuracy in percent, with its 95 % Wilson interval")
            ax.grid(True, axis="x")
        return self


@dataclass
class GroupsDisplay(Display):
    """Store how many images of each class every group holds and draw them on demand.

    Attributes:
        names: of the groups, largest first.
        classes: class names in order.
        counts: images by class, one number for each group.
    """

    names: list[str]
    classes: list[str]
    counts: dict[str, list[int]]

    @classmethod
    def from_groups(cls, groups: Sequence[Group], classes: Sequence[str]) -> Self:
        """Take the groups of an audit."""
        counts = {name: [group.classes.get(name, 0) for group in groups] for name in classes}
        return cls([group.name for group in groups], [*classes], counts)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw one bar for each group, stacked by class."""
        with self._canvas(ax, 9, 3.4) as ax:
            bottom = [0] * len(self.names)
            for k, name in enumerate(self.classes):
                ax.bar(range(len(self.names)), self.counts[name], 0.9, bottom=bottom, color=style.colour(k), label=name)
                bottom = [low + n for low, n in zip(bottom, self.counts[name], strict=True)]
            few = len(self.names) <= NAMED
            ax.set_xticks(range(len(self.names)) if few else [], self.names if few else [], rotation=90, fontsize=8)
            ax.set_xlim(-0.6, len(self.names) - 0.4)
            ax.set_xlabel(f"{len(self.names):,} groups, the largest first")
            ax.set_ylabel("Images")
            ax.grid(True, axis="y")
        return self


@dataclass
class PairsDisplay(Display):
    """Store pairs of images of one field and draw them side by side on demand.

    Attributes:
        dataset: folder below data/raw.
        pairs: those to draw, most severe first.
        total: number of pairs they were chosen from.
    """

    dataset: str
    pairs: list[PlacedPair]
    total: int
    figure_: Any = field(default=None, repr=False)

    @classmethod
    def from_pairs(cls, dataset: str, pairs: Sequence[PlacedPair], most: int = PAIRS) -> Self:
        """Choose up to `most` pairs: across classes first, then across the test subset, then others."""
        ordered = sorted(pairs, key=lambda pair: (pair.first, pair.second))
        ranks = [0 if pair.across_classes else 1 if pair.leaked_test_images else 2 for pair in ordered]
        chosen: list[PlacedPair] = []
        for rank in range(3):
            tier = [pair for pair, its in zip(ordered, ranks, strict=True) if its == rank]
            count = min(len(tier), most - len(chosen))
            chosen += [tier[k * len(tier) // count] for k in range(count)]
        return cls(dataset, chosen, len(pairs))

    def plot(self, *, title: str, columns: int = 4) -> Self:
        """Draw a sheet of the pairs, with names, subsets and shift of each."""
        thumbnails = [thumbnail_images.Thumbnail(self._beside(pair), _caption(pair)) for pair in self.pairs]
        about = f"{self.dataset}: {len(self.pairs):,} of {self.total:,} pairs. {style.NOTICE}"
        self.figure_ = thumbnail_images.sheet(thumbnails, title, about, columns)
        rows, _ = style.grid(len(thumbnails), columns)
        self.figure_.set_size_inches(2.75 * columns, 0.9 + 1.95 * rows)  # a pair is twice as wide as high
        return self

    def _beside(self, pair: PlacedPair) -> "np.ndarray | None":
        import numpy as np

        both = [thumbnail_images.of_dataset(self.dataset, image, SIDE) for image in (pair.first, pair.second)]
        if any(each is None for each in both):
            return None
        sheet = np.full((SIDE, 2 * SIDE + 4, 3), 255, np.uint8)
        for k, each in enumerate(both):
            sheet[: each.shape[0], k * (SIDE + 4) : k * (SIDE + 4) + each.shape[1]] = each
        return sheet


def _caption(pair: PlacedPair) -> str:
    names = [
        f"{style.short(PurePosixPath(image).stem, 28)} ({split})"
        for image, split in ((pair.first, pair.first_split), (pair.second, pair.second_split))
    ]
    moved = f"moved by {round(pair.dx):+d}, {round(pair.dy):+d} px" if pair.kind == "overlap" else f"{pair.kind} copy"
    classes = ", two classes" if pair.across_classes else ""
    return "\n".join([*names, moved + classes])


def shortcuts_figure(shortcuts: Sequence[Shortcut], dataset: str, split: str) -> "Figure":
    """Draw the shortcut baselines of a split of a dataset with legend and heading."""
    display = ShortcutsDisplay.from_shortcuts(shortcuts)
    title = f"Accuracy without the shape of any cell: {verdict(shortcuts).word}"
    about = f"{dataset}, {shortcuts[0].images:,} test images, {split_spec.words(split)}. {style.NOTICE}"
    return display.figure(8.6, 0.42 * len(display.baselines) + 2.4, title, about, legend=3)


def groups_figure(audit: Audit) -> "Figure":
    """Draw the groups with their classes, and the stability of each number of stain groups."""
    display = GroupsDisplay.from_groups(audit.groups, audit.classes)
    figure = style.new_figure(9, 6.2 if audit.stability else 3.8)
    with style.applied():
        axes = figure.subplots(2 if audit.stability else 1, 1, squeeze=False)[:, 0]
        display.plot(ax=axes[0])
        axes[0].legend(ncols=min(4, len(audit.classes)), loc="lower right", bbox_to_anchor=(1, 1))
        if audit.stability:
            counts, values = zip(*audit.stability, strict=True)
            axes[1].plot(counts, values, color=style.colour(0), marker="o", markersize=4)
            axes[1].axvline(audit.clusters, color=style.GREY, linestyle="--", label=f"chosen: {audit.clusters}")
            axes[1].set_ylim(0, 1.02)
            axes[1].set_xlabel("Number of stain groups")
            axes[1].set_ylabel("Agreement of\nseparate halves")
            axes[1].grid(True)
            axes[1].legend(loc="lower left")
    kind = "Groups that came with the dataset" if audit.given else "Stain groups, in place of patients"
    style.set_heading(figure, f"{kind}: sizes and classes", f"{audit.dataset}. {style.NOTICE}")
    return figure


def draw_all(audit: Audit, folder: Path) -> list[Path]:
    """Draw the shortcut baselines, the groups and sheets of pairs; return the files.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    drawn = {
        "ladder": shortcuts_figure(audit.ladder, audit.dataset, audit.split),
        "groups": groups_figure(audit),
    }
    made = [style.save(figure, folder / f"{name}.png") for name, figure in drawn.items()]
    kinds = {
        "duplicates": ("Copies of one field", [pair for pair in audit.pairs if pair.kind != "overlap"]),
        "overlaps": ("Overlapping fields", [pair for pair in audit.pairs if pair.kind == "overlap"]),
    }
    for name, (title, pairs) in kinds.items():
        path = folder / f"{name}.png"
        if pairs:
            made.append(style.save(PairsDisplay.from_pairs(audit.dataset, pairs).plot(title=title).figure_, path))
        else:
            path.unlink(missing_ok=True)  # left by an earlier audit
    return made
