"""The board's Wi-Fi: TCP connections that a reset leaves behind as a real one does.

When a chip resets, nothing closes its TCP connections: the peer sees silence, no FIN and no
acknowledgement. Only when the chip is back on the network does its new TCP stack answer the
peer's segments with RST. :meth:`Network.drop` and :meth:`Network.join` are these two moments.

When the access point goes, the same silence begins, but the connections live on: what the board
writes waits in its stack, and once it has joined again both sides send again what was lost. The
station notices the loss by missed beacons, seconds later.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.chip.clock import DeviceClock
from pytest_blynk_ota.virtual.network.addresses import Source
from pytest_blynk_ota.virtual.network.air import NO_AP_FOUND, NXDOMAIN, Air
from pytest_blynk_ota.virtual.network.dns import WAITS_S, NoAddress
from pytest_blynk_ota.virtual.network.resolver import Resolver
from pytest_blynk_ota.virtual.network.sockets import (
    SEGMENT_BYTES,
    SEND_BYTES,
    WINDOW_BYTES,
    close_with_reset,
    hear,
    hear_up_to,
    limit_window,
    probe_peer,
    silence,
    unanswered,
)

if TYPE_CHECKING:
    from collections.abc import Callable

STATION_ADDRESS = "192.168.4.2"
BEACON_TIMEOUT_S = 6.0
"""Device seconds without a beacon until a station gives up: esp_wifi_set_inactive_time()."""
DNS_TIMEOUT_S = sum(WAITS_S)


class NoNetwork(Exception):
    """Raised when a station cannot join.

    Attributes:
        reason: the number that ESP-IDF's Wi-Fi gives (``wifi_err_reason_t``): 201 no access point,
            15 the handshake timed out, as with a wrong passphrase; 0: joined, but no DHCP.
    """

    def __init__(self, reason: int) -> None:
        self.reason = reason
        super().__init__(f"Wi-Fi reason {reason}")


def acknowledge(sock: socket.socket) -> None:
    """Send an acknowledgement that the kernel has put off, where it can be told to."""
    if hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):  # broken already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class Connection:
    """One TCP connection of a board; reads come straight from the socket, so back-pressure is real.

    All methods raise :class:`OSError` when the connection is broken.
    """

    def __init__(self, sock: socket.socket, ended: Callable[[Connection, bool], None]) -> None:
        self._sock = sock
        self._ended = ended
        self._ahead = b""
        self._ours = True
        self._on_air = asyncio.Event()
        self._on_air.set()
        self._unsent = bytearray()

    async def read(self, limit: int = SEGMENT_BYTES) -> bytes:
        """Up to ``limit`` bytes, at least one; ``b""`` once the peer has closed."""
        if self._ahead:
            data, self._ahead = self._ahead[:limit], self._ahead[limit:]
            return data
        return await asyncio.get_running_loop().sock_recv(self._sock, limit)

    async def read_exactly(self, count: int) -> bytes:
        """``count`` bytes.

        Raises:
            EOFError: the peer closed before.
        """
        data = bytearray()
        while len(data) < count:
            piece = await self.read(count - len(data))
            if not piece:
                raise EOFError(f"closed after {len(data)} of {count} bytes")
            data += piece
        return bytes(data)

    async def read_line(self, limit: int = 4096) -> bytes:
        """One line with its end; what is there without an end if the peer closes.

        Raises:
            ValueError: no line end within ``limit`` bytes.
        """
        data = bytearray()
        while (end := data.find(b"\n")) < 0:
            if len(data) >= limit:
                raise ValueError(f"no line end within {limit} bytes")
            piece = await self.read()
            if not piece:
                return bytes(data)
            data += piece
        self._ahead = bytes(data[end + 1 :]) + self._ahead
        return bytes(data[: end + 1])

    async def write(self, data: bytes) -> None:
        """Send all of ``data``; returns when the kernel, or off the air our own buffer, has it."""
        while not self._on_air.is_set():
            if len(self._unsent) + len(data) <= SEND_BYTES:
                self._unsent += data
                return
            await self._on_air.wait()
        held, self._unsent = bytes(self._unsent), bytearray()
        await asyncio.get_running_loop().sock_sendall(self._sock, held + data)

    def probe_peer(self, idle_s: float, interval_s: float, count: int) -> None:
        """Have TCP itself ask whether the peer is there, in wall seconds: sockets.probe_peer()."""
        probe_peer(self._sock, idle_s, interval_s, count)

    @property
    def is_unanswered(self) -> bool:
        """Whether the peer has not answered TCP's last question."""
        return unanswered(self._sock) > 0

    def close(self) -> None:
        """Close with FIN; does nothing on a ghost, nor twice."""
        self._end(reset=False)

    def abort(self) -> None:
        """Close with RST; does nothing on a ghost, nor twice."""
        self._end(reset=True)

    def _end(self, *, reset: bool) -> None:
        if not self._ours:
            return
        self._ours = False
        self._ended(self, reset)

    # ---- the hardware's side

    def abandon(self) -> socket.socket:
        """Take the socket away from the software for good. Bytes that came before were
        acknowledged: the kernel may put that off for longer than a quick board takes to restart."""
        self._ours = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        loop.remove_writer(self._sock)
        acknowledge(self._sock)
        silence(self._sock)
        return self._sock

    def leave_air(self) -> None:
        """Nothing comes in any more, nothing goes out."""
        silence(self._sock)
        self._on_air.clear()

    def hear(self, mtu: int) -> None:
        """What the peer sends comes in; packets above ``mtu`` bytes do not, if it is not 0."""
        if mtu:
            hear_up_to(self._sock, mtu)
        else:
            hear(self._sock)

    def return_to_air(self, mtu: int = 0) -> None:
        """What waited goes out; what the peer sends again comes in."""
        self.hear(mtu)
        self._on_air.set()
        with contextlib.suppress(OSError):  # broken meanwhile, or full: the next write tells
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]

    def shut(self, *, reset: bool) -> None:
        """Close the socket."""
        if reset:
            close_with_reset(self._sock)
        else:
            self._sock.close()


class Network:
    """The station of one board and its connections, living and ghosts.

    Args:
        air: what the rack's access point and router do; all well if none is given.
        clock: of the board, for the times of Wi-Fi and DNS.
        source: where it calls from; the host chooses if none is given.
    """

    def __init__(
        self,
        air: Air | None = None,
        clock: DeviceClock | None = None,
        source: Source | None = None,
    ) -> None:
        self._source = source
        self._air = air or Air()
        self._air.listen(self._radio_changed)
        self._clock = clock or DeviceClock()
        self._living: list[Connection] = []
        self._closing: list[Connection] = []  # closed by the software while off the air
        self._ghosts: list[socket.socket] = []
        self._in_range = True
        self._mtu = self._air.mtu
        self._joined = True  # until the first reset, so that it can be used without a board
        self._carrying = asyncio.Event()
        self._carrying.set()
        self._lost = asyncio.Event()
        self._missing: asyncio.TimerHandle | None = None
        self._booted_at = self._clock.now()
        self._resolver = Resolver(self._clock, self._carrying.is_set)

    @property
    def ghosts(self) -> int:
        """How many half-open connections an earlier life has left."""
        return len(self._ghosts)

    @property
    def in_range(self) -> bool:
        """Whether this board can hear the access point, if there is one."""
        return self._in_range

    @in_range.setter
    def in_range(self, near: bool) -> None:
        self._in_range = near
        self._radio_changed()

    @property
    def joined(self) -> bool:
        """Whether the station believes to be on the network (``WiFi.status()``)."""
        return self._joined

    async def join(self, ssid: str, passphrase: str) -> str:
        """Associate and ask for an address; returns it. Takes no device time of its own.

        Raises:
            NoNetwork: the access point is gone, refuses, or gives no address.
        """
        reason = self._air.refuses(ssid, passphrase) if self._in_range else NO_AP_FOUND
        if reason is not None:
            raise NoNetwork(reason)
        self.up()
        return STATION_ADDRESS

    def up(self) -> None:
        """Wi-Fi is joined: every ghost is answered with RST now."""
        self._joined = True
        if self._lost.is_set():
            self._lost = asyncio.Event()
        self._radio_changed()

    async def lost(self) -> None:
        """Wait until the station notices that its access point is gone."""
        await self._lost.wait()

    def unix_time(self) -> float:
        """Seconds since 1970 as SNTP gave them to the board, which may be wrong."""
        return self._air.unix_time(self._clock.now() - self._booted_at)

    async def open_connection(
        self, host: str, port: int, *, rcvbuf: int | None = WINDOW_BYTES
    ) -> Connection:
        """Connect. ``rcvbuf`` bytes bound what the peer can have in flight; ``None``: the kernel's.

        Raises:
            OSError: refused, unreachable, or the name is unknown. Give it a limit.
        """
        if not self._joined:
            raise OSError(113, "no route to host: not on any network")  # lwIP: ERR_RTE
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(*await self._resolve(host, port), type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if rcvbuf is not None:
                limit_window(sock, rcvbuf)
            if self._source is not None:
                self._source.bind(sock, str(address[0]))
            await self._carrying.wait()  # a SYN is sent again until somebody hears it
            await loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        connection = Connection(sock, self._end)
        if not self._carrying.is_set():
            connection.leave_air()  # it went in the very moment
        elif self._air.mtu:
            connection.hear(self._air.mtu)
        self._living.append(connection)
        return connection

    async def _resolve(self, host: str, port: int) -> tuple[str, int]:
        answer = self._air.answer(host, port)
        if not isinstance(answer, str):
            server = self._air.name_server(answer[0])
            if server is None:
                return answer
            try:
                return await self._resolver.address(server, answer[0]), answer[1]
            except NoAddress as error:
                answer = str(error)
        elif answer != NXDOMAIN:
            await self._clock.sleep(DNS_TIMEOUT_S)
        raise socket.gaierror(socket.EAI_NONAME, f"DNS for {host}: {answer}")

    def drop(self) -> None:
        """The chip was reset or lost its power (hardware only): all connections become ghosts.

        Nobody is told that the network is lost: there is no software any more that could join it
        again, and the last of what there was must not try.
        """
        self._ghosts += [one.abandon() for one in self._living + self._closing]
        self._living, self._closing = [], []
        self._joined = False
        self._resolver.forget()
        self._booted_at = self._clock.now()
        self._radio_changed()

    def close(self) -> None:
        """The rack ends: let go of every socket."""
        self.drop()
        for ghost in self._ghosts:
            close_with_reset(ghost)

    def _end(self, connection: Connection, reset: bool) -> None:
        """The software closes a connection; off the air nobody hears of it yet."""
        self._living.remove(connection)
        if self._carrying.is_set():
            connection.shut(reset=reset)
        elif reset:
            self._ghosts.append(connection.abandon())
        else:
            self._closing.append(connection)

    def _radio_changed(self) -> None:
        heard = self._in_range and self._air.ap
        carries = heard and self._joined
        if carries and not self._carrying.is_set():
            self._back_on_air()
        elif self._carrying.is_set() and not carries:
            self._carrying.clear()
            for connection in self._living:
                connection.leave_air()
        elif carries and self._air.mtu != self._mtu:
            for connection in self._living:
                connection.hear(self._air.mtu)
        self._mtu = self._air.mtu
        self._watch_beacons(heard)

    def _back_on_air(self) -> None:
        self._carrying.set()
        for connection in self._living + self._closing:
            connection.return_to_air(self._air.mtu)
        while self._closing:
            self._closing.pop().shut(reset=False)
        while self._ghosts:
            close_with_reset(self._ghosts.pop())

    def _watch_beacons(self, heard: bool) -> None:
        if self._missing is not None and (heard or not self._joined):
            self._missing.cancel()
            self._missing = None
        if self._joined and not heard and self._missing is None:
            loop = asyncio.get_running_loop()
            wait = BEACON_TIMEOUT_S / self._clock.speed
            self._missing = loop.call_later(wait, self._notice)

    def _notice(self) -> None:
        self._missing = None
        self._joined = False
        self._lost.set()
