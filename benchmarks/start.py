"""Start-up time of the menu, --help and the table of 100 runs, compared with importing Typer and Rich alone."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.program import Options, alternate, entry
from benchmarks.results import Claim, Column, Result, Sheet, ratios, spread
from benchmarks.runs import copy_runs
from utils.paths import PROJECT
from utils.runs import cache as run_cache

BASE, HELP, MENU = "import typer, rich.table", "run_guide.py --help", "menu, closed by q"
FIRST, LATER = "runs, without index", "runs, with index"
SLOW = ("tensorflow", "keras", "pandas", "matplotlib", "sklearn", "scipy", "numpy", "ray", "mlflow", "onnxruntime")
WATCHED = (
    "import sys, run_guide\nsys.argv = ['run_guide.py', *sys.argv[1:]]\nrun_guide.main()\n"
    f"print(sum(name in sys.modules for name in {SLOW!r}))"
)


def measure(options: Options) -> Result:
    """Time each start and the import in turn, and count the slow packages that each start loads."""
    count = options.pick(100, 10)
    with tempfile.TemporaryDirectory() as place:
        root = copy_runs(Path(place) / "runs", count)
        listed = ["run_guide.py", "runs", "--root", str(root)]

        def first() -> None:
            (root / run_cache.FILE).unlink(missing_ok=True)
            _output(listed)

        ways = {
            BASE: lambda: _output(["-c", BASE]),
            HELP: lambda: _output(["run_guide.py", "--help"]),
            MENU: lambda: _output(["run_guide.py"]),
            FIRST: first,
            LATER: lambda: _output(listed),
        }
        for call in ways.values():
            call()  # fills the byte code and disk caches
        seconds = alternate(ways, options.pick(15, 2))
        loaded = [
            int(_output(["-c", WATCHED, *words]).splitlines()[-1])
            for words in (["--help"], [], ["runs", "--root", str(root)])
        ]
    claims = [
        Claim(f"{name} / {BASE}", "x", 2.5, ratios(seconds[name], seconds[BASE]), at_most=True) for name in (HELP, MENU)
    ]
    claims += [
        Claim(f"The table of {count} {name}", "s", 5, spread(seconds[name]), at_most=True) for name in (FIRST, LATER)
    ]
    claims.append(Claim("Slow packages loaded by --help, the menu or the table", "", 0, spread(loaded), at_most=True))
    rows = [
        {"name": name, "median": found.median, "low": found.low, "high": found.high}
        for name, found in ((name, spread(values)) for name, values in seconds.items())
    ]
    columns = [
        Column("name", "What"),
        *(
            Column(key, f"{word}, s", 2)
            for key, word in (("median", "Median"), ("low", "Fastest"), ("high", "Slowest"))
        ),
    ]
    return Result(
        "Start",
        "Processes are started one after another, in turn, with byte code and files in the disk cache. The baseline is "
        "Python that imports Typer and Rich's tables and does nothing. The runs are copies of the committed ones. "
        f"Slow packages: {', '.join(SLOW)}.",
        claims,
        [Sheet("Seconds from start to end of the process", columns, rows)],
    )


def _output(words: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=PROJECT, input="q\n", capture_output=True, text=True, env=os.environ, check=True
    )
    return done.stdout


if __name__ == "__main__":
    entry("start", measure)
