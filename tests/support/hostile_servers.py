"""Servers of the hostile tests as a pytest plugin; each is started once per session."""

from pathlib import Path

import pytest
from hostile_requests import TOKEN
from web_server import Server, calibrated

from utils.paths import raw_dir


@pytest.fixture(scope="session")
def web_root(small_run, tmp_path_factory) -> Path:
    """Copy the small run into its own root."""
    return calibrated(small_run, tmp_path_factory.mktemp("served") / "runs").root


@pytest.fixture(scope="session")
def served(web_root, tmp_path_factory):
    """Start one server for all tests of a session."""
    with Server(web_root, tmp_path_factory.mktemp("log") / "server.log") as server:
        yield server


@pytest.fixture(scope="session")
def guarded(web_root, tmp_path_factory):
    """A server that listens on all addresses."""
    options = ("--host", "0.0.0.0", "--token", TOKEN)
    with Server(web_root, tmp_path_factory.mktemp("log") / "server.log", *options) as server:
        yield server


@pytest.fixture(scope="session")
def good(home):
    """An image of the session's own data folder."""
    return min(raw_dir("tiny").rglob("*.png")).read_bytes()
