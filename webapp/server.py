"""Assemble the server and run it."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from utils.errors import LeukoBenchError
from utils.text import NOTICE
from webapp.http import problem_responses
from webapp.http.prometheus_metrics import Metered, Meters
from webapp.http.security import HEAD_BYTES, Guard
from webapp.predict import api as predict_api
from webapp.predict import pages as predict_pages
from webapp.runs import api as runs_api
from webapp.runs import leaderboard_pages
from webapp.services import Services
from webapp.settings import Settings

STATIC = Path(__file__).resolve().parent / "static"
FILES = 4_096  # open files that the server may need
BACKLOG = 512  # connections waiting to be accepted


def make_app(settings: Settings) -> FastAPI:
    """Return the application; its worker processes start and stop with it."""
    meters = Meters()

    @contextlib.asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        app.state.services = Services(settings, meters)
        app.state.services.warm()
        try:
            yield
        finally:
            await app.state.services.close()

    app = FastAPI(
        title="LeukoBench",
        version="1",
        lifespan=living,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        description=f"{NOTICE}. Predict blood smears with trained models, and read the results of each model.",
    )
    problem_responses.install(app)
    for routes in (predict_pages, leaderboard_pages, runs_api, predict_api):
        app.include_router(routes.router)
    app.add_route("/favicon.ico", lambda request: FileResponse(STATIC / "favicon.svg"), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Metered, meters=meters)
    return app


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; running requests are finished first.

    Args:
        settings: of the server.
        ready: called with the address once the server answers requests.

    Raises:
        LeukoBenchError: the address is in use or not an address of this machine.
    """
    import uvicorn

    from webapp.http.connection_limits import Impatient

    _allow_files()
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        bound = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise LeukoBenchError(
            f"Cannot listen at {settings.host}, port {settings.port}: {reason}. Choose another --port or --host."
        ) from None
    config = uvicorn.Config(
        make_app(settings),
        log_level="warning",
        backlog=BACKLOG,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        http=Impatient,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=2 * int(settings.deadline) + 5,
        h11_max_incomplete_event_size=HEAD_BYTES,
        lifespan="on",
        ws="none",
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        task = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started and not task.done():
            await asyncio.sleep(0.02)
        if server.started:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            ready(f"http://{host}:{bound.getsockname()[1]}/")
        await task

    # uvicorn re-raises the signal after a clean shutdown; it must not end the process with an error.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _allow_files() -> None:
    """Raise the limit of open files, whose default is about the number of connections."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on Windows
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= soft < FILES:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard) if hard >= 0 else FILES, hard))
