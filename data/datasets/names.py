"""Names of classes and files in a dataset: those of the source where every system and command can use them."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count

from data.datasets.folder_roles import key
from data.datasets.index import RESERVED
from utils.errors import LeukoBenchError

LONGEST = 200  # bytes of a name: systems allow 255, of which numbers and names of temporary files need some
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff<>:"/\\|?*]')  # Windows allows none of these
_DEVICES = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)  # names that Windows keeps for itself


def safe(name: str) -> str:
    """Return a name of a file or folder that every system can store: NFC, at most LONGEST bytes, no unsafe character.

    A leading dot becomes an underscore: hidden files are no images of a dataset.
    """
    text = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip().rstrip(". ")
    text = f"_{text[1:]}" if text.startswith(".") else text or "_"
    text = _DEVICES.sub(r"\1_", text)
    stem, dot, suffix = text.rpartition(".")
    stem, suffix = (stem, f".{suffix}") if dot and len(suffix) <= 5 else (text, "")
    if len(f"{stem}{suffix}".encode()) > LONGEST:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        room = LONGEST - len(suffix.encode()) - len(digest) - 1
        stem = f"{stem.encode()[:room].decode(errors='ignore')}~{digest}"
    return f"{stem}{suffix}"


def class_names(spellings: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Choose the name of each class, by its key.

    Args:
        spellings: name of the class folder of each image.

    Returns:
        The names, each the most frequent spelling; and the spellings that were joined or changed, "Benign = benign".

    Raises:
        LeukoBenchError: two classes would get the same name.
    """
    counts: dict[str, Counter[str]] = {}
    for name in spellings:
        counts.setdefault(key(name), Counter())[name] += 1
    chosen, changed, owners = {}, [], dict[str, str]()
    for each, found in sorted(counts.items()):
        usual = min(found, key=lambda name: (-found[name], name))
        name = safe(usual)
        name = f"{name}_" if name in RESERVED else name
        other = owners.setdefault(key(name), usual)
        if other != usual:
            raise LeukoBenchError(
                f"Classes {ascii(other)[1:-1]} and {ascii(usual)[1:-1]} would both be named '{name}'. Rename a folder."
            )
        chosen[each] = name
        changed += [f"{name} = {_visible(spelling)}" for spelling in sorted(found) if spelling != name]
    return chosen, changed


def unique_name(label: str, folders: Sequence[str], name: str, taken: set[str]) -> str:
    """Return "<Class>/<file>"; a taken name gets its folders as a prefix, or a number as a suffix.

    Args:
        label: name of the class.
        folders: those of the source above the image that may tell it from others of its name.
        name: of the image's file, with the suffix that it needs.
        taken: names taken so far, compared without case and the form of accents; the new one is added.
    """
    stem, _, suffix = safe(name).rpartition(".")
    prefixed = safe("-".join([*folders, name]))
    numbered = (f"{stem}-{number}.{suffix}" for number in count(2))
    names = (f"{label}/{each}" for each in chain((f"{stem}.{suffix}", prefixed), numbered))
    free = next(each for each in names if key(each) not in taken)
    taken.add(key(free))
    return free


def _visible(name: str) -> str:
    """Return a name in which one sees blanks at its ends, and accents that are characters of their own."""
    odd = name != name.strip() or name != unicodedata.normalize("NFC", name) or _UNSAFE.search(name)
    return ascii(name) if odd else name


def renamed(sources: Mapping[str, str]) -> dict[str, str]:
    """Return the images whose file has another name than in the source, suffix aside, with their path there."""

    def stem(path: str) -> str:
        return path.rpartition("/")[2].rpartition(".")[0]

    return {image: path for image, path in sources.items() if stem(image) != stem(path)}
