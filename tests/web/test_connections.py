"""Idle connections are closed, active ones are not."""

import socket
import threading
import time

import pytest
import uvicorn

from webapp.http import connection_limits

SIZE = 16_000_000  # bytes: more than the buffers of both ends hold


async def app(scope, receive, send):
    """Send a response larger than the buffers."""
    headers = [(b"content-length", str(SIZE).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * SIZE})


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(connection_limits, "SECONDS", 1.5)  # longer than a busy machine stops a process
    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=connection_limits.Impatient, lifespan="off", log_level="error", timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    yield bound.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def opened(port):
    found = socket.create_connection(("127.0.0.1", port))
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    return found


def ask(client):
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


def read(client, pause):
    """Read an answer in pieces with pauses between; return the bytes of its body."""
    got = b""
    while piece := client.recv(1_000_000):
        got += piece
        if len(got.partition(b"\r\n\r\n")[2]) == SIZE:
            break
        time.sleep(pause)
    return got.partition(b"\r\n\r\n")[2]


def test_a_client_may_have_as_many_connections_as_are_left(port, monkeypatch):
    monkeypatch.setattr(connection_limits, "SECONDS", 60)
    monkeypatch.setattr(connection_limits, "MOST", 12)

    def opened_from(client, count):
        links = [socket.create_connection(("127.0.0.1", port), 30, (client, 0)) for _ in range(count)]
        time.sleep(1)
        for link in links:
            link.setblocking(False)
        return links

    def closed(link):
        try:
            return link.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    one = opened_from("127.0.0.2", 20)
    assert sum(map(closed, one)) == 14
    other = opened_from("127.0.0.3", 4)
    assert sum(map(closed, other)) == 1
    for link in (*one, *other):
        link.close()


def test_a_slow_reader_gets_the_complete_response(port):
    with opened(port) as client:
        ask(client)
        begun = time.monotonic()
        assert len(read(client, 0.025)) == SIZE
        assert time.monotonic() - begun > 2 * connection_limits.SECONDS, "too fast to show anything"


@pytest.mark.parametrize("requests", [1, 3])
def test_a_client_that_reads_nothing_is_disconnected(port, requests):
    """The second request is waiting for the response to the first, so it is not complete."""
    with opened(port) as client:
        for _ in range(requests):
            ask(client)
        time.sleep(2.5 * connection_limits.SECONDS)
        assert len(read(client, 0)) < SIZE


def test_a_client_that_sends_nothing_is_disconnected(port):
    with opened(port) as client:
        client.settimeout(5)
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert client.recv(1) == b""
