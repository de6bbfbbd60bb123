"""The web page: response times and memory of the real server, with the runs of `make demo`.

Sends HTTP requests from this machine with 1, 8 and 32 clients, one image a request and no heatmap. Every client sends
its next request as soon as it has received a response.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.program import Options, entry
from benchmarks.results import Claim, Column, Plot, Result, Series, Sheet, Spread, spread
from utils import console
from utils.errors import LeukoBenchError
from utils.paths import PROJECT, raw_dir, runs_dir
from utils.runs import run_folder

CLIENTS = (1, 8, 32)
API, PAGE = "/api/v1/predict", "/predict"
PLAIN = "cnn"
WARM = 20  # requests before the timing starts


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port: its TCP port.
        process: the server; image workers and model worker are its child processes.
        first_page: seconds from the start of the command to the first page.
        first_answer: seconds from the start of the command to the first prediction.
    """

    port: int
    process: psutil.Process
    first_page: float
    first_answer: float

    def megabytes(self) -> float:
        """Return the resident memory of all its processes in MB."""
        return sum(p.memory_info().rss for p in (self.process, *self.process.children(recursive=True))) / 1e6


@contextlib.contextmanager
def started(root: Path, request: bytes) -> Iterator[Server]:
    """Start the server by its command, and stop it with SIGTERM."""
    begun = time.perf_counter()
    command = [sys.executable, "run_guide.py", "serve", "--port", "0", "--root", str(root)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.search(r"http://[^/]*:(\d+)/", line)
            if not found:
                raise LeukoBenchError(f"The server did not start. Its first line of output: {line.strip() or 'none'}")
            port = int(found[1])
            asyncio.run(clients(port, [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"], 1, 1))
            first_page = time.perf_counter() - begun
            asyncio.run(clients(port, [request], 1, 1))
            first_answer = time.perf_counter() - begun
            yield Server(port, psutil.Process(process.pid), first_page, first_answer)
        finally:
            process.terminate()


def request_of(image: bytes, models: Sequence[str], path: str = API) -> bytes:
    """Return a complete HTTP request for predictions of one image, through the API or as the page's script sends it."""
    boundary = b"leukobench-benchmark"
    parts = [b'name="images"; filename="smear"\r\n\r\n' + image]
    parts += [f'name="models"\r\n\r\n{name}'.encode() for name in models]
    body = b"".join(b"--%s\r\nContent-Disposition: form-data; %s\r\n" % (boundary, part) for part in parts)
    body += b"--%s--\r\n" % boundary
    return (
        b"POST %s HTTP/1.1\r\nHost: localhost\r\nX-Fragment: 1\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=%s\r\n\r\n%s" % (path.encode(), len(body), boundary, body)
    )


async def clients(port: int, requests: Sequence[bytes], count: int, each: int) -> tuple[list[float], float]:
    """Send requests with several clients at a time.

    Returns:
        Seconds of every request, and seconds from the first request to the last response.

    Raises:
        LeukoBenchError: the status of a response is not 200.
    """

    async def client(number: int) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        seconds = []
        for k in range(each):
            begun = time.perf_counter()
            writer.write(requests[(number + k * count) % len(requests)])
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(re.search(r"content-length: (\d+)", head)[1]))
            seconds.append(time.perf_counter() - begun)
            if " 200 " not in head.partition("\r\n")[0]:
                raise LeukoBenchError(f"The server responded {head.partition(chr(13))[0]}")
        writer.close()
        return seconds

    begun = time.perf_counter()
    found = await asyncio.gather(*(client(k) for k in range(count)))
    return [seconds for one in found for seconds in one], time.perf_counter() - begun


def measure(server: Server, requests: Sequence[bytes], count: int, repetitions: int, total: int) -> dict[str, Any]:
    """Return p50, p95 (ms), images a second and memory: medians over repetitions, and the range of p50."""
    rows = []
    for _ in range(repetitions):
        seconds, whole = asyncio.run(clients(server.port, requests, count, max(total // count, 4)))
        ranked = sorted(seconds)
        rows.append((ranked[len(ranked) // 2] * 1e3, ranked[int(len(ranked) * 0.95)] * 1e3, len(seconds) / whole))
    p50, p95, rate = (median(column) for column in zip(*rows, strict=True))
    return {
        "clients": count,
        "repetitions": repetitions,
        "p50_ms": p50,
        "p95_ms": p95,
        "p50_lowest_ms": min(r[0] for r in rows),
        "p50_highest_ms": max(r[0] for r in rows),
        "images_per_second": rate,
        "memory_mb": server.megabytes(),
    }


def measure_all(options: Options) -> Result:
    """Measure the latest run of every kind that the demo made, through the page and through the API."""
    place = runs_dir() / "demo"
    finished = run_folder.find_runs(place, finished=True)
    runs = list({run.label(): run for run in finished if run.weights.is_file()}.values())
    if not runs:
        raise LeukoBenchError(f"{place} holds no finished run with weights. Create some with: make demo")
    repetitions, total = options.pick((3, 128), (1, 8))
    rows, starts = [], []
    for run in runs[: options.pick(None, 1)]:
        tested = run.predictions("test")["image"].head(32)
        images = [(raw_dir(run.config()["dataset"]) / image).read_bytes() for image in tested]
        asked = [request_of(image, [run.id]) for image in images]
        with started(place, asked[0]) as server:
            starts.append((server.first_page, server.first_answer))
            asyncio.run(clients(server.port, asked, 1, WARM))
            about = {"model": run.label(), "image_size": run.config()["image_size"]}
            shown = [request_of(image, [run.id], PAGE) for image in images]
            for path, sent, count in ((PAGE, shown, 1), *((API, asked, count) for count in CLIENTS)):
                rows.append(about | {"path": path} | measure(server, sent, count, repetitions, total))
                console.say(f"{run.label()}, {path}, {count} at once: p50 {rows[-1]['p50_ms']:.1f} ms")
    page = next((row for row in rows if row["model"] == PLAIN and row["path"] == PAGE), rows[0])
    through_api = [row for row in rows if row["path"] == API]
    each = {row["model"]: [r for r in through_api if r["model"] == row["model"]] for row in through_api}
    return Result(
        "The web page",
        "The latest runs of `make demo`, on synthetic smears; clients and server share the machine. Medians over "
        f"{repetitions} repetitions of {total} requests; the range is that of the repetitions' p50. The server is "
        "started for each model, and each request asks for one model. Memory: resident, of the server and all its "
        f"processes, with every offered model loaded. {API} is the API for programs; {PAGE} is the page, which also "
        "draws the image and the outline of the nuclei.",
        [
            Claim(f"{page['model']}: response time of the page with one client, p50", "ms", 150, _p50(page), True),
            Claim("Seconds from the command to the first page", "s", 5, spread([first for first, _ in starts]), True),
        ],
        [
            Sheet(
                "One image a request, no heatmap",
                (
                    Column("model", "Model"),
                    Column("image_size", "Pixels", 0),
                    Column("path", "Path"),
                    Column("clients", "Clients", 0),
                    Column("p50_ms", "p50 ms", 1),
                    Column("range", "Range"),
                    Column("p95_ms", "p95 ms", 1),
                    Column("images_per_second", "Images/s", 1),
                    Column("memory_mb", "Memory MB", 0),
                ),
                [row | {"range": f"{row['p50_lowest_ms']:.1f}-{row['p50_highest_ms']:.1f}"} for row in rows],
                f"The first prediction came {median(answer for _, answer in starts):.1f} s after the command "
                f"(median of {len(starts)} starts).",
            )
        ],
        [
            Plot(
                "Images a second by number of clients",
                "Clients",
                "Images a second",
                [
                    Series(
                        model,
                        [row["clients"] for row in rows_of_model],
                        [row["images_per_second"] for row in rows_of_model],
                    )
                    for model, rows_of_model in each.items()
                ],
                "x",
            )
        ],
    )


def _p50(row: dict[str, Any]) -> Spread:
    return Spread(row["p50_ms"], row["p50_lowest_ms"], row["p50_highest_ms"], row["repetitions"])


if __name__ == "__main__":
    entry("serving", measure_all)
