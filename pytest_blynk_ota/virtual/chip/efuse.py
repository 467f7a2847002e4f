"""The eFuses of one chip: what is burnt once and never cleared.

With ``efuse = FILE`` in the rig file they outlive the rack. The file is TOML; it is made with what
the rig file says, and from then on it is the chip: the rig file cannot give it another MAC.
"""

from __future__ import annotations

import struct
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import ConfigError, UsageError
from pytest_blynk_ota.firmware.words import did_you_mean
from pytest_blynk_ota.virtual.chip.chips import (
    MARKER,
    Bits,
    ChipModel,
    VirtualChip,
    parse_mac,
    parse_revision,
    revision_text,
)

WORD = 0xFFFFFFFF
OPEN, SECURE, CLOSED = "open", "secure", "closed"
"""Download mode: all commands, a few, none at all."""
SECURE_BOOT_FLAG, SECURE_DOWNLOAD_FLAG = 1 << 0, 1 << 2
"""Of GET_SECURITY_INFO (esptool ``SECURITY_INFO_FLAG_MAP``)."""


@dataclass(frozen=True, slots=True)
class Locks:
    """What is burnt to keep others out. It is told, and download mode acts on it; the bootloader
    does not: it starts what it finds, signed and encrypted or not.

    Attributes:
        secure_boot: its version; 0: off.
        crypt_count: burnt bits of the flash encryption counter; it is on while they are odd.
        download: ``open``, ``secure`` or ``closed``.
    """

    secure_boot: int = 0
    crypt_count: int = 0
    download: str = OPEN


class EFuses:
    """What is burnt into one chip, as registers and as the board's software sees it.

    Args:
        chip: as the rig file describes it.
        path: the file that keeps the eFuses, made if missing; ``None``: they are gone with the
            rack.
        fixed: what the rig file says of the chip itself (``mac``, ``revision``), which the file
            may not contradict.

    Attributes:
        chip: as it is burnt.
        secure_version: the security version below which images are refused; it only grows.
        locks: what keeps others out.

    Raises:
        ConfigError: the file cannot be read, or says something that cannot be; with every mistake.
    """

    def __init__(
        self, chip: VirtualChip, path: Path | None = None, fixed: Collection[str] = ()
    ) -> None:
        self.chip = chip
        self.secure_version = 0
        self.locks = Locks()
        self._path = path
        if path is None:
            return
        if path.exists():
            self.chip, self.secure_version, self.locks = _load(path, chip, fixed)
        else:
            self._save()

    @property
    def secure_versions(self) -> int:
        """The highest secure version that there is room for."""
        return self.chip.model.efuses.secure_version.width

    def burn_secure_version(self, version: int) -> bool:
        """Raise the secure version; a lower one changes nothing.

        Returns:
            Whether there is room for it; where not, nothing is burnt, as by ESP-IDF
            (``esp_efuse_update_secure_version``).
        """
        if version > self.secure_versions:
            return False
        if version > self.secure_version:
            self.secure_version = version
            self._save()
        return True

    def words(self) -> dict[int, int]:
        """The register words that hold what is burnt."""
        chip, places = self.chip, self.chip.model.efuses
        major, minor = divmod(chip.revision, 100)
        words = {
            places.mac: int.from_bytes(chip.mac[2:], "big"),
            places.mac + 4: int.from_bytes(chip.mac[:2], "big"),
        }
        _burn(words, (places.secure_version,), (1 << self.secure_version) - 1)
        self._burn_locks(words)
        _burn(words, places.minor, minor)
        _burn(words, places.major, places.majors[major])
        if places.mac_check is not None:
            _burn(words, (places.mac_check,), crc8(chip.mac))
        for at in range(0, len(MARKER), 4):
            words[places.marker + at] = int.from_bytes(MARKER[at : at + 4], "little")
        return words

    def _burn_locks(self, words: dict[int, int]) -> None:
        locks, places = self.locks, self.chip.model.efuses
        if locks.secure_boot:
            _burn(words, (places.secure_boot[locks.secure_boot],), 1)
        _burn(words, (places.crypt_count,), (1 << locks.crypt_count) - 1)
        _burn(words, (places.download_off,), locks.download == CLOSED)
        if places.download_secure is not None:
            _burn(words, (places.download_secure,), locks.download == SECURE)

    def security_info(self) -> bytes | None:
        """The answer to GET_SECURITY_INFO; ``None``: the ROM does not know the command."""
        info = self.chip.model.security_info
        if info is None:
            return None
        flags = SECURE_BOOT_FLAG if self.locks.secure_boot else 0
        flags |= SECURE_DOWNLOAD_FLAG if self.locks.download == SECURE else 0
        return struct.pack("<IB", flags, (1 << self.locks.crypt_count) - 1) + info[5:]

    def _save(self) -> None:
        """Keep all in the file: whole or as it was, whatever happens meanwhile."""
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(self._text(), encoding="utf-8")
            new.replace(self._path)
        except OSError as error:
            raise ConfigError(str(self._path), [f"cannot be written: {error}"]) from error

    def _text(self) -> str:
        return (
            "# eFuses of a virtual chip. A burnt bit stays burnt.\n"
            f'chip = "{self.chip.name}"\n'
            f'mac = "{self.chip.mac_text}"\n'
            f'revision = "{revision_text(self.chip.revision)}"\n'
            f"secure_version = {self.secure_version}\n"
            f"secure_boot = {self.locks.secure_boot}\n"
            f"crypt_count = {self.locks.crypt_count}\n"
            f'download = "{self.locks.download}"\n'
            f'user = "{MARKER.decode()}"\n'
        )


def crc8(data: bytes) -> int:
    """The check byte that an ESP32 keeps beside its MAC (Dallas/Maxim; esp_rom_crc8_le)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8C if crc & 1 else crc >> 1
    return crc


def _burn(words: dict[int, int], places: tuple[Bits, ...], value: int) -> None:
    """Set the bits of ``value`` in ``places``, lowest first. No bit is ever cleared."""
    for bits in places:
        part = value & ((1 << bits.width) - 1)
        words[bits.address] = (words.get(bits.address, 0) | part << bits.shift) & WORD
        value >>= bits.width


# ---- the file


def _chip_name(value: Any, model: ChipModel) -> str:
    if value != model.name:
        raise UsageError(f"expected {model.name!r}, as the rig file says, not {value!r}")
    return model.name


def _mac(value: Any, _model: ChipModel) -> bytes:
    return parse_mac(str(value))


def _revision(value: Any, model: ChipModel) -> int:
    return parse_revision(str(value), model)


def _secure_version(value: Any, model: ChipModel) -> int:
    room = model.efuses.secure_version.width
    if type(value) is not int or not 0 <= value <= room:
        raise UsageError(f"expected a number from 0 to {room}, not {value!r}")
    return value


def _secure_boot(value: Any, model: ChipModel) -> int:
    versions = (0, *model.efuses.secure_boot)
    if type(value) is not int or value not in versions:
        known = " or ".join(str(version) for version in versions)
        raise UsageError(f"expected {known}, the version of secure boot, not {value!r}")
    return value


def _crypt_count(value: Any, model: ChipModel) -> int:
    room = model.efuses.crypt_count.width
    if type(value) is not int or not 0 <= value <= room:
        raise UsageError(f"expected a number of burnt bits from 0 to {room}, not {value!r}")
    return value


def _download(value: Any, model: ChipModel) -> str:
    known = [OPEN, SECURE, CLOSED] if model.efuses.download_secure else [OPEN, CLOSED]
    if value not in known:
        raise UsageError(f"expected one of {', '.join(known)}, not {value!r}")
    return str(value)


def _user(value: Any, _model: ChipModel) -> str:
    if value != MARKER.decode():
        raise UsageError(f"expected {MARKER.decode()!r}, not {value!r}: no virtual chip is without")
    return MARKER.decode()


KEYS: Mapping[str, Callable[[Any, ChipModel], Any]] = {
    "chip": _chip_name,
    "mac": _mac,
    "revision": _revision,
    "secure_version": _secure_version,
    "secure_boot": _secure_boot,
    "crypt_count": _crypt_count,
    "download": _download,
    "user": _user,
}
LOCKS = ("secure_boot", "crypt_count", "download")
"""Keys that a file may leave out: the chip is open then."""


def _load(path: Path, chip: VirtualChip, fixed: Collection[str]) -> tuple[VirtualChip, int, Locks]:
    """The chip, its secure version and its locks as the file says. Raises ConfigError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}"]) from error
    problems = [f"{key}: no such key{did_you_mean(key, KEYS)}" for key in data if key not in KEYS]
    said: dict[str, Any] = {}
    for key, read in KEYS.items():
        if key not in data:
            if key in LOCKS:
                continue
            problems.append(f"{key}: missing")
            continue
        try:
            said[key] = read(data[key], chip.model)
        except UsageError as error:
            problems.append(f"{key}: {error}")
    for key in sorted(set(fixed) & set(said)):
        if said[key] != getattr(chip, key):
            problems.append(f"{key}: the rig file says another; a chip cannot change it")
    if problems:
        raise ConfigError(str(path), problems)
    locks = Locks(**{key: said[key] for key in LOCKS if key in said})
    return VirtualChip(chip.model, said["mac"], said["revision"]), said["secure_version"], locks
