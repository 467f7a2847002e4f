"""One download of the reference firmware: from a URL to a verified image in a slot.

A download may take several requests: after a cut it asks for the rest, and begins again where the
server cannot give that. What has come so far is in the slot and in the digests::

    head checked -> esp_ota_begin -> written as it comes -> length, digests, esp_ota_end, type
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.ota_errors import OtaRefused
from pytest_blynk_ota.virtual.app.ota_ops import SIZE_UNKNOWN
from pytest_blynk_ota.virtual.app.reference_body import (
    PIECE_BYTES,
    Body,
    is_compared,
    least_rate,
    time_limit,
)
from pytest_blynk_ota.virtual.app.reference_checks import (
    HEAD_BYTES,
    Digests,
    wrong_head,
    wrong_type,
)
from pytest_blynk_ota.virtual.app.reference_http import (
    FOR_NOW,
    Answer,
    Client,
    Problem,
    retry_after,
)
from pytest_blynk_ota.virtual.app.reference_slot import erase_in_vain, open_slot, write
from pytest_blynk_ota.virtual.app.reference_switch import end, switch_early, target_slot
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import Partition
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.ota_ops import OtaHandle

RATE_WINDOW_S = 30.0
"""The least rate is asked of each stretch of so many device seconds."""
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")


class Download:
    """What has come of one URL so far.

    Args:
        progress: called with bytes written and bytes in all, 0 if nobody knows.
    """

    def __init__(self, context: Context, url: str, progress: Callable[[int, int], None]) -> None:
        self._context = context
        self._clock = context.machine.clock
        self._behaviour = context.behaviour
        self._url = url
        self._progress = progress
        self._client = Client(context)
        self._limit_s = time_limit(context)
        self._until = self._clock.now() + self._limit_s
        self._target = target_slot(context)
        self._begin_again()

    @property
    def target(self) -> Partition:
        """The slot that an :meth:`attempt` without a problem has filled."""
        assert self._target is not None
        return self._target

    @property
    def time_is_up(self) -> bool:
        """Whether the whole download has taken too long."""
        return self._clock.now() >= self._until

    async def attempt(self) -> bool:
        """One request, and what follows from it up to a verified image in its slot.

        Returns:
            Whether there is one: without a planted bug, always.

        Raises:
            Problem: it did not end well; its ``again`` says whether to call this once more.
        """
        answer = await self._client.get(self._url, self._asking_for_the_rest())
        try:
            await self._take_head(answer)
            if answer.goes_unread:
                return False  # Z4: for (left = http.getSize(); left > 0;)
            await self._take_body(answer)
        finally:
            answer.close()
        await self._finish()
        return True

    # ---- what to ask for, and what the answer is

    def _begin_again(self) -> None:
        """Forget what came: the next byte is the file's first."""
        self._handle: OtaHandle | None = None
        self._held = b""
        self._received = 0
        self._total: int | None = None
        self._validator: str | None = None
        self._digests = Digests(self._context, {})

    def _asking_for_the_rest(self) -> dict[str, str]:
        """Only where a strong validator makes sure that it is the rest of the same file."""
        if self._received == 0 or self._context.has("Z16"):
            return {}
        if self._validator is None:
            self._begin_again()
            return {}
        return {"Range": f"bytes={self._received}-", "If-Range": self._validator}

    async def _take_head(self, answer: Answer) -> None:
        status, asked = answer.head.status, self._received > 0
        if status == 206 and asked:
            self._check_range(answer)
        elif asked and status == 200 and self._goes_on_with_anything:
            return
        elif status == 200 or self._context.has("Z3"):
            if asked:
                self._begin_again()
            await self._take_announcements(answer)
        elif status in FOR_NOW:
            raise Problem(f"status {status}", after_s=retry_after(answer.head))
        elif status == 416 and asked:
            self._begin_again()
            raise Problem("status 416")
        else:
            raise Problem(f"status {status}", again=False)

    @property
    def _goes_on_with_anything(self) -> bool:
        """Z16: nothing was asked for but all of it; Z17: the rest was, and any 2xx will be that."""
        return self._context.has("Z16") or self._context.has("Z17")

    def _check_range(self, answer: Answer) -> None:
        found = CONTENT_RANGE.match(answer.head.one("content-range") or "")
        whole = None if not found or found[3] == "*" else int(found[3])
        if not found or int(found[1]) != self._received or (self._total and whole != self._total):
            self._begin_again()
            raise Problem(f"Content-Range is {answer.head.one('content-range')!r}")

    async def _take_announcements(self, answer: Answer) -> None:
        """Length, validator and digests, as the first answer gives them."""
        head = answer.head
        if (head.one("content-encoding") or "identity").lower() != "identity":
            raise Problem(f"Content-Encoding is {head.one('content-encoding')}", again=False)
        self._total = answer.length
        room = self._target.size if self._target else 0
        fits = self._total is None or HEAD_BYTES <= self._total <= room
        if not fits and not answer.goes_unread:
            await erase_in_vain(self._context, self._target)
            raise Problem(f"{self._total} bytes do not fit: the slot has {room}", again=False)
        etag = head.one("etag")
        self._validator = etag if etag and not etag.startswith("W/") else None
        digests = {name: head.one(name) for name in ("x-md5", "x-sha256")}
        self._digests = Digests(self._context, digests)

    # ---- the body

    async def _take_body(self, answer: Answer) -> None:
        body, rate = Body(self._context, answer), least_rate(self._context)
        window_ends, in_window = self._clock.now() + RATE_WINDOW_S, 0
        while data := await body.piece(self._patience()):
            await self._take(data)
            in_window += len(data)
            now = self._clock.now()
            if self.time_is_up:
                raise Problem(f"not done in {self._limit_s:g} s", again=False)
            if now >= window_ends:
                if in_window < rate * RATE_WINDOW_S:
                    raise Problem(f"{in_window} bytes in {RATE_WINDOW_S:g} s are too few")
                window_ends, in_window = now + RATE_WINDOW_S, 0

    def _patience(self) -> float:
        return max(min(self._behaviour.stall_s, self._until - self._clock.now()), 0.0)

    async def _take(self, data: bytes) -> None:
        """Keep what came, and write each whole piece: so the flash sees the same operations
        however the network cuts the file.
        """
        self._digests.update(data)
        self._received += len(data)
        self._held += data
        if self._handle is None:
            if len(self._held) < HEAD_BYTES:
                return
            self._handle = await self._open(self._held)
        if self._received == self._total:
            await switch_early(self._context, self._handle.target)
        whole = len(self._held) - len(self._held) % PIECE_BYTES
        if whole == len(self._held) and self._context.has("Z26"):
            whole -= PIECE_BYTES  # a full block waits for the first byte of the next one
        await self._write(self._handle, whole)
        self._progress(self._received, self._total or 0)

    async def _write(self, handle: OtaHandle, size: int) -> None:
        """The first bytes of those held."""
        data, self._held = self._held[:size], self._held[size:]
        try:
            await write(self._context, handle, data)
        except OtaRefused as refusal:
            raise Problem(f"esp_ota_write: {refusal}", again=False) from None

    async def _open(self, head: bytes) -> OtaHandle:
        """Look at the head, then make room: nothing is erased for an image that cannot run."""
        why = wrong_head(self._context, head[:HEAD_BYTES])
        if why is not None:
            raise Problem(f"refused: {why}", again=False)
        if not self._context.behaviour.allocates(SECTOR_BYTES):
            raise Problem("no memory for a buffer")
        try:
            size = SIZE_UNKNOWN if self._total is None else self._total
            return await open_slot(self._context, self._target, size)
        except OtaRefused as refusal:
            raise Problem(f"esp_ota_begin: {refusal}", again=False) from None

    # ---- the end

    async def _finish(self) -> None:
        short = self._total is not None and self._received != self._total
        if short and is_compared(self._context):
            again = not self._context.has("Z1")  # all that came: there cannot be more of it
            raise Problem(f"{self._received} of {self._total} bytes", again=again)
        handle = self._handle
        if handle is None:
            raise Problem(f"only {self._received} bytes", again=False)
        await self._write(handle, self._last_bytes())
        await self._verify(handle)

    def _last_bytes(self) -> int:
        """How many of those held are written at the end: all of them."""
        if self._context.has("Z25"):
            return 0  # only full blocks ever are
        return len(self._held) % PIECE_BYTES if self._context.has("Z26") else len(self._held)

    async def _verify(self, handle: OtaHandle) -> None:
        """Digests first: they tell a bad transfer, which is worth another try, from a bad file."""
        wrong = None if self._context.has("Z35") else self._digests.wrong()
        if wrong is not None:
            self._begin_again()
            raise Problem(wrong)
        try:
            await end(self._context, handle)
        except OtaRefused as refusal:
            raise Problem(f"esp_ota_end: {refusal}", again=False) from None
        image = self._context.machine.flash.read(handle.target.offset, self._received)
        why = wrong_type(self._context, image)
        if why is not None:
            raise Problem(f"refused: {why}", again=False)
