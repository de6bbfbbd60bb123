"""The command that starts the web page."""

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
    host: Annotated[str, typer.Option(help="Address; any but this machine's own needs a token.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = PORT,
    token: Annotated[str, typer.Option(help="What clients must send.", envvar=TOKEN, show_default=False)] = "",
    export: Annotated[
        str, typer.Option(help="Export that answers for the runs that have it: onnx-int8, ...; none: Keras.")
    ] = "",
    root: Root = None,
) -> None:
    """Start the web page: upload smears, see every model's answer and whether to believe it, browse the comparison.

    It answers on this machine alone, unless --host says otherwise; then a token is needed, and one is made where none
    is given. Ctrl-C stops it once the requests that have begun are finished.
    """
    for package in PACKAGES:
        optional_packages.need(package, "serve", "requirements-web.txt")
    from webapp.server import serve as run
    from webapp.settings import Settings, is_loopback

    place = root or runs_dir()
    if root is None and not _holds_runs(place) and _holds_runs(place / "demo"):
        place /= "demo"
    made = not token and not is_loopback(host)
    if export:
        export_store.check_name(export)
        export_store.need(export.rpartition("-")[0])
    settings = Settings(place, host, port, secrets.token_urlsafe(24) if made else token, export=export)

    def ready(address: str) -> None:
        console.say(f"LeukoBench answers at {address} with the runs of {place}. Stop it with Ctrl-C.")
        if settings.token:
            words = settings.token if made else "the one that was given"
            console.say(
                f"Token: {words} (in a browser the password, with any name; else the header 'Authorization: Bearer')."
            )
        if not settings.loopback:
            console.warn("Others can reach this server, without encryption: put it behind a proxy that speaks HTTPS.")
        console.say(f"{NOTICE}.")

    if not _holds_runs(place):
        console.warn(
            f"{place} holds no finished run yet: the page shows them as they come. --root names another folder."
        )
    run(settings, ready)
    console.say("Stopped.")


def _holds_runs(place: object) -> bool:
    from utils.runs import run_folder

    return bool(run_folder.find_runs(place, finished=True))
