"""Keep an image and its answers on the server's disk, where the person who sent it ticked that."""

import hashlib
from pathlib import Path

from utils.errors import LeukoBenchError
from utils.io import files

FOLDER = "kept"
MOST = 2_000  # images: who keeps more should import them as a dataset


def keep(root: Path, png: bytes, table: str) -> str:
    """Write an image and what the models said of it.

    The files are named by the image's content alone: nothing that was sent becomes part of a path.

    Args:
        root: folder of the runs; the files lie in its folder "kept".
        png: the image as it was decoded, without its metadata.
        table: what the models said, as CSV.

    Returns:
        A sentence that says what was kept, or why nothing was.
    """
    folder, name = root / FOLDER, hashlib.sha256(png).hexdigest()[:16]
    try:
        if not (folder / f"{name}.png").exists() and sum(1 for _ in folder.glob("*.png")) >= MOST:
            return f"Not kept: {FOLDER}/ holds {MOST:,} images already. Remove some of them first."
        files.write_bytes(folder / f"{name}.png", png)
        files.write_text(folder / f"{name}.csv", table)
    except LeukoBenchError:
        return "Not kept: the server cannot write there."
    return f"Kept on the server as {FOLDER}/{name}.png, with its answers beside it."
