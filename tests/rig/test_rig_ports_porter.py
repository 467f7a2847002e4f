"""The porter of a fixed port: who is let in, who gets whom, and what it never does."""

import os
import socket
import time
from pathlib import Path

import pytest
from porters import Renter, call, free_port, is_refused, is_reset, porter_here, until

from pytest_blynk_ota.cloud.protocol import Cmd, encode, frame
from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.rig.ports import messages, porter, reach
from pytest_blynk_ota.rig.ports.messages import porters
from pytest_blynk_ota.rig.ports.porter import Porter

A, B = "a" * 32, "b" * 32


def login(token: str) -> bytes:
    return encode(frame(Cmd.LOGIN, 1, token))


@pytest.fixture
def where():
    with porter_here() as one:
        yield one.where


def test_each_caller_goes_to_the_tenant_that_has_its_token(where):
    with Renter(where, tokens=[A]) as a, Renter(where, tokens=[B]) as b:
        for token, mine, other in ((B, b, a), (A, a, b)):
            board = call(where, login(token) + b"more")
            message, sock = mine.caller()
            assert message["by"] == "token"
            assert sock.recv(100) == login(token) + b"more"
            assert sock.getpeername() == board.getsockname() == tuple(message["caller"])
            sock.sendall(b"hello")
            assert board.recv(100) == b"hello"
            assert other.has_none()


def test_a_login_that_comes_byte_by_byte_is_waited_for_without_a_busy_loop(where):
    with Renter(where, tokens=[A]), Renter(where, tokens=[B]) as b:
        board = call(where)
        board.sendall(login(B)[:9])
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.1
        for byte in login(B)[9:]:
            board.sendall(bytes([byte]))
            time.sleep(0.001)
        assert b.caller()[1].recv(100) == login(B)


def test_who_is_alone_gets_a_caller_before_it_says_a_word(where):
    with Renter(where) as only:
        call(where)
        message, _ = only.caller(timeout=porter.PATIENCE_S / 2)
        assert message["by"] == "alone"


def test_the_time_of_a_call_is_that_at_which_it_came(where):
    with Renter(where) as only:
        before = time.monotonic()
        call(where)
        assert before <= only.caller()[0]["t"] <= time.monotonic()


def test_who_keeps_silent_is_given_out_by_where_it_calls_from(where, monkeypatch):
    monkeypatch.setattr(porter, "PATIENCE_S", 0.3)
    with Renter(where, addresses=["127.0.0.2"]), Renter(where, addresses=["127.0.0.3"]) as b:
        call(where, source="127.0.0.3")
        assert b.caller()[0]["by"] == "address"


def test_about_whom_nothing_is_known_goes_by_turns(where, monkeypatch):
    monkeypatch.setattr(porter, "PATIENCE_S", 0.05)
    with Renter(where, tokens=[A]) as a, Renter(where, tokens=[A]) as b:
        for tenant in (a, b, a):
            call(where, login("c" * 32))
            assert tenant.caller()[0]["by"] == "turn"


def test_what_a_tenant_learns_meanwhile_decides_about_who_waits(where):
    with Renter(where) as a, Renter(where) as b:
        call(where, login(A), source="127.0.0.7")
        assert a.has_none()
        b.knows(seen=["127.0.0.7"])
        assert b.caller()[0]["by"] == "seen"


def test_who_closed_its_side_after_half_a_message_is_not_waited_for(where):
    with Renter(where, addresses=["127.0.0.2"]), Renter(where, addresses=["127.0.0.3"]) as b:
        board = call(where, login(B)[:9], source="127.0.0.3")
        board.shutdown(socket.SHUT_WR)
        message, sock = b.caller(timeout=porter.PATIENCE_S / 2)
        assert message["by"] == "address"
        assert sock.recv(100) == login(B)[:9]
        assert sock.recv(100) == b""


def test_while_nobody_takes_callers_tcp_refuses_them_and_the_port_stays_ours(where):
    with Renter(where, is_open=False) as only:
        assert is_refused(where)
        only.open(True)
        call(where)
        only.caller()
        only.open(False)
        assert is_refused(where)
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind((where.address, where.port))
        only.open(True)
        call(where)
        only.caller()


def test_callers_of_a_tenant_that_takes_none_are_reset_and_go_to_nobody_else(where):
    with Renter(where, tokens=[A], is_open=False), Renter(where, tokens=[B]) as b:
        assert is_reset(call(where, login(A)))
        assert b.has_none()


def test_what_a_tenant_had_stays_its_own_when_the_tenant_goes_and_the_port_refuses(where):
    only = Renter(where)
    board = call(where)
    _, sock = only.caller()
    only.close()
    until("the port to refuse", lambda: is_refused(where))
    sock.sendall(b"still here")
    assert board.recv(100) == b"still here"


def test_callers_that_were_waiting_for_a_tenant_that_goes_are_given_to_the_other(where):
    a = Renter(where, tokens=[A])
    with Renter(where) as b:
        call(where)  # says nothing
        assert b.has_none()
        a.close()
        assert b.caller()[0]["by"] == "alone"


def test_a_crowd_that_says_nothing_is_kept_to_a_bound_the_oldest_go(where, monkeypatch):
    monkeypatch.setattr(porter, "MAX_CALLERS", 20)
    with Renter(where, tokens=[A]), Renter(where, tokens=[B]) as b:
        crowd = [call(where) for _ in range(30)]
        until("all to be there", lambda: reach.told(where)["waiting"] == 20)
        assert all(is_reset(one) for one in crowd[:10])
        call(where, login(B))
        b.caller()


def test_a_tenant_that_takes_nothing_holds_nobody_else_up(where):
    with Renter(where, tokens=[A]), Renter(where, tokens=[B]) as b:
        # Nobody reads what A is sent; its buffer is full before this is over.
        crowd = [call(where, login(A)) for _ in range(400)]
        call(where, login(B))
        b.caller()
        assert is_reset(crowd[-1])


def handles() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_nothing_is_kept_of_hundreds_of_calls(where):
    with Renter(where, tokens=[A]) as a, Renter(where, tokens=[B]):
        for turn in range(300):
            board = call(where, login(A))
            message, sock = a.caller()
            assert message["by"] == "token"
            sock.close()
            board.close()
            if turn == 100:
                before = handles()
        until("the last handles to be closed", lambda: handles() <= before)
        assert reach.told(where)["passed"] == 300
        assert reach.told(where)["waiting"] == 0


def test_nobody_uses_it_for_a_while_and_it_ends():
    where = free_port()
    with porter_here(where, linger_s=0.2):
        with Renter(where):
            time.sleep(0.4)  # it is used
            assert where in porters()
        until("it to end", lambda: where not in porters())
        with socket.socket() as other:
            other.bind((where.address, where.port))


def test_it_stays_as_long_as_the_most_patient_of_its_tenants_asked():
    where = free_port()
    with porter_here(where, linger_s=0.0):
        Renter(where).close()  # LINGER_S of the helper
        assert reach.told(where)["linger_s"] == 0.5


def test_it_says_who_uses_it_and_since_when(where):
    with Renter(where, kind="tls"), Renter(where, kind="tls", is_open=False):
        said = reach.told(where)
    assert said["pid"] == os.getpid()
    assert [(one["pid"], one["kind"], one["open"]) for one in said["tenants"]] == [
        (os.getpid(), "tls", True),
        (os.getpid(), "tls", False),
    ]
    assert all(abs(one["since"] - time.time()) < 60 for one in said["tenants"])


def test_tenants_have_to_agree_on_the_kind(where):
    with (
        Renter(where, kind="tcp"),
        pytest.raises(RigError, match=rf"{where} is used as a tcp port by pid {os.getpid()} of"),
    ):
        Renter(where, kind="tls")


def test_one_of_another_version_that_is_in_use_is_named_with_what_to_do(where, monkeypatch):
    with Renter(where):
        monkeypatch.setattr(reach, "VERSION", 99)
        with pytest.raises(RigError, match=r"of version 1 holds .* wait until the runs that use"):
            Renter(where)


def test_one_of_another_version_that_nobody_uses_goes_for_ours(monkeypatch):
    where = free_port()
    with porter_here(where) as old:
        monkeypatch.setattr(reach, "VERSION", 99)
        started = []
        monkeypatch.setattr(reach, "_start", lambda *_: started.append(1) or _stop())
        with pytest.raises(InterruptedError):
            Renter(where)
    assert started == [1]
    assert old._ended


def _stop() -> None:
    raise InterruptedError


@pytest.mark.parametrize("said", [b"", b"x", b"[]", b'{"do": "know", "tokens": 5}', b'{"do": []}'])
def test_nonsense_of_one_tenant_is_no_end_of_the_others(where, said):
    with Renter(where, tokens=[A]) as a, messages.unix() as other:
        other.connect(where.meeting)
        if said:
            other.send(said)
        other.close()
        with Renter(where, tokens=[B]):
            call(where, login(A))
            a.caller()


def test_a_second_porter_of_one_port_is_not_made(where):
    with pytest.raises(BlockingIOError):
        Porter(where, 1.0)
