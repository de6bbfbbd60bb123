"""Predict the images of a form: from uploaded bytes to the answers of every chosen model."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from fastapi import Request

from models.engine.export import store as export_store
from utils import heatmap_methods
from utils.errors import LeukoBenchError
from utils.io import files
from webapp.http import multipart_uploads
from webapp.http.client_limits import sender
from webapp.http.multipart_uploads import Form, Upload
from webapp.http.problem_responses import Problem
from webapp.runs.catalogue import Entry
from webapp.runs.interpretation import Answer, agreement, csv_of
from webapp.services import Services
from webapp.workers.image_worker import Seen

Answered = TypeVar("Answered")

NO_HEATMAP, OWN_METHOD = "none", "own"
KEPT = "kept"  # folder of the images that users chose to keep
MOST_KEPT = 2_000  # images; to keep more, import them as a dataset
METHODS = (NO_HEATMAP, OWN_METHOD, *heatmap_methods.names())


@dataclass(frozen=True)
class ImageResult:
    """Result for one upload.

    Attributes:
        seen: the decoded image without its pixels; None where the file could not be used.
        problem: why it could not be used; None where it could.
        answers: of every chosen run, in order.
        maps: heatmaps in 0..1, or the reason why there is none, by run id.
        kept: sentence on what was stored on disk; "" unless requested.
    """

    upload: Upload
    seen: Seen | None = None
    problem: Problem | None = None
    answers: list[Answer] = field(default_factory=list)
    maps: dict[str, "np.ndarray | str"] = field(default_factory=dict)
    kept: str = ""

    @property
    def agreement(self) -> str:
        """Sentence on the agreement of the models."""
        return agreement(self.answers)


@dataclass(frozen=True)
class Question:
    """Content of a form: uploads, runs, and the heatmap method."""

    uploads: list[Upload]
    runs: list[Entry]
    method: str
    keep: bool = False


async def ask(
    request: Request,
    services: Services,
    answer: Callable[[list[ImageResult], str], Answered],
    show: bool = False,
    samples: dict[str, Upload] | None = None,
) -> Answered:
    """Read a form and predict every image with every run in it.

    Args:
        request: with the form as its body.
        services: of the server.
        answer: makes the response from the results and the heatmap method; called in a thread.
        show: also make previews, and store the images where the form says keep=yes.
        samples: images that the form may choose in its field "sample".

    Raises:
        Problem: the form is invalid, too large or too slow, the server is busy, or no image can be used.
    """
    client = sender(request.scope)
    with services.places.share(client, 1), services.budget.share(client) as share:
        form = await multipart_uploads.read(request, services.settings, share)
        question = await asyncio.to_thread(_question, form, services, samples or {}, show)
        looked = []
        try:
            async with asyncio.timeout(services.settings.deadline):
                for upload in question.uploads:  # one at a time, to hold the pixels of one image only
                    looked.append(await _look(upload, question, services, show))
        except TimeoutError:
            raise Problem(
                503,
                "Too slow",
                f"The answer took longer than {services.settings.deadline:.0f} seconds. Choose fewer models or images, "
                "or try again later.",
                retry_after=5,
            ) from None
        _count(looked, services)
        if all(each.problem for each in looked):
            raise looked[0].problem
        return await asyncio.to_thread(answer, looked, question.method)


def _count(looked: list[ImageResult], services: Services) -> None:
    for each in looked:
        services.meters.images.labels("refused" if each.problem else "answered").inc()
        for answer in each.answers:
            outcome = "given" if answer.given else "unlike" if answer.refused else "problem"
            services.meters.answers.labels(outcome).inc()


def _question(form: Form, services: Services, samples: dict[str, Upload], may_keep: bool) -> Question:
    chosen = [samples[name] for name in form.fields.get("sample", []) if name in samples]
    images, most = [*form.images, *chosen], services.settings.images
    if not images:
        raise Problem(422, "No image", "The form has no image. Send one or more files in the field 'images'.")
    if len(images) > most:
        raise Problem(413, "Too many images", f"At most {most} images are accepted in one request.")
    runs = _runs([value.strip() for value in form.fields.get("models", []) if value.strip()], services)
    method = form.first("heatmap", NO_HEATMAP) or NO_HEATMAP
    if method not in METHODS:
        raise Problem(
            422, "Unknown method", f"Received the heatmap method '{method[:40]}'. Valid: {', '.join(METHODS)}."
        )
    return Question(images, runs, method, may_keep and form.first("keep") == "yes")


def _runs(values: Sequence[str], services: Services) -> list[Entry]:
    """Look up the runs of a form; a value may list several, separated by commas."""
    offered, most = services.catalogue.offered(), services.settings.models
    if not offered:
        raise Problem(
            503, "No models", "There is no finished run with weights yet. Train one: python run_guide.py train cnn", 60
        )
    found = []
    for value in values:
        whole = _offered(value, offered)
        names = [value] if whole else [name.strip() for name in value.split(",") if name.strip()]
        found += [whole or _offered(name, offered) or _other(name, offered, services) for name in names]
    found = list({entry.id: entry for entry in found or offered[:most]}.values())
    if len(found) > most:
        raise Problem(422, "Too many models", f"Received {len(found)} models; at most {most} are accepted.")
    return found


def _offered(name: str, offered: Sequence[Entry]) -> Entry | None:
    """Return the run with an id, else the latest with a label, else the latest of a model."""
    for read in (lambda entry: entry.id, lambda entry: entry.label, lambda entry: entry.run.model):
        alike = [entry for entry in offered if read(entry) == name]
        if alike:
            return max(alike, key=lambda entry: entry.run.path.name)
    return None


def _other(name: str, offered: Sequence[Entry], services: Services) -> Entry:
    """Return a run by its id that the page does not offer, such as an older one."""
    if "/" not in name:
        valid = ", ".join(dict.fromkeys(entry.label for entry in offered))
        text = f"Received the model '{name[:80]}'. Valid: {valid}, or the id of a run."
        raise Problem(422, "Unknown model", text)
    entry = services.catalogue.find(name)
    if entry.record is None or not entry.has_weights:
        why = f"is {entry.state}" if entry.record is None else "has no weights here"
        raise Problem(422, "Not usable", f"Run {entry.id} {why}, so it cannot predict.")
    return entry


async def _look(upload: Upload, question: Question, services: Services, show: bool) -> ImageResult:
    named, kept = replace(upload, content=b""), ""
    try:
        async with services.decoders.look(upload, show, question.keep) as seen:
            image = upload.content if seen.pixels is None else seen.pixels
            given = await services.inference.predict(tuple(entry.run for entry in question.runs), image)
            answers = await asyncio.to_thread(services.judge.answers, question.runs, given, seen.statistics)
            answers = [replace(each, runtime=_runtime(each, services)) if each.given else each for each in answers]
            maps = await _maps(answers, image, question.method, services)
            if question.keep:
                text = csv_of(upload.name, answers)
                kept = await asyncio.to_thread(_keep, services.settings.root, seen.kept, text)
    except Problem as problem:
        if problem.status == 503:  # not caused by the image
            raise
        return ImageResult(named, problem=problem)
    return ImageResult(named, replace(seen, pixels=None, kept=b""), None, answers, maps, kept)


def _runtime(answer: Answer, services: Services) -> str:
    return export_store.chosen(answer.entry.run, services.settings.export) or answer.runtime


async def _maps(answers: list[Answer], image: bytes | np.ndarray, method: str, services: Services) -> dict:
    if method == NO_HEATMAP:
        return {}
    asked = "" if method == OWN_METHOD else method
    found: dict[str, np.ndarray | str] = {}
    for answer in answers:
        if answer.given:  # without a class there is nothing to explain
            try:
                found[answer.entry.id], _ = await services.inference.heatmap(answer.entry.run, image, asked)
            except Problem as problem:
                if problem.status == 503:
                    raise
                found[answer.entry.id] = problem.detail
    return found


def _keep(root: Path, png: bytes, table: str) -> str:
    """Store an image with the answers of the models.

    The files are named by the hash of the image; no part of the request becomes part of a path.

    Args:
        root: folder of the runs; the files are written to its folder "kept".
        png: the decoded image without its metadata.
        table: the answers as CSV.

    Returns:
        A sentence on what was stored, or why nothing was.
    """
    folder, name = root / KEPT, hashlib.sha256(png).hexdigest()[:16]
    try:
        if not (folder / f"{name}.png").exists() and sum(1 for _ in folder.glob("*.png")) >= MOST_KEPT:
            return f"Not kept: {KEPT}/ holds {MOST_KEPT:,} images already. Remove some of them first."
        files.write_bytes(folder / f"{name}.png", png)
        files.write_text(folder / f"{name}.csv", table)
    except LeukoBenchError:
        return "Not kept: the server cannot write there."
    return f"Kept on the server as {KEPT}/{name}.png, with its answers as CSV."
