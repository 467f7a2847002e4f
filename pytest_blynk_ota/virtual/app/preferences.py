"""Arduino's ``Preferences``: keys in NVS, each put written to the flash at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.nvs_page import PAGE_BYTES
from pytest_blynk_ota.firmware.nvs_store import Nvs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_blynk_ota.firmware.nvs_page import Type
    from pytest_blynk_ota.firmware.partitions import PartitionTable
    from pytest_blynk_ota.virtual.machine import Machine


class Preferences:
    """The NVS partition of one boot; without one nothing is found and nothing kept."""

    def __init__(self, machine: Machine, table: PartitionTable) -> None:
        self._machine = machine
        self._place = table.find("nvs")
        self._nvs: Nvs | None = None

    async def begin(self) -> None:
        """``nvs_flash_init()``: open it, and mend what a power cut has left."""
        if self._place is None:
            return
        try:
            self._nvs = Nvs(self._machine.flash.read(self._place.offset, self._place.size))
        except FirmwareError:  # too small: ESP_ERR_NVS_NOT_INITIALIZED at each call
            return
        await self._do_steps(self._nvs)

    def string(self, space: str, key: str, default: str = "") -> str:
        """``getString()``."""
        found = self._nvs.string(space, key) if self._nvs else None
        return default if found is None else found

    def blob(self, space: str, key: str) -> bytes:
        """``getBytes()``; empty if it is not there."""
        return (self._nvs.blob(space, key) if self._nvs else None) or b""

    def number(self, space: str, key: str, default: int) -> int:
        """``getShort()``, ``getUShort()`` …"""
        found = self._nvs.number(space, key) if self._nvs else None
        return default if found is None else found

    async def put_string(self, space: str, key: str, text: str) -> bool:
        """``putString()``; False: no room."""
        return await self._change(lambda nvs: nvs.put_string(space, key, text))

    async def put_blob(self, space: str, key: str, data: bytes) -> bool:
        """``putBytes()``; False: no room."""
        return await self._change(lambda nvs: nvs.put_blob(space, key, data))

    async def put_number(self, space: str, key: str, kind: Type, number: int) -> bool:
        """``putShort()``, ``putUShort()`` …; False: no room."""
        return await self._change(lambda nvs: nvs.put_number(space, key, kind, number))

    async def remove(self, space: str, key: str) -> None:
        """``remove()``."""
        await self._change(lambda nvs: nvs.remove(space, key))

    async def clear(self, space: str) -> None:
        """``clear()``."""
        await self._change(lambda nvs: nvs.clear(space))

    async def _change(self, change: Callable[[Nvs], object]) -> bool:
        if self._nvs is None:
            return False
        try:
            change(self._nvs)
        except FirmwareError:
            return False
        finally:
            await self._do_steps(self._nvs)
        return True

    async def _do_steps(self, nvs: Nvs) -> None:
        assert self._place is not None
        while nvs.steps:
            offset, data = nvs.steps.pop(0)
            if data is None:
                await self._machine.erase(self._place.offset + offset, PAGE_BYTES)
            else:
                await self._machine.program(self._place.offset + offset, data)
