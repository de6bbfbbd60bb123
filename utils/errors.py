"""The one class of expected errors."""

from collections.abc import Iterable
from difflib import get_close_matches


class LeukoBenchError(Exception):
    """Report a mistake a person can mend: one line that says what was received, what is valid and what to do."""


def nearest(received: str, valid: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the valid name closest to the received one, or an empty string."""
    close = get_close_matches(received, list(valid), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""
