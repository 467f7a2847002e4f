"""A client for serial ports behind RFC 2217, made for talking to boot loaders.

pyserial's own client negotiates all settings anew each time the time-out changes (about 0.1 s, and
esptool changes it twice a command), asks every 50 ms whether a request was acknowledged, and hands
bytes over one by one. This one keeps its option tables and replaces those three things.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from serial import rfc2217
from serial.serialutil import PortNotOpenError, SerialException

from pytest_blynk_ota.board.telnet import TelnetParser

CONNECT_S = 3.0
"""TCP connect."""
WRITE_S = 10.0
"""The server takes no byte for so long: it is gone. esptool's own write time-out."""
RECEIVE_BYTES = 65536
KEEPALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))
"""Seconds, seconds, probes: a server that lost its power is noticed after about 11 s."""

_LINES = {
    "dtr": {True: rfc2217.SET_CONTROL_DTR_ON, False: rfc2217.SET_CONTROL_DTR_OFF},
    "rts": {True: rfc2217.SET_CONTROL_RTS_ON, False: rfc2217.SET_CONTROL_RTS_OFF},
}


def _lost(error: Exception) -> str:
    """Why there is no connection: of our own answers a SerialException, which is an OSError; a
    ValueError where it was closed meanwhile."""
    return f"connection lost: {error}"


def _subnegotiation(option: bytes, value: bytes) -> bytes:
    body = value.replace(rfc2217.IAC, rfc2217.IAC_DOUBLED)
    return b"".join((rfc2217.IAC, rfc2217.SB, rfc2217.COM_PORT_OPTION, option, body, rfc2217.IAC,
                     rfc2217.SE))  # fmt: skip


class Rfc2217Port(rfc2217.Serial):
    """A serial port behind ``rfc2217://host:port``; both control lines are low after opening."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._changed = threading.Condition()
        self._incoming = bytearray()
        self._broken: str | None = None
        self._cancelled = False
        self._negotiated: tuple[Any, ...] | None = None
        self._unacknowledged: list[bytes] = []
        self._socket: socket.socket | None = None
        self._parser = TelnetParser()
        self._thread: threading.Thread | None = None
        super().__init__(*args, **kwargs)

    # -- opening and closing

    def open(self) -> None:
        """Connect and negotiate. Raises SerialException."""
        if self.port is None:
            raise SerialException("Port must be configured before it can be used.")
        if self.is_open:
            raise SerialException("Port is already open.")
        self._poll_modem_state = self._ignore_set_control_answer = False
        self._network_timeout = CONNECT_S
        address = self.from_url(self.port)
        try:
            sock = socket.create_connection(address, timeout=CONNECT_S)
        except OSError as error:
            raise SerialException(error.errno, str(error)) from error
        reader = self._prepare(sock)
        try:
            self._request_options()
            reader.start()
            self._negotiate()
        except BaseException:
            self.close()
            raise

    def _prepare(self, sock: socket.socket) -> threading.Thread:
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        self._socket, self._parser = sock, TelnetParser()
        self._incoming.clear()
        self._unacknowledged.clear()
        self._broken, self._negotiated, self._cancelled = None, None, False
        self._write_lock = threading.Lock()
        self._make_options()
        self.is_open = True
        self._thread = threading.Thread(
            target=self._telnet_read_loop, name=f"rfc2217 {self.port}", daemon=True
        )
        return self._thread

    def _request_options(self) -> None:
        """Ask before anything is read: a wish of the server would pass for its answer."""
        for option in self._telnet_options:
            if option.state is rfc2217.REQUESTED:
                self.telnet_send_option(option.send_yes, option.option)

    def _make_options(self) -> None:
        """pyserial's own option objects; the states are those of its client."""
        will = (rfc2217.WILL, rfc2217.WONT, rfc2217.DO, rfc2217.DONT)
        do = (rfc2217.DO, rfc2217.DONT, rfc2217.WILL, rfc2217.WONT)
        wanted, offered = rfc2217.REQUESTED, rfc2217.INACTIVE
        self._mandatory = [
            rfc2217.TelnetOption(self, "we-BINARY", rfc2217.BINARY, *will, offered),
            rfc2217.TelnetOption(self, "we-RFC2217", rfc2217.COM_PORT_OPTION, *will, wanted),
        ]
        self._telnet_options = [
            rfc2217.TelnetOption(self, "ECHO", rfc2217.ECHO, *do, wanted),
            rfc2217.TelnetOption(self, "we-SGA", rfc2217.SGA, *will, wanted),
            rfc2217.TelnetOption(self, "they-SGA", rfc2217.SGA, *do, wanted),
            rfc2217.TelnetOption(self, "they-BINARY", rfc2217.BINARY, *do, offered),
            rfc2217.TelnetOption(self, "they-RFC2217", rfc2217.COM_PORT_OPTION, *do, wanted),
            *self._mandatory,
        ]
        make = rfc2217.TelnetSubnegotiation
        self._rfc2217_port_settings = {
            "baudrate": make(self, "baudrate", rfc2217.SET_BAUDRATE, rfc2217.SERVER_SET_BAUDRATE),
            "datasize": make(self, "datasize", rfc2217.SET_DATASIZE, rfc2217.SERVER_SET_DATASIZE),
            "parity": make(self, "parity", rfc2217.SET_PARITY, rfc2217.SERVER_SET_PARITY),
            "stopsize": make(self, "stopsize", rfc2217.SET_STOPSIZE, rfc2217.SERVER_SET_STOPSIZE),
        }
        self._rfc2217_options = {
            "purge": make(self, "purge", rfc2217.PURGE_DATA, rfc2217.SERVER_PURGE_DATA),
            **self._rfc2217_port_settings,
        }

    def _negotiate(self) -> None:
        self._await(
            lambda: all(o.active or o.state is rfc2217.INACTIVE for o in self._mandatory),
            "the server to agree to RFC 2217",
        )
        self._reconfigure_port()
        self.set_lines(dtr=self._dtr_state, rts=self._rts_state)
        self.reset_input_buffer()

    def close(self) -> None:
        """Close the connection; the server drops the lines."""
        self.is_open = False
        sock, self._socket = self._socket, None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # the peer was faster
                self._broken = self._broken or "closed"
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(CONNECT_S)
        if sock is not None:  # not before: its number may be another's when the thread waits for it
            sock.close()

    # -- settings and lines

    def _reconfigure_port(self) -> None:
        """Negotiate the settings of the line, if they changed: time-outs are ours alone."""
        settings = (self.baudrate, self.bytesize, self.parity, self.stopbits, self.rtscts,
                    self.xonxoff)  # fmt: skip
        if settings == self._negotiated:
            return
        values = {
            "baudrate": struct.pack("!I", self.baudrate),
            "datasize": struct.pack("!B", self.bytesize),
            "parity": struct.pack("!B", rfc2217.RFC2217_PARITY_MAP[self.parity]),
            "stopsize": struct.pack("!B", rfc2217.RFC2217_STOPBIT_MAP[self.stopbits]),
        }
        for name, value in values.items():
            self._rfc2217_port_settings[name].set(value)
        self._await(
            lambda: all(item.is_ready() for item in self._rfc2217_port_settings.values()),
            f"the server to take {self.baudrate} baud",
        )
        self._set_controls([self._flow_control()])
        self._negotiated = settings

    def _flow_control(self) -> bytes:
        if self.rtscts:
            return rfc2217.SET_CONTROL_USE_HW_FLOW_CONTROL
        if self.xonxoff:
            return rfc2217.SET_CONTROL_USE_SW_FLOW_CONTROL
        return rfc2217.SET_CONTROL_USE_NO_FLOW_CONTROL

    def set_lines(self, *, dtr: bool, rts: bool) -> None:
        """Set both lines in one message and wait until the server has done it.

        Between the two the lines never pass through (DTR 0, RTS 1), which resets the chip: DTR
        goes first, or last where both fall.
        """
        self._dtr_state, self._rts_state = dtr, rts
        order = ("dtr", "rts") if dtr or rts else ("rts", "dtr")
        wanted = {"dtr": dtr, "rts": rts}
        self._set_controls([_LINES[line][wanted[line]] for line in order])

    def rfc2217_set_control(self, value: bytes) -> None:
        """Change one control line."""
        self._set_controls([value])

    def _set_controls(self, values: list[bytes]) -> None:
        with self._changed:
            self._unacknowledged = [] if self._ignore_set_control_answer else list(values)
        message = b"".join(_subnegotiation(rfc2217.SET_CONTROL, value) for value in values)
        self._internal_raw_write(message)
        self._await(lambda: not self._unacknowledged, "the server to set the control lines")

    def rfc2217_send_purge(self, value: bytes) -> None:
        """Have the server drop what it buffers."""
        purge = self._rfc2217_options["purge"]
        purge.set(value)
        self._await(purge.is_ready, "the server to drop its buffer")

    def _await(self, done: Callable[[], bool], what: str) -> None:
        """Wait for what the reader thread learns.

        Raises SerialException after the time-out, and when the server refuses.
        """
        with self._changed:
            try:
                ended = self._changed.wait_for(
                    lambda: self._broken is not None or done(), self._network_timeout
                )
            except ValueError as error:  # pyserial's is_ready: it answered with another value
                raise SerialException(f"{self.port}: asked for {what}: {error}") from error
            if self._broken is not None:
                raise SerialException(f"{self.port}: {self._broken}")
            if not ended:
                seconds = self._network_timeout
                raise SerialException(f"{self.port}: waited {seconds} s for {what}")

    # -- bytes

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""
        if not self.is_open:
            raise PortNotOpenError()
        return len(self._incoming)

    def read(self, size: int = 1) -> bytes:
        """Read up to ``size`` bytes; fewer when the time-out passes first.

        Raises SerialException when the connection is gone and all that came has been read.
        """
        if not self.is_open:
            raise PortNotOpenError()
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._incoming) >= size or self._broken is not None or self._cancelled,
                self.timeout,
            )
            self._cancelled = False
            data = bytes(self._incoming[:size])
            del self._incoming[: len(data)]
            if not data and size and self._broken is not None:
                raise SerialException(f"{self.port}: {self._broken}")
            return data

    def cancel_read(self) -> None:
        """Let a read that waits in another thread return at once."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def write(self, data: Any, /) -> int:
        """Send bytes. Raises SerialException if the server takes none for the write time-out."""
        if not self.is_open:
            raise PortNotOpenError()
        raw = bytes(data)
        self._internal_raw_write(raw.replace(rfc2217.IAC, rfc2217.IAC_DOUBLED))
        return len(raw)

    def _internal_raw_write(self, data: bytes) -> None:
        with self._write_lock:
            sock, view = self._socket, memoryview(data)
            patience = self.write_timeout or WRITE_S
            deadline = time.monotonic() + patience
            while view:
                if sock is None:
                    raise PortNotOpenError()
                left = deadline - time.monotonic()
                try:
                    if left <= 0 or not select.select([], [sock], [], left)[1]:
                        raise SerialException(f"{self.port}: took no byte for {patience} s")
                    view = view[sock.send(view, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    continue
                except (OSError, ValueError) as error:  # ValueError: closed meanwhile
                    raise SerialException(f"{self.port}: connection lost: {error}") from error

    def reset_input_buffer(self) -> None:
        """Drop what has come and what the server still holds."""
        self.rfc2217_send_purge(rfc2217.PURGE_RECEIVE_BUFFER)
        with self._changed:
            self._incoming.clear()

    # -- the reader thread

    def _telnet_read_loop(self) -> None:
        """Sort what comes into data and Telnet commands until the connection ends."""
        sock, why = self._socket, "the server closed the connection"
        waits = select.poll()  # takes any number of a descriptor, which select does not
        try:
            if sock is not None:
                waits.register(sock, select.POLLIN)
                while waits.poll() and self._sort_chunk(sock):
                    pass
        except (OSError, ValueError) as error:
            why = _lost(error)
        self._break(why)

    def _sort_chunk(self, sock: socket.socket) -> bool:
        """Sort one chunk if one is there; whether the connection goes on. In any thread: the lock
        keeps chunks in order."""
        with self._changed:
            try:
                chunk = sock.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:  # another thread was faster
                return True
            for command, payload in self._parser.feed(chunk):
                self._handle(command, payload)
            self._changed.notify_all()
            return bool(chunk)

    def sort_out(self) -> None:
        """Sort what has reached this host by now, however late the reader thread is: then
        ``in_waiting`` is all of it. Does not wait."""
        with self._changed:
            sock = self._socket
            if sock is None or self._broken is not None:
                return
            try:
                self._sort_chunk(sock)
            except (OSError, ValueError) as error:
                self._break(_lost(error))

    def _break(self, why: str) -> None:
        with self._changed:
            self._broken = self._broken or why
            self._changed.notify_all()

    def _handle(self, command: bytes, payload: bytes) -> None:
        if command == b"":
            self._incoming += payload
        elif command != rfc2217.SB:
            self._negotiate_option(command, payload)
        elif payload[:2] == rfc2217.COM_PORT_OPTION + rfc2217.SERVER_SET_CONTROL:
            if payload[2:3] in self._unacknowledged:
                self._unacknowledged.remove(payload[2:3])
        elif payload[:1] == rfc2217.COM_PORT_OPTION:
            for item in self._rfc2217_options.values():
                if item.ack_option == payload[1:2]:
                    item.check_answer(payload[2:])

    def _negotiate_option(self, command: bytes, option: bytes) -> None:
        known = [item for item in self._telnet_options if item.option == option]
        for item in known:  # some stand for our side and for theirs
            item.process_incoming(command)
        if not known and command in (rfc2217.WILL, rfc2217.DO):
            refusal = rfc2217.DONT if command == rfc2217.WILL else rfc2217.WONT
            self.telnet_send_option(refusal, option)
