"""The split as folders: <path>/{train,val,test}/<Class>/<file> and manifest.csv, hard links where they work."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from data.manifest import Manifest
from utils.errors import LeukoBenchError
from utils.io import atomic_folder

MANIFEST = "manifest.csv"


def is_whole(path: Path, table: Manifest, sizes: Mapping[str, int]) -> bool:
    """Say whether a split folder holds exactly a manifest's images, judged by names and sizes in bytes."""
    try:
        if (path / MANIFEST).read_text(encoding="utf-8") != table.text():
            return False
        wanted = {f"{row.split}/{row.image}": sizes[row.image] for row in table.rows}
        found = {}
        for subset in {row.split for row in table.rows}:
            for place in (path / subset).iterdir():
                with os.scandir(place) as entries:
                    for entry in entries:
                        found[f"{subset}/{place.name}/{entry.name}"] = entry.stat().st_size
    except (OSError, UnicodeDecodeError):
        return False
    return found == wanted


def build(path: Path, table: Manifest, source: Path, sizes: Mapping[str, int]) -> None:
    """Lay a manifest out beside `path` and move it there whole, in place of what was there.

    Args:
        path: split folder.
        table: the manifest.
        source: folder of the dataset.
        sizes: bytes of each image.

    Raises:
        LeukoBenchError: the folder cannot be written, the disk is full, or an image is missing; nothing is changed.
    """
    old = atomic_folder.hidden(path, "old")
    try:
        with atomic_folder.staged(path) as partial:
            for subset, label in sorted({(row.split, row.label) for row in table.rows}):
                (partial / subset / label).mkdir(parents=True)
            for row in table.rows:
                _place(source / row.image, partial / row.split / row.image)
            atomic_folder.write(partial / MANIFEST, table.text())
            if path.exists() and not is_whole(path, table, sizes):
                path.rename(old)
    except LeukoBenchError:
        if not is_whole(path, table, sizes):  # else another process was faster
            if old.exists() and not path.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _place(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target)
