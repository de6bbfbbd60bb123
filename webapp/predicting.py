"""One upload, from its bytes to the answers of every model that was asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from fastapi import Request

from utils import heatmap_methods
from webapp import keeping, uploads
from webapp.answers import Answer, agreement, names
from webapp.catalogue import Entry
from webapp.decoding import Seen
from webapp.problems import Problem
from webapp.services import Services
from webapp.uploads import Form, Upload

NO_HEATMAP, OWN_METHOD = "none", "own"
METHODS = (NO_HEATMAP, OWN_METHOD, *heatmap_methods.names())


@dataclass(frozen=True)
class Looked:
    """What is known of one upload.

    Attributes:
        seen: None where the file could not be used; without the pixels, which are gone once the models have answered.
        problem: why it could not; None where it could.
        answers: of every run that was asked, in that order.
        maps: heatmaps in 0..1, or why there is none, by run id.
        kept: what was kept of it on the disk, in a sentence; "" where that was not asked for.
    """

    upload: Upload
    seen: Seen | None = None
    problem: Problem | None = None
    answers: list[Answer] = field(default_factory=list)
    maps: dict[str, "np.ndarray | str"] = field(default_factory=dict)
    kept: str = ""

    @property
    def agreement(self) -> str:
        """How far the models agree, in a sentence."""
        return agreement(self.answers)


@dataclass(frozen=True)
class Question:
    """What a form asks: uploads, runs, and the method of the heatmaps."""

    uploads: list[Upload]
    runs: list[Entry]
    method: str
    keep: bool = False


async def ask(
    request: Request, services: Services, show: bool, samples: dict[str, Upload] | None = None
) -> tuple[list[Looked], Form]:
    """Read a form and answer it: every image by every run that it names.

    Args:
        request: whose body holds the form.
        services: of the server.
        show: also make what the page shows of each image.
        samples: images that the form may name in its field "sample".

    Returns:
        What is known of each image, and the form.

    Raises:
        Problem: the form is not valid, too large or too slow, or too much waits. A single image that cannot be used
            is a problem of its own; of several, each says so in its `Looked`.
    """
    with services.place(), services.budget.share() as share:
        form = await uploads.read(request, services.settings, share)
        question = await asyncio.to_thread(_question, form, services, samples or {})
        try:
            async with asyncio.timeout(services.settings.deadline):
                # One after another: so only one image of a request is in memory with all its pixels.
                looked = [await _look(upload, question, services, show) for upload in question.uploads]
        except TimeoutError:
            raise Problem(
                503, "Too slow",
                f"The answer took longer than {services.settings.deadline:.0f} seconds. Ask fewer models or images, "
                "or try again later.", retry_after=5,
            ) from None  # fmt: skip
    for each in looked:
        services.meters.images.labels("refused" if each.problem else "answered").inc()
        for answer in each.answers:
            outcome = "given" if answer.given else "unlike" if answer.refused else "problem"
            services.meters.answers.labels(outcome).inc()
    if all(each.problem for each in looked):
        raise looked[0].problem
    return looked, form


def _question(form: Form, services: Services, samples: dict[str, Upload]) -> Question:
    chosen = [samples[name] for name in form.fields.get("sample", []) if name in samples]
    images = [*form.images, *chosen][: services.settings.images]
    if not images:
        raise Problem(422, "No image", "The form holds no image. Send one or more files in the field 'images'.")
    names = [name.strip() for value in form.fields.get("models", []) for name in value.split(",") if name.strip()]
    runs = _runs(list(dict.fromkeys(names)), services)
    method = form.first("heatmap", NO_HEATMAP) or NO_HEATMAP
    if method not in METHODS:
        raise Problem(
            422, "Unknown method", f"Received the heatmap method '{method[:40]}'. Valid: {', '.join(METHODS)}."
        )
    return Question(images, runs, method, bool(form.first("keep")))


def _runs(names: Sequence[str], services: Services) -> list[Entry]:
    """Look up the runs of a form: by id, or by the model's name or label among those that the page offers."""
    offered, most = services.catalogue.offered(), services.settings.models
    if not offered:
        raise Problem(
            503, "No models", "No finished run with weights is there yet. Train one: python run_guide.py train cnn", 60
        )
    if not names:
        return offered[:most]
    if len(names) > most:
        raise Problem(422, "Too many models", f"Received {len(names)} models; at most {most} are asked at once.")
    found = []
    for name in names:
        entry = next((e for e in offered if name in (e.id, e.label)), None)
        entry = entry or next((e for e in offered if name == e.run.model), None)
        if entry is None and "/" in name:
            entry = services.catalogue.find(name)
            if entry.record is None or not entry.has_weights:
                raise Problem(
                    422, "Not usable", f"Run {entry.id} is {entry.state} or has no weights; it cannot predict."
                )
        if entry is None:
            valid = ", ".join(dict.fromkeys(e.label for e in offered))
            raise Problem(
                422, "Unknown model", f"Received the model '{name[:80]}'. Valid: {valid}, or the id of a run."
            )
        found.append(entry)
    return list({entry.id: entry for entry in found}.values())


async def _look(upload: Upload, question: Question, services: Services, show: bool) -> Looked:
    try:
        seen = await services.decoders.look(upload, show, question.keep)
        image = seen.pixels if seen.pixels is not None else seen.content
        async with services.room.hold(seen.width * seen.height * 3):
            given = await services.inference.predict(tuple(entry.run for entry in question.runs), image)
            named = names(question.runs)
            answers = [
                services.judge.answer(entry, named[entry.id], each, seen.statistics)
                for entry, each in zip(question.runs, given, strict=True)
            ]
            maps = await _maps(answers, image, question.method, services)
    except Problem as problem:
        if problem.status == 503:  # not the image's fault
            raise
        return Looked(upload, problem=problem)
    kept = ""
    if question.keep:
        rows = [answer.row(upload.name) for answer in answers]
        kept = await asyncio.to_thread(keeping.keep, services.settings.root, seen.kept, rows)
    return Looked(upload, replace(seen, pixels=None, content=b"", kept=b""), None, answers, maps, kept)


async def _maps(answers: list[Answer], image: bytes | np.ndarray, method: str, services: Services) -> dict:
    if method == NO_HEATMAP:
        return {}
    asked = "" if method == OWN_METHOD else method
    found: dict[str, np.ndarray | str] = {}
    for answer in answers:
        if answer.given:  # where there is no class there is nothing to explain
            try:
                found[answer.entry.id], _ = await services.inference.heatmap(answer.entry.run, image, asked)
            except Problem as problem:
                if problem.status == 503:
                    raise
                found[answer.entry.id] = problem.detail
    return found
