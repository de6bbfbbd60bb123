"""Shutdown and crashes of the server: running requests are answered, and no process is left."""

import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
from hostile_requests import sound_response
from web_server import PATIENCE, Server

pytest_plugins = ["hostile_servers"]

SLOW_METHOD = "scorecam"


def busy(server, images, **fields):
    """Start a request that takes seconds; return its future once the models work on it."""
    before = server.metric("batch_images_count")
    pool = ThreadPoolExecutor(1)
    asked = pool.submit(server.ask, *images, **fields)
    pool.shutdown(wait=False)
    server.wait(lambda: asked.done() or server.metric("batch_images_count") > before)
    assert not asked.done()
    return asked


def gone(processes, seconds=PATIENCE):
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not alive


@pytest.fixture
def mine(web_root, tmp_path):
    """A server to be killed."""
    with Server(web_root, tmp_path / "log") as server:
        server.worker()
        yield server


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_a_request_loses_no_answer(mine, good, how):
    children = mine.children()
    asked = busy(mine, [good] * 16, heatmap=SLOW_METHOD)
    mine.process.send_signal(how)
    response = asked.result(PATIENCE)
    assert response.status_code == 200
    images = response.json()["images"]
    assert len(images) == 16 and all(each["answers"][0]["heatmap"] for each in images)
    assert mine.stop() == 0
    assert gone(children), "processes are left"
    assert "Traceback" not in mine.log


@pytest.mark.parametrize("idle", [True, False])
def test_a_killed_server_leaves_no_process(mine, good, idle):
    children = mine.children()
    if not idle:
        asked = busy(mine, [good] * 16, heatmap=SLOW_METHOD)
    assert mine.stop(signal.SIGKILL) == -signal.SIGKILL
    assert gone(children), "processes are left"
    if not idle:
        assert isinstance(asked.exception(PATIENCE), httpx.TransportError)


def test_killed_models_and_decoders_are_replaced(mine, good):
    before = mine.ask(good).json()
    asked = busy(mine, [good] * 8, heatmap=SLOW_METHOD)
    mine.worker().kill()
    response = asked.result(PATIENCE)
    sound_response(mine, response)
    if response.status_code == 200:
        assert all(each["problem"] or each["answers"] for each in response.json()["images"])
    assert mine.ask(good).json() == before
    # It dies while idle: the next request is answered.
    mine.worker().kill()
    assert mine.ask(good).json() == before
    worker = mine.worker()
    decoders = [
        child for child in mine.children() if child != worker and "multiprocessing-fork" in " ".join(child.cmdline())
    ]
    assert len(decoders) == 2
    for child in decoders:
        child.kill()
    assert mine.ask(good).json() == before  # the image is not at fault
    assert mine.ask(good).json() == before
    assert not mine.faults()


def test_many_heatmaps_do_not_block_the_pages(served, run):
    """With sixty requests for heatmaps the page still answers before they are done, or they get 503."""
    row = int(run.predictions().query("split == 'test'").index[0])
    path = f"/runs/{run.id}/images/{row}/heatmap.png?method={SLOW_METHOD}"
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(served.get, path) for _ in range(60)]
        served.wait(lambda: served.metric("waiting") > 0)
        assert served.get("/").status_code == 200
        open_still = sum(not each.done() for each in asked)
        statuses = {each.result().status_code for each in asked}
    assert statuses <= {200, 503}
    assert open_still or 503 in statuses, "the page waited for all heatmaps"
