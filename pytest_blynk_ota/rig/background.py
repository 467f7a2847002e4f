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
BEAT_S = 0.02
"""Wall seconds between two looks at the clock."""
BEHIND_S = 0.02
"""Wall seconds by which a look at the clock may come late, before what the loop sees counts as
late, too. With BEAT_S less than the skew: so late may be what does not count so."""
LATE_S = 0.5
"""Wall seconds that the loop may stand still before that is worth a word: it takes what came in
that time for what comes now, and sends what is due too late."""


class Background:
    """The loop that the cloud and the firmware server live on.

    Args:
        late: called with the wall seconds that the loop has stood still, on a host too busy for it.
        late_s: wall seconds from which on it is called.
    """

    def __init__(
        self, late: Callable[[float], object] | None = None, late_s: float = LATE_S
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._late = late
        self._late_s = late_s
        self._turn = self._loop.time()
        self._stood = (0.0, 0.0)
        if late is not None:
            self._loop.call_soon(self._beat, self._loop.time())
        self._thread = threading.Thread(target=self._run, name="blynk-ota servers", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _beat(self, due: float) -> None:
        self._turn = self._loop.time()
        late = self._turn - due
        if late >= BEHIND_S:  # what came meanwhile takes some turns of the loop
            self._stood = (due - BEAT_S, self._turn + late)
        if late >= self._late_s and self._late is not None:
            self._late(late)
        due = self._turn + BEAT_S
        self._loop.call_at(due, self._beat, due)

    @property
    def behind_s(self) -> float:
        """Wall seconds for which what the loop sees at this moment may have waited for it; 0 where
        it is in time, and where nobody wants to know how late it is. In any thread."""
        begin, until = self._stood
        now = self._loop.time()
        if now < until:
            return now - begin
        waits = now - self._turn
        return waits if self._late is not None and waits >= BEAT_S + BEHIND_S else 0.0

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
