"""A core dump as ESP-IDF writes it: an ELF core of the task that crashed, with a CRC behind it.

Layout after core_dump_elf.c and core_dump_port.c; framing on the UART after core_dump_uart.c, in
flash after core_dump_flash.c. It has one task, its registers and its stack as the panic printed
them, so that tools that read core dumps find a whole one.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.virtual.boot.bootlog import Line, error, info
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import Partition, PartitionTable
    from pytest_blynk_ota.virtual.app.panic import Scene
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine

FLASH_TAG, UART_TAG = "esp_core_dump_flash", "esp_core_dump_uart"
COREDUMP_TYPE = (0x01, 0x03)
"""Type and subtype of its partition."""
BASE64_BYTES = 48
"""A line of base64 stands for this many bytes."""
CACHE_BYTES = 32
"""Flash is written in pieces of this size, the last one padded with zeros."""
CRC_BYTES = 4

HEADER = struct.Struct("<5I")
"""Length with header and checksum, version, and three words that an ELF dump does not use."""
ELF_CRC32 = 0x0100
"""CORE_DUMP_VERSION_ELF_CRC32, below the chip's id."""
ELF_HEADER = struct.Struct("<4s5B7xHHIIIIIHHHHHH")
PROGRAM_HEADER = struct.Struct("<8I")
NOTE = struct.Struct("<III")
PR_STATUS = struct.Struct("<12xHH24x32x")
ET_CORE, PT_LOAD, PT_NOTE, READ_WRITE = 4, 1, 4, 6
MACHINES = {"xtensa": 94, "riscv": 243}
NT_PRSTATUS, ESP_INFO, ESP_EXTRA_INFO = 1, 8266, 677
TCB_BYTES = 344
TCB_BELOW_STACK = 0x400
XTENSA_AREAS = 64
"""Registers of the whole window."""
REASON_REGISTERS = {"xtensa": ((232, "EXCCAUSE"), (238, "EXCVADDR")), "riscv": ()}
EXTRA_WORDS = {"xtensa": 24, "riscv": 1}


def image(scene: Scene, chip_id: int, version: str) -> bytes:
    """The dump without its checksum. ``version`` is the short ELF hash of the application."""
    stack = b"".join(struct.pack("<I", word) for word in scene.stack)
    tcb = scene.stack_at - TCB_BELOW_STACK
    marks = _note("ESP_CORE_DUMP_INFO", ESP_INFO, struct.pack("<I66s", chip_id << 16 | ELF_CRC32,
                  version.encode()) + bytes(2))  # fmt: skip
    marks += _note("EXTRA_INFO", ESP_EXTRA_INFO, _extra(scene, tcb))
    parts = (
        (PT_NOTE, 0, _note("CORE", NT_PRSTATUS, _status(scene, tcb))),
        (PT_LOAD, tcb, bytes(TCB_BYTES)),
        (PT_LOAD, scene.stack_at, stack),
        (PT_NOTE, 0, marks),
    )
    elf = _elf(scene.arch, parts)
    size = HEADER.size + len(elf) + CRC_BYTES
    return HEADER.pack(size, chip_id << 16 | ELF_CRC32, 0, 0, 0) + elf


def _elf(arch: str, parts: Sequence[tuple[int, int, bytes]]) -> bytes:
    head = ELF_HEADER.size
    ident = (b"\x7fELF", 1, 1, 1, 0, 0)
    sizes = (head, PROGRAM_HEADER.size, len(parts), 40, 0, 0)
    data = ELF_HEADER.pack(*ident, ET_CORE, MACHINES[arch], 1, 0, head, 0, 0, *sizes)
    place = head + len(parts) * PROGRAM_HEADER.size
    for kind, address, content in parts:
        size = len(content)
        data += PROGRAM_HEADER.pack(kind, place, address, address, size, size, READ_WRITE, 0)
        place += size
    return data + b"".join(content for _, _, content in parts)


def _note(name: str, kind: int, data: bytes) -> bytes:
    text = name.encode() + b"\0"
    padded = text + bytes(-len(text) % 4)
    return NOTE.pack(len(text), len(data), kind) + padded + data + bytes(-len(data) % 4)


def _status(scene: Scene, tcb: int) -> bytes:
    """``xtensa_elf_reg_dump_t`` and ``riscv_elf_reg_dump_t``: the task's registers for GDB."""
    status = bytearray(PR_STATUS.pack(0, 0))
    struct.pack_into("<I", status, 24, tcb)  # pr_pid: the task's handle
    values = scene.registers
    if scene.arch == "riscv":
        return bytes(status) + _words([*values.values()][:32])
    names = ("PC", "PS", "LBEG", "LEND", "LCOUNT", "SAR")
    areas = [values[f"A{number}"] for number in range(16)]
    words = [values[name] for name in names] + [1, 0] + [0] * 56
    words += areas + [0] * (XTENSA_AREAS - len(areas))
    return bytes(status) + _words(words) + _words([0])


def _extra(scene: Scene, tcb: int) -> bytes:
    words = [tcb]
    for number, name in REASON_REGISTERS[scene.arch]:
        words += [number, scene.registers[name]]
    return _words(words + [0] * (EXTRA_WORDS[scene.arch] - len(words)))


def _words(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def checksum(data: bytes) -> bytes:
    """Four bytes of CRC-32, as ``esp_rom_crc32_le`` makes it."""
    return struct.pack("<I", binascii.crc32(data))


def _made(machine: Machine, scene: Scene) -> bytes:
    return image(scene, CHIPS[machine.chip.name].image_id, scene.elf)


def to_uart(machine: Machine, log: Log, scene: Scene) -> Iterator[str]:
    """The lines on the UART."""
    data = _made(machine, scene)
    yield from _told(log, UART_TAG, "Print core dump to uart...")
    yield from _told(log, UART_TAG, "Press Enter to print core dump to UART...")
    yield "================= CORE DUMP START ================="
    for start in range(0, len(data), BASE64_BYTES):
        yield base64.b64encode(data[start : start + BASE64_BYTES]).decode()
    yield base64.b64encode(checksum(data)).decode()
    yield "================= CORE DUMP END ================="
    yield from _told(log, UART_TAG, f"Coredump checksum='{checksum(data)[::-1].hex()}'")
    yield from _told(log, UART_TAG, "Core dump has been written to uart.")


def _told(log: Log, tag: str, text: str) -> Iterator[str]:
    """A line of the log, if the build has it."""
    if log.verbose:
        yield info(tag, text).render(log.milliseconds, coloured=log.coloured)


def found(table: PartitionTable) -> Partition | None:
    """The partition for it."""
    return next((row for row in table.rows if (row.type, row.subtype) == COREDUMP_TYPE), None)


def at_start(where: str, table: PartitionTable) -> tuple[Line, ...]:
    """What an application says of its core dumps when it starts (esp_core_dump_init)."""
    if where == "uart":
        return (info(UART_TAG, "Init core dump to UART"),)
    if where != "flash":
        return ()
    first, place = info(FLASH_TAG, "Init core dump to flash"), found(table)
    if place is None:
        missing = error(FLASH_TAG, "No core dump partition found!")
        return (first, missing, missing)
    text = f"Found partition '{place.label}' @ {place.offset:x} {place.size} bytes"
    return (first, info(FLASH_TAG, text))


NO_PARTITION: tuple[Line, ...] = (
    error(FLASH_TAG, "Core dump flash config is corrupted! CRC=0x7bd5c66f instead of 0x0"),
    error("esp_core_dump_elf", "Elf write init failed!"),
    error("esp_core_dump_common", "Core dump write failed with error=-1"),
)


async def to_flash(machine: Machine, log: Log, table: PartitionTable, scene: Scene) -> None:
    """Write the dump into its partition, and say so."""
    log.idf([info(FLASH_TAG, "Save core dump to flash...")])
    place, data = found(table), _made(machine, scene)
    padded = data + bytes(-len(data) % CACHE_BYTES)
    sectors = -(-(len(padded) + CACHE_BYTES) // SECTOR_BYTES) * SECTOR_BYTES
    if place is None:
        log.idf(NO_PARTITION)
    elif sectors > place.size:
        log.idf([error(FLASH_TAG, "Not enough space to save core dump!")])
    else:
        log.idf([info(FLASH_TAG, f"Erase flash {sectors} bytes @ 0x{place.offset:x}")])
        await machine.erase(place.offset, sectors)
        end = checksum(padded).ljust(CACHE_BYTES, b"\0")
        await machine.program(place.offset, padded + end)
        written = len(padded) + CRC_BYTES
        text = f"Write end offset 0x{written:x}, check sum length {CRC_BYTES}"
        log.idf([info(FLASH_TAG, text)])
    log.idf([info(FLASH_TAG, "Core dump has been saved to flash.")])
