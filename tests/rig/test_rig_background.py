"""The servers' loop ends, whatever lives on it."""

import asyncio
import contextlib
import queue
import time

import pytest

from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.rig import background
from pytest_blynk_ota.rig.background import Background


async def stubborn():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


async def begin():
    return asyncio.ensure_future(stubborn())


def test_a_task_that_does_not_end_is_said_and_the_loop_stops(monkeypatch):
    monkeypatch.setattr(background.Background.call, "__defaults__", (0.1,))
    servers = Background()
    servers.call(begin())
    with pytest.raises(RigError, match="did not finish"):
        servers.stop()
    assert not servers._thread.is_alive()


def test_a_call_that_takes_too_long_is_a_rig_error():
    servers = Background()
    with pytest.raises(RigError, match=r"within 0\.05 s"):
        servers.call(asyncio.sleep(3600), 0.05)
    servers.stop()
    servers.stop()


def test_a_loop_that_stood_still_says_for_how_long():
    told = queue.Queue()
    servers = Background(told.put)
    servers.soon(time.sleep, 0.7)
    assert 0.5 <= told.get(timeout=10) < 10
    servers.stop()


def behind(servers: Background, turns: int = 0) -> float:
    """How late the loop is, as its own callbacks see it, so many turns of it later."""
    told: queue.Queue[float] = queue.Queue()

    def turn(left: int) -> None:
        servers.soon(turn, left - 1) if left else told.put(servers.behind_s)

    servers.soon(turn, turns)
    return told.get(timeout=10)


@pytest.mark.parametrize("turns", [0, 3])
def test_what_a_loop_sees_after_it_stood_still_may_have_waited_so_long(turns):
    servers = Background(lambda late: None)
    servers.soon(time.sleep, 0.3)
    assert behind(servers, turns) >= 0.25
    servers.stop()


def test_what_a_loop_sees_in_time_waited_for_nobody():
    servers = Background(lambda late: None)
    deadline = time.monotonic() + 10
    while behind(servers):  # the host may be busy now
        assert time.monotonic() < deadline
    servers.stop()


def test_a_loop_whose_lateness_nobody_asks_for_is_never_late():
    servers = Background()
    begun = time.monotonic()
    while time.monotonic() - begun < 0.2:
        assert behind(servers) == 0.0
    servers.stop()
