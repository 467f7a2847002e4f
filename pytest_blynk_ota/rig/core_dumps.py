"""Core dumps kept as files beside the events of a test, without the secrets that we know.

A dump is a header, an ELF core and a checksum (core_dump_elf.c, core_dump_checksum.c of ESP-IDF).
It holds the board's memory: known secrets in it are overwritten, and the checksum made right again,
so that ``esp-coredump`` still reads it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder

ELF_MAGIC = b"\x7fELF"
HEADERS = (20, 24)
"""Bytes before the ELF: five words, six from ESP-IDF 5.1 on (core_dump_types.h)."""
CRC_BYTES, SHA_BYTES = 4, 32
BASE64_BYTES = 48
"""A line of base64 stands for so many bytes, as the board prints it."""


def keep(content: bytes, redactor: Redactor, recorder: Recorder) -> dict[str, Any]:
    """Write a dump into the folder of the running test: ``coredump-1.b64`` and, where its parts
    are clear, ``coredump-1.elf`` and ``coredump-1.bin``.

    Returns:
        What the event says of it: ``files`` (names in that folder), and ``masked`` if secrets were
        taken out. Between tests there is no folder, and nothing is kept.
    """
    clean, masked = without_secrets(content, redactor)
    said: dict[str, Any] = {"files": [], **({"masked": True} if masked else {})}
    folder = recorder.folder()
    if folder is None or not content:
        return said
    number = 1 + len(list(folder.glob("coredump-*.b64")))
    parts = {"b64": as_base64(clean), "bin": clean}
    if (elf := elf_in(clean)) is not None:
        parts["elf"] = elf
    for suffix, data in parts.items():
        path = folder / f"coredump-{number}.{suffix}"
        path.write_bytes(data)
        said["files"].append(path.name)
    return said


def without_secrets(content: bytes, redactor: Redactor) -> tuple[bytes, bool]:
    """A dump with its known secrets overwritten, and whether there were any."""
    clean = redactor.masked(content)
    if clean == content:
        return content, False
    for size, summed in ((SHA_BYTES, _sha256), (CRC_BYTES, _crc32)):
        if len(content) > size and summed(content[:-size]) == content[-size:]:
            return clean[:-size] + summed(clean[:-size]), True
    return clean, True


def elf_in(content: bytes) -> bytes | None:
    """The ELF core inside a dump; None if it holds none."""
    for at in HEADERS:
        if content[at : at + 4] == ELF_MAGIC:
            body = content[at:]
            for size, summed in ((SHA_BYTES, _sha256), (CRC_BYTES, _crc32)):
                if summed(content[:-size]) == content[-size:]:
                    return body[:-size]
            return body
    return None


def as_base64(content: bytes) -> bytes:
    """The lines that the board prints between the frame's two lines."""
    rows = (content[at : at + BASE64_BYTES] for at in range(0, len(content), BASE64_BYTES))
    return b"".join(base64.b64encode(row) + b"\n" for row in rows)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _crc32(data: bytes) -> bytes:
    return binascii.crc32(data).to_bytes(CRC_BYTES, "little")
