"""Read the names of files that are bytes in an unknown encoding: UTF-8, else the likeliest code page."""

import unicodedata
from collections.abc import Sequence

from utils.errors import LeukoBenchError

# Code pages of archivers and old file systems, the more common one first: it wins where two are equally likely.
CODE_PAGES = ("gbk", "cp932", "cp437", "cp850", "cp1252", "cp866", "cp1251", "big5", "cp949")
# First bytes of the common characters, and their plausibility.
_EAST_ASIAN = {"gbk": (0xB0, 0xD7, 1.0), "cp949": (0xB0, 0xC8, 0.95), "big5": (0xA4, 0xC6, 0.7), "cp932": (0, 0, 0.0)}
_FALLBACK = "cp437"  # which the zip format prescribes; it can decode any bytes
_LEAST = 0.5  # likelihood below which no code page is believed


def decode_names(raws: Sequence[bytes], encoding: str = "") -> tuple[list[str], str]:
    """Decode names that come from one archive or folder.

    Args:
        raws: the bytes of each name.
        encoding: Python's name of the encoding; "": UTF-8 where the bytes are UTF-8, else the likeliest code page.

    Returns:
        The names, and the code page that was guessed; "" where nothing had to be guessed.

    Raises:
        LeukoBenchError: the encoding is unknown, or a name is not in it.
    """
    if encoding:
        try:
            return [raw.decode(encoding) for raw in raws], ""
        except LookupError:
            raise LeukoBenchError(
                f"There is no encoding '{encoding}'. Give one such as utf-8, {', '.join(CODE_PAGES)}."
            ) from None
        except UnicodeDecodeError as error:
            raise LeukoBenchError(
                f"The name {error.object!r} is not in the encoding '{encoding}'. Give another --encoding, such as "
                f"utf-8, {', '.join(CODE_PAGES)}."
            ) from None
    names = [_utf8(raw) for raw in raws]
    foreign = [raw for raw, name in zip(raws, names, strict=True) if name is None]
    if not foreign:
        return [name for name in names if name is not None], ""
    # Short names in a code page may be valid UTF-8 by chance: then most of the others are not.
    if 2 * len(foreign) > sum(not raw.isascii() for raw in raws):
        foreign, names = [raw for raw in raws if not raw.isascii()], [None] * len(raws)
    page = likeliest(foreign)
    return [
        raw.decode(page, "surrogateescape") if name is None else name for raw, name in zip(raws, names, strict=True)
    ], page


def likeliest(raws: Sequence[bytes]) -> str:
    """Return the code page in which names look most like words, of CODE_PAGES."""
    scores = {page: _likelihood(raws, page) for page in CODE_PAGES}
    best = max(CODE_PAGES, key=scores.__getitem__)
    return best if scores[best] >= _LEAST else _FALLBACK


def _utf8(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _likelihood(raws: Sequence[bytes], page: str) -> float:
    """Return the mean plausibility of the characters beyond ASCII: 0..1, or a little more for many of Korean."""
    found: list[float] = []
    distinct: set[str] = set()
    for raw in set(raws):
        try:
            name = f" {raw.decode(page)} "
        except UnicodeDecodeError:
            return 0.0
        for before, char, after in zip(name, name[1:], name[2:], strict=False):
            if not char.isascii():
                found.append(_plausible(char, before, after, page))
                distinct.add(char)
    # Every Korean syllable is a common Chinese character of GBK, but only half of these are a syllable: many
    # different ones that all are one are hardly chance.
    many = 0.006 * min(len(distinct), 20) if page == "cp949" else 0.0
    return sum(found) / len(found) + many if found else 0.0


def _plausible(char: str, before: str, after: str, page: str) -> float:
    """Return how plausible a character is in a name, 0..1, between two others."""
    latin = [each.isascii() and each.isalpha() for each in (before, after)]
    if page in _EAST_ASIAN:
        return 0.2 if all(latin) else _east_asian(char, page)
    script = unicodedata.name(char, "")
    if not script.startswith(("LATIN", "CYRILLIC")) or char in "ªº":
        return 0.1
    if char.isupper() and before.islower():  # a capital within a word
        return 0.2
    if script.startswith("CYRILLIC"):  # letters of other languages than Russian are more often another code page
        return 0.9 if not any(latin) and (char in "ёЁ" or "А" <= char <= "я") else 0.2
    return 0.9 if before.isascii() else 0.3  # accented letters stand among plain ones


def _east_asian(char: str, page: str) -> float:
    """Return how common a character is in a code page of East Asia, 0..1."""
    raw = char.encode(page)
    if page == "cp932":
        common = len(raw) == 2 and b"\x88\x9f" <= raw <= b"\x98\x72"  # first level of JIS X 0208
        return 1.0 if "\u3041" <= char <= "\u30fe" else 0.8 if common else 0.1  # kana, kanji
    low, high, weight = _EAST_ASIAN[page]
    if len(raw) != 2 or (raw[1] < 0xA1 and page != "big5"):  # the extensions of GBK and cp949
        return 0.1
    return weight if low <= raw[0] <= high else 0.4
