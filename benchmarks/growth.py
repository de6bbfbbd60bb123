"""How time and memory grow with the number of images, to 100,000: each stage and size in a process of its own."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from math import log
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks import growth_stages
from benchmarks.recording import Claim, Column, Options, Plot, Result, Series, Sheet, Spread, entry, exponent
from data import catalog
from data.datasets import integrity_check
from data.grouping import near_duplicates
from utils import console
from utils.paths import raw_dir

SIZES = (1000, 3000, 10_000, 30_000, 100_000)
LARGEST = 3  # sizes that an exponent is fitted to
LIMIT = 240.0  # seconds that a size may be expected to take of a stage
PLAIN_LIMIT = 30.0  # of the straightforward way, which is over before the largest sizes anyway
WHOLE = 100_000  # images that near duplicates and grouping were asked to reach
AGAIN = 1.5  # seconds, below which a stage is run three times
SOURCES = 400  # pictures that files are linked to
LINEAR = {
    "look": "Compare files and index",
    "split": "Split by image",
    "grouped": "Split by patient",
    "layout": "Lay the split out",
    "describe": "Audit: features of every image",
    "shortcuts": "Audit: numbers of the shortcut baselines",
    "check": "Check: decode and hash every image",
}
SORTED = ("look", "split", "grouped")
RELATED = {
    "near": "Near duplicates",
    "texture": "Overlaps: alike by texture",
    "colour": "Overlaps: alike by stain",
    "group": "Stain groups",
}
PLAIN = {"near_all": "Near duplicates, all with all", "ward": "Ward's method, distances of all (one tree)"}
Measured = dict[str, dict[int, list[dict[str, float | str]]]]


def measure(options: Options) -> Result:
    """Run every stage at every size that it can be expected to finish in time."""
    dataset = catalog.ensure_dataset(options.dataset)
    sources = _sources(dataset)
    found: Measured = defaultdict(dict)
    left_out = []
    with tempfile.TemporaryDirectory(
        prefix=".growth-", dir=raw_dir(dataset).parent
    ) as place:  # links do not reach other disks
        sizes = options.pick(SIZES, (100, 200))
        for size in sizes:
            growth_stages.link(sources, size, Path(place))
        for stage in (*LINEAR, *RELATED, *PLAIN):
            for size in sizes:
                expected = _expected(found[stage], size)
                if expected > (PLAIN_LIMIT if stage in PLAIN else LIMIT):
                    left_out.append(f"{_name(stage)} of {size:,} images")
                    continue
                found[stage][size] = _runs(stage, size, Path(place))
    notes = [
        f"Files are hard links to {SOURCES} pictures of {dataset}; fingerprints, statistics of the stain and local "
        f"features ({growth_stages.FEATURES} a picture) are drawn. A size that would take a stage more than "
        f"{LIMIT:.0f} s ({PLAIN_LIMIT:.0f} s of the straightforward way), by its time for the size before, is left "
        f"out: {', '.join(left_out) or 'none'}.",
        f"Up to {near_duplicates.ALL:,} images all are compared with all; above that as "
        "`data/grouping/near_duplicates.py`, `data/grouping/ward_linkage.py` and `data/grouping/sift_matching.py` say.",
    ]
    return Result(
        "Growth",
        "Seconds and peak memory of each stage against the number of images; each size in a process of its own. The "
        f"exponent is the slope of log time over log images, fitted to the {LARGEST} largest sizes that were run, of "
        f"stages that change their way at {near_duplicates.ALL:,} images to those above: 1 is linear, 2 quadratic. The "
        "straightforward way beside it compares all with all.",
        _claims(found), [_sheet(found, "seconds", "Seconds", 2), _sheet(found, "mb", "Peak memory, MB", 0)],
        [
            _plot({stage: found[stage] for stage in stages}, key, f"{words}: {what}", axis)
            for key, words, axis in (("seconds", "Time", "Seconds"), ("mb", "Memory", "Peak memory (MB)"))
            for stages, what in ((LINEAR, "reading and splitting"), (RELATED | PLAIN, "what belongs together"))
        ],
        notes,
    )  # fmt: skip


def _sources(dataset: str) -> dict[str, list[Path]]:
    """Return some pictures of a dataset by class."""
    rows = sorted(integrity_check.current_index(dataset))
    sources: dict[str, list[Path]] = defaultdict(list)
    for row in rows[:: max(1, len(rows) // SOURCES)]:
        sources[row.label].append(raw_dir(dataset) / row.image)
    return sources


def _expected(known: dict[int, list[dict[str, float | str]]], size: int) -> float:
    """Return the seconds that a size may take, by the growth between the two sizes before, linear at least."""
    sizes = sorted(known)
    if not sizes:
        return 0.0
    seconds = [min(run["seconds"] for run in known[each]) for each in sizes]
    slope = log(seconds[-1] / seconds[-2]) / log(sizes[-1] / sizes[-2]) if len(sizes) > 1 else 1.0
    return seconds[-1] * (size / sizes[-1]) ** max(slope, 1.0)


def _runs(stage: str, size: int, place: Path) -> list[dict[str, float | str]]:
    start = perf_counter()
    runs = [growth_stages.run(stage, size, place)]
    while runs[0]["seconds"] < AGAIN and len(runs) < 3 and perf_counter() - start < 3 * AGAIN:
        runs.append(growth_stages.run(stage, size, place))
    console.say(f"  {_name(stage)}, {size:,} images: {_median(runs, 'seconds'):.3g} s, {_median(runs, 'mb'):.0f} MB")
    return runs


def _name(stage: str) -> str:
    return (LINEAR | RELATED | PLAIN)[stage]


def _median(runs: Sequence[dict[str, float | str]], key: str) -> float:
    return float(median(run[key] for run in runs))


def _slope(found: Measured, stage: str, key: str) -> Spread:
    """Return the exponent of the medians, and the lowest and highest that single repetitions give."""
    known = found[stage]
    sizes = sorted(known)
    if stage in RELATED and sum(size > near_duplicates.ALL for size in sizes) > 1:  # one way, not two
        sizes = [size for size in sizes if size > near_duplicates.ALL]
    largest = sizes[-LARGEST:]
    middle = exponent(largest, [_median(known[size], key) for size in largest])
    count = min(len(known[size]) for size in largest)
    single = [exponent(largest, [known[size][k][key] for size in largest]) for k in range(count)]
    return Spread(middle, min(middle, *single), max(middle, *single), count)


def _claims(found: Measured) -> list[Claim]:
    claims = []
    for stages, asked in ((LINEAR, 1.1), (RELATED, 1.5)):
        for stage, name in stages.items():
            if len(found[stage]) > 1:
                last = max(found[stage])
                text = f"{name}, up to {last:,} images: exponent of time over images"
                why = f"{_each(found[stage], min(found[stage]))} at first, {_each(found[stage], last)} at last"
                if stage in SORTED:
                    why += "; no image is compared with another, but they are sorted, which is n log n"
                claims.append(Claim(text, "", asked, _slope(found, stage, "seconds"), at_most=True, why=why))
    reached = min(max(found[stage]) for stage in RELATED)
    asked = min(WHOLE, max(max(known) for known in found.values()))
    claims.append(
        Claim("Images that near duplicates, overlaps and grouping reached", "", asked, Spread(*[reached] * 3, 1))
    )
    for stage, what in (("near", "planted near duplicates"), ("texture", "planted overlaps among those proposed")):
        last = max(found[stage])
        shares = [100 * float(run["found"]) for run in found[stage][last]]
        spread = Spread(median(shares), min(shares), max(shares), len(shares))
        least = 100.0 if stage == "near" else 90.0
        claims.append(Claim(f"Found of the {what}, {last:,} images", "%", least, spread))
    return claims


def _each(known: dict[int, list[dict[str, float | str]]], size: int) -> str:
    return f"{1e6 * _median(known[size], 'seconds') / size:.0f} microseconds an image of {size:,}"


def _sheet(found: Measured, key: str, title: str, digits: int) -> Sheet:
    sizes = sorted({size for known in found.values() for size in known})
    rows = []
    for stage, known in found.items():
        row = {"stage": _name(stage)} | {str(size): _median(runs, key) for size, runs in known.items()}
        rows.append(row | ({"slope": _slope(found, stage, key).median} if len(known) > 1 else {}))
    columns = [Column("stage", "Stage"), *(Column(str(size), f"{size:,} images", digits) for size in sizes)]
    return Sheet(title, [*columns, Column("slope", "Exponent", 2)], rows)


def _plot(found: Measured, key: str, title: str, axis: str) -> Plot:
    series = []
    for stage, known in found.items():
        sizes = sorted(known)
        values = [_median(known[size], key) for size in sizes]
        low, high = ([pick(run[key] for run in known[size]) for size in sizes] for pick in (min, max))
        series.append(Series(_name(stage), sizes, values, low, high))
    return Plot(title, "Images", axis, series, "xy")


if __name__ == "__main__":
    entry("growth", measure)
