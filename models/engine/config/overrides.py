"""Building a configuration from a profile, a recipe, --set texts and values, and checking it."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from models.engine.config import recipes
from utils.errors import LeukoBenchError, cut, nearest

if TYPE_CHECKING:
    from models.engine.config.base import ModelConfig


class UnknownField(LeukoBenchError):
    """A configuration has a field that this version does not know; `field` is its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def build_config(
    cls: "type[ModelConfig]", profile: str = "", settings: Sequence[str] = (), **values: Any
) -> "ModelConfig":
    """Build a configuration: defaults, a profile, a recipe, "field=value" settings, values; each overrides the last.

    The recipe is named by the settings, the values or the profile: `recipe=stain_swap`.

    Raises:
        LeukoBenchError: an unknown profile or field, or a wrong value; the line names it and the nearest valid name.
    """
    if profile and profile not in cls.PROFILES:
        raise LeukoBenchError(
            f"Unknown profile '{cut(profile)}'.{nearest(profile, cls.PROFILES)} "
            f"Profiles of this model: {', '.join(cls.PROFILES) or 'none'}."
        )
    fields: dict[str, Any] = dict(cls.PROFILES.get(profile, {}))
    recipe = values.get("recipe", _last_value("recipe", settings) or fields.get("recipe", ""))
    for setting in (*recipes.settings(recipe), *settings):
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise LeukoBenchError(f"--set takes field=value; received '{cut(setting)}'.")
        _override(cls, fields, name.strip(), _parsed(text.strip()))
    config = validated(cls, fields | values)
    if settings:  # a new run; a finished one keeps what its config.json says
        _check_recipe(config)
    return config


def validated(cls: "type[ModelConfig]", fields: dict[str, Any]) -> "ModelConfig":
    """Return a configuration of these fields.

    Raises:
        LeukoBenchError: a field is unknown or has a wrong value, or fields contradict each other.
    """
    try:
        return cls.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        if not name:  # fields that contradict each other
            raise LeukoBenchError(f"{reason}.") from None
        if first["type"] != "extra_forbidden":
            raise LeukoBenchError(f"Field '{name}' received {cut(repr(first['input']))}: {cut(reason, 200)}.") from None
        holder: Any = cls
        for outer in first["loc"][:-1]:
            holder = holder.model_fields[outer].annotation
        valid, received = list(holder.model_fields), cut(repr(first["input"]))
        raise UnknownField(
            cut(name),
            f"Unknown field '{cut(name)}' (received {received}).{nearest(str(first['loc'][-1]), valid)} "
            f"Valid fields: {', '.join(valid)}.",
        ) from None


def _override(cls: "type[ModelConfig]", fields: dict[str, Any], name: str, value: Any) -> None:
    """Set a field by name; "augmentation.flips" sets one entry of a nested object and keeps its other entries."""
    outer, *inner = name.split(".")
    if not inner:
        fields[outer] = value
        return
    default = cls.model_fields[outer].default if outer in cls.model_fields else {}
    fields[outer] = entries = _as_dict(fields.get(outer, default))
    for step in inner[:-1]:
        entries[step] = entries = _as_dict(entries.get(step, {}))
    entries[inner[-1]] = value


def _as_dict(value: Any) -> dict[str, Any]:
    """Return a nested object as a new dict; a text is its name, as in `variant=clahe`."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    return dict(value) if isinstance(value, dict) else {"name": value} if isinstance(value, str) else {}


def _last_value(field: str, settings: Sequence[str]) -> str:
    """Return the text that the last setting of a field gives it; "" where there is none."""
    pairs = [setting.partition("=") for setting in settings]
    return next((str(_parsed(text.strip())) for name, _, text in reversed(pairs) if name.strip() == field), "")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"True": True, "False": False}.get(text, text)


def _check_recipe(config: "ModelConfig") -> None:
    """Raise LeukoBenchError where a setting contradicts the recipe that the configuration is named after."""
    for setting in recipes.RECIPES.get(config.recipe, ()):
        field, _, text = setting.partition("=")
        outer, _, inner = field.partition(".")
        value = getattr(getattr(config, outer), inner or "name")  # without an inner field it is the variant's name
        if value != _parsed(text):
            raise LeukoBenchError(
                f"Recipe '{config.recipe}' sets {setting}; received {field}={value}. "
                "Leave out the recipe to choose each setting yourself."
            )
