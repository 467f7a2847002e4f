"""Whether a fault that was planned came about, and whose failure it is if not."""

from __future__ import annotations

import pytest
from tale import SIZE, Tale, names, planned
from told_tales import HALF, back, tale

from pytest_blynk_ota.errors import FaultNotReached
from pytest_blynk_ota.verdict import Outcome


def test_a_fault_that_the_server_called_due_and_did_not_make_is_the_servers_failure():
    one = tale("reset after=50%").asks(due={0: HALF}).wait(1).gets(HALF + 1)
    with pytest.raises(FaultNotReached, match="'reset after=50%' was due and did not fire"):
        back(one.ends("device", "fin", HALF + 1))


@pytest.mark.parametrize("maybe", [False, True])
def test_it_is_so_in_a_second_download_too_and_under_maybe(maybe):
    fault = planned("reset after=50%", maybe=maybe)
    one = (
        Tale(op="offer", info=True, faults=(fault,))
        .offered()
        .asks(due={0: HALF})
        .wait(1)
        .gets(HALF)
    )
    one.fault("reset after=50%").ends("server", "rst", HALF).wait(1)
    one.asks(again=True, due={0: HALF}).wait(1).gets(SIZE).ends("server", "complete", SIZE)
    with pytest.raises(FaultNotReached, match="the firmware server failed"):
        back(one)


@pytest.mark.parametrize("due", [{0: HALF}, {0: None}, {}])
def test_a_fault_whose_byte_was_not_passed_was_not_due_but_never_fired(due):
    one = tale("reset after=50%").asks(due=due).wait(1).gets(HALF)
    with pytest.raises(FaultNotReached, match="never fired: the operation ended as"):
        back(one.fault("x", index=9).ends("server", "fin", HALF))


@pytest.mark.parametrize("text", ["reset after=50%", "stall after=0", "page", "corrupt at=50%"])
def test_a_whole_file_with_no_trace_of_a_sure_fault_is_the_servers_failure(text):
    one = tale(text).asks(due={}).wait(1).gets(SIZE).ends("server", "complete", SIZE)
    with pytest.raises(FaultNotReached, match="was due and did not fire"):
        back(one)


@pytest.mark.parametrize("more", [{"sure": False}, {"attempts": [2]}])
def test_a_fault_that_is_not_sure_or_of_another_attempt_was_not_due(more):
    fault = planned("reset after=50%", **more)
    one = Tale(op="offer", info=True, faults=(fault,)).offered().downloads()
    verdict = back(one)
    assert (verdict.outcome, names(verdict)) == (Outcome.REJECTED, {"fault not reached"})


def test_a_fault_that_may_never_fire_is_no_error():
    fault = planned("reset after=50%", maybe=True, sure=False)
    one = Tale(op="offer", info=True, faults=(fault,)).offered().downloads()
    verdict = one.comes_back("new").over().judged()
    assert (verdict.outcome, names(verdict)) == (Outcome.UPGRADED, set())


def test_a_fault_that_depends_on_chance_and_is_not_maybe_has_to_fire():
    fault = planned("reset after=50% by chance 0.2 seed 7", sure=False)
    one = Tale(op="offer", info=True, faults=(fault,)).offered().downloads()
    with pytest.raises(FaultNotReached, match="mark it maybe"):
        one.comes_back("new").over().judged()


def test_a_fault_of_the_cloud_may_be_maybe_too():
    rows = [{"text": "drop", "offers": [2], "later": False, "maybe": True}]
    one = Tale(op="offer", info=True).begins("offer", cloud_faults=rows).offered().downloads()
    assert names(one.comes_back("new").over().judged()) == set()
