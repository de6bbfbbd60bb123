"""Names of classes and files in a dataset, from the names in its source."""

import re
from itertools import chain, count

from data import all_dataset
from data.datasets.source_reader import Entry

_UNPRINTABLE = r"[\x00-\x1f\x7f\ud800-\udfff]"


def plain(name: str) -> str:
    """Return a name of a folder or file without unprintable characters."""
    return re.sub(_UNPRINTABLE, "_", name)


def unique_name(label: str, entry: Entry, name: str, taken: set[str]) -> str:
    """Return "<Class>/<file>"; a taken name gets its folders as a prefix, or a number as a suffix."""
    stem, _, suffix = plain(name).rpartition(".")
    between = [part for part in entry.parts[:-1] if all_dataset.canonical(part) is None and part != label]
    prefixed = f"{label}/{plain('-'.join([*between, stem]))}.{suffix}"
    numbered = (f"{label}/{stem}-{number}.{suffix}" for number in count(2))
    # Compared in lower case: names that differ in case alone are one file on Windows and macOS.
    free = next(each for each in chain((f"{label}/{stem}.{suffix}", prefixed), numbered) if each.lower() not in taken)
    taken.add(free.lower())
    return free
