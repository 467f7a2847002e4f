"""All power cuts of an update: decided on paper as the board would, cached, and armed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_bench import APP0, APP1, OTADATA, fill, image, in_lab, update
from virtual_bench import threaded_rack

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.firmware.otadata import Entry, State
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET
from pytest_blynk_ota.rig.control import RackControl
from pytest_blynk_ota.virtual.chip.driver import Cut
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES, NorFlash, Operation, Tear
from pytest_blynk_ota.virtual.sweep import routes
from pytest_blynk_ota.virtual.sweep.groups import WHOLE, CutPoint, Group
from pytest_blynk_ota.virtual.sweep.memo import Memo
from pytest_blynk_ota.virtual.sweep.paper import Boot, boot
from pytest_blynk_ota.virtual.sweep.phases import phases, trials
from pytest_blynk_ota.virtual.sweep.routes import _in_slices
from pytest_blynk_ota.virtual.sweep.state import FlashState

NOWHERE = Boot(None, None, None, ())
SMALL = 8 * SECTOR_BYTES
SAMPLE = 40
"""Cut points that are decided without the cache, too: each costs some milliseconds."""


# ---- the states


def state_of(data: bytes) -> FlashState:
    flash = NorFlash(size=SMALL)
    flash.load(data)
    state = FlashState(flash.snapshot(), flash.bad.limit)
    flash.close()
    return state


OPERATIONS = st.lists(
    st.one_of(
        st.builds(lambda n: Operation("erase", n << 12, SECTOR_BYTES), st.integers(0, 7)),
        st.builds(
            lambda at, data: Operation("program", at << 8, len(data), data),
            st.integers(0, SMALL // 256 - 1),
            st.binary(min_size=1, max_size=256),
        ),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(OPERATIONS, st.integers(0, SMALL - 200), st.integers(1, 200), st.integers(1, 4))
def test_where_keys_are_equal_bytes_are_whatever_was_torn_and_taken_back(
    operations, at, length, variant
):
    state = state_of(b"\x5a" * SMALL)
    seen = {}

    spans = [(at, length), *((start, SECTOR_BYTES) for start in range(0, SMALL, SECTOR_BYTES))]

    def look():
        for span in spans:
            told = seen.setdefault((span, state.key(*span)), state.read(*span))
            assert told == state.read(*span)

    for number, operation in enumerate(operations):
        look()
        before = state.sha256()
        with state.torn(operation, Tear(f"{number}", variant)):
            look()
        assert state.sha256() == before
        state.apply(operation)
    look()


# ---- the cache


@settings(deadline=None)
@given(OPERATIONS, st.integers(0, 255))
def test_a_found_value_is_the_one_that_would_be_computed(operations, salt):
    def wandering(read):
        """Reads on from where the bytes send it."""
        at, seen = salt, []
        for _ in range(5):
            data = read(at, 1 + at % 200)
            seen.append(data)
            at = sum(data) % (SMALL - 256)
        return seen

    state, memo = state_of(b"\x5a" * SMALL), Memo(wandering)
    for operation in operations:
        assert memo(state) == wandering(state.read)
        state.apply(operation)
        assert memo(state) == wandering(state.read)


def test_what_was_not_looked_at_may_change_and_nothing_is_computed_again():
    state, memo = state_of(b"\xff" * SMALL), Memo(lambda read: read(0, 4096))
    for page in range(16, 32):
        memo(state)
        state.apply(Operation("program", page * 256, 256, bytes(256)))
    assert memo.computed == 1


# ---- whole updates


def test_cached_decisions_are_those_without_a_cache():
    async def scenario(lab):
        await update(lab)
        sweep = lab.sweep(torn=3)
        picked = set(random.Random(1).sample(range(sweep.points()), SAMPLE))
        picked |= set(range(sweep.points() - SAMPLE, sweep.points()))
        for number, (point, state) in enumerate(sweep._states()):
            decided = sweep._decide(state, 0)
            if number in picked:
                assert decided == boot(state.read, lab.hardware), point

    in_lab(scenario)


def test_a_clean_update_boots_old_or_new_after_every_cut_in_the_phases_that_it_has():
    async def scenario(lab):
        await update(lab)
        sweep = lab.sweep().run()
        assert sweep.decided == sweep.points() > 1000
        assert sum(group.count for group in sweep.groups) == sweep.points()
        assert sweep.computed < 30, "the cache finds all but a few"
        found = [(group.phase, group.boot.slot, group.boot.otadata) for group in sweep.groups]
        torn = [one for one in found if "ABORTED (wrong CRC)" in one[2]]  # where the seed has it so
        assert {slot for _, slot, _ in torn} <= {"app0"}
        assert [one for one in found if one not in torn] == [
            ("before the first operation", "app0", ("app0 VALID", "-")),
            ("writing app1", "app0", ("app0 VALID", "-")),
            ("last bytes of app1", "app0", ("app0 VALID", "-")),
            ("selecting app1", "app0", ("app0 VALID", "-")),
            ("bootloader: NEW to PENDING", "app1", ("app0 VALID", "app1 PENDING_VERIFY")),
            ("bootloader: NEW to PENDING", "app0", ("app0 VALID", "-")),
            ("confirming", "app0", ("app0 VALID", "app1 ABORTED")),
            ("confirming", "app0", ("app0 VALID", "-")),
            ("after the last operation", "app1", ("app0 VALID", "app1 VALID")),
        ]

    in_lab(scenario)


def test_a_sweep_repeats_with_its_seed_and_not_with_another():
    async def scenario(lab):
        await update(lab)
        one, same, other = (lab.sweep(seed=seed, members=2).run().to_json() for seed in (5, 5, 6))
        assert one == same
        assert one["groups"] != other["groups"]
        assert all(len(group["members"]) == min(2, group["count"]) for group in one["groups"])

    in_lab(scenario)


def test_each_cut_point_of_a_group_has_the_same_chance():
    points = [CutPoint(number, WHOLE) for number in range(4)]
    drawn = Counter()
    for seed in range(400):
        group = Group("", NOWHERE, False, points[0], points[0], random.Random(seed))
        for point in points:
            group.add(point, 1)
        drawn.update(group.members)
    assert all(70 < drawn[point] < 130 for point in points)


def test_an_armed_cut_leaves_the_flash_and_starts_the_slot_that_were_decided():
    async def scenario(lab):
        await update(lab)
        sweep = lab.sweep(members=2).run()
        for group in sweep.groups:
            for point in group.members:
                cut = await cut_at(lab, sweep, point)
                assert cut.sha256 == sweep.hashes[point] == lab.board.flash.sha256(), point
                assert await started_by(lab) == group.boot.slot, point

    async def cut_at(lab, sweep, point):
        lab.board.flash.load(sweep.base)
        lab.confirmed.clear()
        lab.updates = True
        after = point.operation == len(sweep.operations)
        at = lab.board.flash.operations + point.operation
        cut = lab.board.driver.cut = Cut(at, sweep.plan.tear(point), after)
        lab.board.power(True)
        await cut.done.wait()
        await lab.board.dark()
        return cut

    async def started_by(lab):
        lab.updates = False
        lab.started = asyncio.Queue()
        lab.board.power(True)
        slot = await lab.started.get()
        await lab.board.dark()
        return slot

    in_lab(scenario)


def test_a_recording_that_destroys_the_running_slot_first_is_a_brick():
    async def scenario(lab):
        lab.board.stage = "app"
        await lab.board.erase(APP0.offset, SECTOR_BYTES)
        await lab.board.program(APP0.offset, bytes(256))
        sweep = lab.sweep().run()
        brick = sweep.groups[-1]
        assert [group.boot.slot for group in sweep.groups] == ["app0", None, None]
        assert brick.phase == "after the last operation"
        assert "No bootable app partitions" in brick.boot.why

    in_lab(scenario)


def test_a_torn_bootloader_or_table_is_a_brick_in_the_words_of_the_rom_or_the_bootloader():
    async def scenario(lab):
        await lab.board.erase(TABLE_OFFSET, SECTOR_BYTES)
        await lab.board.erase(0, SECTOR_BYTES)
        sweep = lab.sweep(torn=0).run()
        why = [group.boot.why for group in sweep.groups]
        assert why[0] == ""
        assert "partition table" in why[1] or "magic" in why[1] or "No bootable" in why[1]
        assert "invalid header: 0xffffffff" in why[2]
        assert {group.phase for group in sweep.groups[1:2]} == {"bootloader or partition table"}

    in_lab(scenario)


def test_a_cut_after_an_efuse_was_burnt_boots_what_that_efuse_lets_boot():
    async def scenario(lab):
        strict = image("bootloader", behaviour={"anti_rollback": True})
        lab.board.flash.erase(0, len(strict) + -len(strict) % SECTOR_BYTES)
        lab.board.flash.program(0, strict)
        lab.board.flash.record()
        for burnt in (0, 1):  # Old has secure version 0
            lab.board.efuses.burn_secure_version(burnt)
            await lab.board.program(APP1.offset, b"\xe9")
        slots = [group.boot.slot for group in lab.sweep(torn=0).run().groups]
        assert slots == ["app0", None, None]

    in_lab(scenario)


def test_what_the_serial_loader_does_ends_the_update():
    async def scenario(lab):
        await update(lab)
        whole = lab.sweep().run()
        lab.board.stage = "loader"
        lab.board.flash.erase(APP0.offset, SECTOR_BYTES)
        assert lab.sweep().run().to_json() == whole.to_json()

    in_lab(scenario)


def test_other_boards_get_their_turn_while_cuts_are_decided():
    async def scenario(lab):
        await update(lab)
        turns = 0
        work = asyncio.create_task(_in_slices(lab.sweep()))
        while not work.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 3

    in_lab(scenario)


# ---- phases


def entry(seq: int, state: State) -> bytes:
    return Entry(seq, state).build()


def otadata_rewrite(author: str, data: bytes, sector: int = 1) -> list[Operation]:
    at = OTADATA.offset + sector * SECTOR_BYTES
    return [
        Operation("erase", at, SECTOR_BYTES, b"", author, 1),
        Operation("program", at, 32, data, author, 1),
    ]


NVS = DEFAULT_TABLE.find("nvs")


def test_an_application_is_on_trial_from_its_start_to_its_word_whatever_it_writes_meanwhile():
    flash = NorFlash()
    fill(flash)
    settings = Operation("program", NVS.offset, 32, bytes(32), "app", 1)
    operations = [
        settings,
        *otadata_rewrite("app", entry(2, State.NEW)),
        *otadata_rewrite("bootloader", entry(2, State.PENDING_VERIFY)),
        settings,
        *otadata_rewrite("app", entry(2, State.VALID)),
        settings,
    ]
    assert trials(operations, flash.snapshot()) == [False] * 5 + [True] * 3 + [False] * 2
    rolled = [*operations[:6], *otadata_rewrite("bootloader", entry(2, State.ABORTED)), settings]
    assert trials(rolled, flash.snapshot()) == [False] * 5 + [True] * 3 + [False] * 2
    flash.close()


@pytest.mark.parametrize(
    ("operations", "phase"),
    [
        (otadata_rewrite("app", entry(2, State.NEW)), "selecting app1"),
        (otadata_rewrite("app", entry(2, State.UNDEFINED)), "selecting app1"),
        (otadata_rewrite("app", entry(2, State.VALID)), "selecting app1"),
        (otadata_rewrite("app", entry(1, State.VALID), sector=0), "confirming"),
        (otadata_rewrite("app", entry(1, State.INVALID), sector=0), "rejecting itself"),
        (otadata_rewrite("bootloader", entry(2, State.ABORTED)), "bootloader: PENDING to ABORTED"),
        (otadata_rewrite("app", b"")[:1], "erasing otadata"),
        ([Operation("program", NVS.offset, 32, bytes(32), "app", 1)], "settings (nvs)"),
        ([Operation("program", APP1.offset, 16, bytes(16), "app", 1)], "writing app1"),
        ([Operation("erase", APP0.offset, 4096, b"", "app", 1)], "overwriting the running app0"),
        ([Operation("erase", 0x290000, 4096, b"", "app", 1)], "data (spiffs)"),
        ([Operation("erase", TABLE_OFFSET, 4096)], "bootloader or partition table"),
    ],
)
def test_an_operation_tells_its_phase(operations, phase):
    flash = NorFlash()
    fill(flash)
    assert phases(operations, flash.snapshot(), "app0") == [phase] * len(operations)
    flash.close()


# ---- over the control port

RIG = """
[rig]
name = "one"
[[board]]
name = "a"
chip = "esp32c3"
port = "virtual"
"""


@pytest.fixture
def rack(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    with threaded_rack(path) as made:
        made.call(fill, made.rack.boards["a"].flash)
        yield made


@pytest.fixture
def control(rack):
    return RackControl(rack.rack.announcement()["outlet"])


def test_a_cut_is_recorded_decided_armed_and_awaited_over_the_control_port(rack, control):
    board = rack.rack.boards["a"]
    control.request("PUT", "/a/journal")
    rack.call(board.erase, APP1.offset, SECTOR_BYTES)
    rack.call(board.program, APP1.offset, bytes(600))
    found = control.request("POST", "/a/sweep", {"torn": 2, "seed": 3})
    assert (found["operations"], found["cut_points"], found["decided"]) == (4, 13, 13)
    control.request("PUT", "/a", b"0")
    armed = control.request("PUT", "/a/cut", {"operation": 2, "variant": 1})
    assert armed["cut"] is False
    assert board.flash.read(APP1.offset, 4) == b"\xff" * 4
    control.request("PUT", "/a", b"1")
    assert control.request("GET", "/a/cut?wait=0")["cut"] is False
    again = rack.call(asyncio.create_task, update_again(board))
    struck = control.request("GET", "/a/cut?wait=10")
    rack.call(again.cancel)
    assert struck["cut"] is True
    assert control.request("GET", "/a") == "0"
    left = board.flash.read(APP1.offset, 600)
    assert left[:256] == bytes(256)
    assert 0 < left[256:512].count(0) < 256
    assert struck["sha256"] == board.flash.sha256()


async def update_again(board):
    """What the recording holds; it stops where the board has lost its power."""
    await board.erase(APP1.offset, SECTOR_BYTES)
    await board.program(APP1.offset, bytes(600))


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/a/sweep", {}, "nothing is recorded"),
        ("PUT", "/a/cut", {"operation": 0}, "no sweep"),
        ("GET", "/a/cut", None, "no cut is armed"),
        ("POST", "/b/sweep", {}, "no board 'b'"),
        ("POST", "/a/sweep", {"tron": 1}, "did you mean 'torn'"),
        ("POST", "/a/sweep", {"torn": -1}, "torn: expected a whole number from 0"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(control, method, path, body, words):
    with pytest.raises(UsageError, match=words):
        control.request(method, path, body)


def test_a_cut_is_armed_on_a_board_without_power_only(rack, control):
    control.request("PUT", "/a/journal")
    rack.call(rack.rack.boards["a"].erase, APP1.offset, SECTOR_BYTES)
    control.request("POST", "/a/sweep")
    with pytest.raises(UsageError, match="switch it off"):
        control.request("PUT", "/a/cut", {"operation": 0, "variant": 0})
    control.request("PUT", "/a", b"0")
    assert control.request("PUT", "/a/cut", {"operation": 1, "variant": 0})["cut"] is False
    control.request("DELETE", "/a/cut")
    assert rack.rack.boards["a"].driver.cut is None
    with pytest.raises(UsageError, match="no sweep"):
        control.request("PUT", "/a/cut", {"operation": 1, "variant": 0})


def test_a_new_recording_disarms_the_cut_of_the_last_sweep(rack, control):
    board = rack.rack.boards["a"]
    control.request("PUT", "/a/journal")
    rack.call(board.erase, APP1.offset, SECTOR_BYTES)
    control.request("POST", "/a/sweep")
    control.request("PUT", "/a", b"0")
    control.request("PUT", "/a/cut", {"operation": 0, "variant": 0})
    control.request("PUT", "/a", b"1")
    control.request("PUT", "/a/journal")
    rack.call(board.erase, APP1.offset, SECTOR_BYTES)
    assert control.request("GET", "/a") == "1"


def test_a_sweep_that_was_broken_off_arms_no_cut(rack, control, monkeypatch):
    async def broken_off(_work):
        raise web.HTTPRequestTimeout(text="gone")

    monkeypatch.setattr(routes, "_in_slices", broken_off)
    control.request("PUT", "/a/journal")
    rack.call(rack.rack.boards["a"].erase, APP1.offset, SECTOR_BYTES)
    with pytest.raises(UsageError, match="gone"):
        control.request("POST", "/a/sweep")
    control.request("PUT", "/a", b"0")
    with pytest.raises(UsageError, match="no sweep"):
        control.request("PUT", "/a/cut", {"operation": 0, "variant": 0})


def test_arming_a_cut_gives_the_efuses_back_as_they_were_before_the_recording(rack, control):
    board = rack.rack.boards["a"]
    control.request("PUT", "/a/journal")
    board.efuses.burn_secure_version(2)
    rack.call(board.erase, APP1.offset, SECTOR_BYTES)
    control.request("POST", "/a/sweep")
    control.request("PUT", "/a", b"0")
    control.request("PUT", "/a/cut", {"operation": 0, "variant": 0})
    assert board.efuses.secure_version == 0


def test_a_cut_where_nothing_is_done_is_refused(rack, control):
    control.request("PUT", "/a/journal")
    rack.call(rack.rack.boards["a"].erase, APP1.offset, SECTOR_BYTES)
    control.request("POST", "/a/sweep")
    control.request("PUT", "/a", b"0")
    with pytest.raises(UsageError, match="operation: expected a whole number from 0 to 1"):
        control.request("PUT", "/a/cut", {"operation": 2, "variant": 0})
    with pytest.raises(UsageError, match="nothing is done"):
        control.request("PUT", "/a/cut", {"operation": 1, "variant": 1})
