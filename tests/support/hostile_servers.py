"""Servers of the hostile tests as a pytest plugin; each is started once per session."""

import pytest
from hostile_requests import TOKEN
from web_server import Server, served, web_root  # noqa: F401 (fixtures)

from utils.paths import raw_dir
from utils.runs.run_folder import find_runs


@pytest.fixture(scope="session")
def guarded(web_root, tmp_path_factory):  # noqa: F811
    """A server that listens on all addresses."""
    options = ("--host", "0.0.0.0", "--token", TOKEN)
    with Server(web_root, tmp_path_factory.mktemp("log") / "server.log", *options) as server:
        yield server


@pytest.fixture(scope="session")
def good(home):
    """An image of the session's own data folder."""
    return min(raw_dir("tiny").rglob("*.png")).read_bytes()


@pytest.fixture(scope="session")
def run(web_root):  # noqa: F811
    return find_runs(web_root)[0]
