"""What may be changed at random in a training image; how it is done stands in data/pipeline.py."""

from pydantic import BaseModel, ConfigDict, Field


class Augmentation(BaseModel):
    """Random changes of a training image, drawn anew each epoch; a zero or false switches one off."""

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
