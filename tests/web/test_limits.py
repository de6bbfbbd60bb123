"""Limits and deadlines, the headers of every response, and the token."""

import base64
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hostile_requests import HEADERS, TOKEN, attack, form, parsed, part, request, sound, sound_response
from web_server import Server

from utils.paths import raw_dir

pytest_plugins = ["hostile_servers"]

SHORT = {
    "deadline": 5.0, "waiting": 4, "images": 3, "image_bytes": 200_000,
    "request_bytes": 500_000, "held_bytes": 1_100_000
}  # fmt: skip


@pytest.fixture(scope="module")
def short(web_root, tmp_path_factory):
    """A server with short deadlines and low limits."""
    with Server(web_root, tmp_path_factory.mktemp("log") / "server.log", limits=SHORT) as server:
        server.wait(lambda: server.ask(min(raw_dir("tiny").rglob("*.png")).read_bytes()).status_code == 200)
        yield server


def test_limits_of_uploads(short, good):
    noise, room = os.urandom(450_000), SHORT["image_bytes"]
    said = {
        "an image": form(part(b"images", noise[: room + 1], b"a.png")),
        "an announced request": form(part(b"images", noise, b"a.png"), headers=("Content-Length: 500001",)),
        "images": form(part(b"images", good, b"a.png") * (SHORT["images"] + 1)),
    }
    piece = part(b"images", noise[: -len(part(b"images", b"", b"a.png"))], b"a.png")
    chunked = b"%x\r\n" % len(noise) + piece + b"\r\n"
    said["a request in chunks"] = form(chunked * 3, headers=("Transfer-Encoding: chunked",))
    for what, content in said.items():
        assert attack(short, content) == 413, what
    assert attack(short, form(part(b"images", good, b"a.png") * SHORT["images"])) == 200
    assert attack(short, form(part(b"images", noise[:room], b"a.png"))) == 415
    assert "upload_bytes 0.0" in short.get("/metrics").text


def test_a_full_server_answers_503_with_retry_after(short, good):
    """Hanging uploads of several clients occupy all slots until they disconnect; no error is counted."""
    links = []
    short.faults()
    for k in range(SHORT["waiting"]):
        link = short.link(client=f"127.0.0.{k + 2}")
        link.sendall(form(part(b"images", good, b"a.png"), end=b"", headers=("Content-Length: 90000",)))
        links.append(link)
    short.wait(lambda: short.get("/healthz").json()["busy"] == SHORT["waiting"])
    for path in ("/api/v1/predict", "/predict"):
        response = short.ask(good, path=path)
        assert response.status_code == 503 and int(response.headers["retry-after"]) > 0
        sound_response(short, response)
    assert short.get("/").status_code == 200
    for link in links:
        link.close()
    short.wait(lambda: short.get("/healthz").json()["busy"] == 0)
    assert short.ask(good).status_code == 200
    assert not short.faults()


def test_memory_for_uploads_is_shared(short):
    """Two uploads within their own limits are more than the server holds at once for one client."""
    link = short.link()
    half = b"".join(part(b"images", os.urandom(190_000), b"a.png") for _ in range(2))
    link.sendall(form(half, end=b"", headers=("Content-Length: 450000",)))
    short.wait(lambda: "upload_bytes 38" in short.get("/metrics").text)
    assert attack(short, form(half)) == 503
    link.close()
    short.wait(lambda: "upload_bytes 0.0" in short.get("/metrics").text)


def slowly(server, first, piece, every, seconds):
    """Send a piece repeatedly; return the response and the seconds until the server closed, None if it did not."""
    begun, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=every) as link:
        try:
            link.sendall(first)
            while time.monotonic() - begun < seconds:
                try:
                    came = link.recv(65_536)
                    if not came:
                        return answer, time.monotonic() - begun
                    answer += came
                except TimeoutError:
                    pass
                link.sendall(piece)
        except ConnectionError:
            return answer, time.monotonic() - begun
    return answer, None


SLOW = {
    "length": (form(part(b"images", b"", b"a.png")[:-2], end=b"", headers=("Content-Length: 400000",)), b"a"),
    "chunks": (form(b"5\r\n--x\r\n\r\n", end=b"", headers=("Transfer-Encoding: chunked",)), b"1\r\na\r\n"),
    "nothing more": (form(end=b"", headers=("Content-Length: 1000",)), b""),
}


@pytest.mark.parametrize("name", SLOW)
def test_slow_uploads_end_at_the_deadline(short, name):
    answer, _ = slowly(short, *SLOW[name], 0.2, SHORT["deadline"] + 4)
    status, headers, body = parsed(answer)
    assert status == 408
    sound(short, status, headers, body)


ENDLESS = {
    **SLOW,
    "beyond the limit": (form(end=b"", headers=("Content-Length: 99999999",)), b"a" * 1_000),
    "page": (request("GET", "/healthz", "Content-Length: 99999999"), b"a" * 1_000),
    "nothing at all": (b"", b""),
    "endless head": (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"a: b\r\n"),
}


@pytest.fixture(scope="module")
def endless(short):
    """Seconds until the server closes endless requests, before or after a response; None if it does not."""
    with ThreadPoolExecutor(len(ENDLESS)) as pool:
        calls = [
            pool.submit(slowly, short, first.replace(b"Connection: close\r\n", b""), piece, 0.3, 45)
            for first, piece in ENDLESS.values()
        ]
        return {name: call.result()[1] for name, call in zip(ENDLESS, calls, strict=True)}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_requests_are_closed(endless, name):
    """Otherwise 512 idle connections would block all clients."""
    assert endless[name] is not None


def test_a_malformed_request_gets_the_headers(served):
    status, headers, _ = parsed(served.raw(b"\0\r\n\r\n"))
    assert status == 400 and {name.lower() for name, _ in headers} >= HEADERS


def test_headers_on_every_kind_of_answer(served, guarded, run, good):
    row = int(run.predictions().query("split == 'test'").index[0])
    style = served.get("/static/style.css")
    asked = {
        "/": 200, "/predict": 200, "/compare": 200, f"/runs/{run.id}": 200, f"/runs/{run.id}/cell": 200,
        f"/versus?a={run.id}&b={run.id}": 200, f"/runs/{run.id}/figures/curves.png": 200,
        f"/runs/{run.id}/images/{row}.png": 200, f"/runs/{run.id}/images/{row}/heatmap.png": 200,
        "/samples/benign.png": 200, "/static/style.css": 200, "/static/favicon.svg": 200, "/api": 200,
        "/api/v1/openapi.json": 200, "/api/v1/runs": 200,
        f"/api/v1/runs/{run.id}": 200, f"/api/v1/runs/{run.id}/confusion": 200, "/healthz": 200, "/metrics": 200,
        "/nowhere": 404, "/runs/a/b": 404, "/api/v1/runs/a/b": 404, "/static/nothing.css": 404, "/versus?page=x": 422,
        "/api/v1/predict": 405,
    }  # fmt: skip
    with served.client() as client:
        found = {path: client.get(path) for path in asked}
        assert {path: response.status_code for path, response in found.items()} == asked
        found["unchanged"] = client.get("/static/style.css", headers={"If-None-Match": style.headers["etag"]})
        found["part"] = client.get("/static/style.css", headers={"Range": "bytes=0-9"})
        found["head"] = client.head("/static/style.css")
        found["upload"] = served.ask(good, path="/predict", heatmap="own")
        found["bad upload"] = served.ask(b"", path="/predict")
        found["bad host"] = client.get("/", headers={"Host": "evil"})
        found["bad origin"] = client.post("/predict", headers={"Origin": "http://evil"})
    with guarded.client() as client:
        found["no token"] = client.get("/")
        found["no token for the API"] = client.get("/api/v1/runs")
    for response in found.values():
        sound_response(served, response)
    kept = {key for key, response in found.items() if "no-store" not in response.headers["cache-control"]}
    assert all(key.endswith((".png", ".css", ".svg")) or key in ("unchanged", "head", "part") for key in kept), kept
    assert (found["unchanged"].status_code, found["no token"].status_code) == (304, 401)


def test_the_token(guarded, good):
    def basic(text):
        return {"Authorization": b"Basic " + base64.b64encode(text.encode())}

    right = {"Authorization": f"Bearer {TOKEN}".encode()}
    pages = "/ /compare /metrics /api /api/v1/openapi.json /static/style.css /nowhere /samples/benign.png"
    for path in pages.split():
        for headers in (
            {}, basic("a:wrong"), basic(TOKEN), basic(f"{TOKEN}:"), {"Authorization": "Bearer"},
            {"Authorization": b"Basic \xff"}, {"Authorization": f"Digest {TOKEN}".encode()},
            {"Authorization": b"Bearer \xff\xfe"}, {"Cookie": "token=x"}, {"X-Forwarded-For": "127.0.0.1"},
        ):  # fmt: skip
            response = guarded.get(path, headers=headers)
            assert response.status_code == 401 and "WWW-Authenticate" in response.headers, (path, headers)
            sound_response(guarded, response)
        assert guarded.get("/", headers=right).status_code == 200  # and none of the wrong ones counts any more
    around_healthz = "//healthz /healthz/../compare /healthz/ /HEALTHZ /healthz%3f /healthz%2f..%2fcompare"
    for path in (*around_healthz.split(), "/compare#/healthz"):
        assert attack(guarded, request(path=path)) == 401, path
    assert guarded.ask(good).status_code == 401
    assert guarded.get("/healthz").status_code == 200
    for wrong in (TOKEN[:-1], TOKEN + "x", TOKEN.upper(), TOKEN[:5], "*", "%"):  # a token is compared as a whole
        assert guarded.get("/", headers={"Authorization": f"Bearer {wrong}".encode()}).status_code == 401
    for headers in (right, basic(f"any:{TOKEN}"), basic(f":{TOKEN}")):
        assert guarded.get("/", headers=headers).status_code == 200
        assert guarded.ask(good, headers=headers).status_code == 200
    assert TOKEN not in guarded.log


def test_a_public_server_generates_a_token(web_root, tmp_path):
    with Server(web_root, tmp_path / "log", "--host", "0.0.0.0") as server:
        made = re.search(r"Token: (\S+)", server.log)[1]
        assert len(made) >= 32 and server.get("/").status_code == 401
        assert server.get("/", headers={"Authorization": f"Bearer {made}"}).status_code == 200
