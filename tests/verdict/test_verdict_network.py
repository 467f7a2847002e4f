"""What a test does to the network is no firmware's doing."""

import pytest
from tale import SIZE, Tale, names

from pytest_blynk_ota.verdict import Outcome


def shaped(tale, text):
    return tale.add("test", "action", None, what="link.shaped", text=text)


def left_in_the_middle(tale):
    """Half of the file; then the device closes the connection and goes on with Old."""
    tale.asks().wait(2).gets(SIZE // 2).wait(2).ends("device", "fin", SIZE // 2)
    return tale


def ended(tale):
    """The one try is over, and Old back."""
    return tale.wait(5).logs_in().wait(60).over().flash("old").judged()


def test_a_file_that_a_device_leaves_on_a_good_link_is_rejected():
    verdict = ended(left_in_the_middle(Tale(op="offer").offered()))
    assert verdict.outcome is Outcome.REJECTED


def test_a_file_that_a_device_leaves_on_a_bad_link_is_not_rejected():
    tale = shaped(Tale(op="offer").offered(), "loss=30% down")
    verdict = ended(shaped(left_in_the_middle(tale), ""))
    assert verdict.outcome is Outcome.DOWNLOAD_FAILED
    assert "with link: loss=30% down" in str(verdict.reasons[0])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_link_that_was_bad_at_another_time_excuses_nothing(when):
    tale = Tale(op="offer").offered()
    if when == "before":
        shaped(shaped(tale, "loss=30% down").wait(1), "").wait(1)
    left_in_the_middle(tale)
    if when == "after":
        shaped(shaped(tale.wait(1), "loss=30% down").wait(1), "")
    assert ended(tale).outcome is Outcome.REJECTED


@pytest.mark.parametrize("what", ["network", "ap", "wifi"])
def test_a_file_that_a_device_leaves_without_a_network_is_not_rejected(what):
    tale = Tale(op="offer").offered().asks().wait(1).gets(SIZE // 2)
    tale.add("test", "action", None, what=f"{what}.off").wait(3)
    tale.add("test", "action", None, what=f"{what}.on").wait(0.5).ends("device", "fin", SIZE // 2)
    verdict = ended(tale)
    assert verdict.outcome is Outcome.DOWNLOAD_FAILED
    assert f"with {what} off" in str(verdict.reasons[0])


def test_time_in_a_partition_does_not_count():
    """Longer than a device may take for a restart, and it is well all the same."""
    tale = Tale(op="offer", info=True).offered().downloads()
    tale.add("test", "action", None, what="network.off").wait(500)
    tale.add("test", "action", None, what="network.on").comes_back("new").over()
    verdict = tale.judged()
    assert verdict.outcome is Outcome.UPGRADED
    assert not names(verdict)
    assert verdict.seconds < 100


@pytest.mark.parametrize(("text", "found"), [("", {"unexplained loss"}), ("loss=30% down", set())])
def test_a_loss_on_two_boards_is_explained_by_a_bad_link(text, found):
    tale = shaped(Tale(op="offer").offered(), text).asks().wait(2).gets(SIZE // 2)
    tale.board = "b"
    tale.add("cloud", "closed", session=99, by="cloud", why="heartbeat missed")
    tale.board = "c3-a"
    tale.ends("server", "error", SIZE // 2)
    assert names(ended(tale), "warn") == found


@pytest.mark.parametrize(("text", "found"), [("", {"unexpected reset"}), ("x nxdomain", set())])
def test_a_restart_after_a_host_that_could_not_be_found_was_to_be_expected(text, found):
    """Old Edgent restarts where it cannot connect."""
    tale = Tale(op="offer", info=True).add("test", "action", None, what="dns.answers", text=text)
    verdict = tale.offered().wait(5).comes_back("old").wait(60).over().judged()
    assert verdict.outcome is Outcome.NOT_STARTED
    assert names(verdict) == found
    assert any("the test had DNS: x nxdomain" in str(one) for one in verdict.reasons) is bool(text)


def test_a_crash_is_never_excused_by_a_bad_network():
    tale = shaped(Tale(op="offer", info=True), "loss=30% down").offered().wait(5).crashes()
    verdict = tale.comes_back("old").wait(60).over().judged()
    assert names(verdict) & {"crash", "unexpected reset"}


@pytest.mark.parametrize(
    ("text", "ago_s", "found"),
    [
        ("", 0, {"unexplained loss"}),
        ("loss=30% down", 0, set()),
        ("loss=30% down", 300, {"unexplained loss"}),
    ],
)
def test_a_lost_link_to_the_cloud_is_explained_by_a_link_that_was_bad_just_then(text, ago_s, found):
    tale = shaped(shaped(Tale(op="offer", info=True), text).wait(1), "").wait(ago_s)
    tale.leaves(by="cloud", why="heartbeat missed")
    tale.board = "b"
    tale.add("cloud", "closed", session=99, by="cloud", why="heartbeat missed")
    tale.board = "c3-a"
    verdict = tale.wait(2).logs_in().offered().downloads().comes_back("new").over().judged()
    assert names(verdict, "warn") == found
