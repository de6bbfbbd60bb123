"""Which images belong together: those of one patient, or of one stain group, are not independent of each other."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from utils.io import files
from utils.runs.run_folder import Run

FOLDER, FILE = "audit", "groups.csv"  # <root>/audit/<dataset>/groups.csv, which `audit` writes


def of_images(run: Run, images: Sequence[str]) -> tuple[list[str], str]:
    """Return the group of each image, and in words where the groups come from.

    The group column of the run's manifest counts where it is filled for all of the images, then the groups that
    `audit` left beside the runs; without either each image is a group of its own.

    Raises:
        LeukoBenchError: a file is there but damaged.
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
    return _read(path)  # a manifest is named by its content, so that it never changes


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return {row["image"]: row["group"] for row in files.read_csv(path, ("image", "group"))}
