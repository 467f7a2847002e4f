"""A file that comes in a multipart form: counted and hashed, kept nowhere.

A core dump is memory of the device, with its token and its passphrase in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from pytest_blynk_ota.cloud.https_words import (
    MAX_FILE_BYTES,
    NO_FILE,
    NOT_READABLE,
    TOO_LARGE,
    Refusal,
)

FIELD: Final = "upfile"
MAX_FORM_BYTES: Final = MAX_FILE_BYTES + (64 << 10)
"""The file with what stands around it. Our choice."""
MAX_NAME_CHARS: Final = 80
"""Of a file's name, on record. Our choice."""
CHUNK_BYTES: Final = 64 << 10
UNREADABLE: Final = (
    web.RequestPayloadError, HttpProcessingError,
    AssertionError, LookupError, OSError, RuntimeError, ValueError,
)  # fmt: skip
"""What aiohttp's reader raises for a form that is none; a lost connection is an OSError too."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has come.

    Attributes:
        name: as the device calls it; "" if it does not.
        size: bytes.
        sha256: hexadecimal.
    """

    name: str
    size: int
    sha256: str


async def read_upload(request: web.Request) -> Upload:
    """Read the form to its end.

    Raises:
        Refusal: it is none, has no ``upfile`` or more than may be.
        ConnectionError: the device went away.
    """
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise Refusal(TOO_LARGE, 413)
    if request.content_type != "multipart/form-data":
        raise Refusal(NOT_READABLE)
    try:
        return await _read_form(await request.multipart())
    except ConnectionError:
        raise
    except UNREADABLE as error:
        raise Refusal(NOT_READABLE) from error


async def _read_form(form: MultipartReader) -> Upload:
    upload: Upload | None = None
    left = MAX_FORM_BYTES
    while (part := await form.next()) is not None:
        if not isinstance(part, BodyPartReader):
            raise Refusal(NOT_READABLE)  # a form within the form
        size, sha256 = await _read_part(part, left)
        left -= size
        if part.name == FIELD and upload is None:
            upload = Upload((part.filename or "")[:MAX_NAME_CHARS], size, sha256)
    if upload is None:
        raise Refusal(NO_FILE)
    if upload.size > MAX_FILE_BYTES:
        raise Refusal(TOO_LARGE, 413)
    return upload


async def _read_part(part: BodyPartReader, most: int) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    while chunk := await part.read_chunk(CHUNK_BYTES):
        size += len(chunk)
        if size > most:
            raise Refusal(TOO_LARGE, 413)
        digest.update(chunk)
    return size, digest.hexdigest()
