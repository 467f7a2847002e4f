"""What users add to a rig: power drivers, ways to provision, profiles, metrics.

A name that a rig file uses is one of ours, one that the user's ``conftest.py`` gives, or the entry
point of an installed package. Those are looked up only for a name that is none of the others.
"""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.rig.secret import EXPECTED, in_clear
from pytest_blynk_ota.rig.words import near

if TYPE_CHECKING:
    from pytest_blynk_ota.board.board import Board
    from pytest_blynk_ota.firmware.partitions import PartitionTable

POWER = "pytest_blynk_ota.power"
PROVISION = "pytest_blynk_ota.provision"
PROFILES = "pytest_blynk_ota.profiles"
METRICS = "pytest_blynk_ota.metrics"
"""Groups of entry points."""

Factory = Callable[..., Any]
"""Takes the keys of the rig file's table by their names; gives a driver or a way to provision."""


class PowerDriver(Protocol):
    """Switches one board's power. Its factory gets the other keys of ``power`` by their names."""

    def switch(self, on: bool) -> None:
        """Switch, and return when it is done; it has 10 wall seconds.

        That it returns proves nothing: the board must be silent 1 s later.

        Raises:
            Exception: of any kind, when it did not work; the test ends as an error of the rack.
        """


@dataclass(frozen=True, slots=True)
class Settings:
    """What a board has to know to come to this rig's cloud.

    Attributes:
        host, port: of the cloud, as the board dials them.
        token: of the device.
        ssid, passphrase: of its Wi-Fi.
        ca: of the cloud, in PEM, where the board speaks TLS to it; "": it needs none, or the rig
            file names a certificate, whose CA only its owner knows.
    """

    host: str
    port: int
    token: str = field(repr=False)
    ssid: str
    passphrase: str = field(repr=False)
    ca: str = field(default="", repr=False)


SETTINGS = ("host", "port", "token", "ssid", "passphrase")


class Provisioning:
    """A way for a board to learn its settings; override one method or more.

    Its factory gets the other keys of ``provision``, without ``wifi``, by their names.

    Attributes:
        gives: names of the settings that a board learns by it; the firmware has all others. Looked
            up in the class: without ``ssid`` no ``wifi`` is asked for, without ``token`` the rig
            file has to say which one the board has.
        built_in: those that images made from recipes, for virtual boards, are built with.
    """

    gives: Collection[str] = SETTINGS
    built_in: Collection[str] = ()

    def image(self, settings: Settings, data: bytes) -> bytes:
        """An image of the board's firmware, as it has to be for this rig; the same by default.

        Called for Old and for New, and for those that are made from recipes.

        Raises:
            FirmwareError: it cannot be made so; nothing is written.
        """
        return data

    def flash(self, settings: Settings, table: PartitionTable) -> Mapping[str, bytes]:
        """What partitions must hold before Old boots, by label; what is not filled is erased.

        Called for each restore; it has 10 wall seconds. Not for otadata and OTA slots.
        """
        return {}

    def tell(self, settings: Settings, board: Board) -> None:
        """Tell the board, which has just been reset into Old, and return when it knows.

        Called after each restore; it has 60 device seconds. ``board.console`` reads and writes its
        UART. Whether it worked is seen at the cloud: Old has to log in.

        Raises:
            Exception: of any kind, when it did not work; the test ends as an error of the rack.
        """


@dataclass(frozen=True, slots=True)
class Own:
    """A driver or a way of a user's, as a rig file asks for it.

    Attributes:
        name: in the rig file.
        where: the rig file.
        options: the other keys; a value "env:NAME" or "file:PATH" stands for a secret.
    """

    name: str
    where: str
    factory: Factory
    options: Mapping[str, Any] = field(repr=False)

    @property
    def gives(self) -> Collection[str]:
        """Of a way to provision: :attr:`Provisioning.gives`."""
        return getattr(self.factory, "gives", SETTINGS)


@dataclass(frozen=True, slots=True)
class Extensions:
    """What each ``conftest.py`` gives, and the rig file that asks for it.

    Attributes:
        power, provision: names to factories.
        where: the rig file.
        by_conftest: whether each ``conftest.py`` was asked; ``blynk-ota`` reads none.
    """

    power: Mapping[str, Factory] = field(default_factory=dict)
    provision: Mapping[str, Factory] = field(default_factory=dict)
    where: str = ""
    by_conftest: bool = False

    def find(self, group: str, what: str, name: str) -> Factory:
        """The factory of that name.

        Raises:
            ValueError: nobody gives it, or it cannot be loaded; in words.
        """
        from pytest_blynk_ota.rig import drivers, provision

        ours: tuple[str, ...] = ()
        if group == POWER:
            ours = drivers.NAMES
            if (made := drivers.driver_of(name)) is not None:
                return made
        if group == PROVISION:
            ours = provision.NAMES
            if name in provision.OURS:
                return provision.OURS[name]
        given = self.power if group == POWER else self.provision
        factory = given[name] if name in given else _installed(group, name)
        if factory is None:
            known = sorted({*ours, *given, *(one.name for one in entry_points(group=group))})
            told = "" if self.by_conftest else "; one of a conftest.py is known to pytest only"
            raise ValueError(
                f"expected a {what} ({', '.join(known) or 'none is installed'}), "
                f"got {name!r}{near(name, known) or told}"
            )
        if not callable(factory):  # pydantic collects ValueErrors only
            raise ValueError(  # noqa: TRY004
                f"{what} {name!r}: expected a class or a function, got {factory!r}"
            )
        return factory

    def own(self, group: str, what: str, name: str, options: Mapping[str, Any]) -> Own:
        """The driver or way of that name, with its keys of the rig file.

        Raises:
            ValueError: as for :meth:`find`, it takes other keys, or one of them is a secret in
                clear; or the value of one, where the way is ours.
        """
        from pytest_blynk_ota.rig import provision

        factory = self.find(group, what, name)
        beside = ("wifi",) if group == PROVISION else ("driver",)
        if why := _misfit(factory, options, beside):
            raise ValueError(f"{what} {name!r}: {why}")
        if key := in_clear(options):
            raise ValueError(
                f"{key}: expected {EXPECTED}: a secret does not stand in a rig file in clear"
            )
        if group == PROVISION and name in provision.OURS:
            factory(**options)  # they touch nothing, and say what is wrong with a value
        return Own(name, self.where, factory, options)


def gathered(
    hook: str, call: Callable[[], Sequence[object]], ours: tuple[str, ...] = ()
) -> dict[str, Factory]:
    """What the hooks of one kind give, as one table.

    Raises:
        ConfigError: one raises, gives no table, or a name that is taken.
    """
    try:
        gifts = call()
    except Exception as error:
        raise ConfigError(f"hook {hook}", [told(error)]) from error
    made: dict[str, Factory] = {}
    for gift in gifts:
        if not isinstance(gift, Mapping):
            raise ConfigError(
                f"hook {hook}", [f"expected a dict of names to factories, got {gift!r}"]
            )
        for name, factory in gift.items():
            if name in made or name in ours:
                raise ConfigError(
                    f"hook {hook}", [f"the name {name!r} is taken; expected another one"]
                )
            made[name] = factory
    return made


def installed_table(group: str, what: str, name: str) -> Mapping[str, Any] | None:
    """The table that a package brings; None if there is none.

    Raises:
        ValueError: it cannot be loaded, or is no table.
    """
    found = _installed(group, name)
    if found is None or isinstance(found, Mapping):
        return found
    raise ValueError(f"{what} {name!r} of a package: expected a dict, got {found!r}")


def _installed(group: str, name: str) -> Any:
    """What an entry point leads to; None if there is none of that name."""
    found = list(
        {(one.value, _package(one)): one for one in entry_points(group=group, name=name)}.values()
    )
    if not found:
        return None
    if len(found) > 1:
        raise ValueError(f"{name!r} is given by {' and '.join(_package(one) for one in found)}")
    try:
        return found[0].load()
    except Exception as error:  # a module of somebody else: anything may come
        raise ValueError(
            f"{name!r} of {_package(found[0])} cannot be loaded: {told(error)}"
        ) from None


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist else "a package"


def _misfit(factory: Factory, options: Mapping[str, Any], beside: Sequence[str]) -> str:
    """Why a factory cannot be called with these keys; "" if it can.

    Args:
        beside: keys of the same table that are not for it.
    """
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # written in C, say: it is seen when it is called
        return ""
    try:
        signature.bind(**options)
    except TypeError as error:
        known = list(signature.parameters)
        got = ", ".join(options) or "none"
        odd = next((key for key in options if key not in known), "")
        hint = near(odd, [*known, *beside]) if odd else ""
        return f"{error}; it takes {', '.join(known) or 'no key'}, the rig file has {got}{hint}"
    return ""


OURS = Path(__file__).resolve().parent.parent
STANDARD = Path(sysconfig.get_path("stdlib"))


def told(error: BaseException) -> str:
    """An error of a user's code: what it is, what it says, and the line of that code."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [one for one in frames if _is_theirs(Path(one.filename))]
    if not theirs and frames and OURS not in Path(frames[-1].filename).parents:
        theirs = frames[-1:]
    place = f" ({Path(theirs[-1].filename).name}:{theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {error}{place}"


def _is_theirs(file: Path) -> bool:
    """Whether neither ours nor Python's own; a package of theirs may stand in Python's folder."""
    if OURS in file.parents or str(file).startswith("<"):
        return False
    return STANDARD not in file.parents or "site-packages" in file.parts
