"""Tables of texts, number formats, and line breaks in names and headings."""

import re
from dataclasses import dataclass, field

from utils.text import MISSING

SOFT = "\u200b"  # possible line break in a word, on screen only
HYPHEN = "\u00ad"  # the same, with a hyphen at the break
NARROW = 15  # longest word of a name on screen, in characters


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Line breaks in texts are for narrow tables on screen; written files have a space instead. SOFT, HYPHEN, or a hyphen
    with a line break between letters break a word; written files have the whole word. After a hyphen that is part of a
    word, put SOFT.

    Attributes:
        words: indices of the columns that hold words, not numbers.
        words_below: how to read the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[list[str]]
    words: frozenset[int] = field(default=frozenset({0}))
    words_below: str = ""


def number(value: float | None, digits: int = 2, scale: float = 1) -> str:
    """Return a value times `scale` with `digits` decimals and thousands separators; "–" for None."""
    return MISSING if value is None else f"{value * scale:,.{digits}f}"


def percent(value: float | None, digits: int = 2) -> str:
    """Return a share in 0..1 in percent, without "%"; "–" for None."""
    return number(value, digits, 100)


def interval(low: float | None, high: float | None) -> str:
    """Return two shares in 0..1 as percent, "97.1-99.4"; an upper end of 100.0 is "100"."""
    if low is None or high is None:
        return MISSING
    upper = percent(high, 1)
    return f"{percent(low, 1)}-{'100' if upper == '100.0' else upper}"


def difference(value: float | None, digits: int = 2, scale: float = 100) -> str:
    """Return a difference with its sign, by default of shares in points; "–" for None."""
    return MISSING if value is None else f"{value * scale:+,.{digits}f}"


def signed(value: float | None, low: float | None, high: float | None, digits: int = 2) -> str:
    """Return a difference of shares in points above its interval: "+1.53", "-1.2 to", "+4.0"; "–" for None."""
    if value is None or low is None or high is None:
        return difference(value, digits)
    return f"{difference(value, digits)}\n{difference(low, 1)} to\n{difference(high, 1)}"


def ratio(value: float | None) -> str:
    """Return "x 2.7"; "–" for None."""
    return MISSING if value is None else f"x {value:,.2f}" if value < 10 else f"x {value:,.0f}"


def spread(mean: float | None, deviation: float | None, digits: int = 2, scale: float = 1) -> str:
    """Return "mean ± standard deviation"; "–" without a mean."""
    if mean is None or deviation is None:
        return number(mean, digits, scale)
    return f"{number(mean, digits, scale)} ± {number(deviation, digits, scale)}"


def quantity(value: float | None) -> str:
    """Return a count with a unit prefix: "4.29 M", "8.40 G"."""
    if value is None:
        return MISSING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:g}"


def name_lines(name: str) -> str:
    """Return the name of a run with line breaks for the screen: "cnn seed 42 (clahe)" in three lines."""
    from textwrap import wrap

    model, mark, flavours = name.partition(" (")
    word, space, rest = model.partition(" ")
    lines = [_soft(word), *([rest] if space else []), *(wrap(f"({flavours}", NARROW) if mark else [])]
    return "\n".join(lines).replace("-\n", f"-{SOFT}")  # the hyphen of "(stain-swap)" is part of the word


def on_screen(text: str) -> str:
    """Return a text of a table with all possible line breaks."""
    return text.replace(SOFT, "\n").replace(HYPHEN, "-\n")


def joined(text: str) -> str:
    """Return a text of a table on one line, as in written files."""
    whole = re.sub(r"(?<=[^\W\d_])-\n(?=[^\W\d_])", "", text)
    return " ".join(whole.replace(SOFT, "").replace(HYPHEN, "").split())


def _soft(word: str) -> str:
    head, colon, tail = word.rpartition(":")  # "keras:InceptionResNetV2"
    cuts = [k for k in range(1, min(NARROW + 1, len(tail))) if tail[k].isupper() and not tail[k - 1].isupper()]
    if len(tail) > NARROW and cuts:
        tail = tail[: cuts[-1]] + SOFT + tail[cuts[-1] :]
    return f"{head}:{SOFT}{tail}" if colon else tail
