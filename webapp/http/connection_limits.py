"""Limits of connections for which uvicorn has no option, nor hypercorn all of them.

uvicorn waits without limit for the first request, for the rest of an answered one and for the reader of a response, has
no limit for the connections of one client, and answers a head that is too large with 400. The other limits are options
of it, see `webapp.server`.
"""

import asyncio
import socket
import sys
from http import HTTPStatus

import h11
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from webapp.http.client_limits import client_of
from webapp.http.problem_responses import ProblemBody
from webapp.http.security import HEADERS

SECONDS = 10  # for the head of a request, from the opening or the previous response; for each part that is read
SENT = 131_072  # bytes of unread responses that the system holds for a connection; by default megabytes
MOST = 1_024  # connections at one time, each takes a few kB; one client may have as many as are left
UNREAD = 1_000_000  # bytes after an invalid request that are read and forgotten


class Impatient(H11Protocol):
    """A connection of HTTP/1.1 that is closed unless a complete head of a request arrives in time."""

    _waiting: asyncio.TimerHandle | None = None
    _unsent = 0  # bytes of responses that the client had not read when the timer started
    _forgotten: int | None = None  # bytes received after an invalid request; None before one
    sender = ""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the timer for the first request; close the connection at once where the client has too many."""
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        self.sender = client_of(host)
        # asyncio sets it only for sockets that name their protocol; without it, head and body are sent with a delay.
        link = transport.get_extra_info("socket")
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT)
        proxy = isinstance(self.app, ProxyHeadersMiddleware) and host in self.app.trusted_hosts
        others = sum(each.sender != self.sender for each in self.connections)
        mine = len(self.connections) - others
        if len(self.connections) > MOST or (not proxy and 2 * mine > MOST - others + 1):
            transport.abort()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Pass data to the request; the timer stops when its head is complete."""
        if self._forgotten is not None:
            self._forgotten += len(data)
            if self._forgotten > UNREAD:
                self.transport.abort()
            return
        super().data_received(data)
        if not self._idle:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Start the timer for the next request, also for a client that still sends the answered one."""
        super().on_response_complete()
        if self._idle:  # otherwise the next request has arrived already
            self._wait()

    def pause_writing(self) -> None:
        """Start the timer for the next part of a response that the client does not read."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """Stop the timer of a response that is not complete."""
        super().resume_writing()
        if not self._idle:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with a problem document and the headers of every response, and end the connection."""
        large = self._idle and getattr(sys.exc_info()[1], "error_status_hint", 400) == 431
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if large else HTTPStatus.BAD_REQUEST
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            detail = "The head of the request is too large." if large else f"{msg} Send HTTP/1.1."
            body = ProblemBody(title=status.phrase, status=status, detail=detail).model_dump_json().encode()
            headers = HEADERS | {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
            headers |= {"Connection": "close", "Content-Length": str(len(body))}
            response = h11.Response(status_code=status, headers=list(headers.items()), reason=status.phrase)
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self._idle and self.transport.can_write_eof():
            # Closing now would reset the connection while the client still sends, and destroy the answer.
            self.transport.write_eof()
            self._forgotten = 0
        else:
            self.transport.close()

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._stop_waiting()
        self._unsent = self.transport.get_write_buffer_size()
        self._waiting = self.loop.call_later(SECONDS, self._late)

    def _late(self) -> None:
        """Close the connection, unless the client is still reading the previous response."""
        unsent = self.transport.get_write_buffer_size()
        if 0 < unsent < self._unsent:
            self._wait()
        else:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
