"""A chip in its loader, through esptool's Python API on a port that is already open.

We reset the chip ourselves and only synchronise here: esptool's own connection sequence closes the
port when it fails and tries resets that we could not record. Import this module late: esptool takes
a while to load.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from esptool.cmds import DETECTED_FLASH_SIZES
from esptool.loader import DEFAULT_TIMEOUT, ERASE_WRITE_TIMEOUT_PER_MB, timeout_per_mb
from esptool.targets import CHIP_DEFS
from esptool.util import FatalError, UnsupportedCommandError, flash_size_bytes

from pytest_blynk_ota.board.baseline import BLOCK_BYTES
from pytest_blynk_ota.board.lent import LentPort
from pytest_blynk_ota.board.safety import (
    FUSES,
    SECURE_DOWNLOAD_FLAG,
    Facts,
    Locks,
    SecurityInfo,
    locks_of,
    refusals,
)
from pytest_blynk_ota.errors import BoardLocked, ConfigError, FlashFailed, LoaderSilent

SYNC_S = 1.5
"""The loader answers within milliseconds of its banner; one sync of esptool takes 0.1 s."""
MAGIC_REGISTER = 0x40001000
"""esptool CHIP_DETECT_MAGIC_REG_ADDR."""
VIRTUAL_MARK = b"BLYNK-OTA VIRTUAL"
VIRTUAL_MARK_AT = {"esp32": 0x3FF5A058, "esp32c3": 0x6000887C, "esp32s3": 0x6000707C}
"""First word of the eFuse block where a virtual chip says that it is one."""
UNTIL_ASKED = "esp32c3"
"""The chip whose commands say hello to one that is not known yet: it asks for the id at once."""
COMPRESSION = 9
"""zlib level of esptool's write-flash."""

Progress = Callable[[str, int, int], None]
"""Told what is done, and how many bytes of how many are."""


def _nobody(_what: str, _done: int, _total: int) -> None:
    """Nobody looks."""


class Loader:
    """One chip that waits for commands. Offsets and sizes are bytes of flash.

    Attributes:
        chip: as esptool names it: ``esp32``, ``esp32c3`` …
        stubbed: whether the stub flasher runs; the ROM's loader does otherwise.
        progress: told how far long work is.
    """

    def __init__(self, esp: Any, port: LentPort, name: str, chip: str, words: list[str]) -> None:
        self._esp, self._port, self._name, self._words = esp, port, name, words
        self._attached = False
        self.chip = chip
        self.progress: Progress = _nobody

    def __repr__(self) -> str:
        return f"<Loader of {self._name}: {self.chip}, {'stub' if self.stubbed else 'ROM'}>"

    @property
    def stubbed(self) -> bool:
        return bool(self._esp.IS_STUB)

    @property
    def serial_bytes(self) -> int:
        """Bytes that crossed the serial line since the port was lent, both directions."""
        return self._port.moved

    def mac(self) -> str:
        """The base MAC address, ``aa:bb:…``."""
        with self._failing("read the MAC"):
            return ":".join(f"{byte:02x}" for byte in self._esp.read_mac())

    def revision(self) -> str:
        """Of the chip, ``v0.4``."""
        with self._failing("read the chip's revision"):
            major, minor = divmod(int(self._esp.get_chip_revision()), 100)
        return f"v{major}.{minor}"

    def virtual(self) -> bool:
        """Whether the chip is made of software and says so in its eFuses."""
        at = VIRTUAL_MARK_AT.get(self.chip)
        if at is None:
            return False
        with self._failing("read the user's eFuse block"):
            for index in range(0, len(VIRTUAL_MARK), 4):
                part = VIRTUAL_MARK[index : index + 4]
                if self._esp.read_reg(at + index).to_bytes(4, "little")[: len(part)] != part:
                    return False
        return True

    def facts(self) -> Facts:
        """Who the chip is and what locks it."""
        return Facts(self.chip, self.mac(), self.flash_bytes(), self.virtual(), self.locks())

    def locks(self) -> Locks:
        """What is burnt to keep others out."""
        with self._failing("read the eFuses that lock it"):
            known = FUSES[self.chip].addresses if self.chip in FUSES else ()
            words = {at: int(self._esp.read_reg(at)) for at in known}
            return locks_of(self.chip, words, _security_info(self._esp))

    def encrypted(self) -> bool:
        """Whether flash encryption is on: then nothing read from flash can be compared."""
        with self._failing("read the flash encryption eFuse"):
            return bool(self._esp.get_flash_encryption_enabled())

    def flash_bytes(self) -> int:
        """Size of the flash chip, from its JEDEC id."""
        self._attach()
        with self._failing("read the flash id"):
            jedec = self._esp.flash_id()
            size = DETECTED_FLASH_SIZES.get(jedec >> 16 & 0xFF)
        if size is None:
            raise FlashFailed(f"board {self._name}: flash id {jedec:#08x} has no known size")
        return int(flash_size_bytes(size))

    def start_stub(self) -> Self:
        """Upload and start esptool's stub flasher (about 7 KB), unless it runs.

        Raises:
            LoaderSilent: it does not start. Nothing was written: all can be tried again.
        """
        if not self.stubbed:
            try:
                self._esp = self._esp.run_stub()
            except FatalError as error:
                raise LoaderSilent(said(error, self._words)) from error
            self._attached = False
        return self

    def speed_up(self, baud: int) -> Self:
        """Go on at another baud rate.

        Raises:
            FlashFailed: the port or the chip cannot, or what comes at that rate is garbled.
        """
        with self._failing(f"go on at {baud} baud"):
            self._esp.change_baud(baud)
            self._esp.read_reg(MAGIC_REGISTER)
        return self

    def md5(self, offset: int, size: int) -> str:
        """MD5 of a piece of flash, computed by the chip; 32 hex digits."""
        self._attach()
        with self._failing(f"hash {size} bytes at {offset:#x}"):
            return str(self._esp.flash_md5sum(offset, size)).lower()

    def read(self, offset: int, size: int, *, before: int = 0, total: int = 0) -> bytes:
        """Read flash: fast with the stub, 64 bytes a command without.

        Args:
            before: bytes that were read before, of a ``total`` of more than these.
        """
        self._attach()

        def told(done: int, *_: int) -> None:
            self.progress("reading flash", before + done, max(total, size))

        with self._failing(f"read {size} bytes at {offset:#x}"):
            return bytes(self._esp.read_flash(offset, size, told))

    def read_all(self) -> bytes:
        """The whole flash; of blocks that are blank only the hash crosses the serial line.

        Raises:
            FlashFailed: the whole has another hash than the chip says.
        """
        size = self.flash_bytes()
        blank = hashlib.md5(b"\xff" * BLOCK_BYTES).hexdigest()
        used = [at for at in range(0, size, BLOCK_BYTES) if self.md5(at, BLOCK_BYTES) != blank]
        data = bytearray(b"\xff" * size)
        for number, at in enumerate(used):
            data[at : at + BLOCK_BYTES] = self.read(
                at, BLOCK_BYTES, before=number * BLOCK_BYTES, total=len(used) * BLOCK_BYTES
            )
        found, wanted = hashlib.md5(data).hexdigest(), self.md5(0, size)
        if found != wanted:
            raise FlashFailed(
                f"board {self._name}: what was read of its flash has the MD5 {found}, but the chip "
                f"says {wanted}"
            )
        return bytes(data)

    def erase(self, offset: int, size: int) -> None:
        """Erase whole 4 KB sectors; needs the stub."""
        self._attach()
        with self._failing(f"erase {size} bytes at {offset:#x}"):
            self._esp.erase_region(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        """Erase the sectors under ``data``, write it compressed and compare its MD5."""
        self._attach()
        packed = zlib.compress(data, COMPRESSION)
        done = 0
        with self._failing(f"write {len(data)} bytes at {offset:#x}"):
            esp, step = self._esp, self._esp.FLASH_WRITE_SIZE
            esp.flash_defl_begin(len(data), len(packed), offset)
            for at in range(0, len(packed), step):
                block = packed[at : at + step]
                share = len(data) * len(block) / len(packed)
                esp.flash_defl_block(
                    block, at // step, timeout=timeout_per_mb(ERASE_WRITE_TIMEOUT_PER_MB, share)
                )
                done += len(block)
                self.progress("writing flash", done * len(data) // len(packed), len(data))
            esp.read_reg(MAGIC_REGISTER)  # answered when the last block is written
        found, wanted = self.md5(offset, len(data)), hashlib.md5(data).hexdigest()
        if found != wanted:
            raise FlashFailed(
                f"board {self._name}: {len(data)} bytes at {offset:#x} were written, but read back "
                f"with MD5 {found}, expected {wanted}. Is the flash worn out?"
            )

    def _attach(self) -> None:
        """Connect the ROM's loader to the flash chip (the stub is), and say how large that is."""
        if self._attached:
            return
        self._attached = True
        if not self.stubbed:
            with self._failing("attach the flash"):
                self._esp.flash_spi_attach(self._flash_pads())
        size = self.flash_bytes()
        with self._failing("set the size of the flash"):
            self._esp.flash_set_parameters(size)

    def _flash_pads(self) -> int:
        """The pins of the flash: ESP32 packages with flash inside say in eFuses which."""
        if self.chip != "esp32":
            return 0
        clk, q, d, hd, cs = self._esp.get_chip_spi_pads()
        return int(hd << 24 | cs << 18 | d << 12 | q << 6 | clk)

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except FatalError as error:
            raise FlashFailed(
                f"board {self._name}: the {'stub' if self.stubbed else 'ROM loader'} could not "
                f"{what}. esptool says: {said(error, self._words)}"
            ) from error


def connect(port: LentPort, chip: str, name: str, baud: int, words: list[str]) -> Loader:
    """Talk to a chip that has just been reset into its loader.

    Args:
        port: lent by the console.
        chip: that the rig file names; "" for any.
        name: of the board, for messages.
        baud: of the port.
        words: where esptool's words go (``esptool_words.listening``).

    Raises:
        LoaderSilent: it does not answer; with esptool's words.
        ConfigError: another chip answers than the rig file says; nothing has been written.
        BoardLocked: the loader answers little more than who it is (Secure Download Mode).
    """
    if chip and chip not in CHIP_DEFS:
        raise ConfigError(f"board {name}", [f"chip: esptool knows no {chip!r}"])
    port.timeout = DEFAULT_TIMEOUT  # of the console it has READ_S: a stub that starts on a busy
    # host needs longer for its first word, and esptool waits for that as long as the port says
    try:
        esp = CHIP_DEFS[chip or UNTIL_ASKED](port, baud)
        _sync(esp)
        found = _chip_that_answers(esp)
        if not chip and found in CHIP_DEFS:
            chip, esp = found, CHIP_DEFS[found](port, baud)
        info = _security_info(esp) if found == chip else None
        esp.secure_download_mode = info is not None and bool(info.flags & SECURE_DOWNLOAD_FLAG)
        if found == chip and not esp.secure_download_mode:
            esp._post_connect()  # stops the watchdogs of a chip behind USB-Serial-JTAG
    except FatalError as error:
        raise LoaderSilent(said(error, words)) from error
    if found != chip:
        says = (
            f"the rig file says {chip}, but {found}" if chip else f"esptool knows it not: {found}"
        )
        raise ConfigError(f"board {name}", [f"chip: {says} answers; nothing was written"])
    if esp.secure_download_mode:
        raise locked(name, refusals(locks_of(chip, {}, info)))
    return Loader(esp, port, name, chip, words)


def locked(name: str, reasons: list[str]) -> BoardLocked:
    """The error of a board that may not be written to."""
    return BoardLocked("\n".join(f"board {name}: nothing was written: {why}" for why in reasons))


def _security_info(esp: Any) -> SecurityInfo | None:
    """None where the ROM has none, as an ESP32's."""
    if esp.USES_MAGIC_VALUE:
        return None
    info = esp.get_security_info()
    return SecurityInfo(info["flags"], info["flash_crypt_cnt"])


def said(error: FatalError, words: list[str]) -> str:
    """The error and, where they say more, esptool's last words."""
    text = " ".join(str(error).split())
    more = [word for word in words[-3:] if word not in text]
    return f"{text} ({'; '.join(more)})" if more else text


def _sync(esp: Any) -> None:
    deadline = time.monotonic() + SYNC_S
    while True:
        try:
            esp.flush_input()
            esp.sync()
        except FatalError:
            if time.monotonic() >= deadline:
                raise
        else:
            return


def _chip_that_answers(esp: Any) -> str:
    """The name of the chip: by its id, or by a ROM word where the ROM has no such command."""
    names: dict[Any, str] = {rom: name for name, rom in CHIP_DEFS.items()}
    if esp.USES_MAGIC_VALUE:
        magic = esp.read_reg(MAGIC_REGISTER)
        for rom, name in names.items():
            if rom.USES_MAGIC_VALUE and magic == rom.MAGIC_VALUE:
                return name
    try:
        number = esp.get_chip_id()
    except UnsupportedCommandError:
        esp.flush_input()
        magic = esp.read_reg(MAGIC_REGISTER)
        found = [n for rom, n in names.items() if rom.USES_MAGIC_VALUE and magic == rom.MAGIC_VALUE]
        return found[0] if found else f"a chip with the magic {magic:#010x}"
    found = [n for rom, n in names.items() if not rom.USES_MAGIC_VALUE]
    found = [n for n in found if number == CHIP_DEFS[n].IMAGE_CHIP_ID]
    return found[0] if found else f"a chip with the id {number}"
