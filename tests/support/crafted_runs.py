"""Run folders as a stranger, a bad disk or an editor could leave them: each a change of a copy of a good run."""

import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from data import manifest as manifests
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_folder import Run

Craft = Callable[[Run, Path], None]  # changes a run; the path is a folder outside the root

FIELDS = {
    run_folder.CONFIG: (
        *("model", "dataset", "split", "split_seed", "seed", "classes", "image_size", "weights", "variant", "flavour"),
        *("initialisation", "heatmap_layer", "heatmap_method", "augmentation", "learning_rate", "epochs", "recipe"),
    ),
    run_folder.ENVIRONMENT: ("manifest", "test_identity", "device", "devices", "threads", "packages", "split_folder"),
    run_folder.TIMING: ("training", "inference"),
    run_folder.METRICS: ("test", "val"),
}
VALUES = (
    *("../../x", "..", "/etc", "../../../outside/other", "C:\\x", "a\0b", "x\ny", "\ud800", "x" * 5000, "=cmd", ""),
    *(-1, 10**30, 1e308, 0.5, True, None, [], ["a", "a"], ["../x", "b"], [["a"]], {}, {"a": {"b": []}}),
    *("<b>", {"name": "../x"}, "/../../."),
)
ROW = {
    "split": ("../../raw/other", "/tmp/x", "..", "train/../../..", "test\0", "Test", "test_", "val\n"),
    "image": ("../../raw/other/a/1.png", "/etc/passwd", "a/../../x.png", "..\\x.png", "C:/x.png", "a/b/c.png", "a"),
    "label": ("..", "", "/", "../../raw/other", "other"),
    "sha256": ("", "0", "../" * 20, "z" * 64),
}
FILES = (
    *(run_folder.CONFIG, run_folder.ENVIRONMENT, run_folder.HISTORY, run_folder.PREDICTIONS, run_folder.TIMING),
    run_folder.METRICS,
)


def field(name: str, key: str, value: object) -> Craft:
    """Give a field of a JSON file another value."""

    def craft(run: Run, outside: Path) -> None:
        held = json.loads(run.file(name).read_text())
        run.file(name).write_text(json.dumps(held | {key: value}))

    return craft


def row(column: str, value: str) -> Craft:
    """Give the first test row of the manifest another value; the run names the manifest by its new hash."""

    def craft(run: Run, outside: Path) -> None:
        table = manifests.read(run.manifest_path())
        rows = list(table.rows)
        chosen = next(k for k, each in enumerate(rows) if each.split == "test")
        rows[chosen] = replace(rows[chosen], **{column: value})
        changed = manifests.Manifest(tuple(rows))
        changed.write(run.root / "manifests" / f"{changed.hash}.csv")
        files.write_json(run.file(run_folder.ENVIRONMENT), run.environment() | {"manifest": changed.hash})

    return craft


def image(value: str) -> Craft:
    """Name another image in the first row of predictions.csv."""

    def craft(run: Run, outside: Path) -> None:
        path = run.file(run_folder.PREDICTIONS)
        head, first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([head, f"{value},{first.partition(',')[2]}", *rest]) + "\n")

    return craft


def link(name: str, to: str) -> Craft:
    """Put a link out of the root in place of a file or folder of the run, or of the root ("../../manifests")."""

    def craft(run: Run, outside: Path) -> None:
        place = run.path / name
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.symlink_to(outside / to)

    return craft


def content(name: str, change: Callable[[bytes], bytes]) -> Craft:
    """Change the bytes of a file."""

    def craft(run: Run, outside: Path) -> None:
        run.file(name).write_bytes(change(run.file(name).read_bytes()))

    return craft


def kind(name: str, make: Callable[[Path], object]) -> Craft:
    """Put something that is no regular file in place of a file."""

    def craft(run: Run, outside: Path) -> None:
        run.file(name).unlink(missing_ok=True)
        make(run.file(name))

    return craft


def bind(path: Path) -> None:
    """Make a socket in the file system."""
    with socket.socket(socket.AF_UNIX) as made:
        before = Path.cwd()
        os.chdir(path.parent)  # an address has at most 100 bytes
        try:
            made.bind(path.name)
        finally:
            os.chdir(before)


def deep(text: bytes) -> bytes:
    """Nest the content in arrays, or in one field with very many quotes."""
    return b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}" if text.startswith(b"{") else text + b'"' * 99_999


def huge_field(text: bytes) -> bytes:
    """Add a field of 2 MB to the last row, or to an object."""
    return text.rstrip()[:-1] + b"9" * 2_000_000 + text.rstrip()[-1:]


def not_a_number(text: bytes) -> bytes:
    """Replace the first number by NaN or one that is too large."""
    import re

    return re.sub(rb"(?<=[:,] )-?\d[\d.]*|(?<=,)\d[\d.e-]*(?=[,\n])", b"NaN", text, count=1)


DAMAGES: dict[str, Callable[[str], Craft]] = {
    "0 bytes": lambda name: content(name, lambda text: b""),
    "cut": lambda name: content(name, lambda text: text[: len(text) // 2 - 3]),
    "NUL bytes": lambda name: content(name, lambda text: bytes(len(text))),
    "binary": lambda name: content(name, lambda text: b"\xff\xfe\x80" + text),
    "deep": lambda name: content(name, deep),
    "a huge field": lambda name: content(name, huge_field),
    "not a number": lambda name: content(name, not_a_number),
    "another file": lambda name: content(name, lambda text: b"<html>no such page</html>\n"),
    "a pipe": lambda name: kind(name, os.mkfifo),
    "a socket": lambda name: kind(name, bind),
    "a folder": lambda name: kind(name, os.mkdir),
    "a link out of the root": lambda name: link(name, f"other/{name}"),
}  # the twelve kinds of damage to a file


def crafted(seed: int = 0, fields: int = 80) -> dict[str, Craft]:
    """Return changes by name: a sample of fields x values, and all rows, images and links."""
    pairs = [(name, key, value) for name, keys in FIELDS.items() for key in keys for value in VALUES]
    chosen = random.Random(seed).sample(pairs, fields)
    found = {f"{name} {key} {value!r:.40}": field(name, key, value) for name, key, value in chosen}
    found |= {f"row {column} {value!r:.40}": row(column, value) for column, values in ROW.items() for value in values}
    found |= {f"image {value!r}": image(value) for value in ROW["image"]}
    for name in (*FILES, run_folder.WEIGHTS, run_folder.ARCHITECTURE, "figures", "export", "state", "heatmaps.npz"):
        found[f"link {name}"] = link(name, f"other/{name}")
    return found


def copies(good: Run, crafts: dict[str, Craft], outside: Path) -> dict[str, Run]:
    """Make a changed copy of a good run for each craft, in its root; every one has a label of its own."""
    made = {}
    for number, (name, craft) in enumerate(crafts.items()):
        place = good.path.with_name(f"2025{1 + number // 28:02d}{1 + number % 28:02d}T000000Z-{number:08x}")
        shutil.copytree(good.path, place)
        run = Run(place)
        files.write_json(run.file(run_folder.CONFIG), run.config() | {"flavour": [f"n{number}"]})
        craft(run, outside)
        made[name] = run
    return made
