"""The offers of an operation: one at a time, none too many, and nothing left behind."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from pytest_blynk_ota.air import AirRules, Follower, Named, Shipment
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.offers import Offers
from pytest_blynk_ota.rig.config import DeliverySection
from pytest_blynk_ota.rig.profiles import PROFILES
from pytest_blynk_ota.shipment import Operation

WAIT_S = 5.0


def offer_threads():
    return [thread for thread in threading.enumerate() if thread.name == "blynk-ota offers"]


class Cloud:
    """A cloud that sends when it is let, on the session that is the newest then."""

    def __init__(self) -> None:
        self.session = 1
        self.state = SimpleNamespace(online=False, reports=(), session=None)
        self.sent: list[str] = []
        self.sending = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def device(self, board):
        return self.state

    def send_ota(self, board, url, *, offer, **about):
        self.sending.set()
        assert self.go.wait(WAIT_S)
        self.sent.append(offer)
        return self.session


class Campaign:
    """URLs that are never asked for."""

    data = b""

    def __init__(self) -> None:
        self.closed = False
        self.offers_lived = False
        self.seen: list[str] = []
        self.wake = None

    def saw(self, event):
        self.seen.append(event)
        self.wake()

    def offer(self, offer_id, data=None):
        return f"http://x/{offer_id}"

    def close(self):
        self.closed = True
        self.offers_lived = bool(offer_threads())


class Rig:
    """As much of a rig as an operation uses."""

    speed = 20.0

    def __init__(self) -> None:
        self.recorder = Recorder(Timeline())
        self.cloud = Cloud()
        self.background = SimpleNamespace(call=lambda result: result)
        self.made = Campaign()
        self.made.wake = self.recorder.timeline.wake
        self.place = SimpleNamespace(name="a", busy=False, profile=PROFILES["edgent-old"])
        self.delivery = SimpleNamespace(campaign=lambda *_, **__: self.made)

    def check(self):
        """All is well."""

    def report(self, session, version="1.0.0"):
        self.recorder("cloud", "report", "a", session=session, version=version, build="")

    def kinds(self):
        return [event.kind for event in self.recorder.timeline.events() if event.source == "ota"]

    def until(self, condition):
        assert self.recorder.timeline.wait(lambda _: condition() or None, WAIT_S)


@pytest.fixture
def rig():
    return Rig()


@pytest.fixture
def offering(rig):
    """Starts offers by some rules."""
    started = []

    def start(**rules) -> Offers:
        air = Follower(Shipment(Named("2.0.0"), AirRules(**rules)), "a")
        started.append(Offers(rig, SimpleNamespace(name="a"), rig.made, air, 0))
        started[-1].start()
        return started[-1]

    yield start
    rig.cloud.go.set()
    for made in started:
        made.stop()


@pytest.fixture
def offers(offering):
    return offering()


def test_a_cancel_waits_for_the_offer_that_goes_out(rig, offers):
    rig.cloud.go.clear()
    rig.report(1)
    assert rig.cloud.sending.wait(WAIT_S)
    cancel = threading.Thread(target=offers.cancel)
    cancel.start()
    cancel.join(0.05)
    assert "cancelled" not in rig.kinds()
    rig.cloud.go.set()
    cancel.join(WAIT_S)
    rig.report(2)
    offers.stop()
    assert rig.kinds() == ["offer", "closed", "cancelled"]


def test_no_offer_goes_out_after_the_deadline(rig, offers):
    offers.expire()
    offers.expire()
    rig.report(1)
    offers.stop()
    assert (rig.kinds(), rig.cloud.sent) == (["closed"], [])


def logged_in(rig):
    """The device is logged in on session 1, of which the events tell."""
    say = rig.recorder
    say("cloud", "connected", None, session=1, peer="p")
    say("cloud", "login", "a", session=1)
    rig.report(1)
    told = SimpleNamespace(session=1, version="1.0.0", build="")
    rig.cloud.state = SimpleNamespace(online=True, reports=(told,), session=1)


def reset_now(rig, code):
    rig.recorder("uart", "reset", "a", code=code, cause="x", download=False)


def beginning(rig):
    """Offers of an operation that begins now."""
    air = Follower(Shipment(Named("2.0.0"), AirRules()), "a")
    after = rig.recorder.timeline.cursor
    return Offers(rig, SimpleNamespace(name="a"), rig.made, air, after)


def test_a_banner_of_our_own_reset_that_was_read_after_the_login_hides_no_device(rig):
    rig.recorder("rig", "reset", "a", by="rig", mode="run")
    logged_in(rig)
    reset_now(rig, 0x1)
    made = beginning(rig)
    made.start()
    rig.until(lambda: rig.cloud.sent)
    made.stop()


def test_a_device_whose_reset_was_read_after_its_login_is_offered_the_file_once_it_is_heard(rig):
    logged_in(rig)
    reset_now(rig, 0xC)
    made = beginning(rig)
    made.start()
    later = rig.recorder.timeline.now() + 1.0
    rig.recorder("cloud", "heard", "a", t=later, session=1, what="PING")
    rig.recorder("cloud", "heard", "a", t=later, session=1, what="PING")
    rig.until(lambda: rig.cloud.sent)
    made.stop()
    assert rig.cloud.sent == ["o1"]


def test_a_device_that_was_reset_after_its_login_is_offered_nothing(rig):
    logged_in(rig)
    reset_now(rig, 0xC)
    made = beginning(rig)
    made.start()
    made.stop()
    assert rig.cloud.sent == []


def test_a_session_that_took_over_is_not_offered_twice(rig, offers):
    rig.cloud.session = 2  # logged in after session 1 had reported
    rig.report(1)
    rig.until(lambda: rig.cloud.sent)
    rig.report(2)
    rig.report(3)
    rig.until(lambda: len(rig.cloud.sent) > 1)
    offers.stop()
    assert rig.cloud.sent == ["o1", "o2"]  # the second one for session 3


def test_a_pause_waits_for_the_offer_that_goes_out(rig, offers):
    rig.cloud.go.clear()
    rig.report(1)
    assert rig.cloud.sending.wait(WAIT_S)
    pause = threading.Thread(target=offers.pause)
    pause.start()
    pause.join(0.05)
    assert "paused" not in rig.kinds()
    rig.cloud.go.set()
    pause.join(WAIT_S)
    assert rig.kinds() == ["offer", "paused"]


def test_a_paused_device_gets_its_offer_when_the_shipment_goes_on(rig, offers):
    offers.pause()
    offers.pause()
    rig.report(1)
    rig.report(1)
    assert not rig.cloud.sending.wait(0.05)
    offers.resume()
    offers.resume()
    rig.until(lambda: rig.cloud.sent)
    offers.stop()
    assert rig.kinds() == ["paused", "resumed", "offer"]


def test_no_offer_goes_out_after_a_pause_that_the_offers_have_not_read_of_yet(rig, offers):
    see, reading, go = offers._air.see, threading.Event(), threading.Event()

    def slow(event):
        see(event)
        reading.set()
        assert go.wait(WAIT_S)

    offers._air.see = slow
    rig.report(1)
    assert reading.wait(WAIT_S)
    offers.pause()
    go.set()
    offers.stop()
    assert not rig.cloud.sent


def test_a_click_lets_the_offer_out(rig, offering):
    offers = offering(auto_update=False)
    rig.report(1)
    assert not rig.cloud.sending.wait(0.05)
    offers.click()
    rig.until(lambda: rig.cloud.sent)
    assert rig.kinds() == ["clicked", "offer"]


def test_a_second_firmware_is_offered_on_the_session_that_has_had_the_first(rig, offering):
    offers = offering()
    rig.report(1)
    rig.until(lambda: rig.cloud.sent == ["o1"])
    offers.supersede("third-2", b"3", {"version": "3.0.0", "build": ""})
    rig.until(lambda: rig.cloud.sent == ["o1", "o2"])
    events = rig.recorder.timeline.events()
    assert [event.data["image"] for event in events if event.kind == "offer"] == ["new", "third-2"]


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"auto_update": False}, "awaiting the user"),
        ({"devices": ("other",)}, "not chosen"),
        ({"condition": "lower library"}, "condition not met"),
    ],
)
def test_what_only_a_hand_could_open_is_closed_when_the_hands_are_gone(rig, offering, rules, why):
    offers = offering(**rules)
    rig.report(1)
    offers.hands_off()
    rig.until(lambda: rig.kinds())
    (closed,) = [e for e in rig.recorder.timeline.events() if e.kind == "closed"]
    assert closed.data["why"] == why
    offers.click()
    rig.report(2)
    offers.stop()
    assert not rig.cloud.sent


def test_a_window_that_will_open_is_waited_for(rig, offering):
    noon = AirRules(window="night", begins_at="2026-11-23T12:00")
    rig.recorder(
        "ota", "operation", "a", images={"new": {"version": "2.0.0"}}, offered="new", limit=3,
        air=noon.to_data(), speed=1.0,
    )  # fmt: skip
    offers = offering()
    rig.report(1)
    offers.hands_off()
    assert not rig.cloud.sending.wait(0.05)
    assert rig.kinds() == ["operation"]


def test_a_moment_that_changes_something_by_itself_is_on_record(rig, offering):
    """Air's clock of these tests begins at the host's: silence since then is over at once."""
    offers = offering(upload_failure_after_s=0.05)
    rig.recorder("delivery", "request", "a", method="GET", conn=1, attempt=1)
    rig.until(lambda: rig.kinds())
    offers.stop()
    assert rig.kinds()[0] == "clock"


def test_a_device_that_is_there_already_is_taken_as_having_just_come(rig, offering):
    rig.recorder("cloud", "info", "a", session=7, pairs={"blynk": "1.3.2"})
    rig.recorder(
        "cloud", "report", "a", session=7, version="1.0.0", build="b", fw_type="TMPL"
    )  # fmt: skip
    rig.cloud.device = lambda board: SimpleNamespace(
        online=True, session=7, session_started=1.0,
        reports=[SimpleNamespace(session=7, version="1.0.0", build="b")],
    )  # fmt: skip
    offers = offering(condition="lower version")
    rig.until(lambda: rig.cloud.sent)
    offers.stop()
    online = next(e for e in rig.recorder.timeline.events() if e.kind == "online")
    assert online.data == {
        "session": 7, "version": "1.0.0", "build": "b", "fw_type": "TMPL", "library": "1.3.2",
    }  # fmt: skip
    assert rig.cloud.sent == ["o1"]


def operation(rig, describe):
    return Operation(
        rig, rig.place, b"", (), DeliverySection(), describe, False, lambda: None, superseding=None
    )


def test_an_operation_that_does_not_begin_takes_its_file_back(rig):
    def describe():
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"), operation(rig, describe):
        pass
    assert rig.made.closed
    assert not offer_threads()


def fail_while_offering(rig):
    rig.report(1)
    assert rig.cloud.sending.wait(WAIT_S)
    raise AssertionError("by the test")


def test_a_failing_test_ends_its_offers_before_its_file_is_taken_back(rig):
    with pytest.raises(AssertionError, match="by the test"), operation(rig, dict):
        fail_while_offering(rig)
    assert rig.made.closed
    assert not rig.made.offers_lived


def test_trouble_of_the_offers_does_not_hide_the_failure_of_the_test(rig):
    def send_ota(*_, **__):
        rig.cloud.sending.set()
        raise KeyError("unexpected")

    rig.cloud.send_ota = send_ota
    with pytest.raises(AssertionError, match="by the test"), operation(rig, dict):
        fail_while_offering(rig)
    error = rig.recorder.timeline.events()[-1]
    assert (error.source, error.kind, error.data["error"]) == ("rig", "error", "KeyError")


def test_a_board_takes_one_operation_at_a_time(rig):
    outer = operation(rig, dict)
    with pytest.raises(UsageError, match="under way"), outer, operation(rig, dict):
        pass
    assert not rig.place.busy
    assert not offer_threads()


def test_faults_of_the_download_hear_of_the_device_once_the_operation_has_begun(rig, offers):
    say = rig.recorder
    say("cloud", "closed", "a", session=1, by="device", why="closed")
    say("cloud", "login", "b", session=5)
    say("uart", "reset", "a", code=0xC, cause="x", download=False)
    say("cloud", "login", "a", session=2)
    rig.until(lambda: len(rig.made.seen) == 3)
    assert rig.made.seen == ["offline", "reset", "login"]


def test_an_old_session_that_closes_behind_a_newer_one_is_no_leaving(rig, offers):
    say = rig.recorder
    say("cloud", "login", "a", session=2)
    say("cloud", "closed", "a", session=1, by="server", why="another one came")
    say("cloud", "closed", "a", session=2, by="device", why="closed")
    rig.until(lambda: len(rig.made.seen) == 2)
    assert rig.made.seen == ["login", "offline"]


BEGIN = {
    "op": "offer", "number": 1, "limit": None, "deadline_s": 60.0, "speed": 20.0, "skew_s": 1.0,
    "profile": {}, "images": {}, "running": None, "offered": "new", "slots": {}, "otadata": None,
    "faults": [], "uart": True, "flash": True,
}  # fmt: skip


def under_way(rig, hand):
    """An operation with a hand in it; nothing comes of it."""

    class Enough(Exception):
        pass

    def block():
        with operation(rig, lambda: BEGIN) as one:
            hand(one)
            raise Enough

    with pytest.raises(Enough):
        block()


def test_go_is_said_to_the_faults_and_is_on_record(rig):
    under_way(rig, lambda one: one.go())
    assert rig.made.seen == ["go"]
    said = [e.data for e in rig.recorder.timeline.events() if e.kind == "action"]
    assert said == [{"what": "go"}]


def test_progress_by_the_log_of_a_firmware_that_prints_none_is_refused_at_once(rig):
    def hand(one):
        with pytest.raises(UsageError, match=r"edgent-new and reference do.*by='ack'"):
            one.wait_for(progress=0.5, by="log")

    under_way(rig, hand)
