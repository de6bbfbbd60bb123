"""A child process that answers one call at a time, within a deadline; one that passes it is ended and started anew."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_spawn = multiprocessing.get_context("spawn")


class Died(Exception):
    """The process ended, or was ended, before it answered."""


class Late(Died):
    """The process did not answer in time and was ended."""


class Child:
    """A process that runs `make(*arguments)` once and then calls the function it returned with every message.

    Its methods may be called from any thread; calls wait for each other.
    """

    def __init__(self, name: str, make: Callable[..., Callable[[Any], Any]], *arguments: Any) -> None:
        """Start the process.

        Args:
            name: of the process.
            make: picklable; what it returns takes a message and gives the answer. An exception of it is the answer.
            arguments: of `make`.
        """
        self._name, self._make, self._arguments = name, make, arguments
        self._lock, self._closed = threading.Lock(), False
        self.restarts = -1
        self._start()

    def call(self, message: Any, seconds: float | None = None) -> Any:
        """Send a message and return the answer.

        Args:
            message: picklable.
            seconds: after which the process is ended and started anew; None waits as long as it takes.

        Raises:
            Late: it took longer.
            Died: the process ended; a new one was started.
            Exception: what the function in the process raised.
        """
        with self._lock:
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

    def memory(self) -> int:
        """Return the bytes of memory the process holds; 0 where it is gone."""
        import psutil

        try:
            return psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return 0

    def close(self) -> None:
        """End the process: at once if it works, since nobody waits for it any more."""
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
        if self._process.pid is not None:  # else it could not even be started
            self._process.kill()
            self._process.join(5)


def _serve(pipe: Connection, make: Callable[..., Callable[[Any], Any]], arguments: tuple) -> None:
    """Answer messages until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the server finishes what is begun
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as supervisors send it: the end of the pipe ends this process
    function = make(*arguments)
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            break
        try:
            answer = False, function(message)
        except Exception as error:
            # Of other libraries only the words: to unpickle their errors would import them on the other side.
            known = type(error).__module__.startswith(("builtins", "webapp"))
            answer = True, error if known else RuntimeError(repr(error))
        try:
            pipe.send(answer)
        except OSError:
            break
    os._exit(0)  # TensorFlow takes its time to leave
