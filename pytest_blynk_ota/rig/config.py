"""The rig file: read as a whole, every mistake said at once, each with its key.

See ``docs/reference/rig-file.md`` for the keys.
"""

from __future__ import annotations

import copy
import ipaddress
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from pytest_blynk_ota.board.metric_patterns import NAME
from pytest_blynk_ota.cloud.doors import KINDS
from pytest_blynk_ota.cloud.relay import Upstream
from pytest_blynk_ota.delivery.campaign import LIFETIME_S
from pytest_blynk_ota.delivery.faults import parse_all
from pytest_blynk_ota.errors import ConfigError, FaultError, UsageError
from pytest_blynk_ota.firmware.bugs import BUGS
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.partitions import SECTOR_BYTES
from pytest_blynk_ota.rig.across import metrics_fit, mistakes_across
from pytest_blynk_ota.rig.extensions import (
    METRICS,
    POWER,
    PROVISION,
    Extensions,
    Own,
    installed_table,
)
from pytest_blynk_ota.rig.ports.messages import LINGER_S
from pytest_blynk_ota.rig.profiles import DEFAULT, Profile
from pytest_blynk_ota.rig.secret import EXPECTED, LEARN, is_reference
from pytest_blynk_ota.rig.ways import profile_of
from pytest_blynk_ota.rig.words import near

VIRTUAL = "virtual"
MAX_SPEED = 1000.0
FLASH_BAUD = 460_800
"""What the usual USB bridges do, with cables as they are (ESP-IDF flashes at this rate, too)."""


def one_of(what: str, words: Iterable[str]) -> AfterValidator:
    """A validator that lists the known words and the nearest one to what was written."""
    known = sorted(words)

    def check(word: str) -> str:
        if word in known:
            return word
        raise ValueError(f"expected a {what} ({', '.join(known)}), got {word!r}{near(word, known)}")

    return AfterValidator(check)


def from_elsewhere(what: str) -> AfterValidator:
    """A validator for a secret: the rig file names the variable or the file that holds it."""

    def check(text: str) -> str:
        if is_reference(text):
            return text
        raise ValueError(f"expected {EXPECTED}: a {what} does not stand in a rig file in clear")

    return AfterValidator(check)


def shaped(what: str, pattern: str) -> AfterValidator:
    """A validator for text of one form; ``what`` names it, with an example."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text):
            return text
        raise ValueError(f"expected a {what}, got {text!r}")

    return AfterValidator(check)


class Section(BaseModel):
    """A table of the file in which an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Command = Annotated[list[str], Field(min_length=1)]


class CommandPower(Section):
    """A command line that switches the outlet on, and one that switches it off."""

    on: Command
    off: Command


def _extensions(info: ValidationInfo) -> Extensions:
    return info.context if isinstance(info.context, Extensions) else Extensions()


class Power(Section):
    """Exactly one way to switch a board's power."""

    virtual: bool = False
    command: CommandPower | None = None
    http: str | None = None
    driver: str | None = None
    _own: Own | None = PrivateAttr(None)

    @property
    def own(self) -> Own | None:
        """The user's driver, if it is one."""
        return self._own

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, data: Any) -> Any:
        if data == VIRTUAL:
            return {"virtual": True}
        if not isinstance(data, dict):  # pydantic collects ValueErrors only
            raise ValueError(  # noqa: TRY004
                f'expected "virtual" or a table with command, http or driver, got {data!r}'
            )
        ways = [key for key in cls.model_fields if data.get(key)]
        if len(ways) > 1:
            raise ValueError(
                f"expected one of the keys command, http and driver, got {' and '.join(ways)}"
            )
        if not ways and cls.model_fields.keys() >= data.keys():
            raise ValueError("expected one of the keys command, http and driver, got none")
        return data

    @model_validator(mode="wrap")
    @classmethod
    def _a_driver(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """A driver has keys of its own, which it knows itself."""
        if not isinstance(data, dict) or not isinstance(data.get("driver"), str):
            return handler(data)
        options = {key: value for key, value in data.items() if key != "driver"}
        made = handler({"driver": data["driver"]})
        made._own = _extensions(info).own(POWER, "power driver", data["driver"], options)
        return made

    @field_validator("driver")
    @classmethod
    def _is_known(cls, driver: str | None, info: ValidationInfo) -> str | None:
        if driver is not None:
            _extensions(info).find(POWER, "power driver", driver)
        return driver

    @field_validator("http")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        if url is None or url.startswith(("http://", "https://")):
            return url
        raise ValueError(f'expected "http://…", got {url!r}')


class Provision(Section):
    """How the board learns its network, its cloud and its token."""

    kind: str
    wifi: Annotated[str, from_elsewhere("network")] = "env:WIFI"
    _own: Own | None = PrivateAttr(None)

    @property
    def gives(self) -> Collection[str]:
        """The settings that the board learns by it."""
        return self.own.gives

    @property
    def own(self) -> Own:
        """The way, ours or a user's, and what it is asked for."""
        assert self._own is not None
        return self._own

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str, info: ValidationInfo) -> str:
        _extensions(info).find(PROVISION, "way to provision", kind)
        return kind

    @model_validator(mode="wrap")
    @classmethod
    def _a_way(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """A way has keys of its own, which it knows itself."""
        kind = data.get("kind") if isinstance(data, dict) else None
        if not isinstance(kind, str):
            return handler(data)
        made = handler({key: data[key] for key in data if key in cls.model_fields})
        options = {key: value for key, value in data.items() if key not in cls.model_fields}
        made._own = _extensions(info).own(PROVISION, "way to provision", kind, options)
        return made


def _one_number(text: str) -> str:
    """A pattern that finds one number: it compiles, and has one group."""
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"expected one group, which holds the number; it has {groups}")
    return text


METRIC_NAME = shaped("name of small letters, digits and spaces, as free heap", NAME.pattern)
UNIT = shaped("unit of at most 8 letters, as B or dBm", r"\S{0,8}")


class MetricSection(Section):
    """A number that the firmware prints."""

    regex: Annotated[str, AfterValidator(_one_number)]
    unit: Annotated[str, UNIT] = ""


def _of_a_package(said: object) -> object:
    """Metrics that a package brings, where they are named."""
    if not isinstance(said, str):
        return said
    table = installed_table(METRICS, "metrics", said)
    if table is None:
        raise ValueError(
            f"expected a table, or the name of one that an installed package brings, got {said!r}"
        )
    return dict(table)


Metrics = Annotated[
    dict[Annotated[str, METRIC_NAME], MetricSection], BeforeValidator(_of_a_package)
]


class Bootloader(Section):
    """What a foreign bootloader image was built with: its bytes do not say it."""

    rollback: bool


MAC = shaped("MAC address as 02:b1:6e:00:00:01", r"[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}")
REVISION = shaped('chip revision as "v3.0"', r"v?\d+\.\d+")


class VirtualBoard(Section):
    """Keys that only a board made of software has."""

    outlet: Annotated[str, one_of("kind of outlet", ["bridge", "hub"])] = "bridge"
    wire: Annotated[str, one_of("wire", ["rfc2217", "socket", "pty"])] = "rfc2217"
    usb: Annotated[str, one_of("USB port", ["bridge", "jtag"])] = "bridge"
    paced: StrictBool = False
    flash: str | None = None
    efuse: str | None = None
    bad_sectors: list[Annotated[int, Field(ge=0, multiple_of=SECTOR_BYTES)]] = []
    mac: Annotated[str, MAC] | None = None
    revision: Annotated[str, REVISION] | None = None


BOARD_NAME = shaped(
    'name of letters, digits, "_", "." and "-" that begins with a letter or a digit, as c3-a',
    r"[A-Za-z0-9][A-Za-z0-9_.-]*",
)


def _profile(said: object) -> Profile:
    try:
        return profile_of(said)
    except ConfigError as error:
        raise ValueError("; ".join(error.problems)) from None


def _planted(bug: str) -> str:
    if bug not in BUGS:
        raise ValueError(f"expected a planted bug, Z1 to {list(BUGS)[-1]}, got {bug!r}")
    return bug


def _token(text: str) -> str:
    if text == LEARN or is_reference(text):
        return text
    raise ValueError(
        f'expected {EXPECTED}, or "{LEARN}": a token does not stand in a rig file in clear'
    )


def _ip_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f'expected an IP address as "192.168.1.31", got {text!r}') from None


class BoardSection(Section):
    """One board of the rack."""

    name: Annotated[str, BOARD_NAME]
    chip: Annotated[str, one_of("chip", CHIPS)]
    port: str
    power: Power | None = None
    provision: Provision | None = None
    token: Annotated[str, AfterValidator(_token)] | None = None
    address: Annotated[str, AfterValidator(_ip_address)] | None = None
    profile: Annotated[Profile, BeforeValidator(_profile)] = DEFAULT
    dials: Annotated[str, one_of("kind of cloud port", KINDS)] | None = None
    baud: int = Field(strict=True, default=115200, ge=300, le=4_000_000)
    flash_baud: int | None = Field(strict=True, default=None, ge=9600, le=4_000_000)
    tags: list[str] = []
    elf: str | None = None
    metrics: Metrics = {}
    bootloader: Bootloader | None = None
    bugs: list[Annotated[str, AfterValidator(_planted)]] = []
    virtual: VirtualBoard | None = None

    @property
    def is_virtual(self) -> bool:
        """Whether the board is one made of software, started by us."""
        return self.port == VIRTUAL

    @property
    def loader_baud(self) -> int:
        """The baud rate of the loader while flash is read or written: the console's where a higher
        one would gain nothing, or cannot be asked for."""
        if self.flash_baud is not None:
            return self.flash_baud
        if self.is_virtual:
            rated = (
                self.virtual is not None and self.virtual.paced and self.virtual.wire != "socket"
            )
        else:
            rated = not self.port.startswith("socket://")
        return max(FLASH_BAUD, self.baud) if rated else self.baud


class RigSection(Section):
    """What holds for the whole rack."""

    name: str
    advertise: str = "auto"
    speed: float = Field(strict=True, default=1.0, ge=1.0, le=MAX_SPEED)


Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
MAX_LINGER_S = 86_400.0


class CloudSection(Section):
    """The rig's Blynk server."""

    ports: dict[Annotated[str, one_of("kind of cloud port", KINDS)], list[Port]] = {}
    certificate: str | None = None
    key: str | None = None
    relay: str | None = None
    relay_ca: str | None = None
    ping_s: float | None = Field(strict=True, default=None, gt=0)
    flood_per_s: float | None = Field(strict=True, default=10.0, gt=0)
    linger_s: float = Field(strict=True, default=LINGER_S, ge=0, le=MAX_LINGER_S)

    @field_validator("relay")
    @classmethod
    def _server(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                Upstream.parse(text)
            except UsageError as error:
                raise ValueError(str(error).partition(": ")[2]) from None
        return text


def _fault_text(text: str) -> str:
    """A fault of the download, or several, in the text form."""
    try:
        parse_all(text)
    except FaultError as error:
        raise ValueError(str(error)) from None
    return text


class DeliverySection(Section):
    """How the rig's firmware server serves files.

    Attributes:
        https: whether URLs are https ones.
        expires: device seconds after which a URL is answered with 403.
        single_use: whether a URL serves one GET.
        faults: hold for each operation, beside its own; none of them has to fire.
    """

    https: StrictBool = False
    expires: float = Field(strict=True, default=LIFETIME_S, gt=0)
    single_use: StrictBool = False
    faults: list[Annotated[str, AfterValidator(_fault_text)]] = []


DOMAIN = shaped("domain as rig.test", r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]{2,63}")
INTERFACE = shaped("network interface as wlan1", r"[^\s/:]{1,15}")


class AccessPoint(Section):
    """Commands that switch the rack's access point."""

    on: Command
    off: Command


class NetworkSection(Section):
    """The rack's own network."""

    ap: AccessPoint | None = None
    interface: Annotated[str, INTERFACE] | None = None
    prefix: list[Annotated[str, Field(min_length=1)]] = []
    domain: Annotated[str, DOMAIN] | None = None
    dns_port: Port | None = None


class RigConfig(Section):
    """A whole rig file."""

    rig: RigSection
    board: list[BoardSection] = Field(min_length=1)
    network: NetworkSection | None = None
    cloud: CloudSection = CloudSection()
    delivery: DeliverySection = DeliverySection()
    metrics: Metrics = {}

    def pick(self, name: str) -> BoardSection:
        """The board of that name. Raises ConfigError with the nearest name."""
        names = [board.name for board in self.board]
        if name not in names:
            raise ConfigError(
                f"rig {self.rig.name}",
                [f"no board {name!r}; it has {', '.join(names)}{near(name, names)}"],
            )
        return self.board[names.index(name)]


def load(path: Path, extensions: Extensions | None = None) -> RigConfig:
    """Read and check a rig file.

    Args:
        extensions: what a ``conftest.py`` gives beside what is ours and what packages give.

    Raises:
        ConfigError: with every problem of the file, each with its key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"is no TOML: {error}"]) from error
    return check(data, str(path), extensions)


def check(data: dict[str, Any], where: str, extensions: Extensions | None = None) -> RigConfig:
    """The same for data that has been read already."""
    known = replace(extensions or Extensions(), where=where)
    try:
        config = RigConfig.model_validate(data, context=known)
    except ValidationError as error:
        problems = sentences(error.errors(include_url=False))
        raise ConfigError(where, [*problems, *_across(data, known)]) from error
    if problems := _across(data, known):
        raise ConfigError(where, problems)
    return config


def _across(data: Mapping[str, Any], known: Extensions) -> list[str]:
    """What is wrong between the keys, of those that are fine by themselves."""
    listed, cloud = data.get("board"), data.get("cloud")
    boards = {
        at: board
        for at, table in enumerate(listed if isinstance(listed, list) else [])
        if (board := _sieved(BoardSection, table, known)) is not None
    }
    rig, named = (
        _sieved(RigSection, data.get("rig"), known),
        cloud if isinstance(cloud, dict) else {},
    )
    network = _sieved(NetworkSection, data.get("network"), known)
    all_are_known = isinstance(listed, list) and len(boards) == len(listed)
    delivery = _sieved(DeliverySection, data.get("delivery"), known) if all_are_known else None
    found = [
        *mistakes_across(
            rig, boards, _sieved(CloudSection, cloud, known), named, network, delivery=delivery
        )
    ]
    try:
        common = _of_a_package(data.get("metrics"))
    except ValueError:  # told already
        common = None
    found += metrics_fit(common if isinstance(common, dict) else {}, boards)
    return [f"{key}: {problem}" if key else problem for key, problem in found]


S = TypeVar("S", bound=Section)


def _sieved(model: type[S], table: object, known: Extensions) -> S | None:
    """A table without its wrong keys; None if it is none, or one that it needs is wrong."""
    left = copy.deepcopy(table)
    while isinstance(left, dict):
        try:
            return model.model_validate(left, context=known)
        except ValidationError as error:
            if not sum(_left_out(left, row["loc"]) for row in error.errors()):
                break
    return None


def _left_out(table: dict[str, Any], loc: Sequence[int | str]) -> bool:
    """Take out the key at the end of ``loc``, or the one around it that lacks it; False: none."""
    around: Any = table
    way: list[tuple[Any, int | str]] = []
    for part in loc:
        way.append((around, part))
        around = around.get(part) if isinstance(around, dict) else None
    for holder, key in reversed(way):
        if isinstance(holder, dict) and key in holder:
            del holder[key]
            return True
    return False


def sentences(rows: Sequence[ErrorDetails]) -> list[str]:
    """One sentence for each mistake; branches of a union that do not apply are left out."""
    told: dict[str, str] = {}
    for row in rows:
        key = _key(row["loc"])
        message = _message(row, key)
        if key not in told or len(message) > len(told[key]):
            told[key] = message
    return [f"{key}: {message}" if key else message for key, message in told.items()]


def _key(loc: tuple[int | str, ...]) -> str:
    key = ""
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part != "[key]" and not (
            part.startswith("literal[") or (part[:1].isupper() and part != "AP")
        ):
            key += f".{part}" if key else part
    return key


def _message(row: ErrorDetails, key: str) -> str:
    kind, got = row["type"], row["input"]
    if kind == "extra_forbidden":
        return f"unknown key{near(key.rsplit('.', 1)[-1], _keys_beside(key))}"
    if kind == "missing":
        return "is missing"
    text = re.sub(r"^Value error, ", "", row["msg"])
    if kind == "value_error":
        return text
    return f"expected {_expected(text)}, got {_short(got)}"


def _expected(text: str) -> str:
    text = re.sub(r"^Input should be ", "", text)
    text = re.sub(r"^a valid dictionary or instance of \w+$", "a table", text)
    return text[0].lower() + text[1:]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_beside(key: str) -> list[str]:
    """The known keys of the table that holds ``key``."""
    table = re.sub(r"\[\d+\]", "", key).rpartition(".")[0]
    table = re.sub(r"\bmetrics\..*", "metrics", table)
    models: dict[str, type[BaseModel]] = {
        "": RigConfig,
        "rig": RigSection,
        "board": BoardSection,
        "board.power": Power,
        "board.power.command": CommandPower,
        "board.provision": Provision,
        "board.bootloader": Bootloader,
        "board.virtual": VirtualBoard,
        "board.metrics": MetricSection,
        "metrics": MetricSection,
        "cloud": CloudSection,
        "delivery": DeliverySection,
        "network": NetworkSection,
        "network.ap": AccessPoint,
    }
    model = models.get(table)
    return list(model.model_fields) if model else []


def owns_of(section: BoardSection) -> list[tuple[str, Own]]:
    """What of a board is a user's: the key, and what it asks for."""
    rows = [
        ("power", section.power.own if section.power else None),
        ("provision", section.provision.own if section.provision else None),
    ]
    return [(key, own) for key, own in rows if own is not None]
