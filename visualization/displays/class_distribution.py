"""Images of a dataset by class and subset, with a sheet of samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from data import manifest as manifests
from data.manifest import Manifest
from visualization import style
from visualization.displays import mean_colors
from visualization.displays.display import Display, set_rows
from visualization.images import sample_sheets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from data.datasets.summary import Measured

TOTAL = "#5b7a99"  # bars that belong to no subset


@dataclass
class DistributionDisplay(Display):
    """Store how many images each subset has of each class and draw it on demand.

    Attributes:
        classes: class names in order.
        counts: images by subset and class, {"train": {"Benign": 322, ...}, ...}.
        title: name of the dataset.
    """

    classes: Sequence[str]
    counts: dict[str, dict[str, int]]
    title: str = ""

    @classmethod
    def from_manifest(cls, manifest: Manifest, title: str = "") -> Self:
        """Count a manifest's rows; subsets in the order train, val, test sets."""
        counts = manifest.counts()
        return cls(manifest.classes, {name: counts[name] for name in manifest.subsets}, title)

    @property
    def totals(self) -> dict[str, int]:
        """Images of each class over all subsets."""
        return {name: sum(counts[name] for counts in self.counts.values()) for name in self.classes}

    @property
    def shares(self) -> dict[str, int]:
        """Images of each subset over all classes."""
        return {subset: sum(counts.values()) for subset, counts in self.counts.items()}

    def plot(self, *, ax: "Axes | None" = None, subset: str | None = None) -> Self:
        """Draw one bar for each class: the totals (None), one subset, or all subsets side by side ("grouped")."""
        wanted = list(self.counts) if subset == "grouped" else [subset]
        height, colours = 0.8 / len(wanted), style.subset_colours(list(self.counts))
        with self._canvas(ax, 6, 0.45 * len(self.classes) + 1.5) as ax:
            for i, name in enumerate(wanted):
                values = [(self.counts[name] if name else self.totals)[c] for c in self.classes]
                at = [k - 0.4 + (i + 0.5) * height for k in range(len(self.classes))]
                colour, words = (colours[name], style.subset_name(name)) if name else (TOTAL, None)
                bars = ax.barh(at, values, height * 0.92, color=colour, label=words)
                ax.bar_label(bars, [f"{v:,}" for v in values], padding=3, fontsize=8.5)
            few = len(self.classes) <= 6
            set_rows(ax, [style.wrap(name, 22) if few else style.short(name, 26) for name in self.classes])
            ax.margins(x=0.14)
            ax.tick_params(axis="y", length=0)
            ax.set_xlabel("Images")
            ax.grid(True, axis="x")
        return self

    def plot_pie(self, *, ax: "Axes | None" = None) -> Self:
        """Draw the share of each subset."""
        shares = {subset: n for subset, n in self.shares.items() if n}
        total, colours = sum(shares.values()), style.subset_colours(list(self.counts))
        with self._canvas(ax, 4, 4) as ax:
            ax.pie(
                list(shares.values()),
                startangle=90,
                counterclock=False,
                colors=[colours[name] for name in shares],
                labels=[f"{style.subset_name(s)}\n{n:,} ({100 * n / total:.1f} %)" for s, n in shares.items()],
                textprops={"fontsize": 9},
                wedgeprops={"edgecolor": "white"},
                labeldistance=1.12,
                radius=0.92,
            )
        return self


def distribution(display: DistributionDisplay, about: str) -> "Figure":
    """Draw images by class, by class and subset, and the share of each subset."""
    count = len(display.classes)
    figure = style.new_figure(9, max(6.4, 2 + 0.62 * count + 3.2))
    with style.applied():
        upper, lower = figure.subfigures(2, 1, height_ratios=(max(2.6, 0.27 * count), max(3, 0.5 * count)))
        left, right = upper.subplots(1, 2, width_ratios=(1.25, 1))
        display.plot(ax=left)
        left.set_title("All images by class")
        display.plot_pie(ax=right)
        right.set_title("Share of the subsets")
        axes = lower.subplots()
        display.plot(ax=axes, subset="grouped")
        axes.set_title("By class and subset")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    style.set_heading(figure, f"Images of {display.title}" if display.title else "Images", about)
    return figure


def draw_all(dataset: str, folder: Path, manifest: Path, measured: "Sequence[Measured]" = ()) -> list[Path]:
    """Draw the distribution, the sample sheet and the mean colours of a dataset; return the files.

    Args:
        dataset: folder below data/raw.
        folder: for the files.
        manifest: of the split.
        measured: its images from `data.datasets.summary.measure`; without them no colours are drawn.

    Raises:
        LeukoBenchError: the manifest cannot be read, or the folder cannot be written.
    """
    rows = manifests.read(manifest)
    display, samples = DistributionDisplay.from_manifest(rows, dataset), sample_sheets.samples_of(rows)
    total = f"split of {len(rows.rows):,} images"
    figure = distribution(display, f"{total}, {len(display.classes)} classes")
    made = [style.save(figure, folder / "distribution.png")]
    sheet = sample_sheets.sample_sheet(dataset, samples, sample_sheets.about_samples(rows, total))
    if sheet:
        made.append(style.save(sheet, folder / "samples.png"))
    if measured:
        colours = mean_colors.ColoursDisplay.from_images(measured)
        figure = mean_colors.draw(colours, f"{dataset}, {len(measured):,} images")
        made.append(style.save(figure, folder / "colours.png"))
    return made
