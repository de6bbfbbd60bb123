"""Download the ALL dataset from Kaggle and import it."""

import logging
from collections.abc import Callable
from pathlib import Path

from data import all_dataset
from data.datasets import importer
from utils.errors import LeukoBenchError
from utils.system.progress import Progress, no_progress

_TIMEOUT = (5, 15)  # seconds: to connect, to answer
_BY_HAND = (
    f"Download https://www.kaggle.com/datasets/{all_dataset.HANDLE} by hand, then: python run_guide.py data import PATH"
)


def download(
    name: str = all_dataset.NAME,
    progress: Progress = no_progress,
    announce: Callable[[importer.Imported], None] | None = None,
) -> importer.Imported:
    """Download the ALL dataset with kagglehub (kept in its cache) and import it; see `importer.import_dataset`.

    Raises:
        LeukoBenchError: the network or Kaggle fails; the message says why and how to import by hand.
    """
    importer.refuse_taken(name)
    try:
        import requests

        # kagglehub's own first request has no timeout.
        requests.head("https://api.kaggle.com", timeout=_TIMEOUT)
        import kagglehub

        logging.getLogger("kagglehub").setLevel(logging.ERROR)
        folder = kagglehub.dataset_download(all_dataset.HANDLE)
    except Exception as error:  # requests, kagglehub, zip and disk errors alike: the remedy is the same
        raise LeukoBenchError(f"Cannot download {all_dataset.HANDLE}: {_reason(error)}. {_BY_HAND}") from error
    return importer.import_dataset(Path(folder), name, progress=progress, announce=announce)


def _reason(error: Exception) -> str:
    """Return in a few words why a download failed."""
    import requests

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"Kaggle refuses access (HTTP {status})"
    if status is not None:
        return f"Kaggle answers HTTP {status}"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refuses the connection"
    if isinstance(error, requests.exceptions.SSLError):
        return "the secure connection to Kaggle cannot be verified"
    if isinstance(error, requests.exceptions.Timeout):
        return "Kaggle does not answer in time"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection to Kaggle"
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text.rstrip(".")[:120] or type(error).__name__
