"""Settings of random changes of training images: augmentation, and interventions on stain and background."""

from pydantic import BaseModel, ConfigDict, Field


class Augmentation(BaseModel):
    """Random changes of a training image, drawn again each epoch; zero or false switches one off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flips: bool = False  # left-right and up-down, each with probability one half
    quarter_turns: bool = False  # by 0, 90, 180 or 270 degrees
    rotation: float = Field(0.0, ge=0, le=180)  # at most this many degrees either way
    zoom: float = Field(0.0, ge=0, lt=1)  # scale between 1 - zoom and 1 + zoom
    shift: float = Field(0.0, ge=0, lt=1)  # at most this share of the side, along each axis
    brightness: float = Field(0.0, ge=0, le=1)  # adds at most this share of 255
    contrast: float = Field(0.0, ge=0, lt=1)  # times 1 - contrast to 1 + contrast around the image's mean
    colour: float = Field(0.0, ge=0, lt=1)  # saturation times 1 - colour to 1 + colour, and each channel likewise

    @property
    def active(self) -> bool:
        """Whether any change is switched on."""
        return any(self.model_dump().values())


class Intervention(BaseModel):
    """Probability or strength of changes of stain and background, drawn again each epoch; zero switches one off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    background_swap: float = Field(
        0.0, ge=0, le=1
    )  # probability: put the nucleated cells on the background of another image
    stain_swap: float = Field(0.0, ge=0, le=1)  # probability: use the colour statistics of another training image
    stain_jitter: float = Field(0.0, ge=0, le=1)  # strength: scale and shift the dyes (Tellez et al. 2018)
    hue: float = Field(0.0, ge=0, le=1)  # probability: rotate all hues by one angle
    grey: float = Field(0.0, ge=0, le=1)  # probability: grey, a random mixture of the channels
    exposure: float = Field(0.0, ge=0, lt=1)  # strength: multiply all values by 1 - this to 1 + half of this
    erasing: float = Field(0.0, ge=0, le=1)  # probability: erase up to five small patches (Zhong et al. 2020)

    @property
    def active(self) -> bool:
        """Whether any change is switched on."""
        return any(self.model_dump().values())
