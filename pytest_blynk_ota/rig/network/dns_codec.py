"""DNS messages as a name server needs them (RFC 1035, 4): bytes in, objects out.

One question is read, and answered with a code and addresses. What follows the question, as EDNS, is
not looked at.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

A, AAAA, IN = 1, 28, 1
"""Types and the class of records."""
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = range(6)
"""Codes of an answer (RFC 1035, 4.1.1)."""

HEADER = struct.Struct(">6H")
QUESTION_END = struct.Struct(">2H")
RESPONSE, AUTHORITATIVE, RECURSION_DESIRED = 1 << 15, 1 << 10, 1 << 8
OPCODE = 0xF << 11
LABEL_BYTES, NAME_BYTES = 63, 255
POINTER_TO_QUESTION = 0xC000 | HEADER.size


class NoQuestion(ValueError):
    """Raised for a message that is no question of ours.

    Attributes:
        answer: what to say to it; None: nothing, since it is no request, or none that can be told.
    """

    def __init__(self, why: str, answer: bytes | None = None) -> None:
        self.answer = answer
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks.

    Attributes:
        ident: its number, which the answer repeats.
        name: in lower case, without the dot at its end.
        kind: the type of record.
        raw: the question as it stands in the message.
        recursion: whether the client wants the server to ask on.
    """

    ident: int
    name: str
    kind: int
    raw: bytes
    recursion: bool = True


def read_question(data: bytes) -> Question:
    """The question of a message.

    Raises:
        NoQuestion: it is none, or malformed.
    """
    if len(data) < HEADER.size:
        raise NoQuestion(f"{len(data)} bytes, shorter than a header")
    ident, flags, questions, *_ = HEADER.unpack_from(data)
    if flags & RESPONSE:
        raise NoQuestion("an answer, not a question")
    if flags & OPCODE:
        raise NoQuestion("no query", _bare(ident, flags, NOT_IMPLEMENTED))
    if questions != 1:
        raise NoQuestion(f"{questions} questions", _bare(ident, flags, FORMAT_ERROR))
    try:
        name, end = _read_name(data, HEADER.size)
        kind, group = QUESTION_END.unpack_from(data, end)
    except (struct.error, ValueError) as error:
        raise NoQuestion(f"malformed: {error}", _bare(ident, flags, FORMAT_ERROR)) from None
    if group != IN:
        raise NoQuestion(f"class {group}", _bare(ident, flags, REFUSED))
    raw = data[HEADER.size : end + QUESTION_END.size]
    return Question(ident, name, kind, raw, bool(flags & RECURSION_DESIRED))


def _read_name(data: bytes, at: int) -> tuple[str, int]:
    """A name without pointers, as questions have it, and where it ends."""
    labels: list[str] = []
    begin = at
    while True:
        if at >= len(data):
            raise ValueError("the name does not end")
        length = data[at]
        label = data[at + 1 : at + 1 + length]
        at += 1 + length
        if not length:
            return ".".join(labels), at
        if length > LABEL_BYTES or at - begin >= NAME_BYTES:
            raise ValueError(f"a label of {length} bytes at byte {at - begin} of the name")
        labels.append(label.decode("latin-1").lower())


def reply(
    question: Question, code: int = NO_ERROR, addresses: Sequence[str] = (), ttl: int = 0
) -> bytes:
    """The answer.

    Args:
        addresses: those that are not of the type that was asked for are left out.
        ttl: seconds that the answer may be kept.
    """
    records = [record for one in addresses if (record := _record(question.kind, one, ttl))]
    flags = RESPONSE | AUTHORITATIVE | code | (RECURSION_DESIRED if question.recursion else 0)
    head = HEADER.pack(question.ident, flags, 1, len(records), 0, 0)
    return b"".join([head, question.raw, *records])


def _record(kind: int, address: str, ttl: int) -> bytes | None:
    packed = ipaddress.ip_address(address).packed
    if (kind, len(packed)) not in ((A, 4), (AAAA, 16)):
        return None
    return struct.pack(">3HIH", POINTER_TO_QUESTION, kind, IN, ttl, len(packed)) + packed


def _bare(ident: int, flags: int, code: int) -> bytes:
    """A refusal that repeats no question."""
    kept = flags & (OPCODE | RECURSION_DESIRED)
    return HEADER.pack(ident, RESPONSE | kept | code, 0, 0, 0, 0)
