"""What connections come to that ask for nothing: handshakes, and ports that let nobody in."""

from __future__ import annotations

import pytest
from tale import SIZE, SPEED, Tale, names
from told_tales import back, reasons, tale, word

from pytest_blynk_ota.verdict import Outcome
from pytest_blynk_ota.verdict.watch import watch


@pytest.mark.parametrize("how", ["expired", "unknown-ca", "wrong-name", "version"])
def test_a_handshake_that_fails_is_a_refused_download_that_names_its_fault(how):
    text = f"tls how={how}"
    one = tale(text).knocks(offer="o1", attempt=1)
    one.add("delivery", "fault", conn=one.conn, offer="o1", attempt=1, index=0, fault=text,
            at=0, phase="fired")  # fmt: skip
    verdict = back(one.fails("the device does not accept the certificate"))
    assert (word(verdict), verdict.outcome) == ("refused", Outcome.DOWNLOAD_FAILED)
    assert (verdict.downloads[0].fault, verdict.downloads[0].attempt) == (text, 1)
    assert "TLS: the device does not accept the certificate" in reasons(verdict)


def test_a_handshake_that_fails_is_over_when_it_fails():
    one = tale(stays=True).knocks("unknown CA", offer="o1", attempt=1).wait(3)
    assert word(one.over().judged()) == "refused"


def test_a_handshake_that_was_agreed_on_ends_no_connection():
    one = tale(stays=True).knocks(offer="o1", attempt=1)
    one.add("delivery", "handshake", None, conn=one.conn, version="TLSv1.3", cipher="x", why=None)
    verdict = one.wait(3).over().judged()
    assert word(verdict) == "open"
    assert "TLS" not in reasons(verdict)


def test_on_a_rig_with_more_boards_a_port_of_its_own_tells_whose_a_connection_is():
    one = tale().add("cloud", "connected", None, session=99, peer="10.0.0.2:1")
    one.add("cloud", "login", "other", session=99).knocks("unknown CA", offer="o1")
    assert word(back(one)) == "refused"


def test_on_a_rig_with_more_boards_an_address_of_its_own_tells_whose_a_connection_is():
    one = tale()
    one.add("cloud", "connected", None, session=99, peer="10.0.0.3:1")
    one.add("cloud", "login", "other", session=99)
    assert word(back(one.knocks("unknown CA"))) == "refused"


def test_an_address_that_two_boards_share_tells_nothing():
    one = tale()
    one.add("cloud", "connected", None, session=99, peer="10.0.0.2:1")
    one.add("cloud", "login", "other", session=99)
    assert back(one.knocks("unknown CA")).downloads == ()


HANDSHAKE = "tls how=stalled-handshake"


def silent_handshake(one: Tale, phase: str = "fired") -> Tale:
    return one.add("delivery", "fault", conn=one.conn, offer="o1", attempt=1, index=0,
                   fault=HANDSHAKE, at=0, phase=phase)  # fmt: skip


def handshake_given_up(one: Tale, seconds: float) -> Tale:
    """The device tries a handshake that nobody answers, for so long."""
    silent_handshake(one.knocks(offer="o1", attempt=1)).wait(seconds)
    return silent_handshake(one.fails("the device left"), "over")


def test_a_handshake_that_stalls_is_a_stalled_download():
    verdict = back(handshake_given_up(tale(HANDSHAKE), 30))
    assert (word(verdict), verdict.outcome) == ("stalled", Outcome.STALLED)


@pytest.mark.parametrize("last", [10, 25])
def test_each_try_of_a_handshake_has_the_devices_own_limit(last):
    """A device that gives up the first two after 25 s, and begins a third."""
    one = tale(HANDSHAKE, stays=True, error_restart_s=0.0)
    for _ in range(2):
        handshake_given_up(one, 25).wait(1)
    silent_handshake(one.knocks(offer="o1", attempt=1)).wait(last)
    assert not watch(one.events, one.events[-1].t + last / SPEED).over
    verdict = one.over().judged()
    assert (word(verdict), verdict.outcome) == ("open", Outcome.STALLED)
    assert names(verdict) == set()


def test_the_last_try_of_a_handshake_may_hang():
    one = handshake_given_up(tale(HANDSHAKE, stays=True), 10).wait(1)
    silent_handshake(one.knocks(offer="o1", attempt=1)).wait(45)
    assert names(one.over().judged()) == {"hang"}


def shut(one: Tale, text: str = "unreachable how=refused", phase: str = "fired") -> Tale:
    """A port that a fault keeps closed: nobody comes in."""
    return one.add("delivery", "fault", conn=None, offer=f"o{one.count}", attempt=one.count,
                   index=0, fault=text, at=0, phase=phase)  # fmt: skip


def test_a_port_that_nobody_gets_in_at_is_not_started_and_the_reasons_say_why():
    verdict = back(shut(tale("unreachable how=refused").wait(1)))
    assert (verdict.outcome, verdict.downloads) == (Outcome.NOT_STARTED, ())
    assert "let no connection come about: unreachable how=refused" in reasons(verdict)
    assert names(verdict) == set()


def test_the_restart_after_a_closed_port_is_expected_once():
    one = shut(tale("unreachable how=refused").wait(1)).wait(10).comes_back("old").wait(5)
    assert names(one.comes_back("old").over().judged()) == {"unexpected reset"}


def test_a_device_that_tries_a_silent_port_for_long_is_not_offline_for_too_long_by_that():
    one = shut(tale("unreachable how=silent").wait(60), "unreachable how=silent")
    assert names(back(one, 100)) == set()


def test_a_port_that_opened_later_belongs_to_the_download_that_then_came():
    text = "unreachable how=silent seconds=5"
    one = shut(shut(tale(text).wait(1), text).wait(5), text, "over").asks().wait(2).gets(SIZE)
    verdict = back(one.ends("server", "complete", SIZE))
    assert (word(verdict), verdict.downloads[0].fault) == ("complete", text)


def test_the_watch_waits_for_a_device_that_tries_a_silent_port():
    one = tale("unreachable how=silent", stays=True, request_s=5.0, error_restart_s=0.0)
    shut(one.wait(3), "unreachable how=silent")
    assert not watch(one.events, one.events[-1].t + 20 / 20).over
    assert watch(one.events, one.events[-1].t + 40 / 20).over
