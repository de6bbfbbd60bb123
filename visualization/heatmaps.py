"""Heatmaps as the runs hold them, and how one is laid over its image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from utils import artifacts, metrics
from utils.artifacts import Run
from utils.errors import LeukoBenchError
from visualization import style

if TYPE_CHECKING:
    import numpy as np

COLUMNS = ("image", "method", "layer", "predicted", "purpose", "map")
STRONGEST = 0.72  # how much of the picture the strongest place covers


@dataclass(frozen=True)
class Heatmap:
    """One row of heatmaps.npz, with what predictions.csv says about its image.

    Attributes:
        predicted: class that the map explains.
        values: (h, w) in 0..1.
        label: true class.
        probability: of the predicted class; None where the image is no test image.
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

    path = run.file(artifacts.HEATMAPS)
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
        probability = row.get(metrics.PREFIX + predicted)
        heatmaps.append(Heatmap(image, method, layer, predicted, kind, values, label, probability))
    return heatmaps


def overlay(pixels: "np.ndarray", values: "np.ndarray") -> "np.ndarray":
    """Lay a map over an image: (h, w, 3) uint8 of `pixels`, yellow where the map is high, unchanged where it is 0.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        values: (any height, any width) in 0..1; stretched over the image, as the model saw the whole of it.
    """
    import numpy as np
    from matplotlib import colormaps
    from PIL import Image

    height, width = pixels.shape[:2]
    strength = Image.fromarray(np.nan_to_num(np.asarray(values, np.float32)).clip(0, 1))
    strength = np.asarray(strength.resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)[..., None]
    colours = colormaps["viridis"](strength[..., 0])[..., :3] * 255
    cover = STRONGEST * strength**1.2
    return np.round(pixels * (1 - cover) + colours * cover).astype(np.uint8)
