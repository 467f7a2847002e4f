"""What goes wrong between the shipment and the device; the update gets through, or is not begun."""

import pytest
from expected import Expected

from pytest_blynk_ota import AirRules, AirStatus, Outcome, cloud_faults, faults
from pytest_blynk_ota.errors import RigError, UsageError


def ends(ota, expected: Expected, want: str, *bad, **more):
    """A shipment with these faults of the cloud, held against its row."""
    result = ota.ship(faults=[cloud_faults.parse(text) for text in bad])
    expected.check(result, want, **more)
    return result


@pytest.mark.parametrize("seconds", [0.5, 2])
@pytest.mark.scenario("C1")
def test_a_url_that_comes_twice_is_one_download(ota, expected: Expected, seconds):
    slow = faults.bandwidth(40_000)  # so that the second comes in the download, if anything is up
    result = ota.ship(faults=[cloud_faults.twice(seconds), slow])
    expected.check(result, "UUUU")
    assert [download.ended for download in result.downloads] == ["complete"]


@pytest.mark.scenario("C3")
def test_a_link_that_drops_at_the_trigger_is_offered_the_file_again(ota, expected: Expected):
    ends(ota, expected, "UUUU", "drop on offer 1")


@pytest.mark.requires("power")
@pytest.mark.scenario("C4")
def test_a_trigger_while_the_device_is_away_waits_for_its_login(ota, power):
    with ota.shipping(rules=AirRules(auto_update=False)) as shipment:
        power.off()
        shipment.click()
        power.on()
        shipment.wait_for(progress=0.1)
    assert shipment.result.outcome is Outcome.UPGRADED


@pytest.mark.parametrize("text", ["restart at=request seconds=10", "silent at=request seconds=20"])
@pytest.mark.scenario("C5", "C7")
def test_a_cloud_that_is_down_in_the_download_does_not_stop_it(ota, expected: Expected, text):
    result = ends(ota, expected, "UUUU", text)
    assert len(result.downloads) == 1


@pytest.mark.parametrize(
    "seconds", [30, pytest.param(300, marks=pytest.mark.nightly)], ids="{} s".format
)
@pytest.mark.scenario("C6")
def test_a_cloud_that_is_away_after_the_restart_is_no_reason_to_go_back(
    ota, expected: Expected, seconds
):
    result = ends(ota, expected, "UUUU", f"refuse at=delivered seconds={seconds}")
    assert result.boots == 1


@pytest.mark.scenario("C11")
def test_a_url_that_is_long_under_way_is_taken(ota, expected: Expected):
    ends(ota, expected, "UUUU", "delay seconds=20")


@pytest.mark.requires("fixture-firmware")
@pytest.mark.scenario("C12")
def test_a_version_that_is_never_reported_is_told_apart(ota, firmware, expected: Expected):
    result = ota.offer(firmware.behaving(reports="nothing"))
    expected.check(result, "QQQQ")


@pytest.mark.scenario("C13")
def test_each_switch_between_two_versions_is_on_record(ota, firmware):
    there = ota.ship()
    back = ota.ship(firmware.restamped(firmware.old, "1.0.1"))
    again = ota.ship(firmware.restamped(firmware.new, "1.1.1"))
    assert [one.outcome for one in (there, back, again)] == [Outcome.UPGRADED] * 3
    assert [one.running for one in (there, back, again)] == [firmware.new.version, "1.0.1", "1.1.1"]


@pytest.mark.scenario("C14a")
def test_a_shipment_that_is_cancelled_before_its_url_sends_none(ota):
    with ota.shipping(rules=AirRules(auto_update=False)) as shipment:
        shipment.wait_for(air_status=AirStatus.AWAITING_USER_ACTION)
        shipment.cancel()
    assert shipment.result.outcome is Outcome.NOT_STARTED
    assert not shipment.result.downloads


@pytest.mark.scenario("C14b")
def test_a_shipment_that_is_cancelled_in_the_download_lets_that_one_end(ota):
    with ota.shipping(faults=[faults.bandwidth(40_000)]) as shipment:
        shipment.wait_for(progress=0.3)
        shipment.cancel()
    assert shipment.result.outcome is Outcome.UPGRADED
    assert len(shipment.result.downloads) == 1


@pytest.mark.scenario("C14c")
def test_a_shipment_that_is_cancelled_after_a_failure_offers_nothing_more(ota):
    with ota.shipping(faults=[faults.status(404).maybe()]) as shipment:
        shipment.wait_for(air_status=AirStatus.REQUESTED)
        shipment.cancel()
    assert shipment.result.outcome is not Outcome.UPGRADED
    assert len(shipment.result.downloads) == 1


@pytest.mark.scenario("C15")
def test_a_device_that_runs_what_is_shipped_or_a_later_one_is_sent_no_url(ota, firmware):
    assert ota.ship().outcome is Outcome.UPGRADED
    result = ota.ship(firmware.old, rules=AirRules(condition="lower version"), timeout=20)
    assert result.outcome is Outcome.NOT_STARTED
    assert not result.downloads
    with pytest.raises(UsageError, match="could not be seen"):
        ota.ship()


URLS = {
    "C16a": "",
    "C16b": "http://127.0.0.1:1/" + "x" * 900,
    "C16c": "http://127.0.0.1:1/a b c",
    "C16d": "127.0.0.1/new.bin",
    "C16e": "ftp://127.0.0.1/new.bin",
    "C16f": "http://127.0.0.1:1/new.bin",
}


def _url(id: str) -> object:
    """A parameter. The MQTT sample reads through a null pointer where it has no room for one."""
    known = [pytest.mark.finding("crash")] if id == "C16b" else []
    later = [pytest.mark.nightly] if id in ("C16c", "C16d", "C16f") else []
    return pytest.param(URLS[id], id=id, marks=[pytest.mark.scenario(id), *known, *later])


@pytest.mark.parametrize("text", [_url(id) for id in URLS])
def test_a_url_that_leads_nowhere_leaves_old_as_it_is(ota, expected: Expected, text):
    result = ota.offer(faults=[cloud_faults.url(text)])
    assert result.outcome is Outcome.NOT_STARTED
    assert ota.ship().outcome is Outcome.UPGRADED


TOO_LATE = cloud_faults.delay(2)
"""Of each offer: the device gets its URL when that has expired."""


@pytest.mark.scenario("C17")
def test_a_url_that_has_expired_on_its_way_costs_a_try(ota, expected: Expected):
    """None of them takes a 403 for a file: each gives the URL up, the reference after its tries."""
    result = ota.offer(faults=[TOO_LATE], expires=1)
    expected.check(result, "FFFF")
    assert {(one.ended, one.status) for one in result.downloads} == {("refused", 403)}
    assert ota.ship().outcome is Outcome.UPGRADED


@pytest.mark.nightly
@pytest.mark.scenario("C17")
def test_urls_that_expire_on_their_way_are_sent_until_the_limit(ota, expected: Expected):
    """To who restarts after a failure (Edgent), and so logs in again; the others go on, and get no
    other URL before they do: the limit is not reached."""
    result = ota.ship(faults=[TOO_LATE], expires=1, download_limit=2, timeout=80)
    expected.check(result, "LLFF")


@pytest.mark.requires("fixture-firmware")
@pytest.mark.scenario("C18")
def test_a_device_whose_pings_are_not_answered_in_the_download_ends_it(ota, expected: Expected):
    ends(ota, expected, "UUUU", "silent at=offer seconds=30")


@pytest.mark.scenario("C20")
def test_without_the_users_click_no_url_is_sent(ota):
    result = ota.ship(rules=AirRules(auto_update=False), timeout=20)
    assert result.outcome is Outcome.NOT_STARTED
    assert result.air_status is AirStatus.AWAITING_USER_ACTION
    assert not result.downloads


@pytest.mark.scenario("C20")
def test_with_the_users_click_it_is(ota):
    with ota.shipping(rules=AirRules(auto_update=False)) as shipment:
        shipment.wait_for(air_status=AirStatus.AWAITING_USER_ACTION)
        shipment.click()
    assert shipment.result.outcome is Outcome.UPGRADED


@pytest.mark.scenario("C21")
def test_a_device_of_another_product_is_sent_no_url(ota):
    rules = AirRules(template="TMPLanother01", type_mismatch="before")
    result = ota.ship(rules=rules, timeout=20)
    assert result.outcome is Outcome.NOT_STARTED
    assert result.air_status is AirStatus.TYPE_MISMATCH
    assert not result.downloads


@pytest.mark.scenario("C10")
def test_a_device_that_is_sent_to_another_host_reports_there(ota, rig, expected: Expected):
    if expected.profile.fixture == "edgent-new" and not rig.config.board[0].is_virtual:
        pytest.skip("it keeps the host of a redirection and not the port: a rack has one host")
    result = ota.ship(faults=[cloud_faults.redirect(at="delivered")], timeout=120)
    expected.check(result, "UUUU")
    events = rig.recorder.timeline.events()
    there = {e.data["session"] for e in events if e.kind == "connected" and "elsewhere" in e.data}
    last = [e for e in events if (e.source, e.kind) == ("cloud", "report")][-1]
    assert last.data["session"] in there


@pytest.mark.scenario("C8")
def test_a_session_that_another_client_takes_over_costs_no_update(ota, expected: Expected):
    slow = faults.bandwidth(40_000)
    result = ota.ship(faults=[cloud_faults.takeover(at="request"), slow])
    expected.check(result, "UUUU")
    assert [download.ended for download in result.downloads] == ["complete"]


@pytest.mark.scenario("C19")
def test_two_devices_on_one_token_are_named_and_no_verdict_is_given(ota):
    with pytest.raises(RigError, match="two devices use the token of board"):
        ota.offer(faults=[cloud_faults.twin("9.9.9")], timeout=30)


@pytest.mark.nightly
@pytest.mark.finding("config lost")  # Edgent's own way with a token that is refused
@pytest.mark.scenario("C9")
def test_a_token_that_is_refused_for_a_while_is_the_end_for_edgent_alone(
    ota, rig, expected: Expected
):
    if not rig.config.board[0].is_virtual:
        pytest.skip("it puts an Edgent into a mode that a rack cannot bring it out of")
    fault = cloud_faults.refuse(20, at="delivered", status=9)
    result = ota.offer(faults=[fault], timeout=150)
    expected.check(result, "OOUU", air="FD FD S S")


@pytest.mark.scenario("C2")
def test_of_two_versions_of_which_the_second_comes_in_the_download_the_second_stays(ota, firmware):
    second = firmware.restamped(firmware.new, "3.0.0")
    with ota.shipping(faults=[faults.bandwidth(40_000)]) as shipment:
        shipment.wait_for(progress=0.3)
        shipment.supersede(second)
    assert shipment.result.outcome is Outcome.UPGRADED
    assert shipment.result.running == second.version
    assert [one.ended for one in shipment.result.downloads] == ["complete"] * 2
