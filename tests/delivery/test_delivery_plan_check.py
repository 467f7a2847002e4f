"""Faults that could never fire are refused before anything is served, with the reason."""

from __future__ import annotations

import random

import pytest

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.kinds import KINDS
from pytest_blynk_ota.delivery.plan import check
from pytest_blynk_ota.delivery.standing import fitting
from pytest_blynk_ota.errors import FaultError

DATA = random.Random(5).randbytes(10_000)
OTHERS = {"b.bin": b"other", "same.bin": DATA}
NEEDS = {
    "truncate": {"after": 5}, "reset": {"after": 5}, "half_close": {"after": 5},
    "latency": {"seconds": 1}, "bandwidth": {"bytes_per_s": 9}, "status": {"code": 404},
    "other": {"path": "b.bin"}, "header": {"name": "X-A", "value": "b"},
    "drop_header": {"name": "ETag"}, "double_header": {"name": "ETag"}, "length": {"says": "0"},
    "swap": {"bytes": 100}, "repeat": {"bytes": 100},
    "digest": {"how": "wrong"}, "ranges": {"how": "short"}, "tls": {"how": "expired"},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_is_fine_with_its_defaults(kind):
    fault = faults.Fault(kind, NEEDS.get(kind, {}))
    check([fault], DATA, "new.bin", https=True, others=OTHERS)


@pytest.mark.parametrize(("fault", "why"), [
    (faults.stall(10001), "byte 10001 is outside of new.bin (10000 bytes); expected an offset that "
                          "comes to 0..10000"),
    (faults.stall("last 10001"), "byte -1 is outside of new.bin (10000 bytes)"),
    (faults.truncate("100%"), "0..9999"),
    (faults.drip(after=10000), "0..9999"),
    (faults.corrupt(at="100%"), "byte 10000 is outside of new.bin"),
    (faults.corrupt(at=-1, flips=2), "2 bytes from byte 9999 on do not fit new.bin (10000 bytes)"),
    (faults.zero("last 100"), "4096 bytes from byte 9900 on do not fit"),
    (faults.swap("50%"), "4096 bytes from byte 5000 on and as many behind them do not fit"),
    (faults.repeat("90%", 501), "expected 500 or fewer"),
    (faults.cut("99%", 101), "do not fit"),
    (faults.cut("100%"), "outside"),
    (faults.chunked(1).on_attempt(1), None),
    (faults.other("c.bin"), "c.bin has not been read"),
    (faults.other("same.bin"), "same.bin has the bytes of new.bin"),
    (faults.drop_header("X-None"), "the answer has no header X-None"),
    (faults.header("Content-Length", "10000"), "that is what the answer says anyway"),
    (faults.length(10000), "that is what the answer says anyway"),
    (faults.http_version("1.1"), "is HTTP/1.1 anyway"),
    (faults.redirect(hops=1), None),
], ids=str)  # fmt: skip
def test_a_fault_with_nothing_to_act_on_is_refused_with_the_reason(fault, why):
    if why is None:
        check([fault], DATA, "new.bin", others=OTHERS)
        return
    with pytest.raises(FaultError) as caught:
        check([fault], DATA, "new.bin", others=OTHERS)
    assert str(caught.value).startswith(f"{fault} could never fire: ")
    assert why in str(caught.value)


def test_chunks_too_small_for_the_file_are_refused_with_a_size_that_fits():
    data = bytes(16_384 * 2 + 1)
    with pytest.raises(FaultError, match="expected 3 bytes or more"):
        check([faults.chunked(2)], data, "new.bin")
    check([faults.chunked(3)], data, "new.bin")


def test_tls_needs_an_https_url():
    for how in ("expired", "bad-record"):
        with pytest.raises(FaultError, match=f"tls how={how}.* needs an https URL, and new.bin"):
            check([faults.tls(how)], DATA, "new.bin")
        check([faults.tls(how)], DATA, "new.bin", https=True)


@pytest.mark.parametrize(("listed", "refused", "why"), [
    ([faults.status(404), faults.stall()], 1, "no byte of the file"),
    ([faults.stall(), faults.page()], 0, "no byte of the file"),
    ([faults.status(404), faults.corrupt()], 1, "status code=404 stands in place of the file"),
    ([faults.status(404), faults.status(500)], 1, "status code=404 is the whole answer already"),
    ([faults.page(), faults.redirect()], 1, "is the whole answer already"),
    ([faults.stall("10%"), faults.reset("20%")], 1, "stall after=10% ends the answer first"),
    ([faults.reset("20%"), faults.stall("10%")], 0, "stall after=10% ends the answer first"),
    ([faults.truncate(5).on_attempt(1), faults.corrupt(at=9).on_attempt(1)], 1,
     "ends the answer first"),
    ([faults.reset("request"), faults.status(503)], 1, "ends the answer first"),
    ([faults.http_version("0.9"), faults.drop_header("ETag")], 1, "HTTP/0.9 has no head"),
    ([faults.http_version("1.0"), faults.http_version("2.0")], 1, "another fault"),
    ([faults.chunked(), faults.chunked(how="endless")], 1, "chunks already"),
    ([faults.chunked(how="endless"), faults.pad()], 1, "ends the answer first"),
    ([faults.encoding(), faults.encoding("deflate")], 1, "compressed already"),
    ([faults.etag(), faults.etag("weak")], 1, "has changed the ETag"),
    ([faults.digest("missing"), faults.digest("wrong")], 1, "has no header X-SHA256"),
    ([faults.length("missing"), faults.split_headers()], 1, "has no header Content-Length"),
    ([faults.zero(18, 1), faults.corrupt(18)], 0, "none of the bytes that it changes is left"),
    ([faults.corrupt(18), faults.corrupt(18)], 0, "none of the bytes"),
    ([faults.scramble(10, 20), faults.zero(15, 20), faults.zero(5, 10)], 0, "none of the bytes"),
    ([faults.redirect(to="loop"), faults.stall(5)], 1, "no byte of the file"),
    ([faults.redirect(to="http://10.0.0.1/"), faults.corrupt()], 1, "stands in place of the file"),
    ([faults.cut(100), faults.stall(200)], 1, "byte 200 is outside of new.bin (100 bytes)"),
    ([faults.drip(1, "3s"), faults.bandwidth(9, 500)], 1, "which of two rates comes first is open"),
    ([faults.bandwidth(9, 500), faults.drip(1, "3s")], 1, "which of two rates comes first is open"),
    ([faults.unreachable(), faults.status(503)], 1, "lets no request come"),
    ([faults.unreachable(seconds=3), faults.tls("expired")], 1, "is what the connection meets"),
    ([faults.tls("version"), faults.status(503)], 1, "lets no request come"),
    ([faults.status(500), faults.stall(5).on_attempt(3)], 1, "no byte of the file"),
    ([faults.status(500).on_first(3), faults.stall(5).on_attempt(2, 3)], 1, "no byte"),
    ([faults.status(500).on_every(2), faults.stall(5).on_every(4)], 1, "no byte of the file"),
], ids=str)  # fmt: skip
def test_a_fault_that_another_always_forestalls_is_refused(listed, refused, why):
    with pytest.raises(FaultError) as caught:
        check(listed, DATA, "new.bin", https=True)
    assert str(caught.value).startswith(f"{listed[refused]} could never fire: ")
    assert why in str(caught.value)


@pytest.mark.parametrize("listed", [
    [faults.status(503).on_attempt(1, 2), faults.stall("50%")],
    [faults.status(503).on_first(2), faults.stall("50%")],
    [faults.status(503).on_first(7), faults.stall("50%").on_every(5)],
    [faults.status(503).on_every(2), faults.stall("50%").on_every(3)],
    [faults.status(503).on_every(3), faults.stall("50%").on_every(2), faults.page().on_first(5)],
    [faults.status(503).by_chance(0.5), faults.stall("50%")],
    [faults.status(503).from_event("login"), faults.stall("50%")],
    [faults.status(503).until_event("login"), faults.stall("50%")],
    [faults.status(503).times(1), faults.stall("50%")],
    [faults.status(503).on_board("c3-a"), faults.stall("50%")],
    [faults.stall("10%", seconds=1), faults.reset("20%")],
    [faults.stall("10%").until_event("go"), faults.reset("20%")],
    [faults.ranges("ignored").with_header("Range"), faults.stall("10%")],
    [faults.truncate("10%").with_header("Range"), faults.ranges("short").on_attempt(2)],
    [faults.stall("10%").with_header("Range", "bytes=0-")],
    [faults.status(404), faults.slow_headers(), faults.length(off=5), faults.latency(1)],
    [faults.status(404, "file"), faults.stall("50%"), faults.corrupt(5)],
    [faults.unreachable().on_attempt(1), faults.tls("expired").on_attempt(2), faults.stall(5)],
    [faults.unreachable(seconds=3), faults.stall(5)],
    [faults.tls("expired"), faults.tls("bad-record")],
    [faults.drip(1, "3s"), faults.bandwidth(9)],
    [faults.drip(1, 500), faults.bandwidth(9, 100)],
    [faults.zero(10, 9), faults.corrupt(18), faults.repeat(0, 100)],
    [faults.scramble(10, 20), faults.zero(16, 20), faults.zero(5, 10)],
    [faults.corrupt(10, flips=50), faults.corrupt(10, flips=50, seed=1)],
    [faults.redirect(hops=3), faults.stall(5), faults.redirect(to="loop").on_attempt(2)],
    [*faults.seq(faults.status(503), None, faults.stall(5)), *faults.random(seed=7)],
], ids=str)  # fmt: skip
def test_a_fault_that_another_forestalls_only_sometimes_is_fine(listed):
    check(listed, DATA, "new.bin", https=True)


def test_a_file_that_has_zeros_there_already_is_told_so():
    with pytest.raises(FaultError, match="the 10 bytes from byte 5 on stay what they are"):
        check([faults.zero(5, 10)], bytes(100), "new.bin")


def test_of_the_faults_of_a_rig_those_stand_in_an_operation_that_can_fire_there(tmp_path):
    path = tmp_path / "same.bin"
    path.write_bytes(DATA)
    past, same, tls = faults.stall(10_001), faults.other(str(path)), faults.tls("expired")
    listed = [past, faults.stall(10_000), same, tls, faults.status(503).on_attempt(2)]
    stand = [faults.stall(10_000).maybe(), faults.status(503).on_attempt(2).maybe()]
    assert list(fitting(listed, DATA, https=False)) == stand
    assert list(fitting(listed, DATA, https=True)) == [stand[0], tls.maybe(), stand[1]]


def test_a_file_of_a_rigs_fault_that_is_gone_is_an_error_and_not_left_out(tmp_path):
    with pytest.raises(FaultError, match=r"gone\.bin cannot be read: No such file"):
        list(fitting([faults.other(str(tmp_path / "gone.bin"))], DATA, https=False))
