"""Time of `runs`, `compare` and reading every run against the number of runs, up to 10,000."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from benchmarks.program import Options, entry
from benchmarks.results import Claim, Column, Plot, Result, Series, Sheet, exponent, spread
from utils.console import say
from utils.paths import PROJECT
from utils.runs import cache as run_cache
from utils.runs import run_folder

SOURCE = PROJECT / "docs" / "results"
FIRST_STAMP = datetime(2026, 1, 1, tzinfo=UTC)
LINKS = 30_000  # hard links per file; ext4 allows 65,000
EVERY = (
    "import sys; from pathlib import Path; from utils.runs import cache, records, run_folder\n"
    "[records.measure(run) for run in run_folder.find_runs(Path(sys.argv[1]))]; cache.flush()"
)
WAYS = {
    "runs": ["run_guide.py", "runs", "--root"],
    "compare": ["run_guide.py", "compare", "--no-figures", "--root"],
    "every run read": ["-c", EVERY],
}
FIRST, LATER = "without index", "with index"
Times = dict[tuple[str, str, int], list[float]]


def measure(options: Options) -> Result:
    """Time each command on 10 to 10,000 runs, first without an index and then with it."""
    sizes = options.pick((10, 100, 1_000, 10_000), (10, 40))
    times: Times = {}
    with tempfile.TemporaryDirectory() as place:
        for count in sizes:
            root = copy_runs(Path(place) / str(count), count)
            say(f"{count:,} runs made")
            for _ in range(1 if count > 1000 else options.pick(3, 1)):
                for way, words in WAYS.items():
                    (root / run_cache.FILE).unlink(missing_ok=True)
                    for look in (FIRST, LATER):
                        times.setdefault((way, look, count), []).append(_seconds([*words, str(root)]))
                        say(f"  {look}, {way}: {times[way, look, count][-1]:.2f} s")
    return _result(times, sizes)


def copy_runs(root: Path, count: int) -> Path:
    """Fill a new root with copies of the committed runs and return it; equal files are hard links.

    Args:
        root: new folder.
        count: number of runs; the committed ones are taken in turn.
    """
    originals = run_folder.find_runs(SOURCE, finished=True)
    shutil.copytree(SOURCE / "manifests", root / "manifests")
    names = (run_folder.ENVIRONMENT, run_folder.HISTORY, run_folder.TIMING, run_folder.PREDICTIONS, run_folder.METRICS)
    linked: dict[tuple[Path, str], Path] = {}
    weights = root / "weights"  # empty: weights of the published runs are not committed
    weights.write_bytes(b"")
    configs = {run: json.loads(run.file(run_folder.CONFIG).read_text(encoding="utf-8")) for run in originals}
    for number in range(count):
        copy, at = divmod(number, len(originals))
        run = originals[at]
        config = configs[run] | {"seed": configs[run]["seed"] + 1000 * copy}
        digest = hashlib.sha256(f"{run.id} {copy}".encode()).hexdigest()[:8]
        folder = root / run.path.parent.name / f"{FIRST_STAMP + timedelta(minutes=number):%Y%m%dT%H%M%SZ}-{digest}"
        folder.mkdir(parents=True)
        (folder / run_folder.CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
        for name in names:
            if copy % LINKS == 0:
                linked[run.path, name] = Path(shutil.copy2(run.file(name), folder / name))
            else:
                os.link(linked[run.path, name], folder / name)
        if number % LINKS == 0:
            weights = Path(shutil.copy2(weights, folder / run_folder.WEIGHTS))
        else:
            os.link(weights, folder / run_folder.WEIGHTS)
    return root


def _seconds(words: Sequence[str]) -> float:
    start = perf_counter()
    subprocess.run([sys.executable, *words], cwd=PROJECT, stdout=subprocess.DEVNULL, env=os.environ, check=True)
    return perf_counter() - start


def _growth_exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the exponent of the time beyond the start-up time, which is the time for the fewest runs.

    Times below 1.5 times the start-up time are ignored as noise. If fewer than two remain, return the exponent
    between the two largest numbers of runs, start-up time included.
    """
    grown = [
        (size - sizes[0], time - seconds[0])
        for size, time in zip(sizes[1:], seconds[1:], strict=True)
        if time > 1.5 * seconds[0]
    ]
    if len(grown) < 2:
        return exponent(sizes[-2:], seconds[-2:])
    return exponent([size for size, _ in grown], [time for _, time in grown])


def _result(times: Times, sizes: Sequence[int]) -> Result:
    middle = {key: spread(values) for key, values in times.items()}
    largest = sizes[-1]
    claims = [
        Claim(
            f"Exponent of time over number of runs, {way}, {look}",
            "",
            1.15,
            spread([_growth_exponent(sizes, [middle[way, look, count].median for count in sizes])]),
            at_most=True,
        )
        for way in WAYS
        for look in (FIRST, LATER)
    ]
    claims += [
        Claim(
            f"Seconds of {way}, {LATER}, {largest:,} runs",
            "s",
            10,
            middle[way, LATER, largest],
            True,
            "every table of every test set is computed again, and the leakage table reads every run of its models",
        )
        for way in WAYS
    ]
    rows = [
        {"way": way, "look": look} | {str(count): middle[way, look, count].median for count in sizes}
        for way in WAYS
        for look in (FIRST, LATER)
    ]
    columns = [Column("way", "Way"), Column("look", "Index")]
    columns += [Column(str(count), f"{count:,} runs, s", 2) for count in sizes]
    series = [
        Series(f"{way}, {look}", sizes, [middle[way, look, count].median for count in sizes])
        for way in WAYS
        for look in (FIRST, LATER)
    ]
    return Result(
        "Thousands of runs",
        "The committed runs are copied with other seeds and time stamps (files as hard links, each with its own "
        "config.json). Each command is a process of its own; the files are in the disk cache. Without an index every "
        "file is read; with it, only what changed. `compare` takes the latest run of every model, variant and test "
        "set; a leaderboard, the web page, seeds and folds read every run. Exponents are of the time beyond the "
        "time for the fewest runs, if at least two sizes take 1.5 times as long; else of the two largest sizes.",
        claims,
        [Sheet("Seconds by number of runs", columns, rows)],
        [Plot("Time against runs", "runs", "seconds", series, log="xy")],
    )


if __name__ == "__main__":
    entry("runs", measure)
