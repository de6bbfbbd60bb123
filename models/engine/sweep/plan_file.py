"""The plan of a sweep as a YAML file, with the options of the command line as keys."""

from pathlib import Path
from typing import Any

from utils.errors import LeukoBenchError, nearest

LISTS = ("model", "recipe", "split", "seed", "set")
KEYS = (*LISTS, "profile", "dataset")


def read(path: Path) -> dict[str, Any]:
    """Read a plan: lists of models, recipes, splits, seeds and settings; profile and dataset as strings.

    A single value is a list of one; `set` may also be a mapping of fields to values.

    Raises:
        LeukoBenchError: the file is missing or not YAML, or has an unknown key or a wrong value.
    """
    import yaml

    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LeukoBenchError(f"Cannot read {path}: {error.strerror}. Give --file a YAML file.") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # The YAML reader raises more than YAMLError: a date of month 13 is a ValueError.
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise LeukoBenchError(f"{path} is not valid YAML{where}. Write lines such as: model: [cnn, resnet18]") from None
    if not isinstance(held, dict):
        raise LeukoBenchError(f"{path} must contain keys with values, such as: model: [cnn, resnet18]")
    for key in held:
        if key not in KEYS:
            raise LeukoBenchError(f"{path}: unknown key '{key}'.{nearest(str(key), KEYS)} Valid: {', '.join(KEYS)}.")
    return {key: _value(path, key, value) for key, value in held.items() if value is not None}


def _value(path: Path, key: str, value: Any) -> Any:
    if key == "set" and isinstance(value, dict):
        for name, each in value.items():
            if each is None:
                raise LeukoBenchError(f"{path}: 'set' gives '{name}' no value. Write one, or leave the line out.")
        value = [f"{name}={_text(each)}" for name, each in value.items()]
    values = value if isinstance(value, list) else [value]
    for each in values:
        plain = type(each) is int if key == "seed" else each is not None and not isinstance(each, dict | list)
        if not plain:
            kind = "a whole number" if key == "seed" else "a text"
            raise LeukoBenchError(f"{path}: '{key}' takes {kind}, or several in a list; received {each!r}.")
    if key in LISTS:
        return values if key == "seed" else [_text(each) for each in values]
    if len(values) != 1:
        raise LeukoBenchError(f"{path}: '{key}' takes one value; received {len(values)}.")
    return _text(values[0])


def _text(value: Any) -> str:
    """Return a value as the text of an option: YAML turns `true` and `1.0` into other types."""
    return str(value).lower() if isinstance(value, bool) else str(value)
