"""Measure how long the menu, --help and the table of 100 runs take, beside the import of what they are drawn with."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import many_runs
from benchmarks.recording import Claim, Column, Options, Result, Sheet, alternate, entry, ratios, spread
from utils.paths import PROJECT
from utils.runs import cache as run_cache

BASE, HELP, MENU = "import typer, rich.table", "run_guide.py --help", "menu, left by q"
FIRST, LATER = "runs, first look", "runs, later look"
MUST_NOT = ("tensorflow", "keras", "pandas", "matplotlib", "sklearn", "scipy", "numpy", "ray", "mlflow", "onnxruntime")
WATCHED = (
    "import sys, run_guide\nsys.argv = ['run_guide.py', *sys.argv[1:]]\nrun_guide.main()\n"
    f"print(sum(name in sys.modules for name in {MUST_NOT!r}))"
)


def measure(options: Options) -> Result:
    """Time each start beside the import, alternating, and look which modules it loads."""
    count = options.pick(100, 10)
    with tempfile.TemporaryDirectory() as place:
        root = many_runs.make(Path(place) / "runs", count)
        listed = ["run_guide.py", "runs", "--root", str(root)]

        def first() -> None:
            (root / run_cache.FILE).unlink(missing_ok=True)
            _run(listed)

        ways = {
            BASE: lambda: _run(["-c", BASE]),
            HELP: lambda: _run(["run_guide.py", "--help"]),
            MENU: lambda: _run(["run_guide.py"]),
            FIRST: first,
            LATER: lambda: _run(listed),
        }
        for call in ways.values():
            call()  # byte code and files into memory
        seconds = alternate(ways, options.pick(15, 2))
        loaded = [
            int(_said(["-c", WATCHED, *words]).splitlines()[-1])
            for words in (["--help"], [], ["runs", "--root", str(root)])
        ]
    claims = [
        Claim(f"{name} / {BASE}", "x", 2.5, ratios(seconds[name], seconds[BASE]), at_most=True) for name in (HELP, MENU)
    ]
    claims += [
        Claim(f"the table of {count} {name}", "s", 5, spread(seconds[name]), at_most=True) for name in (FIRST, LATER)
    ]
    claims.append(Claim("heavy packages that --help, the menu or the table load", "", 0, spread(loaded), at_most=True))
    rows = [
        {"name": name, "median": found.median, "low": found.low, "high": found.high}
        for name, found in ((name, spread(values)) for name, values in seconds.items())
    ]
    columns = [Column("name", "What"), *(Column(key, f"{word}, s", 2) for key, word in
               (("median", "Median"), ("low", "Fastest"), ("high", "Slowest")))]  # fmt: skip
    return Result(
        "Start",
        "Processes started one after another, alternating, with byte code and files in memory. The straightforward way "
        "is Python with Typer and a Rich table imported and nothing done. The runs are copies of committed ones; first "
        f"look: without an index beside them. Heavy packages: {', '.join(MUST_NOT)}.",
        claims, [Sheet("Seconds from start to end of the process", columns, rows)],
    )  # fmt: skip


def _run(words: list[str]) -> None:
    _said(words)


def _said(words: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=PROJECT, input="q\n", capture_output=True, text=True, env=os.environ, check=True
    )
    return done.stdout


if __name__ == "__main__":
    entry("start", measure)
