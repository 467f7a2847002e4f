"""Whether a board may be written to: rules over what its eFuses and its security info say. Pure.

A board that somebody locked is left alone: what is written there would not start, or could not be
read back to be saved first. A board that nobody locked is the user's all the same: what makes it
one is that it is not virtual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

VIRTUAL, EMULATED, REAL = "virtual", "emulated", "real"
"""Kinds of board, by what the chip itself says."""
NO_MAC = "00:00:00:00:00:00"
"""No chip leaves Espressif without one. QEMU's chips have none unless their user made one up: the
eFuses that ``idf.py qemu`` starts them with hold the revision and nothing else."""

SECURE_BOOT_FLAG, SECURE_DOWNLOAD_FLAG = 1 << 0, 1 << 2
"""Flags of GET_SECURITY_INFO (esptool ``SECURITY_INFO_FLAG_MAP``)."""


@dataclass(frozen=True, slots=True)
class Fuse:
    """One field of the eFuses.

    Attributes:
        name: as ``espefuse summary`` has it.
        address: of its register word.
    """

    name: str
    address: int
    shift: int
    width: int = 1

    def of(self, words: Mapping[int, int]) -> int:
        """What is burnt there; 0 where the word was not read."""
        return words.get(self.address, 0) >> self.shift & (1 << self.width) - 1


@dataclass(frozen=True, slots=True)
class Fuses:
    """Where a chip keeps what locks it (espefuse ``efuse_defs/``).

    Attributes:
        secure_boot: by its version.
        crypt_count: flash encryption is on while an odd number of its bits is burnt.
        download_off: closes download mode.
        download_secure: leaves it a few commands; None: the chip has none.
    """

    secure_boot: Mapping[int, Fuse]
    crypt_count: Fuse
    download_off: Fuse
    download_secure: Fuse | None = None

    @property
    def addresses(self) -> Sequence[int]:
        """The words to read."""
        fuses = [*self.secure_boot.values(), self.crypt_count, self.download_off]
        if self.download_secure is not None:
            fuses.append(self.download_secure)
        return sorted({fuse.address for fuse in fuses})


def _later(base: int) -> Fuses:
    """ESP32-C3 and -S3, whose eFuse registers begin at ``base``."""
    return Fuses(
        secure_boot={2: Fuse("SECURE_BOOT_EN", base + 0x38, 20)},
        crypt_count=Fuse("SPI_BOOT_CRYPT_CNT", base + 0x34, 18, 3),
        download_off=Fuse("DIS_DOWNLOAD_MODE", base + 0x3C, 0),
        download_secure=Fuse("ENABLE_SECURITY_DOWNLOAD", base + 0x3C, 5),
    )


FUSES: Mapping[str, Fuses] = {
    "esp32": Fuses(
        secure_boot={1: Fuse("ABS_DONE_0", 0x3FF5A018, 4), 2: Fuse("ABS_DONE_1", 0x3FF5A018, 5)},
        crypt_count=Fuse("FLASH_CRYPT_CNT", 0x3FF5A000, 20, 7),
        download_off=Fuse("UART_DOWNLOAD_DIS", 0x3FF5A000, 27),
    ),
    "esp32c3": _later(0x60008800),
    "esp32s3": _later(0x60007000),
}
OTHER = _later(0)
"""Of a chip that no rig file can name: it is asked who it is, and by its security info alone."""


@dataclass(frozen=True, slots=True)
class SecurityInfo:
    """The answer to GET_SECURITY_INFO; an ESP32 has none."""

    flags: int
    crypt_count: int


@dataclass(frozen=True, slots=True)
class Locks:
    """What keeps others out of a chip; each by the name of the fuse, "" where nothing is burnt."""

    secure_boot: str = ""
    flash_encryption: str = ""
    download_off: str = ""
    download_secure: str = ""


def locks_of(chip: str, words: Mapping[int, int], info: SecurityInfo | None) -> Locks:
    """What locks a chip, by its eFuses or by its security info: either is enough.

    Args:
        chip: as esptool names it.
        words: of its eFuses, by address; what cannot be read is left out.
        info: None where the ROM has none.
    """
    fuses, flags = FUSES.get(chip, OTHER), info.flags if info else 0
    signed = [
        f"Secure Boot V{version}, {fuse.name}"
        for version, fuse in fuses.secure_boot.items()
        if fuse.of(words)
    ]
    if not signed and flags & SECURE_BOOT_FLAG:
        signed = ["Secure Boot, SECURE_BOOT_EN in the security info"]
    count = fuses.crypt_count.of(words) | (info.crypt_count if info else 0)
    secure = fuses.download_secure
    secured = flags & SECURE_DOWNLOAD_FLAG or (secure is not None and secure.of(words))
    return Locks(
        secure_boot=signed[0] if signed else "",
        flash_encryption=f"{fuses.crypt_count.name} = {count:#b}" if count.bit_count() % 2 else "",
        download_off=fuses.download_off.name if fuses.download_off.of(words) else "",
        download_secure=(secure.name if secure else "the security info") if secured else "",
    )


ANOTHER = "eFuses cannot be cleared: use another board for tests"
RULES: Sequence[tuple[Callable[[Locks], str], str, str]] = (
    (
        lambda locks: locks.download_off,
        "download mode is disabled ({}): the chip cannot be written over its serial port",
        ANOTHER,
    ),
    (
        lambda locks: locks.download_secure,
        "it is in Secure Download Mode ({}): its flash can be neither read nor hashed, so it "
        "could not be saved first, nor brought back to a baseline",
        ANOTHER,
    ),
    (
        lambda locks: locks.secure_boot,
        "Secure Boot is on ({}): it starts only what its owner has signed, and test images are not",
        ANOTHER,
    ),
    (
        lambda locks: locks.flash_encryption,
        "Flash Encryption is on ({}): what is written in plain does not start, and what is read "
        "is cipher text",
        "use another board for tests. Its owner can switch Development Mode off a few times: "
        "espefuse burn-efuse {fuse}",
    ),
)
"""The lock, why it forbids to write (as esptool and ESP-IDF call it), and what to do."""


def refusals(locks: Locks) -> list[str]:
    """Why a board may not be written to, each with what to do; empty: it may."""
    rows = []
    for lock, why, remedy in RULES:
        if said := lock(locks):
            fuse = said.partition(" = ")[0]
            rows.append(f"{why.format(said)}. What to do: {remedy.format(fuse=fuse)}")
    return rows


@dataclass(frozen=True, slots=True)
class Facts:
    """Which chip this is, and what is burnt there.

    Attributes:
        mac: ``aa:bb:…``.
        flash_bytes: of its flash chip, by its JEDEC id.
        marked: whether its eFuses say that it is virtual.
    """

    chip: str
    mac: str
    flash_bytes: int
    marked: bool
    locks: Locks = Locks()

    @property
    def kind(self) -> str:
        """``virtual``, ``emulated`` or ``real``."""
        return kind_of(self.mac, marked=self.marked)


def kind_of(mac: str, *, marked: bool) -> str:
    """What a chip is made of, by its eFuses. An emulated one whose user gave it a MAC looks real:
    nothing else in an emulator's eFuses is there to tell."""
    if marked:
        return VIRTUAL
    return EMULATED if mac == NO_MAC else REAL


def too_small(end: int, flash_bytes: int, what: str) -> str:
    """Why what must stand in flash does not fit there; "" if it does."""
    if end <= flash_bytes:
        return ""
    return (
        f"its flash has {flash_bytes} bytes ({flash_bytes >> 20} MB), but {what} ends at "
        f"{end:#x}. What to do: a partition table for this flash, or a board with a larger one"
    )
