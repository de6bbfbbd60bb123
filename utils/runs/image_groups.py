"""Groups of images that are not independent: those of one patient or one stain group."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from utils.io import files
from utils.runs.run_folder import Run

FOLDER, FILE = "audit", "groups.csv"  # <root>/audit/<dataset>/groups.csv, which `audit` writes


def of_images(run: Run, images: Sequence[str]) -> tuple[list[str], str]:
    """Return the group of each image, and a description of their source.

    The source is the group column of the run's manifest if it is filled for all images, else the groups that `audit`
    wrote beside the runs, else each image is a group of its own.

    Raises:
        LeukoBenchError: a file is damaged.
    """
    sources = (
        (_of_manifest, run.manifest_path(), "groups of the manifest"),
        (_read, run.root / FOLDER / run.config()["dataset"] / FILE, "stain groups of the audit"),
    )
    for read, path, words in sources:
        groups = read(path)
        if images and all(groups.get(image) for image in images):
            return [groups[image] for image in images], words
    return list(images), "images, as no groups are known"


@lru_cache(maxsize=16)
def _of_manifest(path: Path) -> dict[str, str]:
    return _read(path)  # a manifest is named by its hash, so it never changes


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return {row["image"]: row["group"] for row in files.read_csv(path, ("image", "group"))}
