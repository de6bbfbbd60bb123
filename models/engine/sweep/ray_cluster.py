"""The Ray cluster of a sweep: connected to, asked what it has, and what its errors say."""

import os
import re
import socket
from typing import Any

from utils.errors import LeukoBenchError
from utils.paths import PROJECT

NOT_SENT = ["/.git/", "/.venv/", "/docs/", "/tests/", "/runs/", "/data/raw/", "/data/splits/", "/data/features/"]
NOT_SENT += ["/data/augmented/", "/data/audit/", "__pycache__/"]
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
}


def connect(address: str) -> Any:
    """Return Ray, quietly connected.

    Raises:
        LeukoBenchError: there is no cluster at the address.
    """
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    import logging

    import ray

    sent = {"working_dir": str(PROJECT), "excludes": NOT_SENT}
    options: dict[str, Any] = {"runtime_env": sent, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            _knock(address)
            ray.init(address=address, **options)
        else:
            ray.init(address="local", include_dashboard=False, **options)
    except (OSError, ValueError, RuntimeError) as problem:
        raise LeukoBenchError(
            f"There is no Ray cluster at '{address or 'local'}' ({reason(problem)}). Start one with: ray start --head"
        ) from None
    return ray


def _knock(address: str) -> None:
    """Try whether anybody listens at "HOST:PORT" or "ray://HOST:PORT": Ray itself would ask for minutes.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdecimal():
        with socket.create_connection((host, int(port)), timeout=10):
            pass


def too_large(nodes: list[dict[str, Any]], cores: int, gpus: float) -> str:
    """Return a line where no node of a cluster has so many cores and GPUs, else ""."""
    has = [(each["Resources"].get("CPU", 0), each["Resources"].get("GPU", 0)) for each in nodes if each["Alive"]]
    if any(cpu >= cores and gpu >= gpus for cpu, gpu in has):
        return ""
    largest = max((cpu for cpu, _ in has), default=0), max((gpu for _, gpu in has), default=0)
    return (
        f"A job takes {cores} cores and {gpus:g} GPUs, and no machine of the cluster has both (the most: "
        f"{largest[0]:g} cores, {largest[1]:g} GPUs). The jobs wait for one that has; Ctrl-C ends the sweep."
    )


def reason(problem: BaseException) -> str:
    """Return in a line what went wrong: of an error in a task its own words, without Ray's trace and colours."""
    cause = getattr(problem, "cause", None)
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(cause or problem))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(cause or problem).__name__
    return lines[-1] if hasattr(problem, "cause") else lines[0]
