"""Code of a user's, called so that it cannot take the run with it: with a deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pytest_blynk_ota.board.baseline import Region
from pytest_blynk_ota.errors import BlynkOtaError, FirmwareError, RigError
from pytest_blynk_ota.rig.extensions import (
    Own,
    PowerDriver,
    Provisioning,
    Settings,
    told,
)

if TYPE_CHECKING:
    from pytest_blynk_ota.board.board import Board
    from pytest_blynk_ota.firmware.partitions import PartitionTable

CALL_TIMEOUT_S = 10.0
"""Wall seconds that a driver has to be made or to switch: a hub command takes about 2 s."""
TELL_DEVICE_S = 60.0
"""Device seconds for a conversation with a board: a join to Wi-Fi may be part of it."""

T = TypeVar("T")


class Caller:
    """Calls one object of a user's, one call at a time.

    Args:
        where: the rig file, the board and the key, as messages begin.
        raises: the error of whatever goes wrong.
        clean: takes secrets out of a text.
        timeout_s: wall seconds that a call has, if it is not given others.
    """

    def __init__(
        self,
        where: str,
        raises: type[RigError],
        clean: Callable[[str], str],
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._where, self._raises, self._clean = where, raises, clean
        self._timeout_s = timeout_s
        self._hangs: tuple[str, threading.Thread] | None = None

    def call(self, what: str, act: Callable[[], T], timeout_s: float | None = None) -> T:
        """What ``act`` gives.

        Raises:
            RigError: of the kind ``raises``: it raises, or does not end in ``timeout_s`` wall
                seconds. A thread cannot be stopped: until it ends, no other call begins.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        if self._hangs is not None:
            self._hangs[1].join(timeout_s)
            if self._hangs[1].is_alive():
                raise self._raises(f"{self._where}: {what}: its {self._hangs[0]} still hangs")
            self._hangs = None
        done: _Call[T] = _Call(act)
        thread = threading.Thread(target=done.run, name=f"blynk-ota {what}", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if thread.is_alive():
            self._hangs = (what, thread)
            raise self._raises(f"{self._where}: {what} did not end within {timeout_s:g} s")
        if done.error is not None:
            if isinstance(done.error, BlynkOtaError):  # it says all that there is to say
                raise self._raises(f"{self._where}: {self._clean(str(done.error))}") from None
            # Not chained: what a traceback shows is not redacted.
            raise self._raises(f"{self._where}: {what}: {self._clean(told(done.error))}") from None
        return done.value[0]

    def wrong(self, sentence: str) -> RigError:
        """An error that begins as the others do."""
        return self._raises(f"{self._where}: {self._clean(sentence)}")


class _Call(Generic[T]):
    """One call, and what became of it."""

    def __init__(self, act: Callable[[], T]) -> None:
        self._act = act
        self.value: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.value.append(self._act())
        except BaseException as error:  # pytest.fail() is no Exception
            self.error = error


class DriverOutlet:
    """An outlet behind a user's driver, which is made when it is first needed."""

    def __init__(self, own: Own, options: Mapping[str, Any], caller: Caller) -> None:
        self._own, self._options, self._caller = own, options, caller
        self._driver: PowerDriver | None = None

    def switch(self, on: bool) -> None:
        """Raises OutletUnreachable when it did not work, or not in time."""
        driver = self._made()
        self._caller.call(f"switch({on})", lambda: driver.switch(on))

    def _made(self) -> PowerDriver:
        if self._driver is None:
            make = self._own.factory
            made = self._caller.call("making it", lambda: make(**self._options))
            if not callable(getattr(made, "switch", None)):
                raise self._caller.wrong(f"expected an object with switch(on), got {made!r}")
            self._driver = made
        return self._driver


def provisioning_of(own: Own, options: Mapping[str, Any], caller: Caller) -> Provisioning:
    """A user's way to provision. Raises RigError."""
    made = caller.call("making it", lambda: own.factory(**options))
    if not isinstance(made, Provisioning):
        raise caller.wrong(f"expected a Provisioning, got {made!r}")
    return made


@dataclass(frozen=True, slots=True)
class Told:
    """A user's way to provision one board, and how it is called."""

    way: Provisioning
    caller: Caller

    def regions(self, settings: Settings, table: PartitionTable) -> list[Region]:
        """What must stand in flash for it.

        Raises:
            RigError: it raises, hangs, or gives what does not fit the board's partitions.
        """
        given = self.caller.call("flash()", lambda: self.way.flash(settings, table))
        if not isinstance(given, Mapping):
            raise self.caller.wrong(f"flash(): expected a dict of labels to bytes, got {given!r}")
        return [self._region(label, data, table) for label, data in given.items()]

    def _region(self, label: object, data: object, table: PartitionTable) -> Region:
        theirs = {one.label for one in (*table.ota_slots, table.otadata) if one is not None}
        free = [one.label for one in table.rows if one.label not in theirs]
        part = table.find(label) if isinstance(label, str) else None
        if part is None or part.label not in free:
            raise self.caller.wrong(
                f"flash(): expected a partition of the board ({', '.join(free)}), got {label!r}"
            )
        if not isinstance(data, bytes | bytearray) or len(data) > part.size:
            got = f"{len(data)} bytes" if isinstance(data, bytes | bytearray) else type(data)
            raise self.caller.wrong(
                f"flash(): {label}: expected at most {part.size} bytes, got {got}"
            )
        return Region(part.label, part.offset, bytes(data).ljust(part.size, b"\xff"))

    def image(self, settings: Settings, data: bytes, name: str) -> bytes:
        """An image of the board's firmware, for this rig.

        Args:
            name: of the image, for messages.

        Raises:
            FirmwareError: it cannot be made so.
            RigError: the way raises something else, hangs, or gives no bytes.
        """
        refused: list[FirmwareError] = []

        def make() -> bytes:
            try:
                return self.way.image(settings, data)
            except FirmwareError as error:
                refused.append(error)
                return b""

        made = self.caller.call("image()", make)
        if refused:
            where = str(self.caller.wrong(f"{name}: {refused[0]}"))
            raise FirmwareError(where) from None
        if not isinstance(made, bytes):
            raise self.caller.wrong(f"image(): expected bytes, got {type(made)}")
        return made

    @property
    def changes_images(self) -> bool:
        """Whether its way does more with an image than to give it back."""
        return type(self.way).image is not Provisioning.image

    def tell(self, settings: Settings, board: Board, timeout_s: float) -> None:
        """Have it tell the board, in ``timeout_s`` wall seconds. Raises RigError."""
        self.caller.call("tell()", lambda: self.way.tell(settings, board), timeout_s)
