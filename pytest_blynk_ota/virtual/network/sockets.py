"""What Linux sockets must do so that they behave as a chip's: small windows, silence, RST."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys

SEGMENT_BYTES = 1436  # lwIP's TCP_MSS in ESP-IDF (CONFIG_LWIP_TCP_MSS)
WINDOW_BYTES = 4 * SEGMENT_BYTES  # CONFIG_LWIP_TCP_WND_DEFAULT
SEND_BYTES = 4 * SEGMENT_BYTES  # CONFIG_LWIP_TCP_SND_BUF_DEFAULT
PROBES_AT = 3  # tcpi_probes in struct tcp_info: behind state, ca_state, retransmits
SO_ATTACH_FILTER = 26  # linux/asm-generic/socket.h
SO_DETACH_FILTER = 27
IP_HEADER_BYTES = 20
BPF_LOAD_LENGTH = 0x80  # BPF_LD | BPF_W | BPF_LEN
BPF_JUMP_ABOVE = 0x25  # BPF_JMP | BPF_JGT | BPF_K
BPF_RETURN = 0x06  # BPF_RET | BPF_K
BPF_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K, 0: keep no byte of a segment


def limit_window(sock: socket.socket, size: int) -> None:
    """Make an unconnected socket offer about ``size`` bytes of window in small segments."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def silence(sock: socket.socket) -> None:
    """Make a connected socket deaf: segments for it are neither kept nor acknowledged.

    On Linux by a socket filter that drops everything. Elsewhere the socket merely stays unread.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(BPF_DROP_ALL)
    program = struct.pack("HL", 1, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def hear_up_to(sock: socket.socket, packet_bytes: int) -> None:
    """Make a connected socket deaf for IP packets above this size, as behind a path that drops
    them and says nothing. On Linux by a socket filter; elsewhere all of them come in."""
    if sys.platform != "linux":
        return
    most = packet_bytes - IP_HEADER_BYTES  # the filter sees a segment with its TCP header
    code = ctypes.create_string_buffer(
        struct.pack("HBBI", BPF_LOAD_LENGTH, 0, 0, 0)
        + struct.pack("HBBI", BPF_JUMP_ABOVE, 0, 1, max(most, 0))
        + BPF_DROP_ALL
        + struct.pack("HBBI", BPF_RETURN, 0, 0, 0xFFFFFFFF)
    )
    program = struct.pack("HL", 4, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def hear(sock: socket.socket) -> None:
    """Undo :func:`silence`: what the peer sends again from now on arrives."""
    if sys.platform == "linux":
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def probe_peer(sock: socket.socket, idle_s: float, interval_s: float, count: int) -> None:
    """Have TCP ask the peer of an idle connection for a sign of life (SO_KEEPALIVE).

    Args:
        idle_s, interval_s: wall seconds, of which Linux knows whole ones only, from 1 on.
    """
    if sys.platform != "linux":
        return
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    for option, value in zip(options, (idle_s, interval_s, count), strict=True):
        sock.setsockopt(socket.IPPROTO_TCP, option, max(1, round(value)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def unanswered(sock: socket.socket) -> int:
    """How many such questions in a row have had no answer; 0 where the kernel does not tell."""
    if sys.platform != "linux":
        return 0
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, PROBES_AT + 1)[PROBES_AT]


def close_with_reset(sock: socket.socket) -> None:
    """Close a socket so that its peer gets RST, not FIN."""
    with contextlib.suppress(OSError):  # the peer may have reset it first
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
