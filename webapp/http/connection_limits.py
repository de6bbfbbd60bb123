"""Connections that end: uvicorn's own wait for ever for a request, and for the rest of one that is answered already."""

import asyncio
import socket
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from webapp.http.problem_responses import ProblemBody
from webapp.http.security import HEADERS

SECONDS = 10  # for a request's head, from the opening of the connection or from the answer before
MOST = 1_024  # at one time; each costs a few kB


class Impatient(H11Protocol):
    """A connection of HTTP/1.1 that is closed where no whole head of a request comes in time."""

    _waiting: asyncio.TimerHandle | None = None
    _unsent = 0  # bytes of answers that the client had not taken when the clock was set

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for the first request; past MOST connections, end at once."""
        super().connection_made(transport)
        # asyncio does it only for sockets that name their protocol; without it head and body wait for each other.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > MOST:
            transport.abort()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on with the request; time runs on until its head is whole."""
        super().data_received(data)
        if not self._idle:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request; whoever still sends the one that was answered has as long to end."""
        super().on_response_complete()
        if self._idle:  # else the next one lay there already
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as a problem, with the headers that every answer has."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            told = ProblemBody(title=HTTPStatus.BAD_REQUEST.phrase, status=400, detail=f"{msg} Send HTTP/1.1.")
            body = told.model_dump_json().encode()
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
        """End the connection, unless its client is still taking the answer before."""
        unsent = self.transport.get_write_buffer_size()
        if 0 < unsent < self._unsent:
            self._wait()
        else:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
