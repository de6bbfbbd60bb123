"""The web server as a real process on a free port, for the tests that attack it."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

from utils.io import files
from utils.paths import PROJECT
from utils.runs import calibration_file
from utils.runs.run_folder import Run

LIMITED = """
from pathlib import Path
from webapp.server import serve
from webapp.settings import Settings
serve(Settings(Path({root!r}), **{limits!r}), lambda address: print('answers at', address, flush=True))
"""  # for settings without command-line options
PATIENCE = 120  # time limit in seconds of every wait; no test measures speed


class Server:
    """A server in its own process; ends with `stop` or with the `with` block."""

    def __init__(self, root: Path, log: Path, *arguments: str, limits: dict | None = None, **variables: str):
        """Start the server and wait until it answers.

        Args:
            root: of the runs.
            log: file of its output.
            arguments: of the command `serve`.
            limits: fields of `Settings`; the server is then started without the command line.
            variables: environment variables.
        """
        command = ["run_guide.py", "serve", "--port", "0", "--root", str(root), *arguments]
        if limits is not None:
            command = ["-c", LIMITED.format(root=str(root), limits=limits)]
        self._log, self._told = log, set()
        started = time.perf_counter()
        with open(log, "wb") as handle:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=PROJECT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | variables,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
            )
        try:
            found = self.wait(lambda: re.search(r"http://([^\s/]+):(\d+)/", self.log))
            host, self.port = found[1].replace("0.0.0.0", "127.0.0.1"), int(found[2])
            self.url = f"http://{host}:{self.port}"
            self.wait(lambda: self.get("/healthz").status_code == 200)
        except BaseException:
            self.process.kill()
            raise
        self.seconds = time.perf_counter() - started  # to the first answer

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self, ready, seconds: float = PATIENCE):
        """Wait until `ready` returns a true value and return it."""
        end = time.monotonic() + seconds
        while not (found := ready()):
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < end, f"not within {seconds} s:\n{self.log}"
            time.sleep(0.05)
        return found

    def client(self, **options) -> httpx.Client:
        """Return a client with the address of the server."""
        return httpx.Client(**{"base_url": self.url, "timeout": PATIENCE, "trust_env": False} | options)

    def get(self, path: str, **options) -> httpx.Response:
        with self.client() as client:
            return client.get(path, **options)

    def ask(self, *contents: bytes, path: str = "/api/v1/predict", headers: dict | None = None, **fields):
        """Send images in a form."""
        uploads = [("images", (f"{k}.img", content)) for k, content in enumerate(contents)]
        with self.client() as client:
            return client.post(path, files=uploads, data=fields, headers=headers)

    def link(self, seconds: float = PATIENCE, client: str = "127.0.0.1") -> socket.socket:
        """Open a connection from an address; all of 127.0.0.0/8 are this machine's."""
        return socket.create_connection(("127.0.0.1", self.port), seconds, (client, 0))

    def raw(self, content: bytes, seconds: float = 20, end: bool = False) -> bytes:
        """Send raw bytes and return the response until the server closes or `seconds` have passed.

        Args:
            content: raw bytes.
            seconds: to wait for each part of the response.
            end: also close the sending side.
        """
        parts = []
        with self.link(seconds) as link:
            try:
                link.sendall(content)
                if end:
                    link.shutdown(socket.SHUT_WR)
                while part := link.recv(65_536):
                    parts.append(part)
            except OSError:  # closed by the server, or no more data in time
                pass
        return b"".join(parts)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """Return the model workers, the children that have loaded TensorFlow; waits for the first one."""

        def loaded(process):
            try:
                return any("_pywrap_tensorflow" in each.path for each in process.memory_maps())
            except psutil.Error:
                return False

        return self.wait(lambda: [each for each in self.children() if loaded(each)])

    def standing_by(self) -> list[psutil.Process]:
        """Return the model workers once the second one has the models open."""
        self.wait(lambda: self.metric("standby") == 1)
        return self.workers()

    def memory(self) -> int:
        """Return the resident memory of the server and its children in bytes."""
        total = 0
        for process in (psutil.Process(self.pid), *self.children()):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        lines = self.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"leukobench_{name} "))

    def faults(self) -> list[str]:
        """Return the metrics of responses with a status 5xx other than 503; each is returned once."""
        lines = self.get("/metrics").text.splitlines()
        found = {line for line in lines if re.search(r'_total\{.*status="5(?!03)', line)} - self._told
        self._told |= found
        return sorted(found)

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it and return its exit code; negative where a signal ended it."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def calibrated(run, root) -> Run:
    """Copy the root of a run and calibrate the run in the copy."""
    shutil.copytree(run.root, root)
    copied = Run(root / run.path.relative_to(run.root))
    files.write_json(copied.file(calibration_file.FILE), calibration_file.measure(copied))
    return copied
