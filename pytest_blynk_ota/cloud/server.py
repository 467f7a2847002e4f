"""The local Blynk cloud over plain TCP: who may log in, who is online, what they reported."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from pytest_blynk_ota.cloud.device import DeviceState, Registry
from pytest_blynk_ota.cloud.protocol import HEADER_BYTES, Cmd, frame
from pytest_blynk_ota.cloud.session import Session
from pytest_blynk_ota.errors import RigError, UsageError
from pytest_blynk_ota.evidence.timeline import Record

STOP_TIMEOUT_S: Final = 2.0
"""Wall seconds for the connections to go when the server stops: it drops them itself."""
STOPPED: Final = "the cloud was stopped"


class CloudServer:
    """A Blynk server for the boards of one rig.

    All methods but :meth:`start`, :meth:`stop` and :meth:`send_ota` may be called from any thread.

    Args:
        record: is told everything that devices do; never a token.
        host: address to listen on.
        port: 0 takes a free one.
        speed: device seconds in a wall second.
        any_token: let unknown tokens in, as ``device-1``, ``device-2``…: for use by hand.

    Raises:
        UsageError: ``speed`` is no positive number.
    """

    def __init__(
        self, record: Record, *, host: str = "127.0.0.1", port: int = 0, speed: float = 1.0,
        any_token: bool = False,
    ) -> None:  # fmt: skip
        if not (math.isfinite(speed) and speed > 0):
            raise UsageError(f"speed is device seconds in a wall second, above 0; got {speed}")
        self._record = record
        self._listen = (host, port)
        self._speed = speed
        self._registry = Registry(any_token=any_token)
        self._sessions: dict[int, Session] = {}
        self._count = 0
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all_gone = asyncio.Event()

    async def start(self) -> None:
        """Listen.

        Raises:
            RigError: the address cannot be listened on.
        """
        self._loop = asyncio.get_running_loop()
        host, port = self._listen
        try:
            self._server = await self._loop.create_server(self._session, host, port)
        except OSError as error:
            raise RigError(
                f"the cloud cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another port, or 0 for a free one"
            ) from error

    async def stop(self) -> None:
        """Close every connection and stop to listen. Reports stay readable.

        Raises:
            RigError: connections are still there after :data:`STOP_TIMEOUT_S`.
        """
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                while self._sessions:
                    self._all_gone.clear()
                    for session in tuple(self._sessions.values()):
                        session.close(STOPPED)
                        session.abort()
                    await self._all_gone.wait()
                await server.wait_closed()
        except TimeoutError as error:
            raise RigError(
                f"the cloud did not get rid of its {len(self._sessions)} connections within "
                f"{STOP_TIMEOUT_S:g} s"
            ) from error

    @property
    def address(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            RigError: the server is not started.
        """
        if self._server is None or not self._server.sockets:
            raise RigError("the cloud has no address: it is not started, or stopped already")
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    def add_device(self, board: str, token: str) -> None:
        """Let a device log in.

        Raises:
            UsageError: that is no token, or board or token are taken by another.
        """
        self._registry.add(board, token)

    def remove_device(self, board: str) -> None:
        """Forget a device and close its session.

        Raises:
            UsageError: there is none of that name.
        """
        device = self._registry.remove(board)

        def close() -> None:
            if device.current is not None:
                device.current.close("the device was removed from the rig")

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(close)

    def device(self, board: str) -> DeviceState:
        """The device as it is now.

        Raises:
            UsageError: there is none of that name.
        """
        return self._registry.get(board).state

    async def send_ota(self, board: str, url: str, *, offer: str) -> int | None:
        """Tell a device to update: INTERNAL ``ota NUL URL``, nothing waits for an answer.

        Returns:
            The session that it was sent on; None if the device is not logged in.

        Raises:
            UsageError: no such device, or the URL does not fit its receive buffer.
        """
        device = self._registry.get(board)
        _check_url(url, device.state)
        session = device.current
        if session is None or not session.send_ota(url, offer):
            return None
        return session.number

    def _session(self) -> Session:
        self._count += 1
        session = Session(self._count, self._registry, self._record, self._speed, self._over)
        self._sessions[session.number] = session
        return session

    def _over(self, session: Session) -> None:
        self._sessions.pop(session.number, None)
        if not self._sessions:
            self._all_gone.set()


def _check_url(url: str, state: DeviceState) -> None:
    """A message larger than ``buff-in`` makes the device drop the connection."""
    if "\0" in url:
        raise UsageError(f"board {state.board}: a URL may not hold a NUL")
    size = len(frame(Cmd.INTERNAL, 1, "ota", url).body) + HEADER_BYTES
    if size > state.buff_in:
        raise UsageError(
            f"board {state.board}: the OTA message would have {size} bytes, but the device "
            f"receives at most {state.buff_in} (its buff-in): shorten the URL by "
            f"{size - state.buff_in}"
        )
