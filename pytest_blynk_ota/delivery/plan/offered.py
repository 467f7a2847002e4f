"""The facts about a file on offer, and how its headers tell them. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Offered:
    """The facts about a file that its headers tell. ``about``: further headers, as x-fw-ver."""

    name: str
    size: int
    md5: str
    sha256: str
    about: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, name: str, data: bytes, about: Sequence[tuple[str, str]] = ()) -> Offered:
        """Measure a file; digests in hex."""
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return cls(name, len(data), md5, hashlib.sha256(data).hexdigest(), tuple(about))

    @property
    def etag(self) -> str:
        """A strong validator: the same bytes have the same one."""
        return f'"{self.sha256[:32]}"'

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The digests as both Edgents read them: MD5 in hex, SHA-256 in base64 (44 chars)."""
        sha256 = base64.b64encode(bytes.fromhex(self.sha256)).decode("ascii")
        return (("x-MD5", self.md5), ("X-SHA256", sha256), *self.about)


@lru_cache(maxsize=8)
def measured(name: str, data: bytes, about: tuple[tuple[str, str], ...] = ()) -> Offered:
    """:meth:`Offered.of`, remembered: another file is measured once, not at each request."""
    return Offered.of(name, data, about)
