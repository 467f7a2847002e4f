"""ESP-IDF's esp_https_ota(): from a URL to the slot that boots next.

Rules of esp_https_ota.c, without its options (no resumption, no partial download)::

    GET, redirections followed for ever -> status below 400 -> esp_ota_begin (sectors erased as they
    are reached) -> 1 KB, in which chip and revision are checked -> the rest -> esp_ota_end ->
    esp_ota_set_boot_partition

There is no limit on time: after 5 s without a byte it waits again, so a stall never ends while TCP
itself is well. The digest is the image's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import HEADER
from pytest_blynk_ota.firmware.imagecheck import REVISION_NOT_SET
from pytest_blynk_ota.virtual.app.dial import roots_of
from pytest_blynk_ota.virtual.app.esp_http_client import (
    FAIL,
    NAMES,
    EspError,
    EspHttpClient,
    ReadTimedOut,
)
from pytest_blynk_ota.virtual.app.ota_errors import OtaRefused
from pytest_blynk_ota.virtual.app.ota_ops import SEQUENTIAL_WRITES
from pytest_blynk_ota.virtual.boot.bootlog import error, info
from pytest_blynk_ota.virtual.network.tls import Trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.ota_ops import OtaHandle

TAG = "esp_https_ota"
HEADER_BYTES = BUFFER_BYTES = 1024
"""IMAGE_HEADER_SIZE, DEFAULT_OTA_BUF_SIZE."""
DRAIN_BYTES = 256
INVALID_VERSION, NOT_MODIFIED, RANGE_NOT_SATISFIABLE = 0x10A, 0x7009, 0x700A
BUFFER_BYTES = 1024
"""DEFAULT_OTA_BUF_SIZE: IMAGE_HEADER_SIZE."""
NO_MEM = 0x101
"""ESP_ERR_NO_MEM."""
REDIRECTIONS = (301, 302, 303, 307, 308)


async def esp_https_ota(
    context: Context, url: str, progress: Callable[[int, int], None] = lambda done, total: None
) -> int:
    """Fetch ``url`` and make it boot next; 0, or the ``esp_err_t``.

    Args:
        progress: called with bytes written and bytes announced (0: not known).
    """
    ota = _Ota(context, url, progress)
    try:
        await ota.run()
    except EspError as failure:
        return failure.code
    except OtaRefused as refused:
        return refused.error.code
    finally:
        ota.client.halt()
    return 0


class _Ota:
    def __init__(self, context: Context, url: str, progress: Callable[[int, int], None]) -> None:
        self._context = context
        self._log = context.log
        self._progress = progress
        trust = Trust(roots_of(context), dates=context.behaviour.cert_dates)
        self.client = EspHttpClient(context.machine, context.log, url, trust)

    async def run(self) -> None:
        """Raises EspError or OtaRefused: it has failed and is cleaned up."""
        try:
            await self._begin()
            handle = await self._first()
            await self._rest(handle)
            await handle.end()
            try:
                await self._context.ota.choose(handle.target)
            except OtaRefused as refused:
                self._complain(f"esp_ota_set_boot_partition failed! err=0x{refused.error.code:x}")
                raise
        finally:
            self.client.close()

    async def _begin(self) -> None:
        try:
            await self._connect()
        except EspError as failure:
            if failure.code != NOT_MODIFIED:
                self._complain("Failed to establish HTTP connection")
            raise
        self._tell("Starting OTA...")
        target = self._context.ota.next_update_partition()
        if target is None:
            self._complain("Passive OTA partition not found")
            raise EspError(FAIL)
        self._tell(f"Writing to <{target.label}> partition at offset 0x{target.offset:x}")
        if not self._context.behaviour.allocates(BUFFER_BYTES):
            self._complain("Couldn't allocate memory to upgrade data buffer")
            raise EspError(NO_MEM)

    async def _connect(self) -> None:
        """``_http_connect()``: redirections are followed without a limit, at once."""
        while True:
            try:
                await self.client.open()
            except EspError as failure:
                name = NAMES.get(failure.code, "ERROR")
                self._complain(f"Failed to open HTTP connection: {name}")
                raise
            await self.client.fetch_headers()
            if self.client.status not in REDIRECTIONS:
                break
            await self._redirect()
        self._judge(self.client.status)

    async def _redirect(self) -> None:
        """What is left of the body may meet the next request: nobody looks why reading ends."""
        try:
            self.client.redirect()
        except EspError:
            self._complain("URL redirection Failed")
            raise
        try:
            while await self.client.read(DRAIN_BYTES):
                pass
        except (ReadTimedOut, EspError):
            return

    def _judge(self, status: int) -> None:
        if status == 304:
            self._tell(f"OTA image not modified since last request (status code: {status})")
            raise EspError(NOT_MODIFIED)
        if status == 416:
            self._tell(f"Requested range is incorrect (status code: {status})")
            raise EspError(RANGE_NOT_SATISFIABLE)
        if status == 401:
            self._complain("Authorization Failed")
        elif status in (403, 404):
            self._complain(f"File not found({status})")
        elif 400 <= status < 500:
            self._complain(f"Client error ({status})")
        elif status >= 500:
            self._complain(f"Server error ({status})")
        else:
            return
        raise EspError(FAIL)

    async def _first(self) -> OtaHandle:
        """``ESP_HTTPS_OTA_BEGIN``: the slot, and the first kilobyte."""
        ota = self._context.ota
        try:
            handle = await ota.begin(ota.next_update_partition(), SEQUENTIAL_WRITES)
        except OtaRefused as refused:
            self._complain(f"esp_ota_begin failed ({refused.error})")
            raise
        head = b""
        while len(head) < HEADER_BYTES and not self.client.complete:
            try:
                head += await self.client.read(HEADER_BYTES - len(head))
            except ReadTimedOut:
                continue
            except EspError:
                self._complain("Connection closed, errno = 128")
                break
        if len(head) < HEADER_BYTES:
            self._complain("Complete headers were not received")
            raise EspError(FAIL)
        self._check_chip(head)
        await self._write(handle, head)
        return handle

    def _check_chip(self, head: bytes) -> None:
        """``bootloader_common_check_chip_validity()``."""
        chip = self._context.machine.chip
        *_, image_chip, _, least, most, _, _ = HEADER.unpack_from(head)
        wanted = CHIPS[chip.name].image_id
        if image_chip != wanted:
            text = f"mismatch chip ID, expected {wanted}, found {image_chip}"
            self._log.idf([error("boot_comm", text)])
            raise EspError(INVALID_VERSION)
        for asked, broken in ((least, chip.revision < least), (most, chip.revision > most)):
            if broken and asked not in REVISION_NOT_SET:
                self._log.idf([error("boot_comm", "chip revision check failed.")])
                raise EspError(INVALID_VERSION)

    async def _rest(self, handle: OtaHandle) -> None:
        while True:
            try:
                data = await self.client.read(BUFFER_BYTES)
            except ReadTimedOut:
                continue
            except EspError:
                self._complain("data read -1, errno 128")
                raise
            if not data:
                return
            await self._write(handle, data)

    async def _write(self, handle: OtaHandle, data: bytes) -> None:
        try:
            await handle.write(data)
        except OtaRefused as refused:
            self._complain(f"Error: esp_ota_write failed! err=0x{refused.error.code:x}")
            raise
        self._progress(handle.written, self.client.length or 0)

    def _tell(self, text: str) -> None:
        self._log.idf([info(TAG, text)])

    def _complain(self, text: str) -> None:
        self._log.idf([error(TAG, text)])
