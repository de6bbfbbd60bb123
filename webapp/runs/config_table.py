"""What a run was made with: its configuration beside the model's usual one, its machine, its files."""

from pathlib import PurePath
from typing import Any

from utils.errors import LeukoBenchError
from utils.runs import run_folder
from utils.text import MISSING
from webapp.runs.catalogue import Entry
from webapp.runs.config_sanitizer import clean

SAID = frozenset({"model", "classes", "flavour"})  # fields of config.json that the head of the page says
GIVEN = frozenset({"dataset", "split", "split_seed", "seed", "initialisation"})  # of each training: none is usual


def settings(entry: Entry) -> list[tuple[str, str, str]]:
    """Return field, value and usual value of a configuration, those that differ from the model's usual ones first.

    The usual value is "" where it is the same or not known.
    """
    held = {key: value for key, value in flat(entry.config).items() if key.partition(".")[0] not in SAID}
    usual = _usual(entry)
    rows = [
        (key, text(value), text(usual[key]) if key in usual and usual[key] != value else "")
        for key, value in held.items()
    ]
    return sorted(rows, key=lambda row: not row[2])


def environment(entry: Entry) -> list[tuple[str, str]]:
    """Return versions, machine and commit of a run; empty where they cannot be read."""
    try:
        held = clean(entry.run.environment())
    except (LeukoBenchError, OSError):
        return []
    return [(key.removeprefix("packages."), text(value)) for key, value in flat(held).items()]


def files_of(entry: Entry) -> list[tuple[str, str]]:
    """Return name and size of each file of a run."""
    return [(name, f"{size:,} bytes") for name, _, size, _ in entry.signature]


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested values under names with dots."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


def text(value: Any) -> str:
    """Return a value of a configuration in words; of a path, which is of one machine, the name alone."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(text, value)) or MISSING
    if isinstance(value, str) and (value.startswith(("/", "\\")) or value[1:3] == ":\\"):
        return PurePath(value.replace("\\", "/")).name
    return str(value)


def _usual(entry: Entry) -> dict[str, Any]:
    """Return the values that the model's configuration has when nothing is said; empty for a model of another time."""
    import models

    try:
        config = models.config_for(entry.run.model)
    except LeukoBenchError:
        return {}
    return {key: value for key, value in flat(config.model_dump(mode="json")).items() if key not in GIVEN}


def epochs(entry: Entry) -> int:
    """Return how many epochs a run has made; 0 where its history cannot be read."""
    try:
        return len(entry.run.history()) if entry.run.file(run_folder.HISTORY).is_file() else 0
    except (LeukoBenchError, OSError, UnicodeError):
        return 0
