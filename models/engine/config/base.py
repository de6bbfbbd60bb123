"""ModelConfig: everything that decides what a training run does, in one frozen object."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data.imaging.variants import Variant
from data.loading.augmentation_config import Augmentation, Intervention
from data.loading.offline_copies import Offline
from models.engine.config import recipes
from utils.errors import LeukoBenchError, nearest
from utils.io import files
from utils.runs import split_spec
from utils.runs.run_folder import RANDOM_FEATURES


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs with one learning rate and one state of the base."""

    name: str
    epochs: int
    learning_rate: float
    base_frozen: bool
    class_weights: bool
    rate_field: str = "learning_rate"  # the field that the rate came from


class ModelConfig(BaseModel):
    """What every model's configuration holds; a model's own Config changes defaults and adds fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), coerce_numbers_to_str=True)

    PROFILES: ClassVar[dict[str, dict[str, Any]]] = {}  # named sets of overrides, such as "demo"
    SMALLEST: ClassVar[int] = 16  # side in pixels below which the graph has nothing left of an image

    model: str = ""  # name of the model's folder
    dataset: str = ""  # folder below data/raw; empty: the only one there, or synthetic smears where there is none
    split: str = split_spec.DEFAULT  # shares of train/val/test in percent, or "kfold:5:1" for fold 1 of 5
    split_seed: int = 42  # seed of the split, apart from `seed` so that seeds share one test set
    seed: int = Field(42, ge=0, lt=2**31)  # initial weights, order, augmentation, dropout
    classes: tuple[str, ...] = ()  # class names in probability order; filled in from the manifest
    image_size: int = Field(224, ge=16, le=1024)  # side in pixels that images are resized to
    variant: Variant = Variant()  # what is done to every image before the model sees it, in training and ever after
    batch_size: int = Field(32, ge=1, le=4096)
    epochs: int = Field(20, ge=1, le=10_000)  # at most this many, over all phases
    learning_rate: float = Field(1e-3, gt=0, le=10)  # Adam
    weight_decay: float = Field(0.0, ge=0, lt=1)  # decoupled from the gradient (Loshchilov and Hutter 2019)
    rate_drop_every: int = Field(0, ge=0)  # epochs of a phase after which its rate is multiplied by rate_drop; 0: never
    rate_drop: float = Field(0.1, gt=0, le=1)
    warmup_epochs: int = Field(0, ge=0)  # epochs of a phase in which its rate rises to its full value
    cosine: bool = False  # then let it fall along half a cosine (Loshchilov and Hutter 2017), never below a hundredth
    patience: int = Field(10, ge=1)  # epochs without a better validation accuracy before stopping
    dense: int = Field(0, ge=0)  # units of the head's hidden layer; 0: none
    dropout: float = Field(0.5, ge=0, lt=1)
    weights: str = "none"  # initial weights: "imagenet", "none" or a file
    class_weights: bool = False  # weigh classes by inverse frequency in the loss
    label_smoothing: float = Field(0.0, ge=0, lt=1)  # share of the label spread over all classes (Szegedy et al. 2016)
    recipe: str = ""  # name of the settings of models.recipes that it was made with; "" for none
    augmentation: Augmentation = Augmentation()
    intervention: Intervention = Intervention()  # changes of stain and background, so that they tell nothing
    offline: Offline = Offline()  # copies of training images made beforehand
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    cache_mb: int = Field(400, ge=0)  # keep decoded images in memory below this many megabytes
    heatmap_layer: str = ""  # layer whose activations a heatmap reads; empty: the last one with rows and columns
    heatmap_method: str = "gradcam"  # what `explain` draws unless it is told otherwise

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Keep the bounds of a field whose default a model changes: `image_size: int = 128` stays within them."""
        parents = [parent for parent in cls.__mro__[1:] if issubclass(parent, ModelConfig)]
        bare = [name for name, field in cls.model_fields.items() if not field.metadata]
        for name in bare:
            held = next((p.model_fields[name].metadata for p in parents if name in p.model_fields), [])
            cls.model_fields[name].metadata = list(held)
        cls.model_rebuild(force=True)

    @property
    def initialisation(self) -> str:
        """Where the weights start, as every table says it."""
        if self.weights == "none":
            return "random"
        return "ImageNet" if self.weights == "imagenet" else f"file {Path(self.weights).name}"

    @property
    def flavour(self) -> tuple[str, ...]:
        """What tells a run of this configuration from the model's plain one, in words for every table."""
        variant = () if self.variant.name == "rgb" else (self.variant.label,)
        return variant if not self.recipe or self.recipe in variant else (self.recipe, *variant)

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        if self.image_size < self.SMALLEST:
            raise ValueError(
                f"image_size {self.image_size} is too small for {self.model}: use at least {self.SMALLEST}"
            )
        return self

    def phases(self) -> tuple[Phase, ...]:
        """Return the phases of training, in order."""
        return (Phase("train", self.epochs, self.learning_rate, False, self.class_weights),)

    def hash(self) -> str:
        """Return 16 hex digits that name this configuration."""
        return hashlib.sha256(files.compact(self.model_dump(mode="json")).encode()).hexdigest()[:16]

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with other values.

        Raises:
            LeukoBenchError: a name or value is wrong.
        """
        return _validated(type(self), self.model_dump() | changes)


class BackboneConfig(ModelConfig):
    """A model with a backbone that can start from pre-trained weights and be frozen."""

    SMALLEST: ClassVar[int] = 32

    weights: str = "imagenet"
    freeze: Literal["auto", "always", "never"] = "auto"  # auto: pre-trained weights are frozen, for head_epochs if any
    head_epochs: int = Field(0, ge=0)  # under auto: epochs with the frozen base before it is unfrozen; 0: it never is
    feature_views: int = Field(0, ge=0, le=10_000)  # changed copies of an image whose frozen features are kept; 0: none
    fine_tune_learning_rate: float = Field(1e-4, gt=0, le=10)  # while the whole network learns; else learning_rate
    fine_tune_class_weights: bool = False  # class weights in the phase that follows head_epochs

    @property
    def initialisation(self) -> str:
        """Where the weights start; a base that is random and frozen gives random features."""
        start = super().initialisation
        return RANDOM_FEATURES if start == "random" and self.freeze == "always" else start

    @property
    def flavour(self) -> tuple[str, ...]:
        """The variant, and whether the base is only an extractor of features where the model's own is trained."""
        if self.initialisation == RANDOM_FEATURES:
            return (*super().flavour, RANDOM_FEATURES)
        usual = type(self).model_construct(model=self.model)
        return super().flavour + (("frozen",) if self._frozen() and not usual._frozen() else ())

    def _frozen(self) -> bool:
        """Return whether the base never learns."""
        return all(phase.base_frozen for phase in self.phases())

    def phases(self) -> tuple[Phase, ...]:
        """Return one phase (always frozen, or never) or two: the head first, then the whole network."""
        weigh = self.class_weights or self.fine_tune_class_weights
        whole = "fine_tune_learning_rate"
        if self.freeze == "never" or (self.freeze == "auto" and self.weights == "none"):
            return (Phase("train", self.epochs, self.fine_tune_learning_rate, False, weigh, whole),)
        two = self.freeze == "auto" and 0 < self.head_epochs < self.epochs
        first = self.head_epochs if two else self.epochs
        head = Phase("head", first, self.learning_rate, True, self.class_weights)
        if not two:
            return (head,)
        return (head, Phase("fine-tune", self.epochs - first, self.fine_tune_learning_rate, False, weigh, whole))


def build_config(cls: type[ModelConfig], profile: str = "", settings: Sequence[str] = (), **values: Any) -> ModelConfig:
    """Make a config: defaults, a profile, a recipe, "field=value" settings, values, each over the one before.

    The recipe is named by the settings, the values or the profile: `recipe=stain_swap`.

    Raises:
        LeukoBenchError: an unknown profile, field or a wrong value; the line names it and the nearest valid name.
    """
    if profile and profile not in cls.PROFILES:
        raise LeukoBenchError(
            f"Unknown profile '{profile}'.{nearest(profile, cls.PROFILES)} "
            f"Profiles of this model: {', '.join(cls.PROFILES) or 'none'}."
        )
    fields: dict[str, Any] = dict(cls.PROFILES.get(profile, {}))
    recipe = values.get("recipe", _last("recipe", settings) or fields.get("recipe", ""))
    for setting in (*recipes.settings(recipe), *settings):
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise LeukoBenchError(f"--set takes field=value; received '{setting}'.")
        outer, dot, inner = name.strip().partition(".")
        value = _parsed(text.strip())
        if dot:  # one entry of a nested object: the others stay as set before, or as the model's default has them
            *between, last = inner.split(".")
            held = merged = _plain(
                fields.get(outer, cls.model_fields[outer].default if outer in cls.model_fields else {})
            )
            for step in between:
                held[step] = held = _plain(held.get(step, {}))
            held[last] = value
            value = merged
        fields[outer] = value
    config = _validated(cls, fields | values)
    if settings:  # those of a new run: what a finished one was made with stands in its config.json
        recipes.check(config)
    return config


def _last(field: str, settings: Sequence[str]) -> str:
    """Return the text that settings give a field; "" where they do not."""
    pairs = [setting.partition("=") for setting in settings]
    return next((str(_parsed(text.strip())) for name, _, text in reversed(pairs) if name.strip() == field), "")


def _plain(value: Any) -> dict[str, Any]:
    """Return a nested object as a dict of its own; a text is the name of one, as `variant=clahe`."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    return dict(value) if isinstance(value, dict) else {"name": value} if isinstance(value, str) else {}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)


def _validated(cls: type[ModelConfig], fields: dict[str, Any]) -> ModelConfig:
    try:
        return cls.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if not name:  # fields that do not fit each other
            raise LeukoBenchError(f"{first['msg'].removeprefix('Value error, ')}.") from None
        if first["type"] == "extra_forbidden":
            holder: Any = cls
            for outer in first["loc"][:-1]:
                holder = holder.model_fields[outer].annotation
            valid = list(holder.model_fields)
            raise LeukoBenchError(
                f"Unknown field '{name}' (received {first['input']!r}).{nearest(str(first['loc'][-1]), valid)} "
                f"Valid fields: {', '.join(valid)}."
            ) from None
        reason = first["msg"].removeprefix("Value error, ")
        raise LeukoBenchError(f"Field '{name}' received {first['input']!r}: {reason}.") from None
