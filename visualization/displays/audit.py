"""What an audit found, as figures: the ladder of shortcuts, the groups, and pairs of images that show one place."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from data.auditing.audit import Audit, Group, PlacedPair
from utils.runs.shortcuts_file import MAJORITY, WITHOUT_CELLS, Shortcut
from utils.tables.shortcuts import verdict
from visualization import style
from visualization.displays.display import Display
from visualization.images import thumbnails as pictures

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLIND, SEEING = style.PALETTE[1], style.PALETTE[0]
PAIRS = 24  # of a contact sheet
NAMED = 30  # groups, up to which each has its name below its bar
SIDE = 96  # pixels of a thumbnail


@dataclass
class LadderDisplay(Display):
    """Store the accuracy of every shortcut baseline with its interval and draw them on demand.

    Attributes:
        rungs: (name, given the cells, accuracy, low, high), shares in 0..1, the least sighted first.
        chance: accuracy of the most frequent class, 0..1.
    """

    rungs: list[tuple[str, bool, float, float, float]]
    chance: float

    @classmethod
    def from_ladder(cls, ladder: Sequence[Shortcut]) -> Self:
        """Take a ladder as `data.shortcuts.ladder` or `utils.shortcut_tables.read` returns it."""
        rungs = [
            (rung.baseline, rung.baseline not in WITHOUT_CELLS, rung.accuracy, rung.low, rung.high)
            for rung in ladder
            if rung.baseline != MAJORITY
        ]
        return cls(rungs, verdict(ladder).chance)

    def plot(self, *, ax: "Axes | None" = None) -> Self:
        """Draw a point with its 95 % interval for each baseline, and the line of chance."""
        with self._canvas(ax, 7.5, 0.42 * len(self.rungs) + 1.6) as ax:
            for cells, colour, marker, label in (
                (False, BLIND, "s", "without stained cells"), (True, SEEING, "o", "whole image, no shape of a cell"),
            ):  # fmt: skip
                at = [k for k, rung in enumerate(self.rungs) if rung[1] == cells]
                values = [100 * self.rungs[k][2] for k in at]
                below = [100 * (self.rungs[k][2] - self.rungs[k][3]) for k in at]
                above = [100 * (self.rungs[k][4] - self.rungs[k][2]) for k in at]
                ax.errorbar(
                    values, at, xerr=[below, above], color=colour, marker=marker, markersize=7, capsize=3,
                    elinewidth=1.6, linestyle="none", label=label,
                )  # fmt: skip
            for k, (_, _, value, low, high) in enumerate(self.rungs):
                words = f"{100 * value:.1f}  ({100 * low:.1f}–{100 * high:.1f})"
                ax.text(1.02, k, words, transform=ax.get_yaxis_transform(), va="center", fontsize=9)
            ax.axvline(
                100 * self.chance, color=style.GREY, linestyle="--", linewidth=1.3, zorder=0,
                label=f"chance ({100 * self.chance:.1f} %)",
            )  # fmt: skip
            ax.set_yticks(range(len(self.rungs)), [rung[0] for rung in self.rungs])
            ax.set_ylim(len(self.rungs) - 0.5, -0.5)
            ax.set_xlim(0, 102)
            ax.set_xlabel("Test accuracy in percent, with its 95 % Wilson interval")
            ax.grid(True, axis="x")
        return self


@dataclass
class GroupsDisplay(Display):
    """Store how many images of each class every group holds and draw them on demand.

    Attributes:
        names: of the groups, the largest first.
        classes: class names in order.
        counts: images by class, one number a group.
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
        """Draw a bar a group, in the colours of its classes."""
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
    """Store pairs of images that show one place and draw them side by side on demand.

    Attributes:
        dataset: folder below data/raw.
        pairs: those to be drawn, the gravest first.
        total: number of pairs from which they were chosen.
    """

    dataset: str
    pairs: list[PlacedPair]
    total: int
    figure_: Any = field(default=None, repr=False)

    @classmethod
    def from_pairs(cls, dataset: str, pairs: Sequence[PlacedPair], most: int = PAIRS) -> Self:
        """Choose up to `most` pairs: across classes, then of a test and another image, then others; evenly of each."""
        ordered = sorted(pairs, key=lambda pair: (pair.first, pair.second))
        ranks = [0 if pair.across_classes else 1 if pair.leaked_test_images else 2 for pair in ordered]
        chosen: list[PlacedPair] = []
        for rank in range(3):
            tier = [pair for pair, its in zip(ordered, ranks, strict=True) if its == rank]
            count = min(len(tier), most - len(chosen))
            chosen += [tier[k * len(tier) // count] for k in range(count)]
        return cls(dataset, chosen, len(pairs))

    def plot(self, *, title: str, columns: int = 4) -> Self:
        """Draw a sheet of the pairs, each two pictures side by side over their names, subsets and shift."""
        thumbnails = [pictures.Thumbnail(self._beside(pair), _caption(pair)) for pair in self.pairs]
        about = f"{self.dataset}: {len(self.pairs):,} of {self.total:,} pairs. {style.NOTICE}"
        self.figure_ = pictures.sheet(thumbnails, title, about, columns)
        rows, _ = style.grid(len(thumbnails), columns)
        self.figure_.set_size_inches(2.75 * columns, 0.9 + 1.95 * rows)  # a pair is twice as wide as high
        return self

    def _beside(self, pair: PlacedPair) -> "np.ndarray | None":
        import numpy as np

        both = [pictures.of_dataset(self.dataset, image, SIDE) for image in (pair.first, pair.second)]
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


def ladder(rungs: Sequence[Shortcut], dataset: str, split: str) -> "Figure":
    """Draw the ladder of a split of a dataset with its legend and heading."""
    display = LadderDisplay.from_ladder(rungs)
    figure = style.new(8.6, 0.42 * len(display.rungs) + 2.4)
    with style.look():
        display.plot(ax=figure.subplots())
        figure.legend(*display.axes_.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    about = f"{dataset}, {rungs[0].images:,} test images, split {split}. {style.NOTICE}"
    style.head(figure, f"What tells the classes without the shape of a cell: {verdict(rungs).word}", about)
    return figure


def groups(audit: Audit) -> "Figure":
    """Draw the groups with their classes, and how stable each number of stain groups is."""
    display = GroupsDisplay.from_groups(audit.groups, audit.classes)
    figure = style.new(9, 6.2 if audit.stability else 3.8)
    with style.look():
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
    style.head(figure, f"{kind}: sizes and classes", f"{audit.dataset}. {style.NOTICE}")
    return figure


def draw_all(audit: Audit, folder: Path) -> list[Path]:
    """Draw the ladder, the groups and sheets of pairs; return the files.

    Raises:
        LeukoBenchError: the folder cannot be written.
    """
    drawn = {"ladder": ladder(audit.ladder, audit.dataset, audit.split), "groups": groups(audit)}
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
            path.unlink(missing_ok=True)  # of an earlier audit, when there were some
    return made
