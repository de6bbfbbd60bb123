"""Process that runs the models: its messages and answers."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import LeukoBenchError
from utils.runs.run_folder import Run

_log = logging.getLogger(__name__)

Image = bytes | np.ndarray  # as in models.engine.serving, which the server does not import


@dataclass(frozen=True)
class Warm:
    """Load a run in advance. Answer: None, or the reason why it cannot be loaded."""

    run: Path


@dataclass(frozen=True)
class Predict:
    """Predict images with runs. Answer: for each image a list of each run's (classes,) probabilities or the reason."""

    runs: tuple[Path, ...]
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Explain:
    """Compute a heatmap. Answer: (size, size) map and (classes,) probabilities, or the reason why there are none."""

    run: Path
    image: Image
    method: str


def prepare(most: int, memory_mb: int, export: str = "") -> Callable[[Any], Any]:
    """Start Keras in this process and return the function that answers messages."""
    from models.engine.serving.model_cache import Shelf

    shelf = Shelf(most, memory_mb, export)
    return lambda message: _answer(message, shelf)


def _answer(message: Warm | Predict | Explain, shelf: Any) -> Any:
    from models.engine.serving.model_cache import decode

    if isinstance(message, Warm):
        return _or_why(lambda: shelf.get(Run(message.run)) and None, message.run)
    if isinstance(message, Explain):
        run = Run(message.run)
        return _or_why(lambda: shelf.get(run).explain(decode(message.image), message.method), message.run)
    images = [_or_why(lambda image=image: decode(image)) for image in message.images]
    good = [image for image in images if not isinstance(image, str)]
    given = [_or_why(lambda run=run: shelf.get(Run(run)).predict(good), run) if good else None for run in message.runs]
    places = iter(range(len(good)))
    order = [None if isinstance(image, str) else next(places) for image in images]
    return [
        [
            "This image cannot be decoded." if place is None else rows if isinstance(rows, str) else rows[place]
            for rows in given
        ]
        for place in order
    ]


def _or_why(function: Callable[[], Any], run: Path = Path()) -> Any:
    """Return the result of a function, or the text of its error with paths relative to the folder of runs."""
    try:
        return function()
    except LeukoBenchError as error:
        return str(error).replace(f"{run.parent.parent}{os.sep}", "")
    except Exception:  # an error of one run must not affect the others
        _log.exception("Run %s failed", run)
        return "This run failed; see the server's log."
