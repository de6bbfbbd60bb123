"""Keep an image and its answers on the server's disk, where the person who sent it ticked that."""

import hashlib
from pathlib import Path

import numpy as np

from utils import files, tables
from utils.errors import LeukoBenchError
from webapp.answers import COLUMNS
from webapp.predicting import Looked

FOLDER = "kept"
MOST = 2_000  # images: who keeps more should import them as a dataset


def keep(root: Path, looked: Looked) -> str:
    """Write an image, as it was decoded and without its metadata, and what the models said of it.

    The files are named by the image's content alone: nothing that was sent becomes part of a path.

    Args:
        root: folder of the runs; the files lie in its folder "kept".
        looked: an image and its answers.

    Returns:
        A sentence that says what was kept, or why nothing was.
    """
    if looked.seen is None:
        return "Not kept: the file could not be used."
    folder = root / FOLDER
    png = _png(looked)
    name = hashlib.sha256(png).hexdigest()[:16]
    try:
        if not (folder / f"{name}.png").exists() and sum(1 for _ in folder.glob("*.png")) >= MOST:
            return f"Not kept: {FOLDER}/ holds {MOST:,} images already. Remove some of them first."
        files.write_bytes(folder / f"{name}.png", png)
        rows = [answer.row(looked.upload.name) for answer in looked.answers]
        files.write_text(folder / f"{name}.csv", f"# {tables.NOTICE}.\n{files.csv_text(COLUMNS, rows)}")
    except LeukoBenchError:
        return "Not kept: the server cannot write there."
    return f"Kept on the server as {FOLDER}/{name}.png, with its answers beside it."


def _png(looked: Looked) -> bytes:
    import io

    from PIL import Image

    from data.images import decode

    seen = looked.seen
    picture = Image.fromarray(np.asarray(seen.pixels)) if seen.pixels is not None else decode(seen.content).image
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
