"""Time limits of connections: uvicorn alone waits without limit for a request, and for the rest of an answered one."""

import asyncio
import socket
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from webapp.http.problem_responses import ProblemBody
from webapp.http.security import HEADERS

SECONDS = 10  # for the head of a request, from the opening of the connection or from the previous response
MOST = 1_024  # connections at one time; each takes a few kB


class Impatient(H11Protocol):
    """A connection of HTTP/1.1 that is closed unless a complete head of a request arrives in time."""

    _waiting: asyncio.TimerHandle | None = None
    _unsent = 0  # bytes of responses that the client had not read when the timer started

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the timer for the first request; close the connection at once if there are more than MOST."""
        super().connection_made(transport)
        # asyncio sets it only for sockets that name their protocol; without it, head and body are sent with a delay.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > MOST:
            transport.abort()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Pass data to the request; the timer stops when its head is complete."""
        super().data_received(data)
        if not self._idle:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Start the timer for the next request, also for a client that still sends the answered one."""
        super().on_response_complete()
        if self._idle:  # otherwise the next request has arrived already
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with a problem document and the headers of every response."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            problem = ProblemBody(title=HTTPStatus.BAD_REQUEST.phrase, status=400, detail=f"{msg} Send HTTP/1.1.")
            body = problem.model_dump_json().encode()
            headers = HEADERS | {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
            headers |= {"Connection": "close", "Content-Length": str(len(body))}
            response = h11.Response(status_code=400, headers=list(headers.items()), reason=b"Bad Request")
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
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
