"""A child process that answers one call at a time within a time limit, and is restarted when it exceeds it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_spawn = multiprocessing.get_context("spawn")


class Died(Exception):
    """The process ended, or was killed, before it answered."""


class Late(Died):
    """The process did not answer in time and was killed."""


class Child:
    """A process that calls `make(*arguments)` once and then the returned function with every message.

    Its methods may be called from any thread; calls wait for each other.
    """

    def __init__(self, name: str, make: Callable[..., Callable[[Any], Any]], *arguments: Any) -> None:
        """Start the process.

        Args:
            name: of the process.
            make: picklable; returns a function from a message to an answer. An exception is sent back as the answer.
            arguments: arguments of `make`.
        """
        self._name, self._make, self._arguments = name, make, arguments
        self._lock, self._closed = threading.Lock(), False
        self.restarts = -1
        self._start()

    def call(self, message: Any, seconds: float | None = None) -> Any:
        """Send a message and return the answer. A process that has ended since its last answer is replaced first.

        Args:
            message: picklable.
            seconds: time limit, after which the process is restarted; None for no limit.

        Raises:
            Late: the time limit was exceeded.
            Died: the process ended; a new one was started.
            Exception: raised by the function in the process.
        """
        with self._lock:
            if not self.alive:
                self._restart()
            try:
                self._pipe.send(message)
                if not self._pipe.poll(seconds):
                    raise Late(f"{self._name} took longer than {seconds} seconds")
                failed, answer = self._pipe.recv()
            except (EOFError, OSError) as error:
                self._restart()
                raise Died(f"{self._name} ended") from error
            except Late:
                self._restart()
                raise
        if failed:
            raise answer
        return answer

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def memory(self) -> int:
        """Return the resident memory of the process in bytes; 0 where it has ended."""
        import psutil

        try:
            return psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return 0

    def close(self) -> None:
        """Kill the process, even if it is working."""
        self._closed = True
        self._end()

    def _start(self) -> None:
        self._pipe, theirs = _spawn.Pipe()
        arguments = (theirs, self._make, self._arguments)
        self._process = _spawn.Process(target=_serve, args=arguments, name=self._name, daemon=True)
        self._process.start()
        theirs.close()
        self.restarts += 1
        if self._closed:  # while it was starting
            self._end()

    def _restart(self) -> None:
        self._end()
        if not self._closed:
            self._start()

    def _end(self) -> None:
        self._pipe.close()
        if self._process.pid is not None:  # None where the start failed
            self._process.kill()
            self._process.join(5)


def _serve(pipe: Connection, make: Callable[..., Callable[[Any], Any]], arguments: tuple) -> None:
    """Answer messages until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the server shuts down
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process ends when the pipe is closed
    function = make(*arguments)
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            break
        try:
            answer = False, function(message)
        except Exception as error:
            # Send errors of other libraries as text: unpickling them would import the library in the server.
            known = type(error).__module__.startswith(("builtins", "webapp"))
            answer = True, error if known else RuntimeError(repr(error))
        try:
            pipe.send(answer)
        except OSError:
            break
    os._exit(0)  # skip TensorFlow's slow shutdown
