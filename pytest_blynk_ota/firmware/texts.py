"""Texts that a firmware was compiled with, found and replaced in place: its host, its TLS roots.

Nothing in the image moves: code that uses a text knows its address, and may know its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509

from pytest_blynk_ota.errors import FirmwareError

CERTIFICATE = re.compile(
    rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----(\r?\n)*"
)
BETWEEN = re.compile(rb"[^\0]{0,512}")
"""What may stand between two certificates of one text: a name, a comment."""


@dataclass(frozen=True, slots=True)
class Roots:
    """CA certificates that stand in a firmware as one text in PEM.

    Attributes:
        offset, size: of the text in the file.
        subjects: whose they are.
        pem: the text.
    """

    offset: int
    size: int
    subjects: tuple[str, ...]
    pem: str


def roots_of(data: bytes) -> list[Roots]:
    """The texts in which CAs stand. Certificates of others, as of the device itself, are none."""
    found = []
    for run in _runs(data):
        names = [name for one in run if (name := _ca(one.group())) is not None]
        if len(names) == len(run):
            start, end = run[0].start(), run[-1].end()
            found.append(Roots(start, end - start, tuple(names), data[start:end].decode("latin-1")))
    return found


def _runs(data: bytes) -> Iterator[list[re.Match[bytes]]]:
    """Certificates with no NUL between them belong to one text."""
    run: list[re.Match[bytes]] = []
    for one in CERTIFICATE.finditer(data):
        if run and not BETWEEN.fullmatch(data, run[-1].end(), one.start()):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _ca(pem: bytes) -> str | None:
    """The subject of a CA's certificate; None for one of somebody else, or what is none."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        subject = certificate.subject.rfc4514_string()
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:  # version 1: a root if it has signed itself
        return subject if certificate.subject == certificate.issuer else None
    except ValueError:
        return None
    return subject if basic.value.ca else None


def with_roots(data: bytes, pem: str) -> bytes:
    """The same bytes with this CA in place of all that stand there. Hashes are not mended.

    The rest of each text is line ends, which PEM allows: its length stays.

    Raises:
        FirmwareError: no CA stands there, or one text has no room for this one.
    """
    found = roots_of(data)
    if not found:
        raise FirmwareError(
            "it has no TLS root certificate in PEM that could be replaced; expected a build with "
            "root certificates as text (ESP-IDF's certificate bundle is none)"
        )
    fresh = pem.strip().encode() + b"\n"
    for text in found:
        if len(fresh) > text.size:
            raise FirmwareError(
                f"its TLS root {text.subjects[0]!r} at {text.offset:#x} has {text.size} bytes, the "
                f"rig's CA has {len(fresh)}; build it with that CA, or with a longer root"
            )
    for text in found:
        data = _put(data, text.offset, fresh.ljust(text.size, b"\n"))
    return data


def places_of(data: bytes, text: str) -> list[int]:
    """Where a text stands by itself, between two NULs: the offsets of its first byte."""
    needle = text.encode() + b"\0"
    found, at = [], data.find(needle)
    while at >= 0:
        if at == 0 or data[at - 1] == 0:
            found.append(at)
        at = data.find(needle, at + 1)
    return found


def with_text(data: bytes, before: str, after: str, what: str = "text") -> bytes:
    """The same bytes with a text in place of another of the same length or longer.

    Args:
        what: the text is, for messages.

    Raises:
        FirmwareError: it is not there, or the new one is longer.
    """
    places = places_of(data, before)
    if not places:
        raise FirmwareError(f"it does not hold its {what} {before!r} as a text by itself")
    room, size = len(before.encode()), len(after.encode())
    if size > room:
        raise FirmwareError(
            f"{what} {after!r} has {size} bytes, in place of {before!r} there is room for {room}"
        )
    fresh = after.encode().ljust(room, b"\0")
    for place in places:
        data = _put(data, place, fresh)
    return data


def _put(data: bytes, place: int, fresh: bytes) -> bytes:
    return data[:place] + fresh + data[place + len(fresh) :]
