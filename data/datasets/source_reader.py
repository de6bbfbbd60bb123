"""List the files of a folder or a zip archive as entries that can be read safely."""

import lzma
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import error as ZlibError

from data.datasets import image_decoder
from data.datasets.image_decoder import BadImage
from utils.errors import LeukoBenchError

DAMAGED = (
    *(zipfile.BadZipFile, ZlibError, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, OSError, ValueError),
)


@dataclass(frozen=True)
class Entry:
    """One file of a source.

    Attributes:
        parts: folders and file name below the source, as plain names.
        read: returns the bytes, at most MAX_BYTES + 1 of them; raises BadImage with the reason.
    """

    parts: tuple[str, ...]
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        """Path below the source with forward slashes."""
        return "/".join(self.parts)


@dataclass(frozen=True)
class Source:
    """The content of a folder or archive.

    Attributes:
        title: name of the folder or archive, without suffix.
        entries: files named like images, in sorted order.
        refused: (name, reason) of files that are never opened.
        ignored: number of other files.
    """

    title: str
    entries: list[Entry]
    refused: list[tuple[str, str]]
    ignored: int


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder or a zip archive; an archive stays open within the block.

    Raises:
        LeukoBenchError: the path is missing, unreadable, or neither a folder nor a zip archive.
    """
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            yield _folder(path.resolve())
            return
        if not path.exists():
            raise LeukoBenchError(f"There is no {path}. Give a folder or a zip with one folder per class.")
        if not zipfile.is_zipfile(path):
            with open(path, "rb"):
                pass
            raise LeukoBenchError(f"{path} is neither a folder nor a complete zip. Give one of these.")
        with zipfile.ZipFile(path) as archive:
            yield _archive(path, archive)
    except PermissionError as error:
        if error.filename and Path(error.filename) != path:
            raise
        raise LeukoBenchError(f"Cannot read {path}: permission denied. Make it readable for you.") from None
    except zipfile.BadZipFile as error:
        raise LeukoBenchError(f"{path} is a damaged zip ({error}). Download it again.") from None


def _folder(root: Path) -> Source:
    entries, refused, ignored = [], [], 0

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == root:
            raise error
        name = Path(error.filename).relative_to(root).as_posix()
        refused.append((name, f"folder cannot be read ({(error.strerror or str(error)).lower()})"))

    for place, folders, names in os.walk(root, onerror=unreadable):
        here = Path(place)
        folders[:] = sorted(folder for folder in folders if not folder.startswith((".", "_")))
        for folder in folders:
            if (here / folder).is_symlink():
                refused.append(((here / folder).relative_to(root).as_posix(), "symbolic link to a folder"))
        for name in sorted(names):
            path = here / name
            if _named_like_image(name):
                parts = path.relative_to(root).parts
                entries.append(Entry(parts, lambda path=path: image_decoder.read_safely(path, root)))
            else:
                ignored += 1
    return Source(root.name, _ordered(entries), refused, ignored)


def _archive(path: Path, archive: zipfile.ZipFile) -> Source:
    entries, refused, ignored = [], [], 0
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if info.is_dir() or not parts:
            continue
        if any(part.startswith((".", "_")) and part != ".." for part in parts) or not _named_like_image(parts[-1]):
            ignored += 1
        elif name.startswith("/") or ".." in parts or ":" in parts[0]:
            refused.append((name, "path out of the archive"))
        elif stat.S_ISLNK(info.external_attr >> 16):
            refused.append((name, "symbolic link in an archive"))
        elif info.flag_bits & 0x1:
            refused.append((name, "encrypted"))
        elif info.file_size > image_decoder.MAX_BYTES:
            refused.append((name, f"larger than {image_decoder.MAX_BYTES // 10**6} MB"))
        else:
            entries.append(Entry(parts, lambda info=info: _unpack(archive, info)))
    return Source(path.stem, _ordered(entries), sorted(refused), ignored)


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as handle:
            return handle.read(image_decoder.MAX_BYTES + 1)  # whatever size the archive states
    except DAMAGED as error:
        raise BadImage(f"damaged in the archive ({' '.join(str(error).split())[:60]})") from None


def _ordered(entries: list[Entry]) -> list[Entry]:
    """Sort entries, upper folders first: these keep their names where a name occurs twice."""
    return sorted(entries, key=lambda entry: (len(entry.parts), entry.parts))


def _named_like_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(image_decoder.SUFFIXES)
