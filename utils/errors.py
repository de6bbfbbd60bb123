"""The class of expected errors."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class LeukoBenchError(Exception):
    """An error the user can fix: one line that says what was received, what is valid and what to do.

    Attributes:
        run: id of the run that the message names; "" if it names none.
        path: file that the message names; None if it names none.
    """

    def __init__(self, message: str, *, run: str = "", path: Path | None = None) -> None:
        super().__init__(message)
        self.run, self.path = run, path


class NoPermission(LeukoBenchError):
    """A file or folder that the system does not let this user read."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Cannot read {path}: permission denied. Make it readable for you.", path=path)


def nearest(received: str, valid: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the valid name closest to the received one, or an empty string."""
    close = get_close_matches(received[:100], list(valid), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def cut(text: object, most: int = 60) -> str:
    """Return a received value as text for a message, on one line and cut to `most` characters."""
    whole = " ".join(str(text).split())
    return whole if len(whole) <= most else f"{whole[: most - 3]}..."
