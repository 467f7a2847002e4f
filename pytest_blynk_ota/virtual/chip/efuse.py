"""The eFuses of one chip: what is burnt once and never cleared.

With ``efuse = FILE`` in the rig file they outlive the rack. The file is TOML; it is made with what
the rig file says, and from then on it is the chip: the rig file cannot give it another MAC.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
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

    Raises:
        ConfigError: the file cannot be read, or says something that cannot be; with every mistake.
    """

    def __init__(
        self, chip: VirtualChip, path: Path | None = None, fixed: Collection[str] = ()
    ) -> None:
        self.chip = chip
        self.secure_version = 0
        self._path = path
        if path is None:
            return
        if path.exists():
            self.chip, self.secure_version = _load(path, chip, fixed)
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
        _burn(words, places.minor, minor)
        _burn(words, places.major, places.majors[major])
        if places.mac_check is not None:
            _burn(words, (places.mac_check,), crc8(chip.mac))
        for at in range(0, len(MARKER), 4):
            words[places.marker + at] = int.from_bytes(MARKER[at : at + 4], "little")
        return words

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


def _user(value: Any, _model: ChipModel) -> str:
    if value != MARKER.decode():
        raise UsageError(f"expected {MARKER.decode()!r}, not {value!r}: no virtual chip is without")
    return MARKER.decode()


KEYS: Mapping[str, Callable[[Any, ChipModel], Any]] = {
    "chip": _chip_name,
    "mac": _mac,
    "revision": _revision,
    "secure_version": _secure_version,
    "user": _user,
}


def _load(path: Path, chip: VirtualChip, fixed: Collection[str]) -> tuple[VirtualChip, int]:
    """The chip and its secure version as the file says. Raises ConfigError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}"]) from error
    problems = [f"{key}: no such key{did_you_mean(key, KEYS)}" for key in data if key not in KEYS]
    said: dict[str, Any] = {}
    for key, read in KEYS.items():
        if key not in data:
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
    return VirtualChip(chip.model, said["mac"], said["revision"]), said["secure_version"]
