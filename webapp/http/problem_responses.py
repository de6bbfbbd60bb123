"""What goes wrong, told to a person: problem+json (RFC 9457) below /api, a page elsewhere; never a traceback."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from utils.errors import LeukoBenchError

API = "/api/"
ANYWHERE = (401, 421, 503)  # problems of any route: token, foreign host, too busy
MACHINES = ("/healthz", "/metrics")  # read by programs as well
FRAGMENT = "x-fragment"  # sent by the pages' own scripts, which show the problem themselves
_log = logging.getLogger(__name__)


class Problem(Exception):
    """An answer that is an error, with a sentence a person understands.

    Attributes:
        status: of HTTP, 400 or above.
        title: the kind of problem, in a few words.
        detail: what was received, what is valid and what to do.
        retry_after: seconds after which it is worth asking again; None where it is not.
    """

    def __init__(self, status: int, title: str, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.retry_after = status, title, detail, retry_after


class ProblemBody(BaseModel):
    """A problem as the API tells it (application/problem+json)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def documented(*statuses: int) -> dict[int | str, dict]:
    """Return the `responses` of a route that may answer with these problems, for its OpenAPI document."""
    content = {"application/problem+json": {"schema": ProblemBody.model_json_schema()}}
    told = sorted({*ANYWHERE, *statuses})
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in told}


def respond(request: Request, problem: Problem) -> Response:
    """Return a problem as the client reads it."""
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
    """Log an error that nobody expected, and return the problem that the client reads."""
    _log.error("Defect at %s", request.url.path, exc_info=error)
    return respond(request, Problem(500, "Internal error", "The server made a mistake; its log says which."))


def install(app: FastAPI) -> None:
    """Make every expected error of a route a problem; what is left is for `defect`."""

    async def known(request: Request, error: Problem) -> Response:
        return respond(request, error)

    async def expected(request: Request, error: LeukoBenchError) -> Response:
        # What only the person at the server can mend; its words may name folders, so they go to the log alone.
        _log.warning("%s: %s", request.url.path, error)
        return respond(
            request, Problem(404, "Not to be had", "What this page needs is missing or damaged on the server.")
        )

    async def of_http(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        details = {
            404: f"There is nothing at {request.url.path[:200]}. Begin at the first page.",
            405: f"{request.method} is not possible at {request.url.path[:200]}; see the Allow header.",
        }
        response = respond(
            request, Problem(error.status_code, title, details.get(error.status_code, str(error.detail)))
        )
        response.headers.update(error.headers or {})
        return response

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        told = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()[:5])
        return respond(request, Problem(422, "Invalid request", f"{told[:500]}."))

    app.add_exception_handler(Problem, known)
    app.add_exception_handler(LeukoBenchError, expected)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, invalid)
