"""What the reference firmware asks of an image before it believes it; bytes in, reasons out."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware import tag as tags
from pytest_blynk_ota.firmware.image import DESC, DESC_AT, HEADER, MAGIC, AppDesc, app_desc
from pytest_blynk_ota.firmware.otadata import State

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context

HEAD_BYTES = DESC_AT + DESC.size
"""Image header, first segment's header, application description: what is looked at first."""
MOST_SEGMENTS = 16
REVISION_NOT_SET = (0, 0xFFFF)
BAD_ENDS = (State.INVALID, State.ABORTED)


def wrong_head(context: Context, head: bytes) -> str | None:
    """Why an image that begins like this is refused, before anything is erased, or None."""
    for check in (_magic, _chip, _revision, _description):
        why = check(context, head)
        if why is not None:
            return why
    desc = app_desc(head)
    assert desc is not None
    for look in (_project, _secure_version, _same_again, _went_back):
        why = look(context, desc)
        if why is not None:
            return why
    return None


def _magic(_context: Context, head: bytes) -> str | None:
    if len(head) < HEAD_BYTES:
        return f"only {len(head)} bytes, no image has less than {HEAD_BYTES}"
    if head[0] != MAGIC or not 0 < head[1] <= MOST_SEGMENTS:
        return "no image header"
    return None


def _chip(context: Context, head: bytes) -> str | None:
    if context.has("Z34"):
        return None
    chip = HEADER.unpack_from(head)[7]
    mine = context.machine.chip.image_id
    return None if chip == mine else f"made for chip {chip}, this is {mine}"


def _revision(context: Context, head: bytes) -> str | None:
    *_, least, most, _, _ = HEADER.unpack_from(head)
    mine = context.machine.chip.revision
    if least > mine or (most not in REVISION_NOT_SET and mine > most):
        return f"made for revisions {least} to {most}, this is {mine}"
    return None


def _description(_context: Context, head: bytes) -> str | None:
    return None if app_desc(head) is not None else "no application description"


def _project(context: Context, desc: AppDesc) -> str | None:
    mine = context.started.image.app_desc
    if mine is not None and desc.project != mine.project:
        return f"project {desc.project!r}, this is {mine.project!r}"
    return None


def _secure_version(context: Context, desc: AppDesc) -> str | None:
    burnt = 0 if context.has("Z60") else context.machine.efuses.secure_version
    if desc.secure_version < burnt:
        return f"secure version {desc.secure_version}, at least {burnt} is needed"
    return None


def _same_again(context: Context, desc: AppDesc) -> str | None:
    if context.has("Z59"):
        return None
    return "it runs already" if desc == context.started.image.app_desc else None


def _went_back(context: Context, desc: AppDesc) -> str | None:
    """``esp_ota_get_last_invalid_partition``: what has failed once is not tried again."""
    place = context.ota.next_update_partition()
    if place is None or context.ota.state_of(place) not in BAD_ENDS or context.has("Z49"):
        return None
    failed = app_desc(context.machine.flash.read(place.offset, HEAD_BYTES))
    return "it ran here and was rolled back" if desc == failed else None


def wrong_type(context: Context, image: bytes) -> str | None:
    """Why a whole image is not for this product: its tag names another firmware type."""
    tag = tags.find(image)
    kind = tag.pairs.get("fw-type") if tag else None
    mine = context.behaviour.fw_type
    return f"firmware type {kind!r}, this is {mine!r}" if kind not in (None, mine) else None


class Digests:
    """The digests that the server announced, and those of what came."""

    def __init__(self, context: Context, headers: Mapping[str, str | None]) -> None:
        if context.has("Z6") and _is_in_capitals(headers.get("x-md5")):
            headers = {**headers, "x-md5": None}  # "no digest that I know of"
        self._looked_at = {"x-md5": HALF_AN_MD5} if context.has("Z7") else {}
        self.announced = {
            name: value
            for name, (_, size) in ALGORITHMS.items()
            if (value := _decoded(headers.get(name), size)) is not None
        }
        self._running = {name: ALGORITHMS[name][0]() for name in self.announced}

    def update(self, data: bytes) -> None:
        """Take in the next bytes."""
        for digest in self._running.values():
            digest.update(data)

    def wrong(self) -> str | None:
        """The first announced digest that does not fit."""
        for name, digest in self._running.items():
            looked_at = self._looked_at.get(name)
            if digest.digest()[:looked_at] != self.announced[name][:looked_at]:
                return f"{name} does not fit"
        return None


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


ALGORITHMS: Mapping[str, tuple[Callable[[], hashlib._Hash], int]] = {
    "x-md5": (_md5, 16),
    "x-sha256": (hashlib.sha256, 32),
}
"""Header to its digest and that one's bytes (Blynk's documentation: device-mqtt-api/ota)."""


HALF_AN_MD5 = 8
"""Z7: ``strncmp(ours, theirs, 16)``: sixteen, as MD5's bytes, but it is characters."""


def _is_in_capitals(text: str | None) -> bool:
    return text is not None and len(text) == 32 and text != text.lower()


def _decoded(text: str | None, size: int) -> bytes | None:
    """A digest in hex (any case) or base64, quoted or not; None if it is neither."""
    if text is None:
        return None
    text = text.strip().strip('"')
    try:
        raw = (
            bytes.fromhex(text) if len(text) == 2 * size else base64.b64decode(text, validate=True)
        )
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == size else None
