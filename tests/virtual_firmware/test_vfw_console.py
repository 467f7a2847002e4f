"""The console of both Edgents: its buffer, typed at and fed from the cloud."""

from __future__ import annotations

import asyncio

import pytest
from vfw_bench import Bench, story
from vfw_peer import BlynkPeer, FakeMachine, listening, run

from pytest_blynk_ota.cloud.protocol import Cmd, frame
from pytest_blynk_ota.virtual.app import console


async def heard(*lines: str, cloud: bool = False) -> list[tuple[str, ...]]:
    """What a command ``say`` is called with."""
    machine, said = FakeMachine(), []
    typed: asyncio.Queue[str] = asyncio.Queue()
    ended = asyncio.Event()
    machine.read_line = typed.get  # type: ignore[method-assign]

    async def say(words) -> None:
        said.append(tuple(words))
        if said[-1] == ("end",):
            ended.set()

    if cloud:
        for line in lines:
            await console.execute(machine, {"say": say}, line)
    else:
        serving = asyncio.ensure_future(console.serve(machine, {"say": say}))
        for line in (*lines, "say end"):
            typed.put_nowait(line)
        await ended.wait()
        serving.cancel()
        said.remove(("end",))
    machine.close()
    return said


@pytest.mark.parametrize(
    ("size", "rest"),
    [(254, "x" * 250), (255, None), (300, None), (510, None)],
    ids=["all but full", "full", "over", "twice full"],
)
def test_a_typed_line_that_fills_the_buffer_loses_its_beginning(size, rest):
    line = "say " + "x" * (size - 4)
    assert run(heard(line)) == ([] if rest is None else [(rest,)])


def test_what_is_behind_a_full_buffer_is_a_command_of_its_own():
    assert run(heard("x" * 255 + "say more")) == [("more",)]


def test_a_line_from_the_cloud_that_is_too_long_loses_its_end():
    assert run(heard("say " + "x" * 300, cloud=True)) == [("x" * 251,)]


def test_a_command_of_the_cloud_begins_on_a_line_of_its_own():
    """The prompt has no line end."""

    async def talk(bench: Bench) -> None:
        cloud = BlynkPeer(sends=[frame(Cmd.INTERNAL, 9, "dbg", "help")])
        async with listening(cloud.serve) as address:
            bench.provision(address)
            async with bench.living():
                await bench.machine.see("^Available commands: help")

    with Bench() as bench:
        story(talk(bench))
