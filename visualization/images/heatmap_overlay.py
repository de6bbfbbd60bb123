"""Read the heatmaps of a run and blend them over their images."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils.errors import LeukoBenchError
from utils.metrics import predictions
from utils.runs import run_folder
from utils.runs.run_folder import Run
from visualization import style
from visualization.architecture import layer_graph

if TYPE_CHECKING:
    import numpy as np

COLUMNS = ("image", "method", "layer", "predicted", "purpose", "map")
FINE = 7  # cells along a side of the usual feature map of a 224 px image
STRONGEST = 0.72  # opacity at the maximum of a map
CONTRAST = 1.2  # exponent of the map's value in the opacity


@dataclass(frozen=True)
class Heatmap:
    """One row of heatmaps.npz with the prediction of its image.

    Attributes:
        predicted: class explained by the map.
        values: (h, w) in 0..1.
        label: true class.
        probability: of the predicted class; None for an image outside the test set.
    """

    image: str
    method: str
    layer: str
    predicted: str
    purpose: str
    values: "np.ndarray"
    label: str
    probability: float | None

    @property
    def right(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.predicted == self.label

    @property
    def words(self) -> str:
        """Predicted class and its probability."""
        known = "" if self.probability is None else f"\np = {self.probability:.3f}"
        return f"{style.short(self.predicted, 20)}{known}"


def read(run: Run, purpose: str | None = None) -> list[Heatmap]:
    """Read the heatmaps of a run with the purpose "panel", "example" or "unsure"; None reads all.

    Raises:
        LeukoBenchError: heatmaps.npz is missing or damaged.
    """
    import zipfile

    import numpy as np

    path = run.file(run_folder.HEATMAPS)
    again = f"Make it with: python run_guide.py explain {run.id}"
    if not path.is_file():
        raise LeukoBenchError(f"Run {run.id} has no {path.name}. {again}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = [arrays[name] for name in COLUMNS]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise LeukoBenchError(f"{path} is damaged. {again}") from None
    if len({len(column) for column in columns}) != 1 or columns[-1].ndim != 3:
        raise LeukoBenchError(f"{path} is damaged (its columns differ in length). {again}")
    known = {row["image"]: row for row in run.predictions("test").to_dict("records")}
    heatmaps = []
    for *texts, values in zip(*columns, strict=True):
        image, method, layer, predicted, kind = map(str, texts)
        if purpose not in (None, kind):
            continue
        row = known.get(image, {})
        label = row.get("label", image.rpartition("/")[0])
        probability = row.get(predictions.PREFIX + predicted)
        heatmaps.append(Heatmap(image, method, layer, predicted, kind, values, label, probability))
    return heatmaps


def grid_of(run: Run, layer: str) -> tuple[int, int] | None:
    """Return rows and columns of the feature map that a layer's heatmaps are computed on; None if unknown.

    Args:
        run: with the shapes in its architecture.json.
        layer: name in heatmaps.npz; in a transformer all layers share the grid of the patches.
    """
    try:
        layers = layer_graph.of_run(run).layers
    except LeukoBenchError:
        return None
    patches = next((each.shape for each in layers if each.kind == "Patches to tokens"), None)
    if patches:
        rest = patches[1] or 0
        side = math.isqrt(rest)  # a class token may precede the patches
        return (side, side) if side and rest - side * side in (0, 1) else None
    shape = next((each.shape for each in layers if layer in (each.name, each.name.rpartition("/")[2])), None)
    return (shape[1], shape[2]) if shape and len(shape) == 4 and shape[1] and shape[2] else None


def grid_words(grid: tuple[int, int] | None) -> str:
    """Return "2 x 2 grid"; "" where the grid is unknown."""
    return f"{grid[0]} x {grid[1]} grid" if grid else ""


def coarse(grid: tuple[int, int] | None) -> bool:
    """Return whether one cell of a grid covers a blood cell and its surroundings."""
    return grid is not None and min(grid) < FINE


def overlay(pixels: "np.ndarray", values: "np.ndarray") -> "np.ndarray":
    """Blend a map over an image: (h, w, 3) uint8, yellow where the map is high, unchanged where it is 0.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        values: (any height, any width) in 0..1; stretched over the whole image.
    """
    import numpy as np

    strength, colours = _coloured(values, pixels.shape[1], pixels.shape[0])
    cover = STRONGEST * strength**CONTRAST
    return np.round(pixels * (1 - cover) + colours * cover).astype(np.uint8)


def layer(values: "np.ndarray", width: int, height: int) -> "np.ndarray":
    """Return a map as an overlay image: (height, width, 4) uint8 RGBA, transparent where the map is 0.

    Drawn with an opacity of STRONGEST it gives the result of `overlay`.
    """
    import numpy as np

    strength, colours = _coloured(values, width, height)
    return np.round(np.concatenate([colours, 255 * strength**CONTRAST], axis=-1)).astype(np.uint8)


def _coloured(values: "np.ndarray", width: int, height: int) -> "tuple[np.ndarray, np.ndarray]":
    """Return a map at an image's size, (height, width, 1) in 0..1, and its colours, (height, width, 3) in 0..255."""
    import numpy as np
    from matplotlib import colormaps
    from PIL import Image

    strength = Image.fromarray(np.nan_to_num(np.asarray(values, np.float32)).clip(0, 1))
    strength = np.asarray(strength.resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)[..., None]
    return strength, colormaps["viridis"](strength[..., 0])[..., :3] * 255
