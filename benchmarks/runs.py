"""Measure how the list of runs, the comparison and the reading of every run grow with the number of runs."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from benchmarks import many_runs
from benchmarks.recording import Claim, Column, Options, Plot, Result, Series, Sheet, entry, exponent, spread
from utils.console import say
from utils.paths import PROJECT
from utils.runs import cache as run_cache

EVERY = (
    "import sys; from pathlib import Path; from utils.runs import cache, records, run_folder\n"
    "[records.measure(run) for run in run_folder.find_runs(Path(sys.argv[1]))]; cache.flush()"
)
WAYS = {
    "runs": ["run_guide.py", "runs", "--root"],
    "compare": ["run_guide.py", "compare", "--no-figures", "--root"],
    "every run measured": ["-c", EVERY],
}
FIRST, LATER = "first look", "later look"
Times = dict[tuple[str, str, int], list[float]]


def measure(options: Options) -> Result:
    """Time each way to look at 10 to 10,000 runs, without an index and then with the one that the first look left."""
    sizes = options.pick((10, 100, 1_000, 10_000), (10, 40))
    times: Times = {}
    with tempfile.TemporaryDirectory() as place:
        for count in sizes:
            root = many_runs.make(Path(place) / str(count), count)
            say(f"{count:,} runs made")
            for _ in range(1 if count > 1000 else options.pick(3, 1)):
                for way, words in WAYS.items():
                    _forget(root)
                    for look in (FIRST, LATER):
                        times.setdefault((way, look, count), []).append(_seconds([*words, str(root)]))
                        say(f"  {look}, {way}: {times[way, look, count][-1]:.2f} s")
    return _result(times, sizes)


def _forget(root: Path) -> None:
    (root / run_cache.FILE).unlink(missing_ok=True)


def _seconds(words: Sequence[str]) -> float:
    start = perf_counter()
    subprocess.run([sys.executable, *words], cwd=PROJECT, stdout=subprocess.DEVNULL, env=os.environ, check=True)
    return perf_counter() - start


def _beyond_the_start(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the growth without what the fewest runs take: what a program needs to start would hide some of it.

    Left out is what takes less than half as long again as the fewest runs: that is chance alone. Where that leaves
    fewer than two, it is the growth between the two most of runs, start included.
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
            f"exponent of seconds over runs, {way}, {look}", "", 1.15,
            spread([_beyond_the_start(sizes, [middle[way, look, count].median for count in sizes])]), at_most=True,
        )
        for way in WAYS for look in (FIRST, LATER)
    ]  # fmt: skip
    claims += [
        Claim(
            f"seconds of {way}, {LATER}, {largest:,} runs", "s", 10, middle[way, LATER, largest], True,
            "every table of every test set is made anew, and the one of leakage looks at every run of its models",
        )
        for way in WAYS
    ]  # fmt: skip
    rows = [
        {"way": way, "look": look} | {str(count): middle[way, look, count].median for count in sizes}
        for way in WAYS
        for look in (FIRST, LATER)
    ]
    columns = [Column("way", "Way"), Column("look", "Look")]
    columns += [Column(str(count), f"{count:,} runs, s", 2) for count in sizes]
    series = [
        Series(f"{way}, {look}", sizes, [middle[way, look, count].median for count in sizes])
        for way in WAYS for look in (FIRST, LATER)
    ]  # fmt: skip
    return Result(
        "Thousands of runs",
        "Folders of the committed runs, copied with other seeds and stamps (the same files as links, a config.json of "
        "its own each); each way in a process of its own, the files in the system's memory. First look: without an "
        "index, that is the straightforward way, every file read. Later look: with the index that it left. `compare` "
        "takes the latest run of every model, flavour and test set; every run measured is what a leaderboard, the web "
        "page or seeds and folds need. Exponents are of the seconds beyond those of the fewest runs, where at "
        "least two numbers of runs take half as long again; else of the two most, start included.",
        claims, [Sheet("Seconds by number of runs", columns, rows)],
        [Plot("Time against runs", "runs", "seconds", series, log="xy")],
    )  # fmt: skip


if __name__ == "__main__":
    entry("runs", measure)
