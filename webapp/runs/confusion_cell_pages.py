"""Pages of the images behind a cell of a confusion matrix, with thumbnails and heatmaps."""

import io
import logging
from collections.abc import Sequence
from functools import lru_cache
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from utils import heatmap_methods
from utils.errors import LeukoBenchError
from utils.heatmap_methods import CONVOLUTIONS, TOKENS
from utils.runs.run_folder import Run
from visualization.architecture import layer_graph
from visualization.images import heatmap_overlay
from visualization.images.thumbnails import fit
from webapp.http.problem_responses import Problem, busy
from webapp.http.templates import render
from webapp.runs import test_predictions
from webapp.runs.catalogue import Entry, Signature
from webapp.runs.test_predictions import Answer

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Item = TypeVar("Item")

ON_A_PAGE = 24
SIDE = 256  # pixels of the longer side of a thumbnail
SHOWN_SIDE = 448  # of an image under a heatmap
PATCHES = "Patches to tokens"  # kind of the first layer of a transformer
METHODS = heatmap_methods.names()
KEPT = {"Cache-Control": "private, max-age=300"}  # for images, which change only with the run

router = APIRouter(include_in_schema=False)
_log = logging.getLogger(__name__)
_asking = BoundedSemaphore(12)
_decoding = BoundedSemaphore(2)  # decoding an image may take 150 MB


@router.get("/runs/{model}/{folder}/cell")
def cell(
    request: Request,
    model: str,
    folder: str,
    true: int | None = None,
    predicted: int | None = None,
    method: str = "",
    page: int = Query(1, ge=1, le=100_000),
) -> HTMLResponse:
    """Show the images of one cell, worst first; without a class, the mistakes of a row, a column or all."""
    entry = request.app.state.services.catalogue.find(f"{model}/{folder}")
    answers = test_predictions.of(entry)
    names = [_class(answers.classes, index) for index in (true, predicted)]
    with test_predictions.readable(entry):
        found = answers.cell(*names)
    shown, pages = paged(found, page)
    return render(
        request,
        "cell.html",
        entry=entry,
        classes=answers.classes,
        label=names[0],
        predicted=names[1],
        count=len(found),
        shown=[(answer, test_predictions.at_hand(entry, answer)) for answer in shown],
        page=page,
        pages=pages,
        method=chosen_method(entry, method),
        methods=methods(entry),
        explained=explained(entry),
        address=f"?{''.join(f'{k}={v}&' for k, v in (('true', true), ('predicted', predicted)) if v is not None)}",
    )


@router.get("/runs/{model}/{folder}/images/{row}.png")
def thumbnail(request: Request, model: str, folder: str, row: int) -> Response:
    """Return a test image, resized and encoded again; never the bytes of the file."""
    entry = request.app.state.services.catalogue.find(f"{model}/{folder}")
    answer = test_predictions.by_row(entry, row)
    with _decoding:
        return _png(fit(test_predictions.picture(entry, answer)[1], SIDE))


@router.get("/runs/{model}/{folder}/images/{row}/heatmap.png")
def heatmap(request: Request, model: str, folder: str, row: int, method: str = "") -> Response:
    """Return a test image with its heatmap, stored or computed now."""
    services = request.app.state.services
    entry = services.catalogue.find(f"{model}/{folder}")
    answer = test_predictions.by_row(entry, row)
    if method and method not in methods(entry):
        raise Problem(422, "No such method", f"Methods for this model: {', '.join(methods(entry))}.")
    with _decoding:
        path, picture = test_predictions.picture(entry, answer)
    values = _stored(entry, answer, method)
    if values is None:
        if not entry.has_weights:
            raise Problem(404, "No heatmap", "The weights of this run are missing, so no heatmap can be computed.")
        if not _asking.acquire(blocking=False):  # waiting threads would block other requests
            raise busy("heatmaps")
        try:
            values = services.inference.heatmap_of_file(entry.run, path, method)[0]
        finally:
            _asking.release()
    return _png(overlaid(picture, values))


def overlaid(picture: "Image", values: "np.ndarray") -> "Image":
    """Return an image with a heatmap over it, its longer side SHOWN_SIDE pixels."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(fit(picture, SHOWN_SIDE, Image.Resampling.BICUBIC))
    return Image.fromarray(heatmap_overlay.overlay(pixels, values))


def methods(entry: Entry) -> list[str]:
    """Return the heatmap methods for a run's kind of model; all where its architecture is unknown."""
    return _methods(entry.run, entry.signature)


@lru_cache(maxsize=64)
def _methods(run: Run, signature: Signature) -> list[str]:
    try:
        kinds = {layer.kind for layer in layer_graph.of_run(run).layers}
    except Exception as error:  # architecture.json may have any content
        _log.info("The architecture of %s is not known: %s", run.id, error)
        return heatmap_methods.names()
    return heatmap_methods.names(TOKENS if PATCHES in kinds else CONVOLUTIONS)


def chosen_method(entry: Entry, method: str) -> str:
    """Return the method if it fits the model, else "" for the method of the run's configuration."""
    return method if method in methods(entry) else ""


def explained(entry: Entry) -> frozenset[str]:
    """Return the images with a heatmap: all with the weights, else those with a stored heatmap."""
    return frozenset(test_predictions.of(entry).of) if entry.has_weights else _measured(entry.run, entry.signature)


def paged(found: Sequence[Item], page: int) -> tuple[Sequence[Item], int]:
    """Return the items of a page and the number of pages; raise 404 beyond the last."""
    pages = max(1, -(-len(found) // ON_A_PAGE))
    if page > pages:
        raise Problem(404, "No such page", f"There are {pages} pages here.")
    return found[(page - 1) * ON_A_PAGE : page * ON_A_PAGE], pages


@lru_cache(maxsize=64)
def _measured(run: Run, signature: Signature) -> frozenset[str]:
    return frozenset(each.image for each in _held(run))


def _stored(entry: Entry, answer: Answer, method: str) -> "np.ndarray | None":
    wanted = method or entry.config.get("heatmap_method", METHODS[0])
    held = {each.method: each.values for each in _held(entry.run) if each.image == answer.image}
    return held.get(wanted) if method or entry.has_weights else held.get(wanted, next(iter(held.values()), None))


def _held(run: Run) -> list[heatmap_overlay.Heatmap]:
    try:
        return heatmap_overlay.read(run)
    except (LeukoBenchError, OSError, ValueError, TypeError):  # missing or damaged
        return []


def _class(classes: Sequence[str], index: int | None) -> str:
    if index is None:
        return ""
    if not 0 <= index < len(classes):
        raise Problem(404, "No such class", f"This run has the classes 0 to {len(classes) - 1}: {', '.join(classes)}.")
    return classes[index]


def _png(picture: "Image") -> Response:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png", headers=KEPT)
