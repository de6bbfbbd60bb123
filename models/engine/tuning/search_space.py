"""Search space of `tune`: fields of a configuration, their limits, and the settings for drawn values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.loading.augmentation_config import Augmentation
from models.engine.config.base import ModelConfig
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import optuna

STRENGTH = "augmentation"  # one number for all augmentation settings
WIDTHS = (0, 64, 128, 256, 512)  # units of the head's hidden layer
DECAYS = (0.0, 1e-5, 1e-4, 1e-3)
MAX_DROPOUT = 0.7


@dataclass(frozen=True)
class Dimension:
    """One dimension of the search space.

    Attributes:
        name: of the field; "augmentation" is its strength in 0..1.
        low, high: limits of a number; both 0 where `choices` are given.
        log: whether numbers are drawn on a logarithmic scale.
        choices: values of a categorical field.
        default: current value of the model; None if it is outside the limits.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[float, ...] = ()
    default: float | None = None

    def suggest(self, trial: "optuna.Trial") -> None:
        """Draw a value in an Optuna trial."""
        if self.choices:
            trial.suggest_categorical(self.name, self.choices)
        elif self.name == STRENGTH:
            trial.suggest_float(self.name, self.low, self.high, step=0.1)  # includes 0, no augmentation
        else:
            trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def rounded(self, value: float) -> float:
        """Return a drawn value rounded to the digits that are used for training and files."""
        if self.choices:
            return value
        return float(f"{value:.3g}") if self.log else round(value, 2)


def augmentation(strength: float) -> Augmentation:
    """Return the augmentation of a strength from 0, none, to 1, the strongest that keeps smears realistic.

    Above 0, flips and quarter turns are on, as smears have no orientation. The rest is proportional, up to 30 degrees
    of rotation, 20 % of zoom, 10 % of shift, 20 % of brightness, 30 % of contrast and 20 % of colour.
    """
    if not 0 <= strength <= 1:
        raise LeukoBenchError(f"The strength of the augmentation is a number from 0 to 1; received {strength}.")
    orientation = strength > 0
    sizes = {"rotation": 30, "zoom": 0.2, "shift": 0.1, "brightness": 0.2, "contrast": 0.3, "colour": 0.2}
    most = {name: round(size * strength, 4) for name, size in sizes.items()}
    return Augmentation(flips=orientation, quarter_turns=orientation, **most)


def dimensions(config: ModelConfig, settings: Sequence[str] = ()) -> tuple[Dimension, ...]:
    """Return the dimensions for a configuration: learning rates of its phases, dropout, head, decay, augmentation.

    Args:
        config: of one trial.
        settings: "field=value" texts of `--set`; these fields are not searched.

    Raises:
        LeukoBenchError: no dimension is left.
    """
    found = [_rate(config, name) for name in dict.fromkeys(phase.rate_field for phase in config.phases())]
    inside = config.dropout <= MAX_DROPOUT
    found.append(Dimension("dropout", 0.0, MAX_DROPOUT, default=config.dropout if inside else None))
    found.append(_choice(config, "dense", WIDTHS))
    found.append(_choice(config, "weight_decay", DECAYS))
    found.append(Dimension(STRENGTH, 0.0, 1.0, default=None if config.augmentation.active else 0.0))
    fixed = {setting.partition("=")[0].partition(".")[0].strip() for setting in settings}
    left = tuple(each for each in found if each.name not in fixed)
    if not left:
        names = ", ".join(each.name for each in found)
        raise LeukoBenchError(f"Nothing is left to search: --set gives {names}. Leave one of them out.")
    return left


def fields(space: Sequence[Dimension], drawn: Mapping[str, float]) -> dict[str, Any]:
    """Return the fields of a configuration for drawn values, ready for JSON."""
    values = {each.name: each.rounded(drawn[each.name]) for each in space}
    if STRENGTH in values:
        values[STRENGTH] = augmentation(values[STRENGTH]).model_dump()
    return values


def shortened(config: ModelConfig, epochs: int) -> ModelConfig:
    """Return a configuration with at most this number of epochs; 0 for no limit.

    The first phase and the steps of the learning rate keep their share of the epochs.
    """
    if not epochs or epochs >= config.epochs:
        return config
    changes = {"epochs": epochs}
    if config.rate_drop_every:
        changes["rate_drop_every"] = max(1, round(config.rate_drop_every * epochs / config.epochs))
    head = getattr(config, "head_epochs", 0)
    if 0 < head < config.epochs and epochs > 1:
        changes["head_epochs"] = min(max(1, round(head * epochs / config.epochs)), epochs - 1)
    return config.replace(**changes)


def _rate(config: ModelConfig, name: str) -> Dimension:
    """Return the dimension of a learning rate: from a hundredth to ten times the model's own rate."""
    own = getattr(config, name)
    return Dimension(name, float(f"{own / 100:.3g}"), min(float(f"{own * 10:.3g}"), 10.0), log=True, default=own)


def _choice(config: ModelConfig, name: str, values: Sequence[float]) -> Dimension:
    """Return the dimension of the values that are valid for the model: some need a hidden layer, so not 0 units."""
    own = getattr(config, name)
    return Dimension(name, choices=tuple(v for v in sorted({*values, own}) if _valid(config, name, v)), default=own)


def _valid(config: ModelConfig, name: str, value: float) -> bool:
    try:
        config.replace(**{name: value})
    except LeukoBenchError:
        return False
    return True
