"""MLflow connection: the tracking URI, a client with short timeouts, and the experiment of all runs."""

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from models.engine.tracking.redaction import reason
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "LeukoBench"
WEB, DATABASES = ("http", "https"), ("sqlite", "postgresql", "mysql", "mssql")
EXAMPLE = "http://127.0.0.1:5000 or sqlite:///mlflow.db"
LOCAL = ("sqlite:///", "file:")  # on this machine, without passwords
TIMEOUT = 10  # seconds
# MLflow reads these when it is imported and called. Values that the user has set stay.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the default, 7 with minutes between them, would stop the training
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT),
}


def reach(uri: str) -> None:
    """Validate a tracking URI and, for an HTTP server, check that it answers; does not import MLflow.

    Raises:
        LeukoBenchError: the URI is not valid, or the server does not answer.
    """
    check(uri)
    if uri.partition(":")[0].lower() in WEB:
        import requests

        try:
            requests.get(uri, timeout=TIMEOUT, stream=True).close()  # any answer will do: access is checked later
        except (requests.exceptions.RequestException, ValueError) as problem:
            raise LeukoBenchError(_unreachable(uri, reason(problem))) from None


def check(uri: str) -> None:
    """Validate the syntax of a tracking URI, offline; raise LeukoBenchError where it is not valid."""
    scheme, colon, rest = uri.partition(":")
    kind = scheme.partition("+")[0].lower()
    if not colon or kind not in (*WEB, "file", *DATABASES) or not rest.strip("/"):
        raise LeukoBenchError(
            f"--mlflow received '{shown(uri)}', which is not a tracking URI. Give one of http:, https:, file:, "
            f"{':, '.join(DATABASES)}:, such as {EXAMPLE}."
        )


def shown(uri: str) -> str:
    """Return a URI without user name, password and query, for the screen and for files.

    Passwords of databases may hold / ? # and :, so everything before the last @ is removed. Where that @ may be part of
    a query, which may hold a password as well, only the scheme is left.
    """
    if uri.lower().startswith(LOCAL):
        return uri
    start = re.match(r"([\w+.-]*:)?(//)?", uri).group()
    rest = uri.removeprefix(start)
    if "=" in rest.partition("?")[2].rpartition("@")[0]:
        return f"{start}..."
    return start + rest.rpartition("@")[2].partition("?")[0]


def place(uri: str) -> str:
    """Return the key of a URI in tracking.json: `shown`, with the absolute path of a local database or folder."""
    if uri.lower().startswith(LOCAL[0]):
        return LOCAL[0] + str(Path(uri[len(LOCAL[0]) :]).resolve())
    parts = urlsplit(uri) if uri.lower().startswith(LOCAL[1]) else None
    return shown(uri) if parts is None or parts.netloc else Path(url2pathname(parts.path)).resolve().as_uri()


def _unreachable(uri: str, why: str) -> str:
    start = "Start one with: mlflow server --host 127.0.0.1 --port 5000. Or train without --mlflow."
    remedy = start if uri.lower().startswith(WEB) else f"Give another URI, such as {EXAMPLE}."
    return f"Cannot use MLflow at {shown(uri)}: {why}. {remedy}"


def connect(uri: str) -> "tuple[MlflowClient, str]":
    """Return a client of MLflow and the id of the experiment LeukoBench, which is created if missing.

    Raises:
        LeukoBenchError: MLflow cannot be reached, or refuses the connection.
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
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 refuses folders otherwise
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def _experiment(client: "MlflowClient", uri: str) -> str:
    """Return the id of the experiment; another training may create it at the same time."""
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
    """Return the folder of artifacts beside an SQLite database; MLflow would use the current folder."""
    path = uri.partition(":///")[2]
    return (Path(path).resolve().parent / "mlartifacts").as_uri() if uri.startswith("sqlite:") and path else None
