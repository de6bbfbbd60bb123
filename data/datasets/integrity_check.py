"""Check a dataset: decode and hash every image, quarantine unusable ones, rewrite the index."""

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.datasets import folder_roles, image_decoder, index, names
from data.datasets.index import Indexed
from utils.errors import LeukoBenchError, NoPermission
from utils.io import files, transaction
from utils.paths import raw_dir
from utils.system.progress import Progress, no_progress

QUARANTINE = "quarantine.csv"
QUARANTINE_FOLDER = index.RESERVED[0]


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
    transaction.recover(folder)
    remedy = f"Run: python run_guide.py data check {dataset}"
    if not files.exists(folder / index.INDEX):
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

    All changes are made together in the end, or none.

    Args:
        dataset: name of a folder below data/raw.
        progress: called with (done, total).

    Raises:
        LeukoBenchError: the folder cannot be read or written.
    """
    folder = raw_dir(dataset)
    transaction.recover(folder)
    about = index.about(folder)
    had_index = (folder / index.INDEX).exists()
    known = {row.image: row.sha256 for row in index.read(folder)} if had_index else {}
    report = Report()
    written: dict[str, str] = {}  # name of a file to be converted or renamed, by its new name
    try:
        found = index.listing(folder)
        taken = {folder_roles.key(name) for name in found}
        for done, (name, path) in enumerate(found.items(), 1):
            try:
                content = image_decoder.read_safely(path, folder)
                picture = image_decoder.decode(content)
            except image_decoder.Unreadable:
                raise NoPermission(path) from None
            except image_decoder.BadImage as reason:
                report.quarantined.append((name, str(reason)))
            else:
                final = _free_name(name, picture, taken)
                if picture.changes:
                    content = picture.png()
                    report.converted.append((final, ", ".join(picture.changes)))
                if picture.changes or final != name:
                    written[final] = name
                row = Indexed(final, hashlib.sha256(content).hexdigest(), *picture.image.size, len(content))
                report.index.append(row)
                if had_index and name not in known:
                    report.added.append(name)
                elif had_index and known[name] != row.sha256:
                    report.changed.append(name)
            progress(done, len(found))
        report.missing = sorted(known.keys() - found.keys())
        _write(folder, about, found, written, report)
    except OSError as error:
        raise LeukoBenchError(
            f"Cannot check {folder}: {error.strerror or error}. Make it readable and writable for you."
        ) from error
    return report


def _free_name(name: str, picture: image_decoder.Picture, taken: set[str]) -> str:
    """Return the name of an image's file after the check: its own where the suffix is right."""
    label, _, file = name.partition("/")
    final = picture.name(file)
    return name if final == file else names.unique_name(label, (), final, taken)


def _write(
    folder: Path, about: dict[str, Any], found: dict[str, Path], written: dict[str, str], report: Report
) -> None:
    """Write the result together: converted and quarantined files, the tables that name images, the index."""
    report.index.sort()
    counts = index.count(report.index)
    same_index = (folder / index.INDEX).exists() and index.read(folder) == report.index
    if same_index and about["images"] == counts and not written and not report.quarantined:
        return  # so that a read-only dataset can be checked
    with transaction.together(folder) as stage:
        for final, name in written.items():
            content = image_decoder.read_safely(found[name], folder)
            picture = image_decoder.decode(content)
            (stage / final).parent.mkdir(exist_ok=True)
            (stage / final).write_bytes(picture.png() if picture.changes else content)
        renamed = {name: final for final, name in written.items() if final != name}
        for name, _ in report.quarantined:
            _quarantine(found[name], stage / QUARANTINE_FOLDER / name)
        transaction.remove(stage, *renamed, *(name for name, _ in report.quarantined))
        if report.quarantined:
            old = _rows(folder / QUARANTINE, ("file", "reason"))
            rows = dict.fromkeys([*old, *report.quarantined])
            files.write_text(stage / QUARANTINE, files.csv_text(("file", "reason"), rows))
        for table, column in ((index.GROUPS, "group"), (index.SPLIT, "split"), (index.NAMES, "source")):
            columns = ("image", column)
            if renamed and (rows := _rows(folder / table, columns)):
                rows = [(renamed.get(image, image), value) for image, value in rows]
                files.write_text(stage / table, files.csv_text(columns, rows))
        index.write(stage, report.index)
        files.write_json(stage / index.DATASET, about | {"classes": list(counts), "images": counts})


def _quarantine(path: Path, target: Path) -> None:
    """Link a file into the quarantine; copy it where links fail."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(path, target, follow_symlinks=False)


def _rows(path: Path, columns: tuple[str, str]) -> list[tuple[str, str]]:
    return [(row[columns[0]], row[columns[1]]) for row in files.read_csv(path, columns)] if path.exists() else []
