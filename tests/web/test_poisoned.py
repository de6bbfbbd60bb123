"""Malicious runs and stored files: everything is escaped, nothing outside the root is opened or written."""

import io
import json
import os
import pickle
import re
import shutil
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psutil
import pytest
from fake_runs import fake_run
from hostile_requests import SCRIPT, large, sound_response
from web_server import Server

from utils.paths import PROJECT
from utils.runs import cache as run_cache
from utils.runs.run_folder import find_runs

pytest_plugins = ["hostile_servers"]

CLASSES = ("<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "' onmouseover='alert(1)", "{{7*7}}")


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory, small_run):
    """A server with malicious runs and one good run."""
    root = tmp_path_factory.mktemp("poisoned") / "runs"
    shutil.copytree(small_run.root, root)
    fake_run(root, classes=CLASSES, dataset="<script>alert(2)", pictures=False, measured=True, heatmaps=True)
    ill = dict.fromkeys(("model", "dataset", "split", "weights", "initialisation"), SCRIPT)
    ill |= {"<script>alert(3)</script>": 1, "flavour": [SCRIPT], "classes": [SCRIPT], "seed": 1, "image_size": 32}
    ill |= {"a": {"b": [None, 1e308, "\ud800"]}}
    names = ("<svg onload=alert(4)>", "a'\"b", "%2e%2e", "a b?c#d&e", "ünï\u202e", "newline\n")
    configs = dict.fromkeys(names, json.dumps(ill)) | {
        "deep": "[" * 100_000, "number": "5", "nan": '{"seed": NaN, "classes": Infinity}',
        "huge": '{"seed": ' + "9" * 5_000 + "}", "binary": "\0\1\2", "none": "", "list": "[]", "text": '"a"',
        "types": json.dumps({key: {"a": [1]} for key in ill}),
    }  # fmt: skip
    stamp = "20260101T000000Z-0123abc"
    for k, (model, config) in enumerate(configs.items()):
        folder = root / model / f"{stamp}{k:x}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(config, encoding="utf-8")
        (folder / "metrics.json").write_text(json.dumps({"test": {"accuracy": SCRIPT}}))
        (folder / "history.csv").write_text(f"epoch,phase,learning_rate,seconds,val_accuracy\n1,{SCRIPT},nan,inf,1\n")
    folder = Path(os.fsdecode(os.fsencode(root) + b"/bytes\xff")) / f"{stamp}0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(ill))
    with Server(root, tmp_path_factory.mktemp("log") / "server.log") as server:
        yield server, root


def test_contents_of_runs_are_escaped(poisoned, good):
    server, root = poisoned
    ids = [f"{folder.parent.name}/{folder.name}" for folder in root.glob("*/*Z-*")]
    assert len(ids) >= 17
    addresses = [quote(id, safe="/", errors="surrogateescape") for id in ids]
    with server.client() as client:
        for path in ("/", "/compare", "/versus", "/api", "/api/v1/runs", "/metrics", "/api/v1/openapi.json"):
            response = client.get(path)
            assert response.status_code == 200, path
            sound_response(server, response)
        for id in addresses:
            parts = ("", "/cell", "/cell?true=0&predicted=1", "/images/0.png")
            parts += ("/figures/curves.png", "/figures/stress-stain.png", "/figures/reliability.png")
            paths = [f"/runs/{id}{part}" for part in parts]
            paths += [f"/api/v1/runs/{id}", f"/api/v1/runs/{id}/confusion"]
            paths += [f"/versus?a={id}&b={addresses[0]}", f"/versus?a={addresses[0]}&b={id}&show=a"]
            for response in map(client.get, paths):
                sound_response(server, response)
                if "json" not in response.headers["content-type"]:
                    assert "alert(1)>" not in response.text.replace("onerror=alert(1)&gt;", "")
    # Only the trained run can predict; runs with invalid weights give a reason.
    answer = server.ask(good)
    assert answer.status_code == 200
    sound_response(server, answer)
    page = server.ask(good, path="/predict", heatmap="own")
    sound_response(server, page)
    assert page.status_code == 200 and "onerror=alert(1)>" not in page.text
    assert not server.faults()


def test_every_run_on_the_page_can_be_opened(poisoned):
    server, _ = poisoned
    links = set(re.findall(r'href="(/runs/[^"]+)"', server.get("/compare").text))
    assert len(links) >= 16
    for link in links:
        assert server.get(link).status_code in (200, 404), link
    assert sum(server.get(link).status_code == 200 for link in links) >= 15


CHANGES = (
    *({"conformal": value} for value in ({"0.50": {"threshold": 0.5}}, {}, [])),
    {"temperature": float("nan"), "conformal": {"0.95": {"threshold": float("nan")}}},
    *({"temperature": value} for value in (0, -1, float("inf"), 1e-300, "<b>")),
)


def test_damaged_files_of_a_run_cause_no_server_error(web_root, tmp_path, good):
    """Files are damaged while the server runs: each is reported, and after a repair the answer is correct again."""
    root = tmp_path / "runs"
    shutil.copytree(web_root, root)
    run = find_runs(root)[0]
    reference = next((root / "reference").iterdir())
    kept = {path: path.read_bytes() for path in (*(p for p in run.path.iterdir() if p.is_file()), reference)}
    failed = []
    pages = ("/", "/compare", f"/runs/{run.id}", f"/runs/{run.id}/cell", f"/api/v1/runs/{run.id}", "/api/v1/runs")

    def look(what, place, content):
        """Ask for everything while a file has another content."""
        place.write_bytes(content)
        responses = [server.ask(good), server.ask(good, path="/predict", heatmap="own"), *map(server.get, pages)]
        place.write_bytes(kept[place])
        for response in responses:
            try:
                sound_response(server, response)
            except AssertionError as error:
                failed.append(f"{what}: {response.request.url.path}: {str(error)[:200]}")

    def look_at_json(name, **fields):
        place = run.file(name)
        content = json.dumps(json.loads(kept[place]) | fields).encode()
        look(f"{name} {str(fields)[:60]}", place, content)

    with Server(root, tmp_path / "log") as server:
        before = server.ask(good).json()
        for change in CHANGES:
            look_at_json("calibration.json", **change)
        for manifest in ("a\0b", "a" * 5_000, "../../../etc/passwd", 5, None, ["a"], ""):
            look_at_json("environment.json", manifest=manifest)
        for field, value in (
            ("dataset", ".."), ("dataset", "/etc"), ("image_size", 10**9), ("image_size", -1),
            ("heatmap_method", SCRIPT), ("heatmap_layer", "none"), ("model", "lambda"), ("variant", SCRIPT),
            ("filters", [10**9]), ("split", 5),
        ):  # fmt: skip
            look_at_json("config.json", **{field: value})
        for place, content in kept.items():
            for damaged in (b"", b"\0" * 100, content[: len(content) // 2], b"[]", b"{}", pickle.dumps({"a": 1})):
                look(f"{place.name} {damaged[:10]}", place, damaged)
        another_size = io.BytesIO()
        np.savez(another_size, version=1, centre=np.zeros(3), scale=np.ones(3), whitening=np.eye(3), limit=1.0)
        look("reference of another size", reference, another_size.getvalue())
        assert server.ask(good).json() == before
    assert not failed, "\n".join(failed)


def test_only_weights_within_the_root_are_loaded(web_root, tmp_path, good):
    """A link out of the root, through a file or a folder, offers nothing; a pickle is not opened."""
    root, outside = tmp_path / "runs", tmp_path / "outside"
    run = find_runs(web_root)[0]
    places = {}
    for k, name in enumerate(("link", "pickled", "special", "folder")):
        places[name] = root / "cnn" / f"2026010{k + 1}T000000Z-0123abcd"
        if name != "folder":
            shutil.copytree(run.path, places[name])
            (places[name] / "model.weights.h5").unlink()
            (places[name] / "seal.json").unlink()  # as of a run from before seals: the weights alone decide
    for name in ("manifests", "reference"):
        shutil.copytree(web_root / name, root / name)
    shutil.copytree(run.path, outside)
    places["folder"].symlink_to(outside)
    (places["link"] / "model.weights.h5").symlink_to(outside / "model.weights.h5")
    os.mkfifo(places["special"] / "model.weights.h5")
    trap = tmp_path / "opened"
    (places["pickled"] / "model.weights.h5").write_bytes(
        b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V" + str(trap).encode() + b"\ntRtR."
    )
    with Server(root, tmp_path / "log") as server:
        for name in ("link", "special", "folder"):
            response = server.ask(good, models=f"cnn/{places[name].name}")
            assert response.status_code == 422, (name, response.text[:300])
        response = server.ask(good, models=f"cnn/{places['pickled'].name}")
        answer = response.json()["images"][0]["answers"][0]
        assert answer["predicted"] is None and answer["problem"]
        assert not trap.exists()
        assert str(tmp_path) not in response.text  # the sentence names no folder of this machine


def test_nothing_is_stored_without_a_request(served, web_root):
    """Uploads of more than 1 MB, and what is made of them,
    touch neither the runs' folder nor that for temporary files."""

    def seen():
        spots = (web_root, Path(tempfile.gettempdir()), Path("/dev/shm"), PROJECT)
        found = {entry.path for spot in spots if spot.is_dir() for entry in os.scandir(spot)}
        return found | {str(path) for path in web_root.rglob("*")}

    content, before, new = large(), seen(), set()
    assert len(content) > 1_000_000
    done = threading.Event()

    def watch():
        while not done.wait(0.01):
            new.update(seen() - before)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        paths = ("/predict", "/api/v1/predict") * 2
        answers = [served.ask(content, content, path=path, heatmap="own") for path in paths]
        done.set()
        watching.result()
    assert [answer.status_code for answer in answers] == [200] * 4
    opened = [file.path for child in (psutil.Process(served.pid), *served.children()) for file in child.open_files()]
    mine = [
        path
        for path in opened
        if not path.startswith(("/dev/", "/proc/", "/sys/", str(PROJECT), sys.prefix))
        and not path.endswith(("server.log", ".pem", run_cache.FILE))  # which holds what the runs' own files say
    ]
    assert not [path for path in mine if path.startswith((str(web_root), tempfile.gettempdir()))], mine
    assert not {path for path in new if path.startswith(str(web_root)) and run_cache.FILE not in path}
    assert not {path for path in new if Path(path).is_file() and Path(path).stat().st_size > 100_000}


def test_stored_images_are_named_by_the_server_and_stay_inside_the_root(web_root, tmp_path, good):
    root = tmp_path / "runs"
    shutil.copytree(web_root, root)
    with Server(root, tmp_path / "log") as server, server.client() as client:
        upload = [("images", ("../../../evil.sh", good))]
        assert client.post("/predict", files=upload, data={"keep": "yes"}).status_code == 200
        kept = sorted(path.name for path in (root / "kept").iterdir())
        assert [re.sub(r"[0-9a-f]{16}", "#", name) for name in kept] == ["#.csv", "#.png"]
        assert not list(tmp_path.rglob("evil*"))
        assert client.post("/api/v1/predict", files=upload, data={"keep": "yes"}).status_code == 200
        assert len(list((root / "kept").iterdir())) == 2
        assert client.get("/compare").status_code == 200
        shutil.rmtree(root / "kept")
        (root / "kept").write_text("a file where the folder should be")
        response = server.ask(good, path="/predict", keep="yes")
        assert response.status_code == 200 and "Not kept" in response.text
        sound_response(server, response)
