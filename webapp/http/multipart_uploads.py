"""Read a multipart upload into memory, holding every limit while the bytes arrive: nothing touches the disk."""

import asyncio
import re
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from webapp.http.memory_limits import Share
from webapp.http.problem_responses import Problem
from webapp.settings import MB, Settings

FIELD_BYTES = 2_000  # of one value that is no file
PARTS = 200  # fields and files together
NAME = 80  # characters of a file name that are kept


@dataclass(frozen=True)
class Upload:
    """One uploaded file: its name as it may be shown, never used as a path, and its bytes."""

    name: str
    content: bytes


@dataclass
class Form:
    """What a form held: files under "images", and the values of its fields in their order."""

    images: list[Upload] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a field."""
        return self.fields.get(name, [default])[0]


async def read(request: Request, settings: Settings, share: Share) -> Form:
    """Read a request's body as multipart/form-data.

    Args:
        request: whose body was not read yet.
        settings: the limits.
        share: of the memory for uploads.

    Raises:
        Problem: 400 no well-formed multipart, 408 too slow, 413 a limit is passed, 415 another type of body, 503.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise Problem(415, "No form", "Send images as multipart/form-data, in fields named 'images'.")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > settings.request_bytes:
        raise _too_large(f"a request of {int(announced[:20]) / MB:,.1f} MB", settings.request_bytes)
    reader = _Reader(settings)
    parser = MultipartParser(boundary, reader.callbacks())
    total = 0
    try:
        async with asyncio.timeout(settings.deadline):
            async for chunk in request.stream():
                total += len(chunk)
                if total > settings.request_bytes:
                    raise _too_large(
                        f"a request of more than {settings.request_bytes // MB} MB", settings.request_bytes
                    )
                share.take(len(chunk))
                parser.write(chunk)
        parser.finalize()
    except TimeoutError:
        raise Problem(408, "Too slow", f"The upload took longer than {settings.deadline:.0f} seconds.") from None
    except ClientDisconnect:
        raise Problem(400, "Broken upload", "The connection ended before the form did.") from None
    except MultipartParseError:
        raise Problem(400, "Broken upload", "The form's parts could not be told apart. Send it again.") from None
    if not reader.complete:
        raise Problem(400, "Broken upload", "The form ended in the middle of a part. Send it again.")
    return reader.form


def shown_name(raw: bytes) -> str:
    """Return a file's name as it may be shown: its last part, without what cannot be printed, at most NAME letters."""
    text = re.split(r"[\\/]", raw.decode("utf-8", "replace"))[-1]
    text = "".join(c if c.isprintable() else " " for c in text).strip()
    return text if len(text) <= NAME else f"{text[: NAME - 1]}…"


def _too_large(what: str, limit: int) -> Problem:
    return Problem(413, "Too large", f"Received {what}; at most {limit / MB:,.0f} MB are taken. Send smaller images.")


class _Reader:
    """Collects the parts that the parser tells of."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.form, self.complete = settings, Form(), False
        self._parts = 0
        self._begin()

    def callbacks(self) -> dict:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value = b"", b""
        self._name, self._file, self._data = "", None, bytearray()
        self._parts += 1
        if self._parts > PARTS:
            raise Problem(413, "Too many parts", f"A form may have {PARTS - 1} parts. Send fewer images at once.")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._short(self._header)

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._short(self._value)

    def _short(self, value: bytes) -> None:
        if len(value) > FIELD_BYTES:
            raise Problem(413, "Too large", f"A header of a part may have {FIELD_BYTES} bytes.")

    def _on_header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")[:NAME]
        self._file = options.get(b"filename")
        if self._file is not None and self._name != "images":
            raise Problem(400, "Unknown field", "Files belong into the field 'images'.")
        if self._file and len(self.form.images) >= self.settings.images:
            raise Problem(413, "Too many images", f"At most {self.settings.images} images are taken in one request.")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        limit = FIELD_BYTES if self._file is None else self.settings.image_bytes
        if len(self._data) + end - start > limit:
            if self._file is None:
                raise Problem(413, "Too large", f"A field may have {FIELD_BYTES} bytes.")
            raise _too_large(f"an image of more than {limit // MB} MB", limit)
        self._data += data[start:end]

    def _on_part_end(self) -> None:
        if self._file is None:
            self.form.fields.setdefault(self._name, []).append(self._data.decode("utf-8", "replace"))
        elif self._file or self._data:  # an empty file field of a form has neither
            self.form.images.append(Upload(shown_name(self._file) or "image", bytes(self._data)))

    def _on_end(self) -> None:
        self.complete = True
