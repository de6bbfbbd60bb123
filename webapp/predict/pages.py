"""The page that predicts uploaded images."""

import base64
import io
from functools import lru_cache, partial
from pathlib import PurePath
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from utils import heatmap_methods
from utils.paths import PROJECT
from visualization.images import heatmap_overlay
from webapp import services
from webapp.http.multipart_uploads import Upload
from webapp.http.problem_responses import FRAGMENT, Problem
from webapp.http.templates import render
from webapp.predict.service import NO_HEATMAP, OWN_METHOD, ImageResult, ask
from webapp.runs.interpretation import LEVEL, csv_of
from webapp.settings import MB

router = APIRouter(include_in_schema=False)

SAMPLES = PROJECT / "docs" / "samples"


@lru_cache(maxsize=1)
def samples() -> dict[str, Upload]:
    """Return the synthetic sample images of the page by name."""
    return {path.stem: Upload(path.name, path.read_bytes()) for path in sorted(SAMPLES.glob("*.png"))}


@router.get("/")
def form(request: Request) -> HTMLResponse:
    """Show the form."""
    return render(request, "predict.html", looked=[], level=LEVEL, **_form(request))


@router.post("/predict")
async def predict(request: Request) -> HTMLResponse:
    """Answer a form: the full page, or only the answers for the page's script."""
    answer = partial(_answered, request)
    return await ask(request, services.of(request), answer, show=True, samples=samples())


def _answered(request: Request, looked: list[ImageResult], method: str) -> HTMLResponse:
    shown = {"looked": [_card(each, method) for each in looked], "level": LEVEL}
    if FRAGMENT in request.headers:
        return render(request, "answers.html", **shown)
    return render(request, "predict.html", **shown, **_form(request))


@router.get("/predict")
def again(request: Request) -> HTMLResponse:
    """Show the form when the page of answers is reloaded."""
    return form(request)


@router.get("/samples/{name}.png")
def sample(name: str) -> Response:
    """Return one of the sample images."""
    if name not in samples():
        raise Problem(404, "No such sample", f"Valid names: {', '.join(samples())}.")
    return Response(samples()[name].content, media_type="image/png", headers={"Cache-Control": "private, max-age=300"})


def _form(request: Request) -> dict[str, Any]:
    here = services.of(request)
    settings = here.settings
    return {
        "offered": here.catalogue.offered(),
        "samples": list(samples()),
        "methods": [(name, heatmap_methods.title(name)) for name in heatmap_methods.names()],
        "own": OWN_METHOD,
        "no_heatmap": NO_HEATMAP,
        "most": {
            "models": settings.models,
            "images": settings.images,
            "bytes": settings.image_bytes,
            "mb": settings.image_bytes // MB,
            "megapixels": settings.image_pixels / 1e6,
        },
    }


def _card(each: ImageResult, method: str) -> dict[str, Any]:
    """Return the template's values of one image."""
    title = "Heatmap" if method == OWN_METHOD else f"{heatmap_methods.title(method)} heatmap"
    card: dict[str, Any] = {
        "each": each,
        "method": title,
        "stem": PurePath(each.upload.name).stem or "image",
    }
    if each.seen is None:
        return card
    table = csv_of(each.upload.name, each.answers)
    layers = {name: _layer(each, values) for name, values in each.maps.items() if isinstance(values, np.ndarray)}
    return card | {
        "picture": _url(each.seen.shown),
        "csv": _url(table.encode(), "text/csv;charset=utf-8"),
        "layers": layers,
    }


def _layer(each: ImageResult, values: np.ndarray) -> str:
    """Return a heatmap as an overlay of the preview."""
    return _url(_png(heatmap_overlay.layer(values, *each.seen.size)))


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
