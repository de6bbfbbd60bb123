"""Limits by the address of a client: its share of what all clients use, and its wrong tokens."""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope

from webapp.http.problem_responses import busy

WRONG, PAUSE = 10, 60  # wrong tokens of a client, and the seconds it then has to wait
REMEMBERED = 4_096  # clients with wrong tokens; the oldest are forgotten


def client_of(host: str) -> str:
    """Return the name under which the limits count an address: an IPv6 client by its network of 64 bits."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:  # a forwarded name
        return host[:64]
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))


def sender(scope: Scope) -> str:
    """Return the client of a request, behind a trusted proxy the one that the proxy names."""
    return client_of((scope.get("client") or ("",))[0])


class Budget:
    """A limit shared by all clients. One client may take as much as is left, so half of it where it is alone."""

    def __init__(self, limit: int, what: str) -> None:
        self.limit, self.what, self.held = limit, what, 0
        self._of: Counter[str] = Counter()

    @contextmanager
    def share(self, client: str, count: int = 0) -> "Iterator[Share]":
        """Yield a client's share with `count` units, which are released at the end of the block.

        Raises:
            Problem: 503, the client's share is used up.
        """
        share = Share(self, client)
        share.take(count)
        try:
            yield share
        finally:
            self._move(client, -share.taken)

    def fits(self, client: str, count: int) -> bool:
        """Return whether a client may take `count` more units."""
        return self._of[client] + count <= self.limit - self.held

    def _move(self, client: str, count: int) -> None:
        self.held += count
        self._of[client] += count
        if not self._of[client]:
            del self._of[client]


@dataclass
class Share:
    """Units of a budget that one request took."""

    budget: Budget
    client: str
    taken: int = 0

    def take(self, count: int) -> None:
        """Take `count` more units.

        Raises:
            Problem: 503, the client's share is used up.
        """
        if not self.budget.fits(self.client, count):
            raise busy(self.budget.what)
        self.budget._move(self.client, count)
        self.taken += count


class WrongTokens:
    """Count the wrong tokens of each client; after WRONG of them it has to wait for PAUSE seconds."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, tuple[int, float]] = OrderedDict()  # number, and time of the last one

    def pause(self, client: str) -> int:
        """Return the seconds that a client still has to wait; 0 for none."""
        count, last = self._of.get(client, (0, 0.0))
        left = math.ceil(last + PAUSE - time.monotonic())
        if left <= 0:
            self.forget(client)
        return left if count >= WRONG and left > 0 else 0

    def add(self, client: str) -> None:
        """Count a wrong token."""
        self._of[client] = self._of.pop(client, (0, 0.0))[0] + 1, time.monotonic()
        if len(self._of) > REMEMBERED:
            self._of.popitem(last=False)

    def forget(self, client: str) -> None:
        """Start again at none, after a pause or the right token."""
        self._of.pop(client, None)
