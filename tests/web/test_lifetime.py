"""Shutdown and crashes of the server: running requests are answered, and no process is left."""

import shutil
import signal
import threading
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
        server.workers()
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
    for worker in mine.workers():
        worker.kill()
    response = asked.result(PATIENCE)
    sound_response(mine, response)
    if response.status_code == 200:
        assert all(each["problem"] or each["answers"] for each in response.json()["images"])
    mine.wait(lambda: mine.ask(good).status_code == 200)  # on a busy machine, both models are still starting
    assert mine.ask(good).json() == before
    # They die while idle: the next request is answered.
    for worker in mine.standing_by():
        worker.kill()
    assert mine.ask(good).json() == before
    workers = mine.standing_by()
    decoders = [
        child
        for child in mine.children()
        if child not in workers and "multiprocessing-fork" in " ".join(child.cmdline())
    ]
    assert len(decoders) == 2
    for child in decoders:
        child.kill()
    assert mine.ask(good).json() == before  # the image is not at fault
    assert mine.ask(good).json() == before
    assert not mine.faults()


def test_a_dead_worker_costs_no_answer_and_is_replaced_at_once(mine, good):
    """Clients ask all the time while each of the two workers is killed in turn: every answer is the same."""

    def answered(response):  # the last digits depend on the other images of a batch
        (answer,) = response.json()["images"][0]["answers"]
        return answer["predicted"], answer["probabilities"]

    predicted, probabilities = answered(mine.ask(good))
    before = predicted, pytest.approx(probabilities, abs=1e-4)
    first = mine.standing_by()
    over, answers = threading.Event(), []

    def ask():
        while not over.is_set():
            answers.append(mine.ask(good))

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask) for _ in range(3)]
        try:
            for worker in first:
                count = len(answers)
                worker.kill()
                mine.wait(lambda count=count: len(answers) > count + 6)
                mine.standing_by()
        finally:
            over.set()
        for each in asked:
            each.result(PATIENCE)
    assert {each.status_code for each in answers} == {200}
    assert all(answered(each) == before for each in answers)
    assert not set(first) & set(mine.workers())
    assert mine.metric("process_restarts") == 2
    assert mine.get("/readyz").status_code == 200


def test_readiness_is_apart_from_health(web_root, tmp_path):
    """Ready: the models are loaded and the folder of runs can be read. No token is needed, and no run is named."""

    def state(server):
        assert server.get("/healthz").status_code == 200
        response = server.get("/readyz")
        sound_response(server, response)
        assert str(tmp_path) not in response.text
        return response

    root = tmp_path / "runs"
    shutil.copytree(web_root, root)
    with Server(root, tmp_path / "log", "--host", "0.0.0.0", "--token", "0123456789abcdef") as server:
        server.wait(lambda: state(server).status_code == 200)
        assert server.get("/api/v1/readyz").status_code == 401
        root.rename(tmp_path / "gone")
        server.wait(lambda: state(server).status_code == 503)
        refused = state(server)
        assert int(refused.headers["retry-after"]) > 0 and "cannot be read" in refused.json()["detail"]
        root.mkdir()
        server.wait(lambda: "no finished run" in state(server).json().get("detail", ""))
        root.rmdir()
        (tmp_path / "gone").rename(root)
        server.wait(lambda: state(server).status_code == 200)


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
