"""Where a request ends: size of its head, two lengths, wrong chunks, requests hidden in others, and HEAD."""

import contextlib
import itertools
import time

import pytest
from hostile_requests import parsed, sound
from web_server import PATIENCE

from webapp.http.security import HEAD_BYTES

pytest_plugins = ["hostile_servers"]

HIDDEN = b"GET /samples/benign.png HTTP/1.1\r\nHost: localhost\r\n\r\n"


def exchange(server, *pieces):
    """Send pieces over one connection; return everything received until the server closes it."""
    answer = b""
    with server.link() as link:
        with contextlib.suppress(ConnectionError):  # closed after an earlier piece
            for k, piece in enumerate(pieces):
                time.sleep(0.02 if k else 0)
                link.sendall(piece)
        with contextlib.suppress(ConnectionError):
            while part := link.recv(65_536):
                answer += part
    return answer


def refused(server, *pieces):
    """Send pieces that are one bad request with another behind it; return the status of the only response."""
    answer = exchange(server, *pieces)
    assert answer.count(b"HTTP/1.1 ") == 1, answer[:2_000]
    status, headers, body = parsed(answer)
    sound(server, status, headers, body)
    assert ("connection", "close") in [(name.lower(), value.lower()) for name, value in headers]
    return status


def post(*lines, body=b"", version="1.1"):
    head = (f"POST /api/v1/predict HTTP/{version}", "Host: localhost", "Content-Type: multipart/form-data; boundary=x")
    return "\r\n".join([*head, *lines, "", ""]).encode("latin-1") + body


CHUNKED, NOTHING = "Transfer-Encoding: chunked", b"0\r\n\r\n"
LENGTHS = {
    "length, then chunks": ("Content-Length: 5", CHUNKED),
    "chunks, then length": (CHUNKED, f"Content-Length: {5 + len(HIDDEN)}"),
    "no length and chunks": ("Content-Length: 0", CHUNKED),
    "other letters": ("content-LENGTH: 5", "TRANSFER-encoding: Chunked"),
    "length and no coding": ("Content-Length: 5", "Transfer-Encoding: identity"),
    "length and an empty coding": ("Content-Length: 5", "Transfer-Encoding:"),
    "several codings": ("Transfer-Encoding: gzip, chunked",),
    "chunked twice": (CHUNKED, CHUNKED),
    "a coding with a comma": ("Transfer-Encoding: ,chunked",),
    "a folded coding": ("Transfer-Encoding:\r\n chunked\r\n , identity",),
    "a blank before the colon": ("Content-Length: 5", "Transfer-Encoding : chunked"),
    "two lengths": ("Content-Length: 5", "Content-Length: 6"),
    "a list of lengths": ("Content-Length: 5, 6",),
    "a sign": ("Content-Length: +5",),
    "below zero": ("Content-Length: -5",),
    "hexadecimal": ("Content-Length: 0x5",),
    "a blank inside": ("Content-Length: 5 5",),
    "no digits": ("Content-Length: ",),
    "digits of another script": ("Content-Length: \xb2",),
    "too many digits": (f"Content-Length: {'0' * 30}5",),
}


@pytest.mark.parametrize("lines", LENGTHS.values(), ids=LENGTHS)
def test_a_request_of_unclear_length_ends_the_connection(served, lines):
    assert refused(served, post(*lines, body=NOTHING + HIDDEN)) == 400
    assert refused(served, post(*lines), NOTHING, HIDDEN) == 400
    assert not served.faults()


def test_two_lengths_are_refused_at_every_path(served):
    for method, path in itertools.product(("GET", "HEAD", "POST"), ("/", "/healthz", "/static/style.css", "/nowhere")):
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n{CHUNKED}\r\n\r\n"
        answer = exchange(served, head.encode() + NOTHING + HIDDEN)
        assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1


CHUNKS = {
    "no number": b"zz\r\nab\r\n", "below zero": b"-5\r\nabcde\r\n", "a sign": b"+5\r\nabcde\r\n",
    "hexadecimal": b"0x5\r\nabcde\r\n", "a blank first": b" 5\r\nabcde\r\n",
    "no size": b"\r\nabcde\r\n", "a newline alone": b"5\nabcde\r\n",
    "a chunk longer than its size": b"5\r\nabcdefgh\r\n", "a wrong end": b"5\r\nabcdeXX",
    "too many digits": b"0" * 21 + b"5\r\n",
    "two sizes": b"5 5\r\nabcde\r\n", "a bad trailer": b"0\r\nGET / HTTP/1.1\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
def test_bad_chunks_end_the_connection(served, chunk):
    for pieces in ([post(CHUNKED, body=chunk + NOTHING + HIDDEN)], [post(CHUNKED), chunk, NOTHING, HIDDEN]):
        answer = exchange(served, *pieces)
        assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1
    assert not served.faults()


def test_http_1_0_ends_after_one_response(served):
    answer = exchange(served, post(CHUNKED, body=NOTHING + HIDDEN, version="1.0"))
    assert answer.count(b"HTTP/1.1 ") == 1


def test_requests_behind_a_clear_one_are_answered(served):
    """One length, or the same one twice (RFC 9112, 6.3), is clear: the next request follows it."""
    last = HIDDEN.replace(b"localhost\r\n", b"localhost\r\nConnection: close\r\n")
    for lines, body in (
        (("Content-Length: 5",), b"abcde"),
        (("Content-Length: 5", "Content-Length: 5"), b"abcde"),
        ((CHUNKED,), b"5;a=b\r\nabcde\r\n" + NOTHING),
    ):
        answer = exchange(served, post(*lines, body=body + HIDDEN + last))
        assert answer.count(b"HTTP/1.1 400 ") == 1 and answer.count(b"HTTP/1.1 200 OK") == 2


def head(size, headers=1, path=False):
    """Return a request whose first line and headers have `size` bytes."""
    first, host, end = b"GET /healthz? HTTP/1.1\r\n", b"Host: localhost\r\n", b"Connection: close\r\n\r\n"
    room = size - len(first) - len(host) - len(end)
    if path:
        return first.replace(b"?", b"?" + b"a" * room) + host + end
    each, more = divmod(room, headers)
    lines = [b"X-A: " + b"b" * (each - 7 + (more if not k else 0)) + b"\r\n" for k in range(headers)]
    return first + host + b"".join(lines) + end


@pytest.mark.parametrize("shape", [{}, {"headers": 2}, {"headers": 1_000}, {"path": True}], ids=str)
@pytest.mark.parametrize("step", [None, 4_000, 20_000], ids=lambda step: f"{step or 'one'} piece")
def test_the_size_of_a_head_is_limited(served, shape, step):
    """However the bytes are spread over headers and packets, the documented size is the limit."""
    for size, expected in ((HEAD_BYTES - 10, 200), (HEAD_BYTES + 10, 431), (3 * HEAD_BYTES, 431)):
        content = head(size, **shape)
        assert len(content) == size
        pieces = [content[k : k + (step or size)] for k in range(0, size, step or size)]
        status, headers, body = parsed(exchange(served, *pieces))
        assert status == expected, (size, body[:300])
        sound(served, status, headers, body)


def test_a_head_without_an_end_is_answered_although_its_sender_goes_on(served):
    for content in (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 60_000, b"GET /" + b"a" * 400_000):
        with served.link() as link:
            link.sendall(content)
            assert link.recv(65_536).startswith(b"HTTP/1.1 431 ")
    assert served.get("/healthz").status_code == 200


def test_head_has_the_headers_of_get_and_no_body(served, run):
    row = int(run.predictions().query("split == 'test'").index[0])
    paths = [
        "/", "/predict", "/compare", f"/runs/{run.id}", f"/runs/{run.id}/cell", f"/versus?a={run.id}&b={run.id}",
        f"/runs/{run.id}/figures/curves.png", f"/runs/{run.id}/images/{row}.png",
        f"/runs/{run.id}/images/{row}/heatmap.png", "/samples/benign.png", "/static/style.css", "/static/predict.js",
        "/favicon.ico", "/api", "/api/v1/openapi.json", "/api/v1/runs", f"/api/v1/runs/{run.id}",
        f"/api/v1/runs/{run.id}/confusion", "/healthz", "/readyz", "/metrics", "/nowhere", "/runs/a/b",
    ]  # fmt: skip
    served.standing_by()
    with served.client() as client:
        for path in paths:
            got, asked = client.get(path), client.head(path)
            assert asked.status_code == got.status_code, path
            assert asked.content == b"" and got.content
            apart = {"date"} | ({"content-length"} if path == "/metrics" else set())  # its numbers change
            held = [{k: v for k, v in each.headers.items() if k not in apart} for each in (got, asked)]
            assert held[0] == held[1], path
        assert client.head("/api/v1/predict").status_code == 405
        assert client.post("/healthz").headers["allow"] == "GET, HEAD"
    # No body on the wire either: the next response follows the head at once.
    two = b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    first, _, rest = exchange(served, two).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ") and rest.startswith(b"HTTP/1.1 200 ")
    requests = [line for line in served.get("/metrics").text.splitlines() if 'method="HEAD"' in line]
    assert any('route="/runs/{model}/{folder}"' in line for line in requests), requests


def test_a_connection_survives_a_clear_refusal(served):
    """A page that does not exist is no reason to close."""
    with served.link(PATIENCE) as link:
        for _ in range(3):
            link.sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b"</html>" not in answer:
                answer += link.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 404 ")
