"""How fast the web page answers, and how much memory it takes: python -m benchmarks.serving --root runs/demo.

Starts the real server, asks it over HTTP from this machine with 1, 8 and 32 clients, one image a request and no
heatmap, and writes docs/results/benchmarks/<name>.json, .md, .tex and .html. Every client asks again as soon as it has
its answer.
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
from typing import Annotated, Any

import psutil
import typer

from utils import artifacts, console, environment, files
from utils.errors import LeukoBenchError
from utils.paths import PROJECT, raw_dir, runs_dir
from utils.tables import Table, number, write_all

CLIENTS = (1, 8, 32)
API, PAGE = "/api/v1/predict", "/predict"
WARM = 20  # requests before any is timed
TITLE = "How fast the web page answers"


@dataclass(frozen=True)
class Server:
    """A started server.

    Attributes:
        port: where it listens.
        process: the server; the decoders and the model worker are its children.
        first_page: seconds from the start of the command to the first page.
        first_answer: seconds to the first answer of the models.
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
    """Start the server as a person would, and stop it with SIGTERM."""
    begun = time.perf_counter()
    command = [sys.executable, "run_guide.py", "serve", "--port", "0", "--root", str(root)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.search(r"http://[^/]*:(\d+)/", line)
            if not found:
                raise LeukoBenchError(f"The server did not start; it said: {line.strip() or 'nothing'}")
            port = int(found[1])
            asyncio.run(clients(port, [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"], 1, 1))
            first_page = time.perf_counter() - begun
            asyncio.run(clients(port, [request], 1, 1))
            first_answer = time.perf_counter() - begun
            yield Server(port, psutil.Process(process.pid), first_page, first_answer)
        finally:
            process.terminate()


def request_of(image: bytes, models: Sequence[str], path: str = API) -> bytes:
    """Return a whole HTTP request that asks models about one image, through the API or as the page's script does."""
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
    """Let clients ask at one time.

    Returns:
        Seconds of every request, and seconds from the first request to the last answer.

    Raises:
        LeukoBenchError: an answer is none.
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
                raise LeukoBenchError(f"The server answered {head.partition(chr(13))[0]}")
        writer.close()
        return seconds

    begun = time.perf_counter()
    found = await asyncio.gather(*(client(k) for k in range(count)))
    return [seconds for one in found for seconds in one], time.perf_counter() - begun


def measure(server: Server, requests: Sequence[bytes], count: int, repetitions: int, total: int) -> dict[str, Any]:
    """Return milliseconds p50 and p95, images a second and memory: medians over repetitions, and the range of p50."""
    rows = []
    for _ in range(repetitions):
        seconds, whole = asyncio.run(clients(server.port, requests, count, max(total // count, 4)))
        ranked = sorted(seconds)
        rows.append((ranked[len(ranked) // 2] * 1e3, ranked[int(len(ranked) * 0.95)] * 1e3, len(seconds) / whole))
    p50, p95, rate = (median(column) for column in zip(*rows, strict=True))
    return {
        "clients": count, "p50_ms": p50, "p95_ms": p95, "p50_lowest_ms": min(r[0] for r in rows),
        "p50_highest_ms": max(r[0] for r in rows), "images_per_second": rate, "memory_mb": server.megabytes(),
    }  # fmt: skip


def main(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models to ask, each for itself; none: all there are.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the runs.", show_default="runs/demo")] = None,
    name: Annotated[str, typer.Option(help="Name of the files that are written.")] = "serving",
    repetitions: Annotated[int, typer.Option(min=1, help="Repetitions, of which the median counts.")] = 5,
    requests: Annotated[int, typer.Option(min=1, help="Requests in each of them, over all clients.")] = 128,
) -> None:
    """Measure how fast the web page answers, and its memory."""
    place = root or runs_dir() / "demo"
    runs = {
        run.label(): run for run in artifacts.find_runs(place, finished=True) if run.file(artifacts.WEIGHTS).is_file()
    }
    chosen = {label: run for label, run in runs.items() if not models or label in models or run.model in models}
    if not chosen:
        raise LeukoBenchError(
            f"{place} holds no finished run with weights of these models. There are: {', '.join(runs)}."
        )
    rows, starts = [], []
    for label, run in chosen.items():
        tested = run.predictions("test")["image"].head(32)
        images = [(raw_dir(run.config()["dataset"]) / image).read_bytes() for image in tested]
        asked = [request_of(image, [run.id]) for image in images]
        with started(place, asked[0]) as server:
            starts.append((server.first_page, server.first_answer))
            asyncio.run(clients(server.port, asked, 1, WARM))
            about = {"model": label, "run": run.id, "image_size": run.config()["image_size"]}
            shown = [request_of(image, [run.id], PAGE) for image in images]
            for path, sent, count in ((PAGE, shown, 1), *((API, asked, count) for count in CLIENTS)):
                rows.append(about | {"path": path} | measure(server, sent, count, repetitions, requests))
                console.say(f"{label}, {path}, {count} at once: p50 {rows[-1]['p50_ms']:.1f} ms")
    result = {
        "command": f"python -m benchmarks.serving --root {root or 'runs/demo'}",
        "machine": {"cpu": environment.cpu_name(), "cores": environment.usable_cores()},
        "repetitions": repetitions, "requests": requests,
        "first_page_s": median(page for page, _ in starts), "first_answer_s": median(answer for _, answer in starts),
        "rows": rows,
    }  # fmt: skip
    folder = PROJECT / "docs" / "results" / "benchmarks"
    files.write_json(folder / f"{name}.json", result)
    write_all(folder / name, TITLE, notes(result), [table(rows)])
    console.say(f"Written: {folder / name}.json, .md, .tex, .html")


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the rows as a table; the rate is also given relative to one client of the same model."""
    alone = {(row["model"], row["path"]): row["images_per_second"] for row in rows if row["clients"] == 1}
    lines = [
        [
            row["model"], str(row["image_size"]), row["path"], str(row["clients"]), number(row["p50_ms"], 1),
            f"{row['p50_lowest_ms']:.1f}-{row['p50_highest_ms']:.1f}", number(row["p95_ms"], 1),
            number(row["images_per_second"], 1), f"x {row['images_per_second'] / alone[row['model'], row['path']]:.2f}",
            number(row["memory_mb"], 0),
        ]
        for row in rows
    ]  # fmt: skip
    columns = (
        "Model",
        "Pixels",
        "Asked",
        "Clients",
        "p50 ms",
        "range",
        "p95 ms",
        "Images/s",
        "to one client",
        "Memory MB",
    )
    return Table("One image a request, no heatmap", columns, lines, frozenset({0, 2}))


def notes(result: dict[str, Any]) -> list[str]:
    """Return what is to be said above the table."""
    machine = result["machine"]
    return [
        f"Made by {result['command']} on {machine['cpu']}, {machine['cores']} cores; clients and server share them. "
        f"Medians over {result['repetitions']} repetitions of {result['requests']} requests; range: of the p50 of the "
        "repetitions. Each model is asked for itself, and the server was started anew for it. Memory: resident, of the "
        f"server and all its processes, with every offered model open. {API} answers programs; {PAGE} the page, "
        "with the picture and the outline of the nuclei drawn.",
        f"From the command to the first page {result['first_page_s']:.1f} s, to the first answer of a model "
        f"{result['first_answer_s']:.1f} s (medians of {len({row['model'] for row in result['rows']})} starts).",
    ]


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(console.run_app(app, name="python -m benchmarks.serving"))
