"""Command `data preview`: draw images in the dataset variants."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guide.data import Dataset
from utils import console
from utils.errors import LeukoBenchError, nearest
from utils.paths import raw_dir, runs_dir

if TYPE_CHECKING:
    import numpy as np

    from data.manifest import Manifest

MASKS = ("nuclei", "masked")


class Changed(StrEnum):
    """Variants of data/imaging/variants.py except the unchanged images."""

    clahe = "clahe"
    gray = "gray"
    masked = "masked"
    nuclei = "nuclei"
    reinhard = "reinhard"
    macenko = "macenko"
    no_bar = "no_bar"


def preview(
    dataset: Dataset = "",
    variant: Annotated[
        list[Changed] | None, typer.Option(help="Variant; repeat for several.", show_default="all")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=20, help="Images of each class.")] = 3,
    reference: Annotated[
        str,
        typer.Option(help="Reference image of the stain: <Class>/<file> or any file. Default: as in training."),
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Folder for the figure.", show_default="runs/figures")] = None,
) -> None:
    """Draw images before and after the dataset variants; on synthetic smears also measure the masks."""
    from data import catalog
    from data.datasets import index
    from data.imaging import variants as image_variants
    from data.splitting import splits
    from visualization import style
    from visualization.images import sample_sheets, variant_preview

    names = list(dict.fromkeys(Changed(each).value for each in variant or Changed))
    name = catalog.ensure_dataset(dataset)
    folder, split = raw_dir(name), splits.prepare_split(name)
    shown = [image for found in sample_sheets.samples_of(split.manifest).values() for image in found[:count]]
    examples = [variant_preview.Example(_pixels(folder / image), _caption(*image.split("/"))) for image in shown]
    chosen = [image_variants.Variant(name=each) for each in names]
    if any(map(image_variants.needs_reference, chosen)):
        path = _reference(folder, split.manifest, reference)
        target = _pixels(path)
        chosen = [image_variants.with_reference(each, target, path.name) for each in chosen]
        examples.insert(0, variant_preview.Example(target, _caption("reference", path.name)))
    console.table(
        "Dataset variants", ("variant", "description"), [(each, image_variants.DESCRIPTIONS[each]) for each in names]
    )
    about = "Training images of each class, in the order of their hashes"
    sheet = variant_preview.variant_sheet(examples, chosen, f"Dataset variants of {name}", about)
    place = (output or runs_dir() / "figures" / name) / "variants.png"
    if index.about(folder).get("synthetic") and set(names) & set(MASKS):
        _measure(folder, [row.image for row in split.manifest.rows])
    console.say(f"Drew {style.save(sheet, place)}")


def _reference(folder: Path, manifest: "Manifest", asked: str) -> Path:
    """Return the requested image, or the one that training on the default split uses."""
    from data.imaging import variants as image_variants

    known = [row.image for row in manifest.rows]
    if asked in known:
        return folder / asked
    if asked and Path(asked).is_file():
        return Path(asked)
    if asked:
        raise LeukoBenchError(
            f"There is no image '{asked}' for the reference.{nearest(asked, known)} "
            "Give <Class>/<file> of the dataset, or the path of an image."
        )
    paths = [folder / row.image for row in manifest.subset("train")]
    return paths[image_variants.choose_reference(paths)]


def _measure(folder: Path, images: Sequence[str]) -> None:
    """Print how well nuclei are found on synthetic smears, whose true masks are known."""
    from data.imaging import nucleus_segmentation

    scores: dict[str, list[tuple[float, float]]] = {}
    for image in images:
        mask = folder / "_masks" / image
        if mask.is_file():
            overlap = nucleus_segmentation.overlap(
                nucleus_segmentation.nucleus_mask(_pixels(folder / image)), _pixels(mask)[:, :, 0] > 127
            )
            scores.setdefault(image.partition("/")[0], []).append(overlap)
    if not scores:
        return
    rows = [(label, *_row(values)) for label, values in sorted(scores.items())]
    rows.append(("all", *_row([pair for values in scores.values() for pair in values])))
    columns = ("class", "images", "Dice", "IoU", "lowest Dice")
    console.table("Nuclei found against the true masks of the synthetic smears", columns, rows)


def _row(values: Sequence[tuple[float, float]]) -> tuple[int, str, str, str]:
    dice, union = zip(*values, strict=True)
    return len(values), f"{sum(dice) / len(dice):.3f}", f"{sum(union) / len(union):.3f}", f"{min(dice):.3f}"


def _caption(first: str, second: str) -> str:
    from visualization import style

    return f"{style.short(first, 28)}\n{style.short(second, 28)}"


def _pixels(path: Path) -> "np.ndarray":
    import numpy as np

    from data.datasets.image_decoder import open_rgb

    return np.asarray(open_rgb(path))
