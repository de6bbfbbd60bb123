"""Configuration of a run with the model's defaults, its machine and its files."""

from pathlib import PurePath
from typing import Any

from utils.errors import LeukoBenchError
from utils.runs import run_folder
from utils.text import MISSING, dotted
from webapp.runs.catalogue import Entry
from webapp.runs.config_sanitizer import clean

IN_HEADING = frozenset({"model", "classes", "flavour"})  # fields of config.json in the heading of the page
GIVEN = frozenset({"dataset", "split", "split_seed", "seed", "initialisation"})  # chosen for each training: no defaults


def settings(entry: Entry) -> list[tuple[str, str, str]]:
    """Return field, value and default of a configuration, values that differ from the model's defaults first.

    The default is "" where it is equal or unknown.
    """
    held = {key: value for key, value in dotted(entry.config).items() if key.partition(".")[0] not in IN_HEADING}
    defaults = _defaults(entry)
    rows = [
        (key, text(value), text(defaults[key]) if key in defaults and defaults[key] != value else "")
        for key, value in held.items()
    ]
    return sorted(rows, key=lambda row: not row[2])


def environment(entry: Entry) -> list[tuple[str, str]]:
    """Return versions, machine and commit of a run; empty where they cannot be read."""
    try:
        held = clean(entry.run.environment())
    except (LeukoBenchError, OSError):
        return []
    return [(key.removeprefix("packages."), text(value)) for key, value in dotted(held).items()]


def files_of(entry: Entry) -> list[tuple[str, str]]:
    """Return name and size of each file of a run."""
    return [(name, f"{size:,} bytes") for name, _, size, *_ in entry.signature]


def text(value: Any) -> str:
    """Return a value of a configuration as text; of an absolute path only the file name."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(text, value)) or MISSING
    if isinstance(value, str) and (value.startswith(("/", "\\")) or value[1:3] == ":\\"):
        return PurePath(value.replace("\\", "/")).name
    return str(value)


def _defaults(entry: Entry) -> dict[str, Any]:
    """Return the default configuration of a run's model; empty where the model no longer exists."""
    import models

    try:
        config = models.config_for(entry.run.model)
    except LeukoBenchError:
        return {}
    return {key: value for key, value in dotted(config.model_dump(mode="json")).items() if key not in GIVEN}


def epochs(entry: Entry) -> int:
    """Return the number of finished epochs; 0 where the history cannot be read."""
    try:
        return len(entry.run.history()) if entry.run.file(run_folder.HISTORY).is_file() else 0
    except (LeukoBenchError, OSError, UnicodeError):
        return 0
