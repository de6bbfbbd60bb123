"""Where MLflow is: its tracking URI, a client that waits for nobody, and the experiment that runs go to."""

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from models.engine.tracking.tracker import reason
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "LeukoBench"
WEB, DATABASES = ("http", "https"), ("sqlite", "postgresql", "mysql", "mssql")
EXAMPLE = "http://127.0.0.1:5000 or sqlite:///mlflow.db"
PLACES = ("sqlite:///", "file:")  # on this machine, without passwords
PATIENCE = 10  # seconds until a server that says nothing counts as gone
# MLflow reads these when it is imported and called. What a person has set stays.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # seven, with minutes between them, would hold the training up
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(PATIENCE),
}


def reach(uri: str) -> None:
    """Find out whether a tracking URI is one, and a server's whether somebody answers; MLflow is not imported.

    Raises:
        LeukoBenchError: neither; the line says what to do.
    """
    check(uri)
    if uri.partition(":")[0].lower() in WEB:
        import requests

        try:
            requests.get(uri, timeout=PATIENCE, stream=True).close()  # any answer will do: who may enter is seen later
        except (requests.exceptions.RequestException, ValueError) as problem:
            raise LeukoBenchError(_unreachable(uri, reason(problem))) from None


def check(uri: str) -> None:
    """Raise LeukoBenchError unless a text is a tracking URI by its looks; nobody is asked."""
    scheme, colon, rest = uri.partition(":")
    kind = scheme.partition("+")[0].lower()
    if not colon or kind not in (*WEB, "file", *DATABASES) or not rest.strip("/"):
        raise LeukoBenchError(
            f"--mlflow received '{shown(uri)}', which is no tracking URI. Give one of http:, https:, file:, "
            f"{':, '.join(DATABASES)}:, such as {EXAMPLE}."
        )


def shown(uri: str) -> str:
    """Return a URI without the name, the password and the query in it, for the screen and for files.

    Passwords of databases may hold / ? # and :, so that all before the last @ goes. Where that @ may be part of a
    query, which may hold a password as well, only the scheme is left.
    """
    if uri.lower().startswith(PLACES):
        return uri
    start = re.match(r"([\w+.-]*:)?(//)?", uri).group()
    rest = uri.removeprefix(start)
    if "=" in rest.partition("?")[2].rpartition("@")[0]:
        return f"{start}..."
    return start + rest.rpartition("@")[2].partition("?")[0]


def place(uri: str) -> str:
    """Return what stands for a URI in a run folder: as `shown`, with the whole path of a local database or folder."""
    if uri.lower().startswith(PLACES[0]):
        return PLACES[0] + str(Path(uri[len(PLACES[0]) :]).resolve())
    parts = urlsplit(uri) if uri.lower().startswith(PLACES[1]) else None
    return shown(uri) if parts is None or parts.netloc else Path(url2pathname(parts.path)).resolve().as_uri()


def _unreachable(uri: str, why: str) -> str:
    start = "Start one with: mlflow server --host 127.0.0.1 --port 5000. Or train without --mlflow."
    remedy = start if uri.lower().startswith(WEB) else f"Give another one, such as {EXAMPLE}."
    return f"Cannot use MLflow at {shown(uri)}: {why}. {remedy}"


def connect(uri: str) -> "tuple[MlflowClient, str]":
    """Return a client of MLflow, and the id of the experiment LeukoBench, which is made if it is not there.

    Raises:
        LeukoBenchError: MLflow cannot be reached, or refuses.
    """
    try:
        client = _client(uri)
        return client, _experiment(client, uri)
    except Exception as problem:  # of MLflow, its database or the network
        raise LeukoBenchError(_unreachable(uri, reason(problem))) from None


def _client(uri: str) -> "MlflowClient":
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if uri.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # asked for in so many words
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def _experiment(client: "MlflowClient", uri: str) -> str:
    """Return the id of the experiment, which two trainings may want to make at once."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return client.create_experiment(EXPERIMENT, _files_beside(uri))
        except MlflowException:
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise LeukoBenchError(
            f"its experiment {EXPERIMENT} was deleted; restore it with: mlflow experiments restore "
            f"--experiment-id {found.experiment_id}"
        )
    return found.experiment_id


def _files_beside(uri: str) -> str | None:
    """Return where the files of an SQLite database's runs go: beside it, not in whatever folder one happens to be."""
    path = uri.partition(":///")[2]
    return (Path(path).resolve().parent / "mlartifacts").as_uri() if uri.startswith("sqlite:") and path else None
