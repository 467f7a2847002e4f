"""One board: its console, its reset, its flash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from serial.serialutil import SerialException

from pytest_blynk_ota.board import baseline as baselines
from pytest_blynk_ota.board.baseline import Baseline, Change, Restored
from pytest_blynk_ota.board.condition import condition
from pytest_blynk_ota.board.console import LAST_LINES, Console, Reading
from pytest_blynk_ota.board.naming import MAC, plain_mac
from pytest_blynk_ota.board.patterns import (
    DOWNLOAD_CLOSED,
    ROM_BANNER,
    WAITING_OR_NOT,
    marks,
)
from pytest_blynk_ota.board.progress import Told
from pytest_blynk_ota.board.reset import LOADER, RUN, Strategy, perform
from pytest_blynk_ota.board.safety import FUSES, Facts, Locks, kind_of, refusals, too_small
from pytest_blynk_ota.errors import (
    BlynkOtaError,
    ConfigError,
    FlashFailed,
    LoaderSilent,
    PortGone,
    RigError,
    UsageError,
)
from pytest_blynk_ota.evidence.timeline import Record

if TYPE_CHECKING:
    from pytest_blynk_ota.board.flasher import Loader
    from pytest_blynk_ota.firmware.partitions import PartitionTable

BANNER_S = 0.4
"""Wall seconds from the release to the ROM's `waiting for download`; some boards keep it quiet."""
RESET_ATTEMPTS = 3
"""Resets into run mode: some fail on real boards (esptool#970, PR 1157)."""
LOADER_ATTEMPTS = 3
"""Resets into the loader: one in some hundreds fails on real boards (esptool takes seven)."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which chip this is; ``virtual`` ones say so in their eFuses."""

    chip: str
    mac: str
    flash_bytes: int
    virtual: bool
    revision: str = ""

    @property
    def kind(self) -> str:
        """``virtual``, ``emulated`` or ``real``."""
        return kind_of(self.mac, marked=self.virtual)


class Admission(Protocol):
    """Whether a board that nothing locks may be written to, and what is done first."""

    def __call__(self, facts: Facts, read_all: Callable[[], bytes]) -> None:
        """Called before the first write.

        Args:
            facts: which board it is.
            read_all: reads its whole flash.

        Raises:
            BoardLocked: no.
        """


class Board:
    """One board of a rig.

    Args:
        name: in the rig file.
        chip: as the rig file says: ``esp32``, ``esp32c3``; "" for any, to ask which it is.
        url: of its serial port.
        record: takes its events.
        baud: of its console.
        speed: device seconds in a wall second.
        press: resets the chip where its port has no lines to do so: presses EN, and keeps IO0 low
            meanwhile if it is given True.
        reading: what more is made of its log.
        flash_baud: of the loader while it works; the console's if None.
        admission: has the last word before the first write.

    Attributes:
        facts: which chip it is; None until it was first asked.
    """

    def __init__(
        self,
        name: str,
        chip: str,
        url: str,
        record: Record,
        *,
        baud: int = 115200,
        speed: float = 1.0,
        press: Callable[[bool], None] | None = None,
        reading: Reading = Reading(),  # noqa: B008  # frozen, and holds nothing
        flash_baud: int | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.name, self.chip, self.speed = name, chip, speed
        self.facts: Facts | None = None
        self._flash_baud = flash_baud or baud
        self._admission = admission
        self._admitted = ""
        self._press = press
        self._record = record
        self.console = Console(name, url, record, baud=baud, speed=speed, reading=reading)

    def __repr__(self) -> str:
        return f"<Board {self.name} {self.chip} {self.console.url}>"

    def __enter__(self) -> Board:
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def open(self) -> None:
        """Open its console; no reset. Raises PortGone."""
        self.console.open()

    def close(self) -> None:
        """Close its console. Safe to call twice."""
        self.console.close()

    def reset(self, *, by: str = "test") -> None:
        """Reset it by its EN line so that it boots from flash.

        Returns when the ROM has spoken, or after BANNER_S if it keeps quiet.

        Raises:
            PortGone: the port is gone.
            RigError: the chip goes into its loader each time.
        """
        banner = ""
        for _ in range(RESET_ATTEMPTS):
            cursor = self.console.cursor
            self._reset(RUN, by)
            found = self.console.find(ROM_BANNER, after=cursor, wall_s=BANNER_S)
            banner = found.string if found else ""
            if not _in_download(banner):
                return
        raise RigError(
            f"board {self.name}: after {RESET_ATTEMPTS} resets it still waits for a download "
            f"({banner}). Is IO0 held low, by a button or by DTR of another program?"
        )

    def identity(self) -> Identity:
        """Ask the chip who it is; ends with a reset.

        Raises:
            LoaderSilent, PortGone: it does not answer.
            ConfigError: another chip answers than the rig file says.
            BoardLocked: its eFuses have closed download mode.
        """
        with self._in_loader() as loader:
            facts, revision = loader.facts(), loader.revision()
        self.facts = facts
        return Identity(facts.chip, facts.mac, facts.flash_bytes, facts.marked, revision)

    def restore(self, baseline: Baseline, *, prove: bool = False) -> Restored:
        """Bring flash to ``baseline``, writing only what differs; ends with a reset into it.

        Args:
            prove: whether all of it is compared once more when it stands.

        Raises:
            ConfigError: another chip than the rig file says, or too small a flash; nothing was
                written.
            BoardLocked: this board may not be written to; nothing was.
            LoaderSilent: the loader does not answer.
            FlashFailed: an erase, write or comparison failed; with esptool's words.
            PortGone: the port went away.
        """
        start = time.monotonic()

        def bring(loader: Loader) -> tuple[list[Change], int]:
            work = baselines.changes(baseline, loader.md5)
            baselines.apply(work, loader)
            if prove and (left := baselines.changes(baseline, loader.md5)):
                names = ", ".join(f"{one.size} bytes at {one.offset:#x}" for one in left)
                raise FlashFailed(f"board {self.name}: after all was written, {names} still differ")
            return work, loader.serial_bytes

        work, moved = self._write(bring, baseline.end, "what has to stand there")
        return Restored(
            wrote_bytes=sum(change.size for change in work),
            serial_bytes=moved,
            seconds=time.monotonic() - start,
            regions=tuple(dict.fromkeys(change.name for change in work)),
        )

    def write(self, pieces: Mapping[int, bytes]) -> None:
        """Put bytes into the flash, as a fault of the test; ends with a reset.

        The rest of their 4 KB sectors is erased. The next restore mends slots, otadata and the
        settings that the rig gives; a board that is not virtual keeps what was done to the rest.

        Args:
            pieces: by offset, which begins a sector, what is to stand there.

        Raises:
            UsageError: an offset begins no sector, or there is nothing to write.
            BoardLocked, ConfigError, FlashFailed, LoaderSilent, PortGone: as :meth:`restore`.
        """
        if not pieces or any(at < 0 or at % baselines.SECTOR_BYTES for at in pieces):
            told = ", ".join(f"{at:#x}" for at in pieces) or "nothing"
            raise UsageError(
                f"board {self.name}: write() takes bytes by offset, each at the begin of a sector "
                f"(a multiple of 0x1000); got {told}"
            )

        def put(loader: Loader) -> None:
            for at, data in sorted(pieces.items()):
                loader.write(at, data)

        spans = [[at, len(data)] for at, data in sorted(pieces.items())]
        self._record("test", "action", self.name, what="flash.write", spans=spans)
        self._write(put, max(sum(span) for span in spans), "what the test writes", by="test")

    def _write(self, job: Callable[[Loader], T], end: int, what: str, *, by: str = "rig") -> T:
        """Do a job that writes up to ``end``, on a board that may be written to."""

        def agreed(loader: Loader) -> T:
            self._agree(loader)
            return job(loader)

        return self._fast(agreed, lambda loader: self._check(loader, end, what), by)

    def _check(self, loader: Loader, end: int, what: str) -> None:
        """Which board it is, and whether its eFuses and its flash allow to write.

        Raises:
            BoardLocked: its eFuses do not.
            ConfigError: its flash is too small.
        """
        from pytest_blynk_ota.board.flasher import locked

        if self.facts is None or self.facts.mac != loader.mac():  # another board on the same port
            self.facts = loader.facts()
        if reasons := refusals(self.facts.locks):
            raise locked(self.name, reasons)
        if why := too_small(end, self.facts.flash_bytes, what):
            raise ConfigError(f"board {self.name}", [f"nothing was written: {why}"])

    def _agree(self, loader: Loader) -> None:
        """Have the admission's word, once for each board. Raises BoardLocked."""
        facts = self.facts
        if self._admission is None or facts is None or self._admitted == facts.mac:
            return
        self._admission(facts, loader.read_all)
        self._admitted = facts.mac

    def _fast(
        self,
        job: Callable[[Loader], T],
        before: Callable[[Loader], None] | None = None,
        by: str = "rig",
    ) -> T:
        """Do a job through the stub flasher at the loader's own rate; where that fails, once more
        at the console's, and from then on at that.

        Args:
            before: called with the ROM's loader.
            by: whose resets these are.
        """
        if self._flash_baud != self.console.baud:
            try:
                return self._through_stub(job, before, self._flash_baud, by)
            except FlashFailed as error:
                self._record(
                    "rig",
                    "slower",
                    self.name,
                    baud=self._flash_baud,
                    now=self.console.baud,
                    why=str(error),
                )
                self._flash_baud = self.console.baud
        return self._through_stub(job, before, None, by)

    def _through_stub(
        self,
        job: Callable[[Loader], T],
        before: Callable[[Loader], None] | None,
        baud: int | None,
        by: str,
    ) -> T:
        with self._in_loader(stubbed=True, before=before, by=by) as loader:
            loader.progress = Told(self._tell_progress)
            if baud is not None:
                loader.speed_up(baud)
            return job(loader)

    def _tell_progress(self, what: str, done: int, total: int) -> None:
        self._record("flash", "progress", self.name, what=what, done=done, total=total)

    def read_table(self) -> PartitionTable:
        """Read the board's own partition table; ends with a reset.

        Raises:
            FirmwareError: what stands there is no partition table.
            BoardLocked: this board may not be written to, and its table is none of ours to read.
            LoaderSilent: the loader does not answer.
        """
        from pytest_blynk_ota.firmware.partitions import TABLE_BYTES, TABLE_OFFSET, PartitionTable

        # of a locked board what stands there is no table either, and the lock is what to tell
        look = partial(self._check, end=0, what="nothing")
        with self._in_loader(stubbed=True, before=look) as loader:
            data = loader.read(TABLE_OFFSET, TABLE_BYTES)
            return PartitionTable.parse(data, flash_size=loader.flash_bytes())

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the flash; ends with a reset.

        Raises:
            LoaderSilent: the loader does not answer.
        """
        return self._fast(lambda loader: loader.read(offset, length))

    def read_flash(
        self,
        table: PartitionTable,
        images: Mapping[str, bytes],
        *,
        rollback: bool = False,
        core_dump: bool = False,
    ) -> dict[str, Any]:
        """Look at flash, record ``flash/read`` and return its data; ends with a reset.

        Args:
            table: the partition table that should stand there.
            images: files by name, to be recognised in the slots.
            rollback: whether the bootloader has rollback on; decides what would boot.
            core_dump: whether to keep the core dump that stands in flash, too.

        Raises:
            RigError: it cannot be read; recorded as ``flash/unreadable``, as the next is.
            ConfigError: another chip than the rig file says.
        """
        from pytest_blynk_ota.board.dump_in_flash import dump_in_flash
        from pytest_blynk_ota.board.readback import read_back

        dump = b""
        try:
            with self._in_loader(stubbed=True) as loader:
                if loader.encrypted():
                    raise FlashFailed(f"board {self.name}: its flash is encrypted, not readable")
                size = loader.flash_bytes()
                data = read_back(loader, size, loader.chip, table, images, rollback=rollback)
                if core_dump:
                    dump = dump_in_flash(loader, table)
        except BlynkOtaError as error:
            self._record("flash", "unreadable", self.name, why=str(error))
            raise
        self._record("flash", "read", self.name, **data)
        if dump:
            self.console.keep_core_dump(dump, "flash")
        return data

    def _reset(self, strategy: Strategy, by: str) -> None:
        port = self.console.port
        self.console.mark()
        self._record("rig", "reset", self.name, by=by, mode=strategy.mode)
        if self._press is not None:
            self._press(strategy is LOADER)
            return
        try:
            perform(strategy, port, name=self.name, speed=self.speed)
        except (SerialException, OSError) as error:
            raise PortGone(
                f"board {self.name}: {self.console.url} went away during a reset: {error}"
            ) from error

    @contextmanager
    def _in_loader(
        self,
        *,
        stubbed: bool = False,
        before: Callable[[Loader], None] | None = None,
        by: str = "rig",
    ) -> Iterator[Loader]:
        """The chip in its loader; whatever happens there, it is reset into run mode at the end.

        Args:
            stubbed: whether the stub flasher is to run there.
            before: called with the ROM's loader, before the stub flasher is sent.
            by: whose resets these are.
        """
        try:
            with self._loader(stubbed, before, by) as loader:
                yield loader
        except BaseException:
            with suppress(RigError):  # the first error is the one to tell
                self.reset(by=by)
            raise
        self.reset(by=by)

    @contextmanager
    def _loader(
        self, stubbed: bool, before: Callable[[Loader], None] | None, by: str
    ) -> Iterator[Loader]:
        # esptool takes half a second to import
        from pytest_blynk_ota.board.esptool_words import listening
        from pytest_blynk_ota.board.flasher import connect

        with listening() as words:
            for left in reversed(range(LOADER_ATTEMPTS)):
                cursor = self.console.cursor
                self._reset(LOADER, by)
                self.console.find(WAITING_OR_NOT, after=cursor, wall_s=BANNER_S)
                self._refused_by_rom(cursor)
                with self.console.lend() as port:
                    try:
                        loader = connect(port, self.chip, self.name, self.console.baud, words)
                        self._is_the_one(loader)
                        if before is not None:
                            before(loader)
                        if stubbed:
                            loader.start_stub()
                    except LoaderSilent as error:
                        if left:
                            continue
                        raise LoaderSilent(self._silence(cursor, error)) from error
                    yield loader
                    return

    def _refused_by_rom(self, cursor: int) -> None:
        """Raises BoardLocked where the ROM says that it has no download mode any more."""
        from pytest_blynk_ota.board.flasher import locked

        if any(DOWNLOAD_CLOSED.search(line.text) for line in self.console.lines(cursor)):
            fuses = FUSES.get(self.chip)
            fuse = fuses.download_off.name if fuses else "an eFuse"
            raise locked(self.name, refusals(Locks(download_off=fuse)))

    def _is_the_one(self, loader: Loader) -> None:
        """A board that is named by its MAC was found by what its bridge says: the chip knows."""
        url = self.console.url
        if url.startswith(MAC) and (found := loader.mac()) != plain_mac(url.removeprefix(MAC)):
            raise ConfigError(
                f"board {self.name}",
                [
                    f"port: the rig file says {url}, but the chip with the MAC {found} answers; "
                    "nothing was written. Boards have changed places: blynk-ota rig scan --ask"
                ],
            )

    def _silence(self, cursor: int, error: LoaderSilent) -> str:
        lines = self.console.texts(cursor)
        banners = [line for line in lines if ROM_BANNER.search(line)]
        wrong = condition(lines, self.console.baud)
        if wrong and not (banners and _in_download(banners[-1])):  # there it is where it should be
            hint = wrong
        elif not lines:
            hint = "The chip said nothing either: is it powered, and are TX and RX right?"
        elif banners and not _in_download(banners[-1]):
            hint = "It booted from flash: is IO0 wired to DTR?"
        else:
            hint = "Its last lines: " + " | ".join(lines[-LAST_LINES:])
        return (
            f"board {self.name}: the loader did not answer after {LOADER_ATTEMPTS} resets. {hint} "
            f"esptool says: {error}"
        )


def _in_download(banner: str) -> bool:
    return any(mark.data["download"] for mark in marks(banner) if mark.kind == "reset")
