"""Check a dataset: decode and hash every image, quarantine unusable ones, rewrite the index."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.datasets import image_decoder, index
from data.datasets.index import Indexed
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import raw_dir
from utils.system.progress import Progress, no_progress

QUARANTINE = "quarantine.csv"
QUARANTINE_FOLDER = "_quarantine"


@dataclass
class Report:
    """The result of a check.

    Attributes:
        index: the usable images.
        missing, changed, added: names, compared with the previous index; empty where there was none.
        converted: (name after the conversion, conversion).
        quarantined: (file, reason).
    """

    index: list[Indexed] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    converted: list[tuple[str, str]] = field(default_factory=list)
    quarantined: list[tuple[str, str]] = field(default_factory=list)


def current_index(dataset: str) -> list[Indexed]:
    """Return the index of a dataset after comparing it with the folder by names and sizes.

    A dataset without an index, such as new synthetic smears, is checked once and gets one.

    Raises:
        LeukoBenchError: files were removed, added or changed since, or cannot be used.
    """
    folder = raw_dir(dataset)
    remedy = f"Run: python run_guide.py data check {dataset}"
    if not (folder / index.INDEX).exists():
        report = check(dataset)
        if report.quarantined:
            file, reason = report.quarantined[0]
            raise LeukoBenchError(
                f"Dataset '{dataset}' had {len(report.quarantined)} unusable files, now in quarantine "
                f"(first: {file}: {reason}). Run the command again to continue without them."
            )
        index.refuse_conflicts(report.index, remedy)
        return report.index
    rows = index.read(folder)
    try:
        found = {name: path.lstat().st_size for name, path in index.listing(folder).items()}
    except OSError as error:
        raise LeukoBenchError(f"Cannot read {error.filename}: {error.strerror}. Make it readable for you.") from None
    known = {row.image: row.bytes for row in rows}
    differing = {
        "missing": sorted(known.keys() - found.keys()),
        "new": sorted(found.keys() - known.keys()),
        "changed": sorted(name for name in known.keys() & found.keys() if known[name] != found[name]),
    }
    parts = [f"{len(names)} {what} ({names[0]})" for what, names in differing.items() if names]
    if parts:
        raise LeukoBenchError(f"The images of '{dataset}' differ from its index: {', '.join(parts)}. {remedy}")
    index.refuse_conflicts(rows, remedy)
    return rows


def check(dataset: str, progress: Progress = no_progress) -> Report:
    """Decode and hash every image of a dataset; convert or quarantine files where needed, and rewrite the index.

    Args:
        dataset: name of a folder below data/raw.
        progress: called with (done, total).

    Raises:
        LeukoBenchError: the folder cannot be read or written.
    """
    folder = raw_dir(dataset)
    about = index.about(folder)
    had_index = (folder / index.INDEX).exists()
    known = {row.image: row.sha256 for row in index.read(folder)} if had_index else {}
    report = Report()
    renamed: dict[str, str] = {}
    try:
        found = index.listing(folder)
        taken = set(found)
        for done, (name, path) in enumerate(found.items(), 1):
            try:
                content = image_decoder.read_safely(path, folder)
                picture = image_decoder.decode(content)
            except image_decoder.BadImage as reason:
                report.quarantined.append((name, str(reason)))
            else:
                final = _free_name(name, picture, taken)
                if picture.changes:
                    content = picture.png()
                    report.converted.append((final, ", ".join(picture.changes)))
                if picture.changes or final != name:
                    files.write_bytes(folder / final, content)
                if final != name:
                    path.unlink()
                    renamed[name] = final
                    taken.add(final)
                row = Indexed(final, hashlib.sha256(content).hexdigest(), *picture.image.size, len(content))
                report.index.append(row)
                if had_index and name not in known:
                    report.added.append(name)
                elif had_index and known[name] != row.sha256:
                    report.changed.append(name)
            progress(done, len(found))
        report.missing = sorted(known.keys() - found.keys())
        _write(folder, about, found, renamed, report)
    except OSError as error:
        raise LeukoBenchError(
            f"Cannot check {folder}: {error.strerror or error}. Make it readable and writable for you."
        ) from error
    return report


def _free_name(name: str, picture: image_decoder.Picture, taken: set[str]) -> str:
    """Return the name of an image's file after the check: its own where the suffix is right."""
    final = picture.name(name)
    stem, _, suffix = final.rpartition(".")
    number = 2
    while final != name and final in taken:
        final, number = f"{stem}-{number}.{suffix}", number + 1
    return final


def _write(
    folder: Path, about: dict[str, Any], found: dict[str, Path], renamed: dict[str, str], report: Report
) -> None:
    """Write the result: first the list of quarantined files, then move these, then the index."""
    report.index.sort()
    if report.quarantined:
        path = folder / QUARANTINE
        old = files.read_csv(path, ("file", "reason")) if path.exists() else []
        rows = [(row["file"], row["reason"]) for row in old] + report.quarantined
        files.write_text(path, files.csv_text(("file", "reason"), dict.fromkeys(rows)))
    for name, _ in report.quarantined:
        place = folder / QUARANTINE_FOLDER / name
        place.parent.mkdir(parents=True, exist_ok=True)
        found[name].replace(place)
    if renamed and (folder / index.GROUPS).exists():
        groups = files.read_csv(folder / index.GROUPS, ("image", "group"))
        rows = [(renamed.get(row["image"], row["image"]), row["group"]) for row in groups]
        files.write_text(folder / index.GROUPS, files.csv_text(("image", "group"), rows))
    if not (folder / index.INDEX).exists() or index.read(folder) != report.index:
        index.write(folder, report.index)
    counts = index.count(report.index)
    if about["images"] != counts:
        files.write_json(folder / index.DATASET, about | {"classes": list(counts), "images": counts})
