"""Error responses: problem+json (RFC 9457) below /api, a page elsewhere; never a traceback."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from utils.errors import LeukoBenchError

API = "/api/"
ANYWHERE = (400, 401, 421, 429, 431, 503)  # problems of any route: framing, token, wrong host, large head, too busy
MACHINES = ("/healthz", "/readyz", "/metrics")  # also read by programs
FRAGMENT = "x-fragment"  # header of the pages' scripts, which show the problem themselves
_log = logging.getLogger(__name__)


class Problem(Exception):
    """An error response with a sentence for the user.

    Attributes:
        status: HTTP status, 400 or above.
        title: kind of problem in a few words.
        detail: the value received, the valid ones and what to do.
        retry_after: seconds after which a retry may succeed; None where it would not.
    """

    def __init__(self, status: int, title: str, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.retry_after = status, title, detail, retry_after


def busy(what: str, retry_after: int = 2) -> Problem:
    """Return the problem of a server with too many requests of a kind."""
    return Problem(503, "Busy", f"Too many {what} at once. Try again in a moment.", retry_after)


class ProblemBody(BaseModel):
    """Body of an error response of the API (application/problem+json)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def documented(*statuses: int) -> dict[int | str, dict]:
    """Return the `responses` of a route for the OpenAPI document, from the statuses of its problems."""
    content = {"application/problem+json": {"schema": ProblemBody.model_json_schema()}}
    text = sorted({*ANYWHERE, *statuses})
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in text}


def respond(request: Request, problem: Problem) -> Response:
    """Return a problem in the format that the client accepts."""
    if request.url.path.startswith((API, *MACHINES)) or FRAGMENT in request.headers:
        body = ProblemBody(title=problem.title, status=problem.status, detail=problem.detail).model_dump()
        response: Response = JSONResponse(body, problem.status, media_type="application/problem+json")
    else:
        from webapp.http.templates import render

        response = render(request, "problem.html", problem=problem)
        response.status_code = problem.status
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def defect(request: Request, error: Exception) -> Response:
    """Log an unexpected error, and return it as a problem with status 500."""
    _log.error("Defect at %s", request.url.path, exc_info=error)
    return respond(request, Problem(500, "Internal error", "The server failed; see its log."))


def install(app: FastAPI) -> None:
    """Turn every expected error of a route into a problem; `defect` handles the others."""

    async def known(request: Request, error: Problem) -> Response:
        return respond(request, error)

    async def expected(request: Request, error: LeukoBenchError) -> Response:
        # Only the server's operator can fix it. The text may name folders, so it is only logged.
        _log.warning("%s: %s", request.url.path, error)
        return respond(
            request, Problem(404, "Not available", "A file that this page needs is missing or damaged on the server.")
        )

    async def of_http(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        details = {
            404: f"There is no page at {request.url.path[:200]}. Start at the first page.",
            405: f"{request.method} is not allowed at {request.url.path[:200]}; see the Allow header.",
        }
        response = respond(
            request, Problem(error.status_code, title, details.get(error.status_code, str(error.detail)))
        )
        response.headers.update(error.headers or {})
        if response.headers.get("allow") == "GET":
            response.headers["Allow"] = "GET, HEAD"
        return response

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        text = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()[:5])
        return respond(request, Problem(422, "Invalid request", f"{text[:500]}."))

    app.add_exception_handler(Problem, known)
    app.add_exception_handler(LeukoBenchError, expected)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, invalid)
