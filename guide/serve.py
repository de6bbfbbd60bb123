"""Command `serve`: start the web page."""

import secrets
from typing import Annotated

import typer

from models.engine.cli import Root
from models.engine.export import store as export_store
from utils import console
from utils.paths import runs_dir
from utils.system import optional_packages
from utils.text import NOTICE

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")  # of requirements-web.txt
HOST, PORT, TOKEN = "127.0.0.1", 8765, "LEUKOBENCH_TOKEN"


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; addresses other than localhost need a token.")
    ] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 chooses a free port.")] = PORT,
    token: Annotated[
        str,
        typer.Option(help="Token that clients must send, 16 characters or more.", envvar=TOKEN, show_default=False),
    ] = "",
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address or network of a proxy that names the clients in X-Forwarded-For; may be repeated."),
    ] = None,
    export: Annotated[
        str, typer.Option(help="Predict with this export (onnx-int8, ...) where a run has it. Default: Keras.")
    ] = "",
    root: Root = None,
) -> None:
    """Start the web page: upload smears, see predictions and their reliability, browse the comparison.

    The server listens on this machine only, unless --host is given; then, and with --proxy, clients need a token, which
    is generated if --token is missing. Ctrl-C stops the server after the current requests.
    """
    for package in PACKAGES:
        optional_packages.need(package, "serve", "requirements-web.txt")
    from webapp.server import serve as run
    from webapp.settings import Settings, is_loopback

    place = root or runs_dir()
    if root is None and not _holds_runs(place) and _holds_runs(place / "demo"):
        place /= "demo"
    generated = not token and (not is_loopback(host) or bool(proxy))
    if export:
        export_store.check_name(export)
        export_store.need(export.rpartition("-")[0])
    token = secrets.token_urlsafe(24) if generated else token
    settings = Settings(place, host, port, token, tuple(proxy or ()), export=export)

    def ready(address: str) -> None:
        console.say(f"LeukoBench runs at {address} with the runs of {place}. Stop it with Ctrl-C.")
        if settings.token:
            token_text = settings.token if generated else "as given"
            console.say(
                f"Token: {token_text} (browser: as password, with any user name; else header 'Authorization: Bearer')."
            )
        if not settings.loopback and not proxy:
            console.warn("Other machines can reach this server without encryption: put it behind an HTTPS proxy.")
        console.say(f"{NOTICE}.")

    if not _holds_runs(place):
        console.warn(f"{place} holds no finished run yet. New runs appear on the page. --root names another folder.")
    run(settings, ready)
    console.say("Stopped.")


def _holds_runs(place: object) -> bool:
    from utils.runs import run_folder

    return bool(run_folder.find_runs(place, finished=True))
