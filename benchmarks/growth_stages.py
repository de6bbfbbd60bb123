"""The stages whose growth is measured, each run by a process of its own: what it needs is made first, then it is timed.

Files are hard links to some hundred pictures, fingerprints and features are drawn, with pairs planted among them.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from data.auditing import shortcut_features
from data.datasets import index, integrity_check
from data.datasets.index import Indexed
from data.grouping import image_descriptors, near_duplicates, sift_matching, stain_clustering, stain_features
from data.splitting import folder_layout, splits
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import PROJECT, raw_dir, splits_dir
from utils.runs import split_spec
from utils.system import environment

LINKS = "links"  # name of the dataset of links
PATIENT = 33  # images of a patient, as many as the ALL dataset has
PLANTED = 0.05  # share of the images that are near duplicates of others
FEATURES = 30  # of a drawn picture: real ones have up to 200
SHARED = 15  # features that a planted pair of overlapping pictures has in common
SPLIT = "64/16/20"
Timed = Callable[[], str]  # what is timed; it may return words or a number that came out, "" for none


def run(stage: str, size: int, folder: Path) -> dict[str, float | str]:
    """Run a stage over `size` images in a process of its own.

    Returns:
        Its seconds, its peak of memory and what it stood at when the clock started, in MB, and what came out.

    Raises:
        LeukoBenchError: it failed.
    """
    code = f"from benchmarks import growth_stages; growth_stages.main({stage!r}, {size})"
    given = os.environ | {"LEUKOBENCH_DATA": str(folder / str(size))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LeukoBenchError(f"{stage} of {size} images failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(stage: str, size: int) -> None:
    """Time one stage and print what was measured as one line of JSON."""
    timed = STAGES[stage](size)
    before = environment.peak_memory_mb()
    start = perf_counter()
    found = timed()
    seconds = perf_counter() - start
    print(json.dumps({"seconds": seconds, "mb": environment.peak_memory_mb(), "before_mb": before, "found": found}))


def link(sources: dict[str, list[Path]], size: int, folder: Path) -> None:
    """Write a dataset of `size` hard links to pictures, given by class, with its index and patients.

    The index holds invented hashes, so that links count as images of their own.
    """
    place = folder / str(size) / "raw" / LINKS
    labels = sorted(sources)
    rows = []
    for number in range(size):
        label = labels[number % len(labels)]
        source = sources[label][number // len(labels) % len(sources[label])]
        image = f"{label}/{number:06d}{source.suffix}"
        (place / label).mkdir(parents=True, exist_ok=True)
        os.link(source, place / image)
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        rows.append(Indexed(image, digest, 224, 224, source.stat().st_size))
    counts = index.count(rows)
    about = {"name": LINKS, "classes": labels, "images": counts, "source": "links", "synthetic": None}
    files.write_json(place / index.DATASET, about)
    index.write(place, rows)
    patients = ((row.image, f"p{hash_of(row) % max(size // PATIENT, 20)}") for row in rows)
    files.write_text(place / index.GROUPS, files.csv_text(("image", "group"), patients))


def hash_of(row: Indexed) -> int:
    """Return a number made of the hash of an image."""
    return int(row.sha256[:12], 16)


def _check(size: int) -> Timed:
    def timed() -> str:
        report = integrity_check.check(LINKS)
        if len(report.index) != size:
            raise LeukoBenchError(f"{len(report.index)} of {size} images were indexed.")
        return ""

    return timed


def _look(size: int) -> Timed:
    return lambda: str(len(integrity_check.current_index(LINKS)))


def _split(text: str) -> Callable[[int], Timed]:
    def stage(size: int) -> Timed:
        rows = integrity_check.current_index(LINKS)
        return lambda: splits.make_manifest(LINKS, rows, split_spec.parse(text), 42, text).hash

    return stage


def _layout(size: int) -> Timed:
    rows = integrity_check.current_index(LINKS)
    table = splits.make_manifest(LINKS, rows, split_spec.parse(SPLIT), 42, SPLIT)
    sizes = {row.image: row.bytes for row in rows}

    def timed() -> str:
        path = splits_dir() / f"laid-out-{os.getpid()}"  # not over what a repetition before has laid out
        folder_layout.build(path, table, raw_dir(LINKS), sizes)
        return str(folder_layout.is_whole(path, table, sizes))

    return timed


def fingerprints(size: int, most: int = near_duplicates.NEAR) -> tuple[np.ndarray, set[tuple[int, int, int]]]:
    """Draw (size, 256) fingerprints, of which PLANTED are others with up to `most` bits changed; return these pairs."""
    rng = np.random.default_rng(size)
    drawn = rng.integers(0, 2, (size, 256), np.uint8).astype(bool)
    count = int(size * PLANTED)
    chosen = rng.permutation(size)[: 2 * count].reshape(count, 2)
    pairs = set()
    for (one, other), bits in zip(chosen.tolist(), rng.integers(0, most + 1, count).tolist(), strict=True):
        drawn[other] = drawn[one]
        drawn[other, rng.choice(256, bits, replace=False)] ^= True
        pairs.add((min(one, other), max(one, other), bits))
    return drawn, pairs


def _near(find: Callable[[np.ndarray, int], list[tuple[int, int, int]]]) -> Callable[[int], Timed]:
    def stage(size: int) -> Timed:
        drawn, pairs = fingerprints(size)
        return lambda: str(len(pairs.intersection(find(drawn, near_duplicates.NEAR))) / len(pairs))

    return stage


def statistics(size: int) -> np.ndarray:
    """Draw (size, 18) statistics of light and stain: 60 slides, more or less far apart."""
    rng = np.random.default_rng(size)
    slides = rng.normal(0, 3, (60, len(stain_features.NAMES)))
    return slides[rng.integers(len(slides), size=size)] + rng.normal(0, 1, (size, slides.shape[1]))


def _group(size: int) -> Timed:
    drawn = statistics(size)
    return lambda: str(stain_clustering.cluster(stain_clustering.separating(drawn)).labels.max() + 1)


def _ward(size: int) -> Timed:
    from scipy.cluster.hierarchy import linkage

    points = stain_clustering.separating(statistics(size))
    return lambda: str(len(linkage(points, "ward")))


def pictures(size: int) -> tuple[list[sift_matching.Local], set[tuple[int, int]]]:
    """Draw local features of pictures, of which PLANTED share SHARED of theirs with another; return these pairs."""
    rng = np.random.default_rng(size)
    kinds = rng.integers(0, 90, (500, 128), np.uint8)
    drawn = rng.integers(0, 60, (size, FEATURES, 128), np.uint8)
    drawn += kinds[rng.integers(len(kinds), size=(size, FEATURES))]
    count = int(size * PLANTED)
    chosen = rng.permutation(size)[: 2 * count].reshape(count, 2)
    noise = rng.integers(0, 6, (count, SHARED, 128), np.uint8)
    drawn[chosen[:, 1], :SHARED] = drawn[chosen[:, 0], :SHARED] + noise
    points, small = np.zeros((FEATURES, 4), np.float32), np.zeros((1, 1), np.uint8)
    made = [sift_matching.Local(1.0, (1, 1), points, each, small) for each in drawn]
    return made, {(min(pair), max(pair)) for pair in chosen.tolist()}


def _texture(size: int) -> Timed:
    made, pairs = pictures(size)
    return lambda: str(len(pairs & sift_matching.alike(made, 12)) / len(pairs))


def _colour(size: int) -> Timed:
    points = stain_clustering.separating(statistics(size))
    many = size > near_duplicates.ALL
    return lambda: str(len((sift_matching.nearby if many else sift_matching.nearest)(points, 10)))


def _describe(size: int) -> Timed:
    rows = integrity_check.current_index(LINKS)
    return lambda: str(len(image_descriptors.read(LINKS, rows).local))


def _shortcuts(size: int) -> Timed:
    paths = list(index.listing(raw_dir(LINKS)).values())
    return lambda: str(len(shortcut_features.measure(paths)))


STAGES: dict[str, Callable[[int], Timed]] = {
    "look": _look,
    "split": _split(SPLIT),
    "grouped": _split("grouped"),
    "layout": _layout,
    "describe": _describe,
    "shortcuts": _shortcuts,
    "check": _check,  # after the others: it writes the true hashes into the index
    "near": _near(near_duplicates.find),
    "texture": _texture,
    "colour": _colour,
    "group": _group,
    "near_all": _near(lambda drawn, most: near_duplicates.find(drawn, most, compared=len(drawn))),
    "ward": _ward,
}
