"""POST /api/v1/predict, health, readiness, metrics, the OpenAPI document and a page that shows it."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from utils.text import NOTICE
from webapp import services
from webapp.http.problem_responses import Problem, documented
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
                        "description": "Ids of runs; labels or models for their latest run. Default: all.",
                    },
                    "heatmap": {
                        "type": "string",
                        "enum": list(METHODS),
                        "default": NO_HEATMAP,
                        "description": "Heatmap method; 'own' is the method of each run's configuration.",
                    },
                },
            },
            "encoding": {"images": {"contentType": "image/png, image/jpeg"}},
        }
    },
}


class Health(BaseModel):
    """State of a server that answers."""

    status: str = "ok"
    notice: str = NOTICE
    waiting: int
    busy: int


class Readiness(BaseModel):
    """State of a server that can predict."""

    status: str = "ready"


@router.post(
    "/api/v1/predict",
    tags=["predict"],
    summary="Predict images with models",
    responses=documented(400, 403, 404, 408, 413, 415, 422, 503),
    openapi_extra={"requestBody": BODY},
)
async def predict(request: Request) -> Prediction:
    """Return the answer of every model for every image, with its reliability.

    Images stay in memory for this request only. One of several images that cannot be used has its own `problem`; where
    none can be used, the response is the problem of the first.
    """
    return await ask(request, services.of(request), prediction)


@router.get("/healthz", tags=["server"], summary="Whether the server answers")
@router.get("/api/v1/healthz", include_in_schema=False)
async def healthz(request: Request) -> Health:
    """Return the number of running and waiting requests."""
    here = services.of(request)
    return Health(waiting=here.inference.waiting, busy=here.places.held)


@router.get("/readyz", tags=["server"], summary="Whether the server can predict", responses=documented(503))
@router.get("/api/v1/readyz", include_in_schema=False)
async def readyz(request: Request) -> Readiness:
    """Return 200 once the models are loaded, while their process runs and the folder of runs can be read; else 503."""
    reason = await services.of(request).unready()
    if reason:
        raise Problem(503, "Not ready", reason, retry_after=2)
    return Readiness()


@router.get(
    "/metrics",
    tags=["server"],
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
@router.get("/api/v1/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return the metrics in the text format of Prometheus."""
    return Response(generate_latest(services.of(request).meters.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/api", include_in_schema=False)
def page(request: Request) -> HTMLResponse:
    """Show the OpenAPI document as a page."""
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
    """Return the name of a schema: its component, or its type."""
    schema = schema or {}
    if "items" in schema:
        return f"list of {_name(schema['items'])}"
    if "anyOf" in schema:
        return " or ".join(_name(each) for each in schema["anyOf"])
    return str(schema.get("$ref", "")).rpartition("/")[2] or schema.get("title") or str(schema.get("type", ""))
