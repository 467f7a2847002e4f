"""Old Edgent's download (OTA.h): one GET with HTTPClient, written by Arduino's Update."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app import http_get
from pytest_blynk_ota.virtual.app.update import Update

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context


async def upgrade(context: Context, url: str, say: Callable[[str], None]) -> str | None:
    """Fetch and select what ``url`` names; None for success, else the line that is printed.

    A connection that led to success is left open for the restart.
    """
    say(f"Firmware update URL: {url}")
    answer = await http_get.get(context.machine, url, context.behaviour.stall_s)
    problem = await _install(context, answer, say)
    if problem is not None and answer.body is not None:
        answer.body.close()
    return problem


async def _install(
    context: Context, answer: http_get.Response, say: Callable[[str], None]
) -> str | None:
    if answer.status != 200 or answer.body is None:
        return "HTTP response should be 200"
    if answer.length <= 0:
        return "Content-Length not defined"
    update = Update(
        context.machine,
        context.ota,
        crash_half_way(context),
        allocates=context.behaviour.allocates,
    )
    if not update.begin(answer.length):
        return "Not enough space to begin OTA"
    if answer.md5 is not None and len(answer.md5) == http_get.MD5_CHARS:
        say(f"Expected MD5: {answer.md5.lower()}")
        update.expect_md5(answer.md5)
    written = await update.write_stream(answer.body)
    if written != answer.length:
        return f"OTA written {written} / {answer.length} bytes"
    if not await update.end():
        return f"Error #{update.error.value}"
    return None


def crash_half_way(context: Context) -> Callable[[int, int], None]:
    """For a download's progress: the moment ``download`` is when half is written."""

    def progress(done: int, total: int) -> None:
        if done * 2 >= total:
            context.crash.at("download")

    return progress
