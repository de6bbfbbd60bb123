"""The plan of a sweep as a YAML file, in the words of the command line."""

from pathlib import Path
from typing import Any

from utils.errors import LeukoBenchError, nearest

MANY = ("model", "recipe", "split", "seed", "set")
WORDS = (*MANY, "profile", "dataset")


def read(path: Path) -> dict[str, Any]:
    """Read a plan: lists of models, recipes, splits, seeds and settings; profile and dataset as texts.

    A single value stands for a list of one; `set` may also be a mapping of fields to values.

    Raises:
        LeukoBenchError: the file is missing, no YAML, or says something that `sweep` does not know.
    """
    import yaml

    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LeukoBenchError(f"Cannot read {path}: {error.strerror}. Give --file a YAML file.") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # The reader lets its own mistakes through: a date of month 13 is a ValueError.
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise LeukoBenchError(
            f"{path} is no readable YAML{where}. Write lines such as: model: [cnn, resnet18]"
        ) from None
    if not isinstance(held, dict):
        raise LeukoBenchError(f"{path} should hold words with values, such as: model: [cnn, resnet18]")
    for word in held:
        if word not in WORDS:
            raise LeukoBenchError(
                f"{path}: unknown word '{word}'.{nearest(str(word), WORDS)} Valid: {', '.join(WORDS)}."
            )
    return {word: _value(path, word, value) for word, value in held.items() if value is not None}


def _value(path: Path, word: str, value: Any) -> Any:
    if word == "set" and isinstance(value, dict):
        for name, each in value.items():
            if each is None:
                raise LeukoBenchError(f"{path}: 'set' gives '{name}' no value. Write one, or leave the line out.")
        value = [f"{name}={_text(each)}" for name, each in value.items()]
    values = value if isinstance(value, list) else [value]
    for each in values:
        plain = type(each) is int if word == "seed" else each is not None and not isinstance(each, dict | list)
        if not plain:
            kind = "a whole number" if word == "seed" else "a text"
            raise LeukoBenchError(f"{path}: '{word}' takes {kind}, or several in a list; received {each!r}.")
    if word in MANY:
        return values if word == "seed" else [_text(each) for each in values]
    if len(values) != 1:
        raise LeukoBenchError(f"{path}: '{word}' takes one value; received {len(values)}.")
    return _text(values[0])


def _text(value: Any) -> str:
    """Return a value as `--set` and the options take it: YAML reads `true` and `1.0` as more than texts."""
    return str(value).lower() if isinstance(value, bool) else str(value)
