"""Command `bench`: run benchmarks; each is a program of its own, python -m benchmarks.NAME."""

import subprocess
import sys
from typing import Annotated

import typer

from models.engine.launcher import ended_by, environment
from utils import console
from utils.errors import LeukoBenchError, nearest
from utils.io import files
from utils.paths import PROJECT

HERE = PROJECT / "benchmarks"
PAGE = "docs/performance.md"


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks, or all. Default: list them.")] = None,
    dataset: Annotated[str, typer.Option(help="Dataset in data/raw. Default: the only one, or synthetic.")] = "",
    quick: Annotated[bool, typer.Option(help="A tiny run that only shows that it works; writes nothing.")] = False,
    page: Annotated[bool, typer.Option(help="Only write docs/performance.md from the stored results.")] = False,
) -> int:
    """Measure time and memory against a baseline; results go to docs/performance.md."""
    known = benchmarks()
    if page:
        return _run(["-m", "benchmarks.page"])
    chosen = list(known) if names == ["all"] else names or []
    for name in chosen:
        if name not in known:
            raise LeukoBenchError(f"Unknown benchmark '{name}'.{nearest(name, known)} Valid: {', '.join(known)}, all.")
    if not chosen:
        console.table("Benchmarks", ("name", "what it measures", "measured"), [_row(*each) for each in known.items()])
        console.say(f"Run one: python run_guide.py bench NAME. The results are in {PAGE}.")
        return 0
    options = [*(["--dataset", dataset] if dataset else []), *(["--quick"] if quick else [])]
    failed = []
    for number, name in enumerate(chosen, start=1):
        if len(chosen) > 1:
            console.say(f"[{number}/{len(chosen)}] {name}", style="bold")
        status = _run(["-m", f"benchmarks.{name}", *options])
        if status == console.STOPPED:
            return status
        if status < 0:
            console.error(f"{name} was ended by {ended_by(status)}")
        failed += [name] if status else []
    if len(chosen) > 1 and failed:
        console.error(f"Not measured: {', '.join(failed)}. See the errors above.")
    return 1 if failed else 0


def benchmarks() -> dict[str, str]:
    """Return the first sentence of every benchmark by its name."""
    found = {}
    for path in sorted(HERE.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "\n    entry(" in source:
            found[path.stem] = source.split('"""')[1].strip().split("\n\n")[0].partition(": python")[0].rstrip(".")
    return found


def _row(name: str, about: str) -> list[str]:
    stored = PROJECT / "docs" / "results" / "benchmarks" / f"{name}.json"
    return [name, about, files.read_json(stored).get("made", "") if stored.is_file() else ""]


def _run(words: list[str]) -> int:
    process = subprocess.Popen([sys.executable, *words], cwd=PROJECT, env=environment())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the benchmark receives Ctrl-C, too, and stops
