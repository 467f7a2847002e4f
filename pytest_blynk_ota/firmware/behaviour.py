"""What a fixture image does, written in a segment of its own.

The segment has load address 0 (a padding segment: no loader looks at it) and holds the magic
``BOTABEHV``, a u32 length and that much JSON. A virtual board runs what it says; on a real board
the segment is dead weight. Every key: docs/reference/firmware-recipes.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.behaviour_rules import (
    BUG_IDS,
    CLAIM,
    COUNT_FROM_0,
    FLAG,
    NUMBER,
    PORT,
    PORTS,
    SECONDS,
    TABLE,
    TEXT,
    Rule,
    check,
    is_count,
    one_of,
)

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Segment

MAGIC = b"BOTABEHV"
_LENGTH = struct.Struct("<I")

Kind = Literal["app", "bootloader"]
Profile = Literal["reference", "edgent-old", "edgent-new", "sketch", "mqtt-idf"]
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
class Settings:
    """Network and cloud of a firmware that has them compiled in; empty: it knows none."""

    host: str = ""
    port: int = 80
    token: str = ""
    ssid: str = ""
    passphrase: str = ""


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
        profile: whose ways an application has (``virtual/app/firmwares.py`` has a row for each).
        log: ``quiet`` as Arduino's builds, ``info`` as ESP-IDF's.
        version, build, fw_type: what it is; the blnkinf tag says the same.
        reports: ``own`` version and build, ``nothing``, or the ``version``/``build`` to claim.
        confirm: when it tells the bootloader to keep it.
        finds_cloud: whether it can reach its server at all.
        stall_s: how long it waits for the next byte of a download.
        rollback: bootloaders: whether unconfirmed applications are rolled back.
        anti_rollback: bootloaders: whether images below the eFuses' secure version are refused.
        heartbeat_s: how long it stays silent before it pings.
        debug: whether its own debug lines are compiled in (Edgent's ``APP_DEBUG``).
        tls, ca: whether it speaks TLS to its cloud, and the CA it trusts (PEM).
        cert_dates: whether the validity of certificates is checked by its clock (a build option).
        settings: network and cloud, where they are compiled in.
        ports: what a firmware with fixed ports dials, in turn.
        sys_ota: whether it reports updates to the cloud as events ``sys_ota``.
        redirects: how many a download follows.
        retries: how often one boot tries a download.
        download_s: how long a whole download may take; 0: any time.
        least_rate: bytes a second below which a download is given up; 0: any rate.
        cloud_s: how long an unconfirmed image looks for its cloud before it goes back; 0: for ever.
        coredump: where a panic puts its core dump (CONFIG_ESP_COREDUMP_ENABLE_TO_…).
        largest_block: bytes of the largest free block of its heap; 0: as many as anything needs.
        bugs: ids of the bugs planted in it (``bugs.py``); applications of profile ``reference``.
    """

    kind: Kind = "app"
    profile: Profile = "edgent-old"
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
    anti_rollback: bool = False
    heartbeat_s: float = 40.0
    debug: bool = True
    tls: bool = False
    ca: str = ""
    cert_dates: bool = False
    settings: Settings | None = None
    ports: tuple[int, ...] = ()
    sys_ota: bool = True
    redirects: int = 5
    retries: int = 3
    download_s: float = 600.0
    least_rate: float = 512.0
    cloud_s: float = 600.0
    coredump: Literal["none", "uart", "flash"] = "none"
    largest_block: int = 0
    bugs: tuple[str, ...] = ()

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
        check(values, RULES, where, KEYS)
        for key, part in inner.items():
            shape, rules = INNER[key]
            if not isinstance(part, Mapping):
                raise FirmwareError(f"{where}: {key}: expected a table, not {part!r}")
            check(part, rules, f"{where}: {key}", tuple(rules))
            values[key] = shape(**part)
        for key in ("ports", "bugs"):
            values[key] = tuple(values.get(key, ()))
        behaviour = cls(**values)
        if behaviour.bugs and behaviour.profile != "reference":
            raise FirmwareError(
                f'{where}: bugs: only profile "reference" has places for them, '
                f"not {behaviour.profile!r}"
            )
        if behaviour.confirm == "self_test" and behaviour.self_test is None:
            raise FirmwareError(f'{where}: confirm = "self_test" needs a self_test table')
        return behaviour

    def allocates(self, size: int) -> bool:
        """Whether its heap has so many bytes in one piece."""
        return not self.largest_block or size <= self.largest_block

    def to_data(self) -> dict[str, Any]:
        """As JSON values, every field named."""
        return asdict(self)

    def to_segment(self) -> bytes:
        """The segment's data, padded to whole words."""
        text = json.dumps(self.to_data(), sort_keys=True, separators=(",", ":")).encode()
        data = MAGIC + _LENGTH.pack(len(text)) + text
        return data + bytes(-len(data) % 4)


RULES: Mapping[str, Rule] = {
    "kind": one_of("app", "bootloader"),
    "profile": one_of(*get_args(Profile)),
    "log": one_of("quiet", "info"),
    "version": TEXT,
    "build": TEXT,
    "fw_type": TEXT,
    "reports": CLAIM,
    "confirm": one_of("init", "login", "self_test", "never"),
    "finds_cloud": FLAG,
    "stall_s": SECONDS,
    "rollback": FLAG,
    "anti_rollback": FLAG,
    "heartbeat_s": SECONDS,
    "debug": FLAG,
    "tls": FLAG,
    "ca": TEXT,
    "cert_dates": FLAG,
    "ports": PORTS,
    "sys_ota": FLAG,
    "redirects": COUNT_FROM_0,
    "retries": COUNT_FROM_0,
    "download_s": SECONDS,
    "least_rate": NUMBER,
    "cloud_s": SECONDS,
    "coredump": one_of("none", "uart", "flash"),
    "largest_block": COUNT_FROM_0,
    "bugs": BUG_IDS,
    "self_test": TABLE,
    "settings": TABLE,
    "crash": TABLE,
}
SELF_TEST_RULES: Mapping[str, Rule] = {"after_s": SECONDS, "passes": FLAG}
SETTINGS_RULES: Mapping[str, Rule] = {
    "host": TEXT,
    "port": PORT,
    "token": TEXT,
    "ssid": TEXT,
    "passphrase": TEXT,
}
CRASH_RULES: Mapping[str, Rule] = {
    "when": one_of(*get_args(Moment)),
    "after_s": SECONDS,
    "times": Rule("a whole number above 0", lambda value: value is None or is_count(value)),
    "how": one_of(*get_args(How)),
    "sleep_s": SECONDS,
}
INNER: Mapping[str, tuple[type[Any], Mapping[str, Rule]]] = {
    "self_test": (SelfTest, SELF_TEST_RULES),
    "settings": (Settings, SETTINGS_RULES),
    "crash": (Crash, CRASH_RULES),
}
KEYS = tuple(field.name for field in fields(Behaviour))


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
