"""Response of POST /api/v1/predict as pydantic models, the source of the OpenAPI document."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from utils.text import NOTICE
from webapp.http.problem_responses import ProblemBody
from webapp.predict.service import OWN_METHOD, ImageResult
from webapp.runs.interpretation import Answer

EXAMPLE = "cnn/20260101T000000Z-0123abcd"


class HonestScore(BaseModel):
    """Reliability of the run."""

    split: str = Field(description="Split of the images, as in the run's configuration.", examples=["64/16/20"])
    test_accuracy: float = Field(description="On the run's own test images, 0..1.")
    test_images: int
    stain_swap_accuracy: float | None = Field(
        description="On the same images with the stain of another class; null where not measured."
    )
    stain_flip_rate: float | None = Field(description="Share of answers that changed to that class.")
    trained_on_stain_swap: bool


class Heatmap(BaseModel):
    """Heatmap of the predicted class."""

    method: str
    width: int
    height: int
    png: str = Field(description="Base64 of a grey PNG, 255 at the maximum; it covers the whole image.")


class ModelAnswer(BaseModel):
    """Answer of one run for one image."""

    run: str = Field(examples=[EXAMPLE])
    label: str
    predicted: str | None = Field(description="Predicted class; null where there is none.")
    probability: float | None
    probabilities: dict[str, float] | None = Field(description="Of every class, 0..1.")
    calibrated: bool = Field(description="Whether the probabilities are temperature-scaled.")
    prediction_sets: dict[str, list[str]] = Field(
        description="Conformal prediction set by nominal coverage.", examples=[{"0.90": ["Early"]}]
    )
    set_coverage: dict[str, float] = Field(
        description="By nominal coverage, the share of test images whose set contains the true class."
    )
    refused: str | None = Field(description="Why there is no class: the image differs from the training images.")
    problem: str | None = Field(description="Why the run could not predict.")
    runtime: str | None = Field(
        description="keras, or the export that computed the answer; null where there is no class.",
        examples=["onnx-int8"],
    )
    distance: float | None = Field(description="Distance from the training images, whose mean is 1.")
    limit: float | None = Field(description="Distance above which the image is refused.")
    honest: HonestScore | None
    heatmap: Heatmap | None = None
    heatmap_problem: str | None = None


class ImageAnswer(BaseModel):
    """Answers for one image."""

    name: str
    problem: ProblemBody | None = Field(description="Why the file could not be used; null where it could.")
    width: int | None = None
    height: int | None = None
    changes: list[str] = Field(default=[], description="Conversions to plain 8-bit RGB.")
    agreement: str = ""
    answers: list[ModelAnswer] = []


class Prediction(BaseModel):
    """Answers for all images of a request."""

    notice: str = NOTICE
    images: list[ImageAnswer]


def prediction(results: Sequence[ImageResult], method: str) -> Prediction:
    """Return the results as the response of the API."""
    return Prediction(images=[_image(each, method) for each in results])


def _image(each: ImageResult, method: str) -> ImageAnswer:
    if each.problem is not None:
        body = ProblemBody(title=each.problem.title, status=each.problem.status, detail=each.problem.detail)
        return ImageAnswer(name=each.upload.name, problem=body)
    return ImageAnswer(
        name=each.upload.name,
        problem=None,
        width=each.seen.width,
        height=each.seen.height,
        changes=list(each.seen.changes),
        agreement=each.agreement,
        answers=[_answer(answer, each.maps.get(answer.entry.id), method) for answer in each.answers],
    )


def _answer(answer: Answer, values: "np.ndarray | str | None", method: str) -> ModelAnswer:
    honest = answer.facts.honest if answer.facts else None
    return ModelAnswer(
        run=answer.entry.id,
        label=answer.entry.label,
        predicted=answer.predicted or None,
        probability=answer.probability,
        probabilities=answer.probabilities,
        calibrated=answer.given and answer.facts.temperature is not None,
        prediction_sets=answer.sets or {},
        set_coverage=answer.facts.coverage if answer.facts else {},
        refused=answer.refused or None,
        problem=answer.problem or None,
        distance=answer.distance,
        limit=answer.limit,
        runtime=answer.runtime if answer.given else None,
        honest=honest
        and HonestScore(
            split=honest.split,
            test_accuracy=honest.accuracy,
            test_images=honest.images,
            stain_swap_accuracy=honest.stain_swap,
            stain_flip_rate=honest.flip_rate,
            trained_on_stain_swap=honest.taught,
        ),
        heatmap=_heatmap(values, _method(answer, method)) if isinstance(values, np.ndarray) else None,
        heatmap_problem=values if isinstance(values, str) else None,
    )


def _method(answer: Answer, method: str) -> str:
    """Return the name of the heatmap method, also for the run's own."""
    return answer.entry.config["heatmap_method"] if method == OWN_METHOD else method


def _heatmap(values: np.ndarray, method: str) -> Heatmap:
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(np.round(values * 255).astype(np.uint8)).save(png, "PNG")
    height, width = values.shape
    return Heatmap(method=method, width=width, height=height, png=base64.b64encode(png.getvalue()).decode())
