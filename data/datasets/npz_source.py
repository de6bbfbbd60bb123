"""Read the images of a MedMNIST file (.npz, such as BloodMNIST) as a source: subsets, classes and PNG files.

The file holds arrays `{train,val,test}_images` and `..._labels`. It is read image by image, so that the large versions
(224 pixels, 2.6 GB) need little memory, and never unpickled.
"""

import io
import math
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from data.datasets import releases
from data.datasets.source_reader import DAMAGED, Entry, Source
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import numpy as np

SUFFIX = ".npz"
_SUBSETS = ("train", "val", "test")
_PUBLISHED = {"train": 11_959, "val": 1_712, "test": 3_421}  # images of BloodMNIST
_MOST_IMAGES = 1_000_000
_MOST_CLASSES = 1_000
_LARGEST_SIDE = 4_096


@contextmanager
def open_npz(path: Path) -> Iterator[Source]:
    """Open a MedMNIST file as a source with the entries <subset>/<class>/<name>_<subset>_<number>.png.

    The classes of BloodMNIST get their names, those of other files their numbers.

    Raises:
        LeukoBenchError: the file is missing, damaged, or holds other arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            stacks, labels = _arrays(path, archive)
            names = _class_names(path, stacks, labels)
            title = "bloodmnist" if names[0] in releases.BLOODMNIST.labels else "image"
            entries = [
                Entry(
                    (subset, names[label], f"{title}_{subset}_{number:05d}.png"),
                    lambda stack=stack, number=number: stack.read(number),  # type: ignore[misc]
                )
                for subset, stack in stacks.items()
                for number, label in enumerate(labels[subset])
            ]
            yield Source(path.stem, entries)
    except FileNotFoundError:
        raise LeukoBenchError(f"There is no {path}. Give a .npz file, a folder or a zip.") from None
    except PermissionError:
        raise LeukoBenchError(f"Cannot read {path}: permission denied. Make it readable for you.") from None
    except zipfile.BadZipFile as error:
        raise LeukoBenchError(f"{path} is a damaged .npz file ({error}). Download it again.") from None


class _Stack:
    """The images of one subset, in the order of the file; reading them in this order is fast."""

    def __init__(
        self, path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, shape: tuple[int, ...], start: int
    ) -> None:
        self.count = shape[0]
        self.colours = shape[3] if len(shape) == 4 else 1
        self._path = path
        self._archive = archive
        self._member = member
        self._shape = shape[1:3] if self.colours == 1 else shape[1:]
        self._bytes = math.prod(shape[1:])
        self._start = start
        self._lock = threading.Lock()
        self._handle: IO[bytes] | None = None
        self._next = 0

    def read(self, number: int) -> bytes:
        """Return an image as the bytes of an RGB PNG file.

        Raises:
            LeukoBenchError: the array fails its checksum: any of its images may be damaged.
        """
        import numpy as np
        from PIL import Image

        with self._lock:
            try:
                raw = self._raw(number)
            except DAMAGED as error:
                raise _damaged(self._path, self._member, error) from None
        buffer = io.BytesIO()
        Image.fromarray(np.frombuffer(raw, np.uint8).reshape(self._shape)).convert("RGB").save(
            buffer, "PNG", compress_level=1
        )
        return buffer.getvalue()

    def _raw(self, number: int) -> bytes:
        if self._handle is None or number < self._next:
            self._handle = self._archive.open(self._member)
            self._handle.read(self._start)
            self._next = 0
        for _ in range(self._next, number):
            self._handle.read(self._bytes)
        self._next = number + 1
        raw = self._handle.read(self._bytes)
        if self._next == self.count:
            self._handle.read(1)  # the end, where the checksum is compared
        if len(raw) < self._bytes:
            raise EOFError("truncated")
        return raw


def _arrays(path: Path, archive: zipfile.ZipFile) -> tuple[dict[str, _Stack], dict[str, list[int]]]:
    """Return images and labels by subset.

    Raises:
        LeukoBenchError: arrays are missing, damaged or of another form.
    """
    members = {info.filename: info for info in archive.infolist()}
    stacks, labels = {}, {}
    for subset in _SUBSETS:
        images, classes = (f"{subset}_{part}.npy" for part in ("images", "labels"))
        if not {images, classes} & set(members):
            continue
        for name in (images, classes):
            if name not in members:
                raise LeukoBenchError(f"{path} lacks the array {name.removesuffix('.npy')}. Download it again.")
        stacks[subset] = _images(path, archive, members[images])
        labels[subset] = _labels(path, archive, members[classes], stacks[subset].count)
    if not stacks or sum(stack.count for stack in stacks.values()) > _MOST_IMAGES:
        received = ", ".join(name.removesuffix(".npy")[:30] for name in sorted(members)[:4]) or "nothing"
        raise LeukoBenchError(
            f"{path} holds {received}. A .npz file needs train_images, train_labels and so on, as those of MedMNIST, "
            f"of at most {_MOST_IMAGES:,} images."
        )
    return stacks, labels


def _images(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Stack:
    shape, kind, start = _header(path, archive, member)
    flat = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    if not flat or kind.str != "|u1" or not all(1 <= side <= _LARGEST_SIDE for side in shape[1:3]):
        raise LeukoBenchError(
            f"{path}: {member.filename} has shape {shape} and type {kind}; valid are images of type uint8 and shape "
            f"(number, height, width) or (number, height, width, 3), up to {_LARGEST_SIDE} pixels a side."
        )
    if member.file_size != start + math.prod(shape):
        raise LeukoBenchError(
            f"{path} is damaged: {member.filename} has another size than it states. Download it again."
        )
    return _Stack(path, archive, member, shape, start)


def _labels(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, count: int) -> list[int]:
    import numpy as np

    shape, kind, start = _header(path, archive, member)
    if shape not in ((count,), (count, 1)) or kind.kind not in "iu":
        raise LeukoBenchError(
            f"{path}: {member.filename} has shape {shape} and type {kind}; valid is one whole number for each of the "
            f"{count} images."
        )
    try:
        with archive.open(member) as handle:
            handle.read(start)
            values = np.frombuffer(handle.read(count * kind.itemsize), kind).tolist()
    except DAMAGED as error:
        raise _damaged(path, member, error) from None
    if len(values) != count or not all(0 <= value < _MOST_CLASSES for value in values):
        raise LeukoBenchError(
            f"{path}: {member.filename} is damaged; valid are {count} numbers from 0 to {_MOST_CLASSES - 1}."
        )
    return values


def _header(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> tuple[tuple[int, ...], "np.dtype[Any]", int]:
    """Return shape, type and the length of the header of an array, whose data are not read."""
    from numpy.lib import format as npy

    try:
        with archive.open(member) as handle:
            if npy.read_magic(handle) != (1, 0):  # later versions serve only types with very many fields
                raise ValueError("unknown version")
            shape, by_column, kind = npy.read_array_header_1_0(handle)
            start = handle.tell()
    except DAMAGED as error:
        raise _damaged(path, member, error) from None
    if by_column and len(shape) > 1:
        raise LeukoBenchError(f"{path}: {member.filename} is stored by columns. Save it with numpy.ascontiguousarray.")
    return shape, kind, start


def _damaged(path: Path, member: zipfile.ZipInfo, error: Exception) -> LeukoBenchError:
    reason = " ".join(str(error).split())[:60]
    return LeukoBenchError(f"{path} is damaged: {member.filename} cannot be read ({reason}). Download it again.")


def _class_names(path: Path, stacks: dict[str, _Stack], labels: dict[str, list[int]]) -> list[str]:
    """Return the name of each label: those of BloodMNIST where the file is one, else its number."""
    highest = max(max(values, default=0) for values in labels.values())
    blood = list(releases.BLOODMNIST.labels.values())
    counts = {subset: stack.count for subset, stack in stacks.items()}
    named = path.stem.lower().startswith("bloodmnist") or (counts == _PUBLISHED and highest == len(blood) - 1)
    if named and highest < len(blood) and all(stack.colours == 3 for stack in stacks.values()):
        return blood
    width = len(str(highest))
    return [f"{number:0{width}d}" for number in range(highest + 1)]
