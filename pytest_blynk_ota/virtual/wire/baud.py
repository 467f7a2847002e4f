"""What a receiver makes of bytes that were sent at another baud rate than its own.

The sender's line is a row of bits: start (0), eight data bits, lowest first, stop (1). A receiver
waits for a falling edge and then looks at the middle of each of its own ten bits, where other bits
of the sender may be by then. A byte whose stop bit is not there is kept, as serial drivers do;
after it, the receiver waits for a quiet line.
"""

from __future__ import annotations

from operator import itemgetter

FRAME_BITS = 10
TOLERANCE = 0.03
"""Up to here every sample is in the right bit, at the end of the byte too."""

FRAMES = tuple(b"0" + f"{byte:08b}"[::-1].encode() + b"1" for byte in range(256))
QUIET = ord("1")


def fits(sent_at: int, read_at: int) -> bool:
    """Whether bytes sent at one rate arrive whole at the other."""
    return abs(sent_at - read_at) <= TOLERANCE * read_at


def heard(data: bytes, sent_at: int, read_at: int) -> bytes:
    """The bytes that a receiver at ``read_at`` baud finds in those sent at ``sent_at``."""
    if sent_at == read_at or fits(sent_at, read_at):
        return data
    samples = [int((bit + 0.5) * sent_at / read_at) for bit in range(FRAME_BITS)]
    if samples[0] >= len(data) * FRAME_BITS:
        return b""  # all is over before the middle of the first start bit
    look, last = itemgetter(*samples), samples[-1]
    line = b"".join([FRAMES[byte] for byte in data]) + b"1" * (last + 1)
    found = bytearray()
    edge = line.find(b"0")
    while edge >= 0:
        start, *bits, stop = look(line[edge : edge + last + 1])
        after = edge + samples[0]
        if start != QUIET:
            found.append(int(bytes(bits[::-1]), 2))
            after = edge + last if stop == QUIET else line.find(b"1", edge + last)
        edge = line.find(b"0", after)
    return bytes(found)
