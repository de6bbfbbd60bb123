"""What `tune` searches: which fields of a configuration, between which limits, and how a number becomes settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.loading.augmentation_config import Augmentation
from models.engine.config.base import ModelConfig
from utils.errors import LeukoBenchError

if TYPE_CHECKING:
    import optuna

STRENGTH = "augmentation"  # one number for the whole of the augmentation
WIDTHS = (0, 64, 128, 256, 512)  # units of the head's hidden layer
DECAYS = (0.0, 1e-5, 1e-4, 1e-3)
MOST_DROPOUT = 0.7


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched.

    Attributes:
        name: of the field; "augmentation" stands for its strength in 0..1.
        low, high: limits of a number; both 0 where `choices` are given.
        log: whether a number is drawn on a logarithmic scale.
        choices: the values of a field that has few.
        default: what the model has now; None where that is outside the search.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[float, ...] = ()
    default: float | None = None

    def suggest(self, trial: "optuna.Trial") -> None:
        """Draw a value into an Optuna trial."""
        if self.choices:
            trial.suggest_categorical(self.name, self.choices)
        elif self.name == STRENGTH:
            trial.suggest_float(self.name, self.low, self.high, step=0.1)  # so that none at all is among them
        else:
            trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def rounded(self, value: float) -> float:
        """Return a drawn value in the few digits that matter, as it is trained and written."""
        if self.choices:
            return value
        return float(f"{value:.3g}") if self.log else round(value, 2)


def augmentation(strength: float) -> Augmentation:
    """Return the augmentation of a strength: 0 is none, 1 is the strongest that leaves a smear a smear.

    Above 0, flips and quarter turns are on, since a smear has no upside. The rest grows in proportion, up to 30 degrees
    of rotation, 20 % of zoom, 10 % of shift, 20 % of brightness, 30 % of contrast and 20 % of colour.
    """
    if not 0 <= strength <= 1:
        raise LeukoBenchError(f"The strength of the augmentation is a number from 0 to 1; received {strength}.")
    turned = strength > 0
    sizes = {"rotation": 30, "zoom": 0.2, "shift": 0.1, "brightness": 0.2, "contrast": 0.3, "colour": 0.2}
    most = {name: round(size * strength, 4) for name, size in sizes.items()}
    return Augmentation(flips=turned, quarter_turns=turned, **most)


def dimensions(config: ModelConfig, settings: Sequence[str] = ()) -> tuple[Dimension, ...]:
    """Return what can be searched for a configuration: the rates of its phases, dropout, head, decay, augmentation.

    Args:
        config: of one trial; only rates that one of its phases uses are searched.
        settings: "field=value" texts as `--set` takes them: what a person has set is not searched.

    Raises:
        LeukoBenchError: nothing is left to search.
    """
    found = [_rate(config, name) for name in dict.fromkeys(phase.rate_field for phase in config.phases())]
    fits = config.dropout <= MOST_DROPOUT
    found.append(Dimension("dropout", 0.0, MOST_DROPOUT, default=config.dropout if fits else None))
    found.append(_choice(config, "dense", WIDTHS))
    found.append(_choice(config, "weight_decay", DECAYS))
    found.append(Dimension(STRENGTH, 0.0, 1.0, default=None if config.augmentation.active else 0.0))
    held = {setting.partition("=")[0].partition(".")[0].strip() for setting in settings}
    left = tuple(each for each in found if each.name not in held)
    if not left:
        names = ", ".join(each.name for each in found)
        raise LeukoBenchError(f"There is nothing left to search: --set gives {names}. Leave one of them out.")
    return left


def fields(space: Sequence[Dimension], drawn: Mapping[str, float]) -> dict[str, Any]:
    """Return the fields of a configuration for drawn values, as JSON holds them."""
    values = {each.name: each.rounded(drawn[each.name]) for each in space}
    if STRENGTH in values:
        values[STRENGTH] = augmentation(values[STRENGTH]).model_dump()
    return values


def shortened(config: ModelConfig, epochs: int) -> ModelConfig:
    """Return a configuration with at most so many epochs; 0 leaves it as it is.

    The phase of the head alone and the drops of the rate keep their share of them, so that none is left out.
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
    """Search from a hundredth to ten times the model's own rate."""
    own = getattr(config, name)
    return Dimension(name, float(f"{own / 100:.3g}"), min(float(f"{own * 10:.3g}"), 10.0), log=True, default=own)


def _choice(config: ModelConfig, name: str, values: Sequence[float]) -> Dimension:
    """Search the values that the model takes: a head that must have a hidden layer refuses 0 units."""
    own = getattr(config, name)
    return Dimension(name, choices=tuple(v for v in sorted({*values, own}) if _takes(config, name, v)), default=own)


def _takes(config: ModelConfig, name: str, value: float) -> bool:
    try:
        config.replace(**{name: value})
    except LeukoBenchError:
        return False
    return True
