"""Another file in place of the one on offer: what its headers tell agrees with it. Pure."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.plan.idle import Idle
from pytest_blynk_ota.delivery.plan.offered import Offered, measured
from pytest_blynk_ota.delivery.plan.offsets import stretch
from pytest_blynk_ota.delivery.plan.request import Request
from pytest_blynk_ota.delivery.steps import Due

GZIP_WBITS, ZLIB_WBITS = 31, 15
"""zlib's names for its two frames: what HTTP calls gzip, and what it calls deflate."""


def another(request: Request, due: Sequence[Due]) -> tuple[Offered, bytes, dict[int, str | None]]:
    """The file that is served, its bytes, and what became of each fault that makes another one:
    None, or why it does nothing."""
    file, data, done = request.file, request.data, dict[int, str | None]()
    listed = [one for one in due if makes(one.fault)]
    for one in sorted(listed, key=lambda one: list(MAKES).index(one.fault.kind)):
        done[one.index] = None
        try:
            if one.fault.kind == "other":
                data = _other(request, one.fault)
                file = measured(file.name, data)
            else:
                data = _made(data, one.fault, file.name)
                file = measured(file.name, data, file.about)
        except Idle as reason:
            done[one.index] = str(reason)
    return file, data, done


def makes(fault: Fault) -> bool:
    """Whether it makes another file."""
    return fault.kind in MAKES and fault.values.get("how", "counted") == "counted"


def _other(request: Request, fault: Fault) -> bytes:
    path = fault.values["path"]
    if path not in request.others:
        raise Idle(f"{path} has not been read")
    if request.others[path] == request.data:
        raise Idle(f"{path} has the bytes of {request.file.name}")
    return request.others[path]


@lru_cache(maxsize=8)
def _made(data: bytes, fault: Fault, name: str) -> bytes:
    return MAKES[fault.kind](data, fault.values, name)


def _cut(data: bytes, values: Mapping[str, Any], name: str) -> bytes:
    first, stop = stretch(values["at"], values.get("bytes"), len(data), name)
    return data[:first] + data[stop:]


def _pad(data: bytes, values: Mapping[str, Any], name: str) -> bytes:
    return data + filling(values)


def filling(values: Mapping[str, Any]) -> bytes:
    """The bytes of a ``pad``."""
    return _noise(values["seed"], values["bytes"])


@lru_cache(maxsize=4)
def _noise(seed: int, count: int) -> bytes:
    return random.Random(seed).randbytes(count)


MAKES: Mapping[str, Callable[[bytes, Mapping[str, Any], str], bytes]] = {
    "other": lambda data, values, name: data,
    "cut": _cut,
    "pad": _pad,
}
"""In the order in which they act: offsets of a cut count in the other file."""


@lru_cache(maxsize=4)
def encoded(name: str, data: bytes) -> bytes:
    """A body in a content coding: ``gzip`` (RFC 1952) or ``deflate`` (RFC 1950)."""
    packer = zlib.compressobj(wbits=GZIP_WBITS if name == "gzip" else ZLIB_WBITS)
    return packer.compress(data) + packer.flush()
