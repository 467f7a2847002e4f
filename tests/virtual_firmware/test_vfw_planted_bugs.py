"""Each planted bug from Z31 on does what its words say, and the clean firmware does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from test_vfw_reference import CONFIRMS, Web, events, untouched, whole
from vfw_bench import APP0, APP1, NVS, OTADATA, Bench, entry, story
from vfw_peer import PATIENCE_S, BlynkPeer, PowerCut, WebPeer, listening, ota

from pytest_blynk_ota.cloud.protocol import Cmd
from pytest_blynk_ota.firmware.bugs import BUGS
from pytest_blynk_ota.firmware.derive import bad_hash, wrong_chip
from pytest_blynk_ota.firmware.nvs import read_edgent_config
from pytest_blynk_ota.firmware.otadata import State, active, parse
from pytest_blynk_ota.virtual.app.context import Context
from pytest_blynk_ota.virtual.app.ota_ops import OtaOps
from pytest_blynk_ota.virtual.app.reference_switch import switch
from pytest_blynk_ota.virtual.app.reference_update import DONE
from pytest_blynk_ota.virtual.app.trouble import CrashPlan
from pytest_blynk_ota.virtual.boot.rom import BROWNOUT, POWER_ON
from pytest_blynk_ota.virtual.boot.run import start

BOOTLOADERS = {"Z48"}
"""Bugs that are no application's."""


class Board(Bench):
    """1.0.0 of the reference firmware in slot ``running``, with a bug or without."""

    def __init__(self, bugs: tuple[str, ...], **behaviour: Any) -> None:
        self.ways = {"profile": "reference", "bugs": bugs, **CONFIRMS}
        super().__init__(**{**self.ways, **behaviour})

    def new(self, version: str = "2.0.0", **behaviour: Any) -> bytes:
        return self.app(version, **{**self.ways, **behaviour})

    def on_trial(self, **behaviour: Any) -> None:
        self.put(APP1, self.new(**behaviour))
        self.otadata(entry(1), entry(2, State.NEW))

    @property
    def state(self) -> int:
        """What otadata says of the image in slot 1."""
        return self.entries()[1].state

    @property
    def chosen(self) -> int:
        """The slot that the newest entry names."""
        return (max(one.seq for one in self.entries() if one is not None) - 1) % 2


@asynccontextmanager
async def life(board: Board, web=None, *, cloud=None, cause=POWER_ON, times=1):
    """The board lives beside a cloud that offers what the web server has, ``times`` times."""
    web, cloud = web or Web(b""), cloud or BlynkPeer()
    async with listening(web.serve) as (host, port), listening(cloud.serve) as address:
        cloud.sends = [ota(f"http://{host}:{port}/f/new")] * times
        board.provision(address)
        async with board.living(cause):
            yield cloud


def over(cloud: BlynkPeer) -> bool:
    """The board has restarted and is back, or has given up."""
    return len(cloud.infos) > 1 or "OTA failed" in str(events(cloud))


async def shipped(board: Board, web=None, until=over, **how: Any) -> BlynkPeer:
    async with life(board, web or Web(whole(board.new())), **how) as cloud:
        await cloud.hears(until)
    return cloud


def versions(cloud: BlynkPeer) -> list[str | None]:
    return [info.get("mcu") for info in cloud.infos]


# ---- what is done to a board, and what is seen of it


async def slot_after_an_update(board: Board) -> object:
    await shipped(board)
    return board.chosen


async def versions_over_an_update(board: Board) -> object:
    return versions(await shipped(board))


async def versions_and_success(board: Board) -> object:
    cloud = await shipped(board)
    return versions(cloud), DONE in board.text, board.chosen


def bad_file(damage, *headers: str):
    async def selected(board: Board) -> object:
        await shipped(board, Web(whole(damage(board.new()), *headers)))
        return not untouched(board)

    return selected


async def context_of(board: Board) -> Context:
    log, started = await start(board.machine, POWER_ON)
    behaviour = started.image.behaviour
    assert behaviour is not None
    crash = CrashPlan(board.machine, behaviour, "")
    return Context(
        board.machine, log, started, behaviour, crash, OtaOps(board.machine, log, started)
    )


async def a_power_cut_in_the_switch_can_lose_both_entries(board: Board) -> object:
    board.put(APP1, board.app("1.0.0", **board.ways))
    context, lost = None, []
    for cut in (1, 2, 3, None):
        board.put(APP0, board.new())
        board.otadata(None, entry(2))
        context = await context_of(board)
        board.machine.operations, board.machine.cut_at = 0, cut
        target = context.ota.next_update_partition()
        assert target is not None
        if cut is None:
            await switch(context, target)
            assert board.entries() == (entry(3, State.NEW), entry(2))
        else:
            with suppress(PowerCut):
                await switch(context, target)
        lost.append(active(parse(board.read(OTADATA.offset, OTADATA.size))) is None)
    return any(lost)


async def slots_named_after_an_update_in_a_fall_back_boot(board: Board) -> object:
    board.otadata(entry(1), entry(2))  # and nothing that can be started in slot 1
    await shipped(board)
    return {(one.seq - 1) % 2 for one in board.entries() if one is not None}


async def otadata_comes_last(board: Board) -> object:
    board.machine.flash.journal.clear()
    await shipped(board, until=lambda cloud: "OTA done" in events(cloud))
    spans = [one.offset for one in board.machine.flash.journal if one.kind == "program"]
    return spans[-1] >= OTADATA.offset and spans[-1] < APP0 and spans[-2] >= APP1


async def versions_before_the_restart(board: Board) -> object:
    return versions(await shipped(board, until=lambda cloud: "OTA done" in events(cloud)))


async def version_of_new(board: Board) -> object:
    board.on_trial()
    async with life(board) as cloud:
        await cloud.hears(lambda peer: peer.infos)
    return versions(cloud)[0]


async def state_after_a_crash_at_start(board: Board) -> object:
    board.on_trial(crash={"when": "start", "how": "panic"})
    await board.boot()
    return board.state


def state_when_it_says(words: str, **behaviour: Any):
    async def state(board: Board) -> object:
        board.on_trial(**behaviour)
        async with life(board):
            await board.machine.see(words)
            return board.state

    return state


async def state_without_a_cloud(board: Board) -> object:
    """After what is longer than cloud_s: more logins are tried than fit in there."""
    board.on_trial(finds_cloud=False, cloud_s=20.0)
    async with board.living():
        await board.machine.see(r"no cloud within|(?:Connecting to cloud.invalid[\s\S]*?){7}")
        return board.state


async def takes_again_what_was_rolled_back(board: Board) -> object:
    board.on_trial(self_test={"after_s": 1.0, "passes": False})
    failed = board.read(APP1, 40 << 10)
    async with life(board):
        await board.machine.see(r"Rollback to previously")
    await shipped(board, Web(whole(failed)))
    return "it ran here and was rolled back" not in board.text


async def old_after_a_rollback(board: Board) -> object:
    """Each word on its way, the last of it: Old reaches its cloud, or knows none."""
    async with life(board) as cloud:
        await cloud.hears(lambda peer: peer.infos)
        board.on_trial(crash={"when": "before_login", "how": "panic"})
    await board.boot()
    assert "panic" in board.text
    board.machine.output.clear()
    async with board.living(0xC):
        return (await board.machine.see(r"Firmware: (1\.0\.0.*[\s\S]*(Wi-Fi|no settings))"))[2]


async def settings_after_an_update(board: Board) -> object:
    async with life(board, Web(whole(board.new()))):
        await board.machine.see(r"Firmware: 2\.0\.0")
    return read_edgent_config(board.read(NVS.offset, NVS.size)) is not None


async def downloads_of_two_commands(board: Board) -> object:
    web = WebPeer(board.new())
    await shipped(board, web, times=2)
    return len(web.requests)


async def downloads_of_a_command_at_login(board: Board) -> object:
    web = WebPeer(board.new())
    pinged = lambda cloud: Cmd.PING in {one.cmd for one in cloud.heard}  # noqa: E731
    await shipped(board, web, until=lambda cloud: over(cloud) or pinged(cloud))
    return len(web.requests)


def slowly(data: bytes):
    """40 KB in what are some 200 s for the board."""

    async def answer(writer, _request):
        for at in range(0, len(data), 4096):
            writer.write(data[at : at + 4096])
            await writer.drain()
            await asyncio.sleep(0.04)

    return answer


async def a_slow_download(board: Board) -> object:
    """Whether the board was heard of in it, and what ended it."""
    began: list[int] = []

    async def answer(writer, request):
        began.append(len(cloud.heard))
        await slowly(whole(board.new()))(writer, request)

    cloud = BlynkPeer()
    async with life(board, Web(answer), cloud=cloud):
        await cloud.hears(lambda peer: peer.sessions > 1)
    ping = any(one.cmd == Cmd.PING for one in cloud.heard[began[0] :])
    return ping, next((word for word in ("task_wdt", "DSLEEP") if word in board.text), DONE)


async def a_stall(board: Board) -> object:
    """What comes of it: an event for the cloud, or a board that is mute and not reset."""
    new = board.new()
    web, network = WebPeer(new, stop_after=len(new) // 2, closes=False), board.machine.network
    async with life(board, web) as cloud:
        try:
            async with asyncio.timeout(PATIENCE_S):
                # Nobody is told of a hang: it has to be looked for.
                while not (network.ghosts or "OTA failed" in str(events(cloud))):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return "neither"
        return "hung" if network.ghosts == 2 else events(cloud)[-1]


async def a_refused_token(board: Board) -> object:
    """On trial with a token that is not let in: what the image does about it in the end."""
    board.on_trial(cloud_s=20.0)
    async with life(board, cloud=BlynkPeer(login_status=9)) as cloud:
        found = await board.machine.see(r"Config mode|no cloud within")
        if found[0] == "Config mode":
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):  # twice what cloud_s takes here
                    await board.machine.see(r"no cloud within")
            assert cloud.sessions == 1
    return found[0], board.state


async def patience_without_a_cloud(board: Board) -> object:
    board.on_trial(finds_cloud=False, cloud_s=100.0)
    async with board.living():
        return (await board.machine.see(r"no cloud within (\d+) s"))[1]


async def downloads_of_what_runs(board: Board) -> object:
    web = WebPeer(board.read(APP0, 40 << 10))
    loops = lambda cloud: len(web.requests) > 2 or "OTA failed" in str(events(cloud))  # noqa: E731
    await shipped(board, web, until=loops)
    return len(web.requests)


async def takes_a_lower_secure_version(board: Board) -> object:
    board.secure_bootloader()
    board.put(APP0, board.app("1.0.0", secure_version=2, **board.ways))
    board.machine.efuses.burn_secure_version(2)
    await shipped(board, Web(whole(board.new(secure_version=1))))
    return not untouched(board)


async def downloads_after_a_brownout(board: Board) -> object:
    """A brownout, and then a command in the next boot."""
    web, cloud = WebPeer(board.new()), BlynkPeer()
    async with listening(web.serve) as (host, port), listening(cloud.serve) as address:
        board.provision(address)
        async with board.living(BROWNOUT):
            await cloud.hears(lambda peer: peer.infos)
        cloud.sessions, cloud.sends = 0, [ota(f"http://{host}:{port}/f/new")]
        async with board.living():
            await board.machine.see("unstable supply|Update successfully")
    return len(web.requests)


async def success_is_printed_for_a_bad_file(board: Board) -> object:
    cloud = await shipped(board, Web(whole(bad_hash(board.new()))))
    assert "esp_ota_end" in events(cloud)[-1]
    return DONE in board.text


# ---- the bugs


@dataclass(frozen=True)
class Case:
    """One bug.

    Attributes:
        see: does something to a board and says what came of it.
        clean, wrong: without the bug and with it.
        ways: more of the board.
    """

    see: Callable[[Board], Awaitable[object]]
    clean: object
    wrong: object
    ways: Mapping[str, Any] = field(default_factory=dict)


SELF_TEST = r"Self-test passed|Rollback to previously"
FAILS = {"self_test": {"after_s": 1.0, "passes": False}}
SLOW = {"least_rate": 0.0, "download_s": 0, "stall_s": 300.0}
WRONG_SHA = "X-SHA256: " + "0" * 64
PENDING, VALID, INVALID = State.PENDING_VERIFY, State.VALID, State.INVALID
CASES = {
    "Z31": Case(slot_after_an_update, 1, 0),
    "Z32": Case(versions_over_an_update, ["1.0.0", "2.0.0"], ["1.0.0", "1.0.0"], {"running": 1}),
    "Z33": Case(bad_file(bad_hash), False, True),
    "Z34": Case(bad_file(wrong_chip), False, True),
    "Z35": Case(bad_file(bad_hash, WRONG_SHA), False, True, {"retries": 1}),
    "Z36": Case(a_power_cut_in_the_switch_can_lose_both_entries, False, True, {"running": 1}),
    "Z37": Case(slots_named_after_an_update_in_a_fall_back_boot, {0, 1}, {1}),
    "Z38": Case(otadata_comes_last, True, False),
    "Z39": Case(versions_and_success, (["1.0.0", "2.0.0"], True, 1), (["1.0.0"] * 2, True, 0)),
    "Z40": Case(versions_and_success, (["1.0.0", "2.0.0"], True, 1), (["1.0.0", "2.0.0"], True, 0)),
    "Z41": Case(versions_before_the_restart, ["1.0.0"], ["1.0.0", "2.0.0"]),
    "Z42": Case(version_of_new, "2.0.0", None),
    "Z43": Case(version_of_new, "2.0.0", "1.0.0"),
    "Z44": Case(state_after_a_crash_at_start, PENDING, VALID),
    "Z45": Case(state_when_it_says("Self-test passed"), VALID, PENDING),
    "Z46": Case(state_without_a_cloud, INVALID, VALID),
    "Z47": Case(state_when_it_says(SELF_TEST, **FAILS), INVALID, VALID),
    "Z49": Case(takes_again_what_was_rolled_back, False, True),
    "Z50": Case(old_after_a_rollback, "Wi-Fi", "no settings"),
    "Z51": Case(settings_after_an_update, True, False),
    "Z52": Case(downloads_of_two_commands, 1, 2),
    "Z53": Case(downloads_of_a_command_at_login, 1, 0, {"heartbeat_s": 300.0}),
    "Z54": Case(a_slow_download, (True, DONE), (False, "task_wdt"), SLOW),
    "Z55": Case(a_stall, "OTA failed: no byte for 30 s", "hung", {"retries": 1}),
    "Z56": Case(a_refused_token, ("no cloud within", INVALID), ("Config mode", PENDING)),
    "Z57": Case(a_slow_download, (True, DONE), (True, "DSLEEP"), SLOW),
    "Z58": Case(patience_without_a_cloud, "100", "15"),
    "Z59": Case(downloads_of_what_runs, 1, 3),
    "Z60": Case(takes_a_lower_secure_version, False, True),
    "Z61": Case(downloads_after_a_brownout, 1, 0),
    "Z62": Case(success_is_printed_for_a_bad_file, False, True),
}


@pytest.mark.parametrize("bug", CASES)
def test_a_planted_bug_does_what_its_words_say_and_only_then(bug):
    case = CASES[bug]
    for bugs, outcome in (((), case.clean), ((bug,), case.wrong)):
        with Board(bugs, **case.ways) as board:
            assert story(case.see(board)) == outcome, bugs


def test_each_bug_of_this_half_that_an_application_can_have_is_shown():
    assert {*CASES} | BOOTLOADERS == {one for one in BUGS if int(one[1:]) > 30}


def test_a_file_that_came_wrong_is_refused_where_the_flash_is_not_looked_at():
    """Z33 leaves out the look at the image, not the digest of what came: Z35 leaves out both."""
    with Board(("Z33",), retries=1) as board:
        assert story(bad_file(bad_hash, WRONG_SHA)(board)) is False
