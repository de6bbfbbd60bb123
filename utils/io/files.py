"""Atomic writes: a file is there whole or not at all."""

import csv
import io
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from utils.errors import LeukoBenchError, NoPermission, cut
from utils.io import temporary

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a text begins that a spreadsheet runs
HALF = re.compile(r"\\u[dD][89a-fA-F]")
MOST_BYTES = 256_000_000  # of a JSON or CSV file: predictions of a million images have 100 MB

Stamp = tuple[int, int, int, int] | None


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path, as `temporary.beside`, that is renamed to `path` when the block succeeds.

    Raises:
        LeukoBenchError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.beside(path) as new:
            yield new
            with open(new, "rb+") as handle:
                os.fsync(handle.fileno())
            new.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise LeukoBenchError(
            f"Cannot write {temporary.final(path)}: {reason}. Free space or choose a folder you may write to."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with \\n line ends on every system."""
    with atomic(path) as new:
        new.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic(path) as new:
        new.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON atomically."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return a value as the indented JSON that `write_json` writes.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


@contextmanager
def regular(path: Path, most: int = MOST_BYTES) -> Iterator[BinaryIO]:
    """Open a regular file for reading. A pipe would wait for a writer, and a huge file fill the memory.

    Args:
        path: of the file.
        most: largest size in bytes.

    Raises:
        LeukoBenchError: the file is missing, cannot be read, is of another kind or too large.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as handle:
            about = os.fstat(handle.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise LeukoBenchError(f"{path} is damaged, it is not a regular file.", path=path)
            if about.st_size > most:
                raise LeukoBenchError(
                    f"{path} is damaged, it has {about.st_size / 1e6:,.0f} MB; at most {most / 1e6:,.0f} are read.",
                    path=path,
                )
            yield handle
    except FileNotFoundError:
        raise LeukoBenchError(f"There is no {path}.", path=path) from None
    except PermissionError:
        raise NoPermission(path) from None
    except OSError as error:
        if error.errno is None:  # of a library in the block, about the content
            raise
        raise LeukoBenchError(f"Cannot read {path}: {error.strerror}.", path=path) from error


def exists(path: Path) -> bool:
    """Return whether there is such a file.

    Raises:
        NoPermission: its folder cannot be searched.
    """
    try:
        return path.is_file()
    except PermissionError:
        raise NoPermission(path) from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_json(path: Path, most: int = MOST_BYTES) -> Any:
    """Read a JSON file of at most this number of bytes.

    Raises:
        LeukoBenchError: the file is missing or is not JSON.
    """
    with regular(path, most) as handle:
        try:
            text = handle.read().decode()
            value = json.loads(text, parse_constant=_no_number)
            if HALF.search(text):  # half of a character, which no file can hold
                json.dumps(value, ensure_ascii=False).encode()
            return value
        except RecursionError:
            raise LeukoBenchError(f"{path} is damaged, its JSON is nested too deeply.", path=path) from None
        except ValueError as error:
            raise LeukoBenchError(f"{path} is damaged, it is not valid JSON ({error}).", path=path) from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def stamp(path: str | Path) -> Stamp:
    """Return what changes with a file: modification time in ns, size in bytes, inode, time of the last change in ns.

    A file that is edited with an equal size and an old modification time still gets a new inode or time of change.
    None if there is no such file.
    """
    try:
        found = os.stat(path)  # noqa: PTH116  # with a Path for each of 100,000 files it takes three times as long
    except (OSError, ValueError):  # ValueError: a name with a NUL character
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV text with \\n line ends."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def write_csv(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write dicts with the same keys as a table for people: see `csv_cell`; None is an empty field.

    Files that programs read, whose paths are joined, are written with `csv_text`.
    """
    columns = list(records[0]) if records else []
    rows = ([csv_cell(record[key]) for key in columns] for record in records)
    write_text(path, csv_text([csv_cell(name) for name in columns], rows))


def check_end(handle: BinaryIO, path: Path) -> None:
    """Check that a file written by this program ends with a whole line, and go back to its start.

    Raises:
        LeukoBenchError: it is empty or its last line is cut.
    """
    handle.seek(max(0, handle.seek(0, os.SEEK_END) - 1))
    if handle.read(1) != b"\n":
        raise LeukoBenchError(f"{path} is damaged, its last line is cut.", path=path)
    handle.seek(0)


def read_csv(path: Path, columns: Sequence[str], whole: bool = False) -> list[dict[str, str]]:
    """Read a CSV file as a list of dicts.

    Args:
        path: of the file.
        columns: that it must have.
        whole: check the end of the file, see `check_end`.

    Raises:
        LeukoBenchError: the file is missing, not UTF-8 text, or lacks one of `columns`.
    """
    with regular(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as handle:
        if whole:
            check_end(raw, path)
        try:
            reader = csv.DictReader(handle)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise LeukoBenchError(
                    f"{path} has columns {cut(', '.join(reader.fieldnames or ['none']), 200)}; "
                    f"it needs {', '.join(columns)}.",
                    path=path,
                )
            return list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise LeukoBenchError(f"{path} is damaged, it is not a readable CSV file ({error}).", path=path) from None


def compact(value: Any) -> str:
    """Return the canonical JSON of a value, for hashing: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def csv_cell(value: Any) -> Any:
    """Return a value for a table that people open: floats with ten digits, text that is no formula.

    A spreadsheet runs a text that begins with = + - or @, so that other texts than numbers get an apostrophe before it.
    """
    if value is None:
        return ""
    if isinstance(value, float):
        # Ten digits are more than the measurements have, and hide the last bits, which differ between processors.
        return f"{value:.10g}"
    if not isinstance(value, str) or value[:1] not in FORMULA or not value:
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}".replace("\r", " ")  # which the writer does not quote and readers take for the end of a row
    return value
