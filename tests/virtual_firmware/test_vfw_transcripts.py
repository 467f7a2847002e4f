"""The log of a virtual boot beside the recorded one of the same chip and case.

The same lines in the same order, but for addresses, dates and sizes. Every recording has a row in
one of three tables: ``COMPARED``, ``DOWNLOAD`` or, with the reason, ``NOT_OURS``.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from vfw_cases import COMPARED, TORN, Case
from vfw_peer import REAL, real_lines, run
from vfw_transcripts import boots, system_lines, tears

from pytest_blynk_ota.virtual.boot.rom import ROMS, download_banner

DOWNLOAD = ("esp32c3_download_mode_strap_04", "esp32c3_download_mode_strap_07")
NOT_OURS = {
    "esp32_download_mode_strap_0f": "pins that no reset circuit pulls: the ROM boots from UART0",
    "esp32c3_download_mode_strap_00": "pins that no reset circuit pulls: the ROM boots from USB",
}
RECORDINGS = sorted(path.stem for path in REAL.glob("*.log"))


async def ours(case: Case) -> str:
    """All boots of the case, each until it resets the chip or the application speaks."""
    stage, told = case.stage(), []
    try:
        for number, cause in enumerate(case.causes):
            if number in case.then:
                case.then[number](stage)
            stage.machine.output.clear()
            life = asyncio.ensure_future(stage.boot(cause))
            up = asyncio.ensure_future(stage.machine.see(r"^\[\d+\]|virtual board: its code"))
            await asyncio.wait((life, up), return_when=asyncio.FIRST_COMPLETED)
            if life.done() and number + 1 < len(case.causes):
                assert life.result() == case.causes[number + 1]
            for task in (life, up):
                task.cancel()
            await asyncio.gather(life, up, return_exceptions=True)
            told.append("".join(stage.machine.output))
        return "\n".join(told)
    finally:
        stage.close()


def compared(name: str) -> int:
    case = COMPARED[name]
    mine = system_lines(run(ours(case)))
    text = (REAL / f"{name}.log").read_bytes().decode("utf-8", "replace")
    real = boots(text, without=case.dropped)
    if case.hides is not None:
        mine = [line for line in mine if case.hides not in line]
        real = [line for line in real if case.hides not in line]
    return tears(real, mine)


@pytest.mark.parametrize("name", COMPARED)
def test_a_virtual_boot_logs_what_the_real_one_did(name):
    assert compared(name) == TORN.get(name, 0)


@pytest.mark.parametrize("name", DOWNLOAD)
def test_download_mode_is_announced_as_by_the_real_rom(name):
    chip = json.loads((REAL / f"{name}.json").read_text())["chip"]
    mine = list(download_banner(ROMS[chip], 1))
    assert system_lines("\n".join(mine)) == system_lines("\n".join(real_lines(name)))


def test_every_recording_is_compared_or_says_why_not():
    assert sorted([*COMPARED, *DOWNLOAD, *NOT_OURS]) == RECORDINGS
