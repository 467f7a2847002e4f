"""One event loop on a thread of its own, so that sync tests can use async servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pytest_blynk_ota.errors import RigError

T = TypeVar("T")
CALL_TIMEOUT_S = 10.0
"""Wall seconds for one call onto the loop: all are local and short."""


class Background:
    """The loop that the cloud and the firmware server live on."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="blynk-ota servers", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T], timeout: float = CALL_TIMEOUT_S) -> T:
        """Run a coroutine on the loop and wait for its result.

        Raises:
            RigError: the loop did not finish it in time.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except TimeoutError as error:
            if not future.done():
                future.cancel()
                raise RigError(
                    f"the rig's servers did not finish {work!r} within {timeout:g} s"
                ) from error
            raise

    def soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function on the loop, and do not wait for it."""
        self._loop.call_soon_threadsafe(function, *args)

    def stop(self) -> None:
        """Stop the loop and join its thread; what is left on it is cancelled.

        Raises:
            RigError: something on it did not end when it was cancelled; the loop stops anyway.
        """
        if self._loop.is_closed():
            return
        try:
            self.call(self._cancel_all())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CALL_TIMEOUT_S)
            if not self._thread.is_alive():
                self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
