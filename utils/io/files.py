"""Atomic writes: a file is there whole or not at all."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import temporary


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
            f"Cannot write {path}: {reason}. Free space or choose a folder you may write to."
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


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        LeukoBenchError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LeukoBenchError(f"There is no {path}.", path=path) from None
    except OSError as error:
        raise LeukoBenchError(f"Cannot read {path}: {error.strerror}.", path=path) from error
    except ValueError as error:
        raise LeukoBenchError(f"{path} is damaged, it is not valid JSON ({error}).", path=path) from None


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV text with \\n line ends."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def write_csv(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write dicts with the same keys as CSV: floats with ten significant digits, None as an empty field."""
    columns = list(records[0]) if records else []
    write_text(path, csv_text(columns, ([_csv_cell(record[key]) for key in columns] for record in records)))


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV file as a list of dicts.

    Raises:
        LeukoBenchError: the file is missing, not UTF-8 text, or lacks one of `columns`.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise LeukoBenchError(
                    f"{path} has columns {', '.join(reader.fieldnames or ['none'])}; it needs {', '.join(columns)}.",
                    path=path,
                )
            return list(reader)
    except FileNotFoundError:
        raise LeukoBenchError(f"There is no {path}.", path=path) from None
    except OSError as error:
        raise LeukoBenchError(f"Cannot read {path}: {error.strerror}.", path=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LeukoBenchError(f"{path} is damaged, it is not a readable CSV file ({error}).", path=path) from None


def compact(value: Any) -> str:
    """Return the canonical JSON of a value, for hashing: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _csv_cell(value: Any) -> Any:
    if value is None:
        return ""
    # Ten digits are more than the measurements have, and hide the last bits, which differ between processors.
    return f"{value:.10g}" if isinstance(value, float) else value
