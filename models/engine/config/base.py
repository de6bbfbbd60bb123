"""The fields of a configuration: everything that decides what a training run does, in one frozen object."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.imaging.variants import Variant
from data.loading.augmentation_config import Augmentation, Intervention
from data.loading.offline_copies import Offline
from models.engine.config.overrides import validated
from utils.io import files
from utils.runs.run_folder import RANDOM_FEATURES


@dataclass(frozen=True)
class Phase:
    """Consecutive epochs with one learning rate and the base either frozen or trained."""

    name: str
    epochs: int
    learning_rate: float
    base_frozen: bool
    class_weights: bool
    rate_field: str = "learning_rate"  # the field that sets the rate


class ModelConfig(BaseModel):
    """What every model's configuration holds; a model's own Config changes defaults and adds fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), coerce_numbers_to_str=True)

    PROFILES: ClassVar[dict[str, dict[str, Any]]] = {}  # named sets of overrides, such as "demo"
    NEEDS: ClassVar[str] = ""  # optional package that builds the model, as pip calls it
    SMALLEST: ClassVar[int] = 16  # smallest side in pixels that the graph accepts

    model: str = ""  # name of the model's folder
    dataset: str = ""  # folder below data/raw; empty: the only one there, or synthetic smears where there is none
    split: str = ""  # as `split_spec.parse` takes it; empty until training: the dataset's own, else 64/16/20
    split_seed: int = 42  # seed of the split, apart from `seed` so that seeds share one test set
    seed: int = Field(42, ge=0, lt=2**31)  # initial weights, order, augmentation, dropout
    classes: tuple[str, ...] = ()  # class names in probability order; filled in from the manifest
    image_size: int = Field(224, ge=16, le=1024)  # side in pixels that images are resized to
    variant: Variant = Variant()  # applied to every image before the model, in training, evaluation and serving
    batch_size: int = Field(32, ge=1, le=4096)
    epochs: int = Field(20, ge=1, le=10_000)  # at most this many, over all phases
    learning_rate: float = Field(1e-3, gt=0, le=10)  # Adam
    weight_decay: float = Field(0.0, ge=0, lt=1)  # decoupled from the gradient (Loshchilov and Hutter 2019)
    rate_drop_every: int = Field(0, ge=0)  # multiply the rate by rate_drop after this many epochs of a phase; 0: never
    rate_drop: float = Field(0.1, gt=0, le=1)
    warmup_epochs: int = Field(0, ge=0)  # epochs at the start of a phase in which the rate rises to its full value
    cosine: bool = False  # cosine decay after warm-up (Loshchilov and Hutter 2017), down to a hundredth of the rate
    patience: int = Field(10, ge=1)  # epochs without a better validation accuracy before stopping
    dense: int = Field(0, ge=0)  # units of the head's hidden layer; 0: none
    dropout: float = Field(0.5, ge=0, lt=1)
    weights: str = "none"  # initial weights: "imagenet", "none" or a file
    class_weights: bool = False  # weight classes by inverse frequency in the loss
    label_smoothing: float = Field(0.0, ge=0, lt=1)  # share of the label spread over all classes (Szegedy et al. 2016)
    recipe: str = ""  # name of the training recipe (engine/config/recipes.py); "" for none
    augmentation: Augmentation = Augmentation()
    intervention: Intervention = Intervention()  # random changes of stain and background
    offline: Offline = Offline()  # augmented copies of training images, made before training
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    cache_mb: int = Field(400, ge=0)  # keep decoded images in memory below this many megabytes
    heatmap_layer: str = ""  # layer whose activations a heatmap uses; empty: the last one with rows and columns
    heatmap_method: str = "gradcam"  # default method of `explain`

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Keep the bounds of a field whose default a model changes, as with `image_size: int = 128`."""
        parents = [parent for parent in cls.__mro__[1:] if issubclass(parent, ModelConfig)]
        without_bounds = [name for name, field in cls.model_fields.items() if not field.metadata]
        for name in without_bounds:
            bounds = next((p.model_fields[name].metadata for p in parents if name in p.model_fields), [])
            cls.model_fields[name].metadata = list(bounds)
        cls.model_rebuild(force=True)

    @property
    def initialisation(self) -> str:
        """The initial weights as tables name them: "random", "ImageNet" or "file NAME"."""
        if self.weights == "none":
            return "random"
        return "ImageNet" if self.weights == "imagenet" else f"file {Path(self.weights).name}"

    @property
    def flavour(self) -> tuple[str, ...]:
        """How this configuration differs from the model's default one, in words for tables."""
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
        """Return 16 hex digits that identify this configuration."""
        return hashlib.sha256(files.compact(self.model_dump(mode="json")).encode()).hexdigest()[:16]

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with other values.

        Raises:
            LeukoBenchError: a name or value is wrong.
        """
        return validated(type(self), self.model_dump() | changes)


class BackboneConfig(ModelConfig):
    """Configuration of a model with a backbone that can start from pre-trained weights and be frozen."""

    SMALLEST: ClassVar[int] = 32

    weights: str = "imagenet"
    freeze: Literal["auto", "always", "never"] = "auto"  # auto: freeze pre-trained weights, for head_epochs if set
    head_epochs: int = Field(0, ge=0)  # with auto: epochs before the base is unfrozen; 0: it stays frozen
    feature_views: int = Field(0, ge=0, le=10_000)  # augmented views whose frozen features are cached; 0: none
    fine_tune_learning_rate: float = Field(1e-4, gt=0, le=10)  # while the whole network trains
    fine_tune_class_weights: bool = False  # class weights in the phase that follows head_epochs

    @property
    def initialisation(self) -> str:
        """The initial weights as tables name them; a random, frozen base gives "random features"."""
        initial = super().initialisation
        return RANDOM_FEATURES if initial == "random" and self.freeze == "always" else initial

    @property
    def flavour(self) -> tuple[str, ...]:
        """The variant, and "frozen" where the base only extracts features although by default the model trains it."""
        if self.initialisation == RANDOM_FEATURES:
            return (*super().flavour, RANDOM_FEATURES)
        default = type(self).model_construct(model=self.model)
        return super().flavour + (("frozen",) if self._frozen() and not default._frozen() else ())

    def _frozen(self) -> bool:
        """Say whether the base is frozen in every phase."""
        return all(phase.base_frozen for phase in self.phases())

    def phases(self) -> tuple[Phase, ...]:
        """Return one phase (always frozen, or never) or two: the head first, then the whole network."""
        if self.freeze == "never" or (self.freeze == "auto" and self.weights == "none"):
            return (self._whole_network("train", self.epochs),)
        if self.freeze == "auto" and 0 < self.head_epochs < self.epochs:
            return self._head(self.head_epochs), self._whole_network("fine-tune", self.epochs - self.head_epochs)
        return (self._head(self.epochs),)

    def _head(self, epochs: int) -> Phase:
        return Phase("head", epochs, self.learning_rate, True, self.class_weights)

    def _whole_network(self, name: str, epochs: int) -> Phase:
        weighted = self.class_weights or self.fine_tune_class_weights
        return Phase(name, epochs, self.fine_tune_learning_rate, False, weighted, "fine_tune_learning_rate")
