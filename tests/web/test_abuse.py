"""Clients that take more than their share: slow bodies, many connections, wrong tokens; others go on."""

import contextlib
import select
import threading
import time

import pytest
from hostile_requests import TOKEN, form, parsed, part, sound, sound_response
from web_server import PATIENCE, Server

from utils.errors import LeukoBenchError
from webapp.http import client_limits
from webapp.http.client_limits import PAUSE, WRONG, Budget, WrongTokens, client_of
from webapp.http.problem_responses import Problem
from webapp.settings import SHORTEST_TOKEN, Settings

pytest_plugins = ["hostile_servers"]

ABUSER, OTHER = "127.0.0.2", "127.0.0.3"
BODIES = 80


class Trickle(threading.Thread):
    """Send one byte a second of BODIES uploads from one address, and open every upload anew that ends."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.over, self.answers, self.rounds = server, threading.Event(), [], 0

    def run(self):
        begun = form(part(b"images", b"", b"a.png")[:-2], end=b"", headers=("Content-Length: 400000",))
        links = []
        while not self.over.wait(1):
            while len(links) < BODIES:
                links.append(self.server.link(PATIENCE, ABUSER))
                links[-1].sendall(begun)
                links[-1].setblocking(False)
            for link in list(links):
                try:
                    if answer := link.recv(65_536):
                        self.answers.append(parsed(answer)[0])
                    raise ConnectionError("ended")
                except BlockingIOError:
                    link.send(b"a")
                except OSError:
                    link.close()
                    links.remove(link)
            self.rounds += 1
        for link in links:
            link.close()


def test_slow_bodies_of_one_client_do_not_take_the_page_from_others(served, good):
    trickle = Trickle(served)
    trickle.start()
    try:
        served.wait(lambda: trickle.rounds > 1 and served.get("/healthz").json()["busy"] > 1)
        for _ in range(12):
            assert served.get("/").status_code == 200
            assert served.ask(good).status_code == 200
            assert served.get("/healthz").json()["busy"] <= Settings.waiting // 2 + 1
        served.wait(lambda: 408 in trickle.answers)
    finally:
        trickle.over.set()
        trickle.join(PATIENCE)
    assert set(trickle.answers) == {408, 503}
    served.wait(lambda: served.get("/healthz").json()["busy"] == 0)
    assert not served.faults()


@pytest.mark.parametrize(("rate", "status"), [(100, 408), (200_000, 415)], ids=["too slow", "steady"])
def test_an_upload_needs_a_minimum_rate(served, rate, status):
    """A steady upload may take longer than the time that every upload has."""
    seconds = 1.5 * Settings.upload_grace
    content = part(b"images", b"a" * int(rate * seconds), b"a.png")
    begun = time.monotonic()
    with served.link() as link:
        whole = form(content if status == 415 else content + b"a" * 10_000_000)
        for k in range(0, len(whole), rate // 10):
            link.sendall(whole[k : k + rate // 10])
            if select.select([link], [], [], 0.1)[0]:  # it is answered
                break
            assert time.monotonic() - begun < Settings.deadline, "only the deadline ended it"
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := link.recv(65_536):
                answer += piece
    status_then, headers, body = parsed(answer)
    assert status_then == status
    sound(served, status_then, headers, body)
    assert time.monotonic() - begun > Settings.upload_grace


def test_a_share_leaves_as_much_to_others():
    budget = Budget(64, "uploads")
    with contextlib.ExitStack() as held:

        def most(client):
            count = 0
            while budget.fits(client, 1):
                held.enter_context(budget.share(client, 1))
                count += 1
            return count

        assert [most(name) for name in "abcdefgh"] == [32, 16, 8, 4, 2, 1, 1, 0]
        with pytest.raises(Problem) as refused, budget.share("i", 1):
            pass
    assert budget.held == 0 and not budget._of
    assert refused.value.status == 503 and refused.value.retry_after
    single = Budget(1, "requests")
    with single.share("a", 1):
        assert not single.fits("b", 1)
    assert single.fits("b", 1) and not single._of


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unknown", "_hidden", False),
        ("x" * 10_000, "x" * 20_000, True),
    ],
)
def test_clients_are_counted_by_their_address(one, other, same):
    assert (client_of(one) == client_of(other)) == same
    assert len(client_of(one)) <= 64


def test_wrong_tokens_are_counted_within_bounds(monkeypatch):
    wrong = WrongTokens()
    for k in range(3 * client_limits.REMEMBERED):
        wrong.add(f"client {k}")
    assert len(wrong._of) == client_limits.REMEMBERED
    for _ in range(WRONG):
        assert not wrong.pause("a")
        wrong.add("a")
    assert 0 < wrong.pause("a") <= PAUSE and not wrong.pause("b")
    wrong.forget("a")
    assert not wrong.pause("a")
    monkeypatch.setattr(client_limits, "PAUSE", 0)
    wrong.add("c")
    assert not wrong.pause("c") and "c" not in wrong._of


def bearer(token, **headers):
    return {"Authorization": f"Bearer {token}".encode(), **headers}


def tried(server, client, *tokens, path="/compare"):
    """Send tokens from an address; return the responses."""
    import httpx

    with server.client(transport=httpx.HTTPTransport(local_address=client)) as link:
        return [link.get(path, headers=bearer(token)) for token in tokens]


def test_ten_wrong_tokens_make_a_client_wait(guarded):
    assert {each.status_code for each in tried(guarded, OTHER, *["wrong"] * (WRONG - 1), TOKEN)} == {401, 200}
    answers = tried(guarded, ABUSER, *["wrong"] * WRONG, TOKEN, "wrong")
    assert [each.status_code for each in answers] == [401] * WRONG + [429] * 2
    assert all(0 < int(each.headers["retry-after"]) <= PAUSE for each in answers[WRONG:])
    for each in answers:
        sound_response(guarded, each)
    assert tried(guarded, ABUSER, TOKEN, path="/api/v1/runs")[0].json()["status"] == 429
    assert tried(guarded, ABUSER, "wrong", path="/healthz")[0].status_code == 200
    assert tried(guarded, OTHER, TOKEN)[0].status_code == 200  # of WRONG - 1 wrong ones none counts any more
    assert tried(guarded, OTHER, *["wrong"] * (WRONG - 1), TOKEN)[-1].status_code == 200


def test_behind_a_proxy_the_client_is_the_one_that_it_names(web_root, tmp_path):
    options = ("--proxy", f"{ABUSER}/32", "--token", TOKEN)
    with Server(web_root, tmp_path / "log", *options) as server:
        import httpx

        def through(proxy, client, token):
            headers = bearer(token, Host="leukobench.example", **{"X-Forwarded-For": client})
            with server.client(transport=httpx.HTTPTransport(local_address=proxy)) as link:
                return link.get("/compare", headers=headers).status_code

        assert [through(ABUSER, "192.0.2.1", "wrong") for _ in range(WRONG + 1)] == [401] * WRONG + [429]
        assert through(ABUSER, "192.0.2.2", TOKEN) == 200
        assert through(ABUSER, "192.0.2.9, 192.0.2.1", TOKEN) == 429  # what a client adds itself is not believed
        # Others name whom they like, and are counted by their own address.
        found = [through(OTHER, f"198.51.100.{k}", "wrong") for k in range(WRONG + 1)]
        assert found == [401] * WRONG + [429]
        assert server.get("/readyz").status_code in (200, 503)


@pytest.mark.parametrize("token", ["x", "correct horse", " " * 30, "x" * (SHORTEST_TOKEN - 1), f" {'x' * 15} "])
def test_a_short_token_is_refused(guide, token):
    for more in ((), ("--host", "0.0.0.0")):
        done = guide("serve", "--port", "0", "--token", token, *more)
        assert done.returncode == 1
        line = done.stderr.splitlines()[-1]
        assert all(text in line for text in (str(len(token.strip())), str(SHORTEST_TOKEN), "token_urlsafe"))
        assert token.strip() not in line.replace("token", "") or len(token.strip()) < 2


@pytest.mark.parametrize("proxy", ["proxy.example", "10.0.0.1/99", "10.0.0.1/8", "*", ""])
def test_a_proxy_is_an_address(guide, proxy):
    done = guide("serve", "--port", "0", "--proxy", proxy)
    assert done.returncode == 1
    assert f"'{proxy}'" in done.stderr.splitlines()[-1]


def test_beyond_this_machine_a_token_is_needed(tmp_path):
    for settings in ({"host": "0.0.0.0"}, {"proxies": ("127.0.0.1",)}):
        with pytest.raises(LeukoBenchError):
            Settings(tmp_path, **settings)
        assert not Settings(tmp_path, token=TOKEN, **settings).loopback
    assert Settings(tmp_path).loopback
