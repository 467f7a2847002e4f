"""Silence below TCP: a socket whose every packet the kernel drops, and the count of those.

A classic BPF program on a socket decides about each packet before TCP sees it (socket(7),
SO_ATTACH_FILTER); no privilege is needed. The program here drops all of them: a listener does
not answer a SYN, a connection neither acknowledges nor answers. The kernel counts what it dropped,
which is the proof that somebody knocked.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_MEMINFO = 55
"""Not in Python's socket module (asm-generic/socket.h)."""
DROPS = 8
"""Place of the dropped packets in SO_MEMINFO's u32 (SK_MEMINFO_DROPS, linux/sock_diag.h, 4.6)."""
DROP_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)
"""BPF_RET | BPF_K, 0: keep no byte of the packet (linux/filter.h)."""
DROP_BUT_RESETS = b"".join(
    (
        struct.pack("=HBBI", 0x30, 0, 0, 13),  # BPF_LD | BPF_B | BPF_ABS: the flags of TCP's header
        struct.pack("=HBBI", 0x45, 0, 1, 0x04),  # BPF_JMP | BPF_JSET | BPF_K: is RST among them?
        struct.pack("=HBBI", 0x06, 0, 0, 0xFFFFFFFF),
        DROP_ALL,
    )
)
"""A RST passes: nothing answers one, and it does not come again."""
INSTRUCTION_BYTES = len(DROP_ALL)


def unavailable() -> str | None:
    """Why no socket of this host can be silenced; None: it can."""
    if not sys.platform.startswith("linux"):
        return f"it needs Linux's socket filters, this is {sys.platform}"
    with socket.socket() as probe:
        try:
            silence(probe)
            dropped(probe)
        except OSError as error:
            return f"this kernel refuses a socket filter: {error.strerror or error}"
    return None


def silence(sock: socket.socket, program: bytes = DROP_ALL) -> None:
    """Drop each packet for this socket from now on. Raises OSError where that cannot be."""
    kept = ctypes.create_string_buffer(program)
    wanted = struct.pack("@HP", len(program) // INSTRUCTION_BYTES, ctypes.addressof(kept))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, wanted)


def hear(sock: socket.socket) -> None:
    """Let packets pass again."""
    sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def dropped(sock: socket.socket) -> int:
    """Packets for this socket that were dropped so far."""
    info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (DROPS + 1))
    return int(struct.unpack_from("=I", info, 4 * DROPS)[0])
