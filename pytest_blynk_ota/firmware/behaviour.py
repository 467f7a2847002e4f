"""What a fixture image does, written in a segment of its own.

The segment has load address 0 (a padding segment: no loader looks at it) and holds the magic
``BOTABEHV``, a u32 length and that much JSON. A virtual board runs what it says; on a real board
the segment is dead weight. Every key: docs/reference/firmware-recipes.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.words import did_you_mean

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Segment

MAGIC = b"BOTABEHV"
_LENGTH = struct.Struct("<I")

Kind = Literal["app", "bootloader"]
Confirm = Literal["init", "login", "self_test", "never"]
Moment = Literal[
    "start", "wifi", "before_login", "after_report", "after_confirm", "download", "after_s"
]
How = Literal[
    "panic",
    "store",
    "illegal",
    "cache",
    "abort",
    "assert",
    "esp_error",
    "stack_overflow",
    "heap_exhausted",
    "heap_corrupt",
    "task_wdt",
    "int_wdt",
    "rtc_wdt",
    "brownout",
    "hang",
    "deep_sleep",
]


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A test that the firmware makes of itself ``after_s`` device seconds after its login."""

    after_s: float = 5.0
    passes: bool = True


@dataclass(frozen=True, slots=True)
class Crash:
    """A crash on purpose.

    Attributes:
        when: the moment; ``after_s`` counts from the start of the application.
        after_s: device seconds, for that moment only.
        times: how often it crashes between two power cycles; ``None``: each time.
        how: which trouble; docs/reference/firmware-recipes.md has a row for each.
        sleep_s: device seconds of a deep sleep.
    """

    when: Moment = "start"
    after_s: float = 0.0
    times: int | None = None
    how: How = "panic"
    sleep_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What an image says that it does. Fields ending in ``_s`` are device seconds.

    Attributes:
        kind: application or second-stage bootloader.
        profile: whose ways an application has; ``edgent-old`` is Blynk.Edgent of blynk-library.
        log: ``quiet`` as Arduino's builds, ``info`` as ESP-IDF's.
        version, build, fw_type: what it is; the blnkinf tag says the same.
        reports: ``own`` version and build, ``nothing``, or the ``version``/``build`` to claim.
        confirm: when it tells the bootloader to keep it.
        finds_cloud: whether it can reach its server at all.
        stall_s: how long it waits for the next byte of a download.
        rollback: bootloaders: whether unconfirmed applications are rolled back.
        heartbeat_s: how long it stays silent before it pings.
        coredump: where a panic puts its core dump (CONFIG_ESP_COREDUMP_ENABLE_TO_…).
    """

    kind: Kind = "app"
    profile: Literal["edgent-old"] = "edgent-old"
    log: Literal["quiet", "info"] = "quiet"
    version: str = "0.0.0"
    build: str = ""
    fw_type: str = ""
    reports: str | dict[str, str] = "own"
    confirm: Confirm = "init"
    self_test: SelfTest | None = None
    crash: Crash | None = None
    finds_cloud: bool = True
    stall_s: float = 30.0
    rollback: bool = True
    heartbeat_s: float = 40.0
    coredump: Literal["none", "uart", "flash"] = "none"

    @classmethod
    def from_data(cls, data: Mapping[str, Any], where: str = "behaviour") -> Behaviour:
        """A behaviour from plain values; what is not named has its default.

        Args:
            where: what the values come from, for messages.

        Raises:
            FirmwareError: an unknown key, or a value that cannot be.
        """
        values = dict(data)
        inner = {key: values.pop(key) for key in INNER if values.get(key) is not None}
        _check(values, RULES, where, KEYS)
        for key, part in inner.items():
            shape, rules = INNER[key]
            if not isinstance(part, Mapping):
                raise FirmwareError(f"{where}: {key}: expected a table, not {part!r}")
            _check(part, rules, f"{where}: {key}", tuple(rules))
            values[key] = shape(**part)
        behaviour = cls(**values)
        if behaviour.confirm == "self_test" and behaviour.self_test is None:
            raise FirmwareError(f'{where}: confirm = "self_test" needs a self_test table')
        return behaviour

    def to_data(self) -> dict[str, Any]:
        """As JSON values, every field named."""
        return asdict(self)

    def to_segment(self) -> bytes:
        """The segment's data, padded to whole words."""
        text = json.dumps(self.to_data(), sort_keys=True, separators=(",", ":")).encode()
        data = MAGIC + _LENGTH.pack(len(text)) + text
        return data + bytes(-len(data) % 4)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a value must be, and how to say so."""

    words: str
    fits: Callable[[Any], bool]


def _one_of(*choices: str) -> _Rule:
    return _Rule(" or ".join(repr(choice) for choice in choices), lambda value: value in choices)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_claim(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(
            key in ("version", "build") and isinstance(text, str) for key, text in value.items()
        )
    return value in ("own", "nothing")


TEXT = _Rule("a text", lambda value: isinstance(value, str))
FLAG = _Rule("true or false", lambda value: isinstance(value, bool))
SECONDS = _Rule("a number of seconds, 0 or more", _is_number)

RULES: Mapping[str, _Rule] = {
    "kind": _one_of("app", "bootloader"),
    "profile": _one_of("edgent-old"),
    "log": _one_of("quiet", "info"),
    "version": TEXT,
    "build": TEXT,
    "fw_type": TEXT,
    "reports": _Rule('"own", "nothing" or a table of version and build', _is_claim),
    "confirm": _one_of("init", "login", "self_test", "never"),
    "finds_cloud": FLAG,
    "stall_s": SECONDS,
    "rollback": FLAG,
    "heartbeat_s": SECONDS,
    "coredump": _one_of("none", "uart", "flash"),
    # None only: a table of these two is looked at apart
    "self_test": _Rule("a table", lambda value: value is None),
    "crash": _Rule("a table", lambda value: value is None),
}
SELF_TEST_RULES: Mapping[str, _Rule] = {"after_s": SECONDS, "passes": FLAG}
CRASH_RULES: Mapping[str, _Rule] = {
    "when": _one_of(*get_args(Moment)),
    "after_s": SECONDS,
    "times": _Rule("a whole number above 0", lambda value: value is None or _is_count(value)),
    "how": _one_of(*get_args(How)),
    "sleep_s": SECONDS,
}
INNER: Mapping[str, tuple[type[Any], Mapping[str, _Rule]]] = {
    "self_test": (SelfTest, SELF_TEST_RULES),
    "crash": (Crash, CRASH_RULES),
}
KEYS = tuple(field.name for field in fields(Behaviour))


def _check(
    values: Mapping[str, Any], rules: Mapping[str, _Rule], where: str, known: tuple[str, ...]
) -> None:
    for key, value in values.items():
        if key not in rules:
            raise FirmwareError(
                f"{where}: unknown key {key!r}; known are {', '.join(known)}"
                f"{did_you_mean(key, known)}"
            )
        if not rules[key].fits(value):
            raise FirmwareError(f"{where}: {key}: expected {rules[key].words}, not {value!r}")


def parse(data: bytes) -> Behaviour:
    """Read a segment's data back.

    Raises:
        FirmwareError: it is cut, no JSON, or holds what cannot be.
    """
    where = "behaviour segment"
    start = len(MAGIC) + _LENGTH.size
    if len(data) < start or not data.startswith(MAGIC):
        raise FirmwareError(f"{where}: it does not begin with {MAGIC.decode()} and a length")
    (size,) = _LENGTH.unpack_from(data, len(MAGIC))
    if start + size > len(data):
        raise FirmwareError(f"{where}: {size} bytes announced, {len(data) - start} there")
    try:
        values = json.loads(data[start : start + size])
    except (ValueError, RecursionError) as error:
        raise FirmwareError(f"{where}: no JSON: {error}") from error
    if not isinstance(values, dict):
        raise FirmwareError(f"{where}: expected a JSON object")
    return Behaviour.from_data(values, where)


def segment_of(segments: Iterable[Segment]) -> Segment | None:
    """The segment that holds a behaviour."""
    for segment in segments:
        if segment.address == 0 and segment.data.startswith(MAGIC):
            return segment
    return None


def find(segments: Iterable[Segment]) -> Behaviour | None:
    """The behaviour among an image's segments; ``None`` for firmware that is not ours.

    Raises:
        FirmwareError: the segment is there but cannot be read.
    """
    segment = segment_of(segments)
    return None if segment is None else parse(segment.data)
