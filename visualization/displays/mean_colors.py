"""Mean colours of the images of a dataset by class: how well the colour alone predicts the class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from visualization import style
from visualization.displays.display import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from data.datasets.summary import Measured

PANELS = {"red": "#c0392b", "green": "#1e8449", "blue": "#1f4e9e", "brightness": "#6b6b6b"}


@dataclass
class ColoursDisplay(Display):
    """Store the mean red, green, blue and brightness of every image and draw them on demand.

    Attributes:
        classes: class names in order.
        values: by channel and class, one number per image, 0-255: {"red": {"Benign": [...], ...}, ...}.
    """

    classes: Sequence[str]
    values: dict[str, dict[str, list[float]]]

    @classmethod
    def from_images(cls, measured: "Sequence[Measured]") -> Self:
        """Sort the measured images of a dataset by class."""
        classes = sorted({image.label for image in measured})
        return cls(
            classes,
            {key: {c: [getattr(i, key) for i in measured if i.label == c] for c in classes} for key in PANELS},
        )

    def colour(self, name: str) -> tuple[float, ...]:
        """Return the mean colour of a class as red, green, blue in 0..1."""
        means = [self.values[key][name] for key in ("red", "green", "blue")]
        return tuple(sum(values) / len(values) / 255 for values in means)

    def plot(self, channel: str, *, ax: "Axes | None" = None) -> Self:
        """Draw a box plot of one channel with a box for each class."""
        with self._canvas(ax, 4, 0.5 * len(self.classes) + 1.2) as ax:
            ax.boxplot(
                [self.values[channel][name] for name in self.classes],
                orientation="horizontal",
                widths=0.6,
                positions=range(len(self.classes)),
                whis=(5, 95),
                patch_artist=True,
                manage_ticks=False,
                medianprops={"color": "white", "lw": 1.6},
                boxprops={"facecolor": PANELS[channel], "edgecolor": PANELS[channel], "alpha": 0.85},
                whiskerprops={"color": PANELS[channel]},
                capprops={"color": PANELS[channel]},
                flierprops={
                    "marker": "o",
                    "markersize": 1.6,
                    "markerfacecolor": PANELS[channel],
                    "markeredgewidth": 0,
                    "alpha": 0.6,
                },
            )
            ax.set_ylim(len(self.classes) - 0.5, -0.5)
            ax.set_yticks(range(len(self.classes)), [])
            ax.tick_params(axis="y", length=0)
            ax.set_xlabel(f"Mean {channel}, 0 to 255")
            ax.grid(True, axis="x")
        return self


def draw(display: ColoursDisplay, about: str) -> "Figure":
    """Draw the mean colour of each class and the spread of its channels over its images."""
    from matplotlib.patches import Rectangle

    count = len(display.classes)
    figure = style.new_figure(11, max(3.0, 0.55 * count + 1.7))
    with style.applied():
        axes = figure.subplots(1, 5, sharey=False, width_ratios=(0.22, 1, 1, 1, 1))
        axes[0].set_ylim(count - 0.5, -0.5)
        axes[0].set_xlim(0, 1)
        for k, name in enumerate(display.classes):
            axes[0].add_patch(Rectangle((0, k - 0.3), 1, 0.6, facecolor=display.colour(name), edgecolor="#888888"))
        names = [style.wrap(name, 18) if count <= 6 else style.short(name, 22) for name in display.classes]
        axes[0].set_yticks(range(count), names)
        axes[0].set_xticks([])
        axes[0].tick_params(length=0)
        axes[0].set_xlabel("Mean\ncolour")
        for spine in axes[0].spines.values():
            spine.set_visible(False)
        for axis, channel in zip(axes[1:], PANELS, strict=True):
            display.plot(channel, ax=axis)
    words = f"{about}. Box: middle half of the images, whiskers: 5 % to 95 %"
    style.set_heading(
        figure,
        "Mean colour of the images by class: where boxes do not overlap, the colour alone predicts the class",
        words,
    )
    return figure
