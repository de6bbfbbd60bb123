"""Read a multipart upload into memory under the server's limits; nothing is written to disk."""

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from fastapi import Request, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from webapp.http.client_limits import Share
from webapp.http.problem_responses import Problem
from webapp.settings import MB, Settings

FIELD_BYTES = 2_000  # of one value that is no file
PARTS = 200  # fields, and as many files
NAME = 80  # characters of a file name that are kept


@dataclass(frozen=True)
class Upload:
    """One uploaded file: its name for display, never used as a path, and its bytes."""

    name: str
    content: bytes


@dataclass
class Form:
    """Content of a form: the files of the field "images", and the values of the other fields in their order."""

    images: list[Upload] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a field."""
        return self.fields.get(name, [default])[0]


class _InMemoryParser(MultiPartParser):
    """Starlette's parser; it keeps files of any size in memory and knows whether the form had its end mark."""

    spool_max_size = 0  # no limit: a file never moves to disk; the size of the request is limited instead
    complete = False

    def on_end(self) -> None:
        self.complete = True


async def read(request: Request, settings: Settings, share: Share) -> Form:
    """Read a request's body as multipart/form-data.

    The size of the request is checked while the bytes arrive, that of each image and field afterwards.

    Args:
        request: its body was not read yet.
        settings: the limits.
        share: share of the memory for uploads.

    Raises:
        Problem: 400 malformed multipart, 408 too slow, 413 above a limit, 415 another type of body, 503 no memory.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Problem(415, "No form", "Send images as multipart/form-data, in fields named 'images'.")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > settings.request_bytes:
        raise _too_large(f"a request of {int(announced[:20]) / MB:,.1f} MB", settings.request_bytes)
    try:
        async with asyncio.timeout(min(settings.deadline, settings.upload_grace)) as limit:
            parser = _InMemoryParser(
                request.headers,
                _limited(request, settings, share, limit),
                max_files=PARTS,
                max_fields=PARTS,
                max_part_size=settings.request_bytes,
            )
            found = await parser.parse()
    except TimeoutError:
        raise Problem(
            408,
            "Too slow",
            f"The upload took longer than {settings.deadline:.0f} seconds, or was slower than "
            f"{settings.upload_rate / 1e3:g} kB a second.",
        ) from None
    except ClientDisconnect:
        raise Problem(400, "Broken upload", "The connection ended before the form did.") from None
    except MultiPartException as error:
        raise Problem(400, "Broken upload", f"{error.message} Check the form and send it again.") from None
    except UnicodeError:  # a charset of the sender's choice
        raise Problem(400, "Broken upload", "The form's charset does not fit its text. Send UTF-8.") from None
    if not parser.complete:
        raise Problem(400, "Broken upload", "The form ended in the middle of a part. Send it again.")
    return await _checked(found.multi_items(), settings)


async def _limited(
    request: Request, settings: Settings, share: Share, limit: asyncio.Timeout
) -> AsyncGenerator[bytes, None]:
    """Yield a request's body; count its bytes against the limits of size and memory, and move the limit of time."""
    total, begun = 0, asyncio.get_running_loop().time()
    async for chunk in request.stream():
        total += len(chunk)
        if total > settings.request_bytes:
            raise _too_large(f"a request of more than {settings.request_bytes // MB} MB", settings.request_bytes)
        share.take(len(chunk))
        allowed = settings.upload_grace + total / settings.upload_rate
        limit.reschedule(begun + min(settings.deadline, allowed))
        yield chunk


async def _checked(items: list[tuple[str, UploadFile | str]], settings: Settings) -> Form:
    """Check the fields and files of a form against the limits and return them."""
    form = Form()
    for name, value in items:
        if isinstance(value, str):
            if len(value.encode("utf-8", "replace")) > FIELD_BYTES:
                raise Problem(413, "Too large", f"A field may have {FIELD_BYTES} bytes.")
            form.fields.setdefault(name[:NAME], []).append(value)
            continue
        if name != "images":
            raise Problem(400, "Unknown field", f"Received a file in the field '{shown_name(name)}'. Valid: 'images'.")
        if value.size > settings.image_bytes:
            raise _too_large(f"an image of more than {settings.image_bytes // MB} MB", settings.image_bytes)
        if value.filename or value.size:  # a form's empty file field has neither
            form.images.append(Upload(shown_name(value.filename) or "image", await value.read()))
        await value.close()
    if len(form.images) > settings.images:
        raise Problem(413, "Too many images", f"At most {settings.images} images are accepted in one request.")
    return form


def shown_name(text: str) -> str:
    """Return a file's name for display: its last part, without unprintable characters, at most NAME characters."""
    text = re.split(r"[\\/]", text)[-1]
    text = "".join(c if c.isprintable() else " " for c in text).strip()
    return text if len(text) <= NAME else f"{text[: NAME - 1]}…"


def _too_large(what: str, limit: int) -> Problem:
    return Problem(
        413, "Too large", f"Received {what}; at most {limit / MB:,.0f} MB are accepted. Send smaller images."
    )
