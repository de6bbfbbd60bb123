"""List the files of a folder or a zip archive as entries that can be read safely, with their names as text."""

import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from data.datasets import image_decoder
from data.datasets.image_decoder import BadImage
from data.datasets.name_encoding import decode_names
from utils.errors import LeukoBenchError

DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, OSError, ValueError),
)
# What systems add to a folder of images, in lower case. Other names that begin with a dot or an underscore are kept.
_SYSTEM_FILES = (".ds_store", "thumbs.db", "desktop.ini")
_RESOURCE_FORK = "._"  # prefix of macOS' copies of a file's attributes
_SYSTEM_FOLDERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information")
_TOOL_FOLDERS = (
    *(".git", ".github", ".svn", ".hg", ".dvc", ".idea", ".vscode", ".venv", ".cache", ".kaggle", ".config"),
    *(".ipynb_checkpoints", ".thumbnails", ".appledouble", ".fseventsd", ".spotlight-v100"),
)
_UNICODE_PATH = 0x7075  # extra field of Info-ZIP: the name in UTF-8, and a checksum of the other one


@dataclass(frozen=True)
class Entry:
    """One file of a source.

    Attributes:
        parts: folders and file name below the source, as text, unchanged otherwise.
        read: returns the bytes, at most MAX_BYTES + 1 of them; raises BadImage with the reason.
    """

    parts: tuple[str, ...]
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        """Path below the source with forward slashes."""
        return "/".join(self.parts)


@dataclass
class Source:
    """The content of a folder or archive.

    Attributes:
        title: name of the folder or archive, without suffix.
        entries: files named like images, in sorted order.
        refused: (name, reason) of files that are never opened.
        others: the other files, in sorted order: lists of labels, archives of arrays.
        skipped: number of files of systems and tools, by reason.
        links: target of each folder that is a symbolic link and was not followed, by its parts.
        encoding: code page that was guessed for names that are not UTF-8; "" where there are none.
    """

    title: str
    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    others: list[Entry] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    links: dict[tuple[str, ...], Path] = field(default_factory=dict)
    encoding: str = ""


@contextmanager
def open_source(path: Path, encoding: str = "", follow_links: bool = False) -> Iterator[Source]:
    """Open a folder or a zip archive; an archive stays open within the block.

    Args:
        path: the folder or archive.
        encoding: of names that are not marked as UTF-8; "": found from the bytes.
        follow_links: read folders and files that symbolic links lead to, wherever they are.

    Raises:
        LeukoBenchError: the path is missing, unreadable, or neither a folder nor a zip archive; or names are not in the
            encoding.
    """
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            yield _folder(path.resolve(), encoding, follow_links)
            return
        if not path.exists():
            raise LeukoBenchError(f"There is no {path}. Give a folder or a zip with one folder per class.")
        if not zipfile.is_zipfile(path):
            with open(path, "rb"):
                pass
            raise LeukoBenchError(f"{path} is neither a folder nor a complete zip. Give one of these.")
        with zipfile.ZipFile(path) as archive:
            yield _archive(path, archive, encoding)
    except PermissionError as error:
        if error.filename and Path(error.filename) != path:
            raise
        raise LeukoBenchError(f"Cannot read {path}: permission denied. Make it readable for you.") from None
    except zipfile.BadZipFile as error:
        raise LeukoBenchError(f"{path} is a damaged zip ({error}). Download it again.") from None


def _folder(root: Path, encoding: str, follow_links: bool) -> Source:
    source = Source(root.name)
    found: list[Path] = []
    links: list[Path] = []
    unread: list[tuple[Path, str]] = []
    limit = Path(root.anchor) if follow_links else root

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == root:
            raise error
        unread.append((Path(error.filename), f"folder cannot be read ({(error.strerror or str(error)).lower()})"))

    for place, folders, names in os.walk(root, onerror=unreadable, followlinks=follow_links):
        here = Path(place)
        kept = []
        for folder in sorted(folders):
            link = (here / folder).is_symlink()
            if reason := _reason_to_skip((folder,), True):
                source.skipped[reason] += 1 if link else _count(here / folder)
            elif link and not follow_links:
                links.append(here / folder)
            elif link and _is_loop(here / folder, root):
                unread.append((here / folder, "symbolic link to a folder above it"))
            else:
                kept.append(folder)
        folders[:] = kept
        found += [here / name for name in sorted(names)]
    paths = [*found, *links, *(path for path, _ in unread)]
    parts = {path: path.relative_to(root).parts for path in paths}
    foreign = sorted({part for each in parts.values() for part in each if not _is_text(part)})
    texts, source.encoding = decode_names([os.fsencode(part) for part in foreign], encoding)
    decoded = dict(zip(foreign, texts, strict=True))
    parts = {path: tuple(decoded.get(part, part) for part in each) for path, each in parts.items()}
    for path in found:
        _sort_in(source, Entry(parts[path], lambda path=path: image_decoder.read_safely(path, limit)))
    source.links = {parts[path]: path.resolve() for path in links}
    unread += [(path, "symbolic link to a folder") for path in links]
    source.refused = sorted(("/".join(parts[path]), reason) for path, reason in unread)
    return _ordered(source)


def _archive(path: Path, archive: zipfile.ZipFile, encoding: str) -> Source:
    source = Source(path.stem)
    members = [info for info in archive.infolist() if not info.is_dir()]
    unmarked = [info for info in members if not info.flag_bits & 0x800]
    texts, source.encoding = decode_names([_raw_name(info) for info in unmarked], encoding)
    decoded = dict(zip(map(id, unmarked), texts, strict=True))
    for info in members:
        name = decoded.get(id(info), info.filename).replace("\\", "/")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        image = bool(parts) and named_like_image(parts[-1])
        reason = ""
        if name.startswith("/") or ".." in parts or (parts and parts[0][1:2] == ":"):
            reason = "path out of the archive"
        elif stat.S_ISLNK(info.external_attr >> 16):
            reason = "symbolic link in an archive"
        elif info.flag_bits & 0x1:
            reason = "encrypted"
        elif image and info.file_size > image_decoder.MAX_BYTES:
            reason = f"larger than {image_decoder.MAX_BYTES // 10**6} MB"
        if parts and reason and not _reason_to_skip(parts):
            source.refused.append((name, reason))
        elif parts:
            _sort_in(source, Entry(parts, lambda info=info: _unpack(archive, info)))
    source.refused.sort()
    return _ordered(source)


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a member's name that is not marked as UTF-8; its Unicode field takes precedence."""
    raw = info.orig_filename.encode("cp437")
    extra = info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        value, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(value) > 5 and struct.unpack("<I", value[1:5])[0] == zlib.crc32(raw):
            raw = value[5:]
    return raw.split(b"\0")[0]


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as handle:
            return handle.read(image_decoder.MAX_BYTES + 1)  # whatever size the archive states
    except DAMAGED as error:
        raise BadImage(f"damaged in the archive ({' '.join(str(error).split())[:60]})") from None


def _sort_in(source: Source, entry: Entry) -> None:
    """Add a file to a source: as an image, as another file, or to the number of files skipped."""
    if reason := _reason_to_skip(entry.parts):
        source.skipped[reason] += 1
    else:
        (source.entries if named_like_image(entry.parts[-1]) else source.others).append(entry)


def _reason_to_skip(parts: Sequence[str], folder: bool = False) -> str:
    """Return why a file of a system or a tool is skipped; "" for others.

    Args:
        parts: folders and file name below the source, or folders alone.
        folder: whether the last part is a folder.
    """
    lower = [part.lower() for part in parts]
    folders, name = (lower, "") if folder else (lower[:-1], lower[-1])
    for part in folders:
        if part in _SYSTEM_FOLDERS or part.startswith((".trash", _RESOURCE_FORK)):
            return "of the system"
        if part in _TOOL_FOLDERS:
            return f"in {part}"
    return "of the system" if name in _SYSTEM_FILES or name.startswith(_RESOURCE_FORK) else ""


def _is_loop(link: Path, root: Path) -> bool:
    """Say whether a link leads to a folder that the walk from the root to the link has passed, or above it."""
    target = link.resolve()
    passed = [place for place in link.parents if place.is_relative_to(root)]
    return any(place.resolve().is_relative_to(target) for place in passed)


def _count(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def _is_text(name: str) -> bool:
    """Say whether the bytes of a name of the file system are UTF-8; others come as lone surrogates."""
    return not any("\udc80" <= char <= "\udcff" for char in name)


def _ordered(source: Source) -> Source:
    """Sort entries, upper folders first: these keep their names where a name occurs twice."""
    for entries in (source.entries, source.others):
        entries.sort(key=lambda entry: (len(entry.parts), entry.parts))
    return source


def named_like_image(name: str) -> bool:
    """Say whether a file's name ends like that of an image; dots and blanks may follow."""
    return name.lower().rstrip(". ").endswith(image_decoder.SUFFIXES)
