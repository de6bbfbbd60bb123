"""The programs' side: POST /api/v1/predict, health, meters, the OpenAPI document and a page that shows it."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from utils.text import NOTICE
from webapp import services
from webapp.http.problem_responses import documented
from webapp.http.templates import render
from webapp.predict.schemas import Prediction, prediction
from webapp.predict.service import METHODS, NO_HEATMAP, ask
from webapp.settings import Settings

router = APIRouter()

BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {
                    "images": {
                        "type": "array",
                        "items": {"type": "string", "format": "binary"},
                        "minItems": 1,
                        "maxItems": Settings.images,
                        "description": "Image files.",
                    },
                    "models": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "Ids of runs; labels or models for their latest run. None asks all.",
                    },
                    "heatmap": {
                        "type": "string",
                        "enum": list(METHODS),
                        "default": NO_HEATMAP,
                        "description": "Method of the heatmaps; 'own' is that of each run's configuration.",
                    },
                },
            },
            "encoding": {"images": {"contentType": "image/png, image/jpeg"}},
        }
    },
}


class Health(BaseModel):
    """How the server is."""

    status: str = "ok"
    notice: str = NOTICE
    waiting: int
    busy: int


@router.post(
    "/api/v1/predict", tags=["predict"], summary="Ask models about images",
    responses=documented(400, 403, 404, 408, 413, 415, 422, 503), openapi_extra={"requestBody": BODY},
)  # fmt: skip
async def predict(request: Request) -> Prediction:
    """Return what every model says of every image, and how far it is to be believed.

    Images are kept in memory for this request alone. Of several images, one that cannot be used has a `problem` of its
    own; where none can be used, the answer is the problem of the first.
    """
    return await ask(request, services.of(request), prediction)


@router.get("/healthz", tags=["server"], summary="Is the server well?")
@router.get("/api/v1/healthz", include_in_schema=False)
async def healthz(request: Request) -> Health:
    """Return at once how many requests are in work and wait."""
    here = services.of(request)
    return Health(waiting=here.inference.waiting, busy=here.busy)


@router.get(
    "/metrics", tags=["server"], summary="Meters for Prometheus", response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)  # fmt: skip
@router.get("/api/v1/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return counts and times in Prometheus' text format."""
    return Response(generate_latest(services.of(request).meters.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/api", include_in_schema=False)
def page(request: Request) -> HTMLResponse:
    """Show the OpenAPI document to a person."""
    document = request.app.openapi()
    found = [
        {"method": method.upper(), "path": path, **operation, "answers": _answers(operation)}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return render(request, "api.html", document=document, operations=found, schemas=document["components"]["schemas"])


def _answers(operation: dict[str, Any]) -> list[dict[str, str]]:
    rows = []
    for status, told in operation["responses"].items():
        kind, content = next(iter(told.get("content", {}).items()), ("", {}))
        rows.append(
            {"status": status, "words": told["description"], "kind": kind, "schema": _name(content.get("schema"))}
        )
    return rows


def _name(schema: dict[str, Any] | None) -> str:
    """Return what a schema is called: its component's name, or its type."""
    schema = schema or {}
    if "items" in schema:
        return f"list of {_name(schema['items'])}"
    if "anyOf" in schema:
        return " or ".join(_name(each) for each in schema["anyOf"])
    return str(schema.get("$ref", "")).rpartition("/")[2] or schema.get("title") or str(schema.get("type", ""))
