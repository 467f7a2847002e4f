"""Downloads that go wrong; the device must come back on Old and take the next one."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import pytest
from delivery_rows import ROWS, Row
from expected import Expected

from pytest_blynk_ota import AirStatus, Outcome, faults
from pytest_blynk_ota.evidence.bundle import read_test
from pytest_blynk_ota.result import Result

MOST_REQUESTS = 12
"""Of one offer whose file is refused; ESP-IDF v5.3 asks eleven times where a login is wanted."""
SECRET = {"authorization", "cookie", "proxy-authorization"}
"""Headers of a request that let its reader be somebody else."""


def params():
    for row in ROWS:
        needs = [name for name, needed in (("https", row.https), ("dns", row.names)) if needed]
        marks = [pytest.mark.scenario(row.id), *([pytest.mark.requires(*needs)] if needs else [])]
        if row.long or row.more:
            marks.append(pytest.mark.nightly)
        yield pytest.param(row, id=f"{row.id} {row.said}", marks=marks)


@pytest.mark.parametrize("row", list(params()))
def test_a_bad_download_ends_as_this_firmware_should(
    ota, rig, network, expected: Expected, row: Row
):
    if row.speed is not None and rig.speed > row.speed:
        pytest.skip(f"near a limit: needs a rig with a speed of {row.speed} or less")
    bad = [one for text in row.faults for one in faults.parse_all(text)]
    with network.dns(row.names) if row.names else nullcontext():
        if row.limit is None:
            result = ota.offer(faults=bad, https=row.https or None)
        else:
            result = ota.ship(faults=bad, https=row.https or None, download_limit=row.limit)
    expected.check(result, row.want, row.air, row.trait)
    if result.outcome is Outcome.DOWNLOAD_LIMIT_REACHED:
        assert len(result.downloads) == row.limit


@pytest.mark.scenario("D22b")
def test_after_a_stall_the_next_shipment_gets_through(ota):
    assert ota.offer(faults=[faults.stall(after="50%")]).outcome is Outcome.STALLED
    assert ota.ship().outcome is Outcome.UPGRADED


@pytest.mark.scenario("D4")
def test_unavailable_twice_then_fine(ota, expected: Expected):
    if not expected.profile.error_restart_s or expected.profile.tries > 1:
        pytest.skip("this firmware stays online after a failure, and is not offered the file again")
    result = ota.ship(faults=[faults.status(503).on_attempt(1, 2)])
    assert result.outcome is Outcome.UPGRADED
    assert [download.ended for download in result.downloads] == ["refused", "refused", "complete"]


def requests(result: Result) -> list[Mapping[str, Any]]:
    """What was asked of the firmware server for this test's files."""
    events = read_test(result.evidence).events
    data = [one.data for one in events if (one.source, one.kind) == ("delivery", "request")]
    return [one for one in data if one["offer"] is not None]


@pytest.mark.parametrize("code", [404, 503])
@pytest.mark.scenario("D1a", "D5b")
def test_what_is_refused_is_not_asked_for_again_and_again(ota, code):
    result = ota.offer(faults=[faults.status(code)], timeout=120)
    assert result.outcome is Outcome.DOWNLOAD_FAILED
    assert len(requests(result)) <= MOST_REQUESTS, "asked for without an end"


@pytest.mark.scenario("D20f")
def test_a_close_is_noticed_sooner_than_a_stall(ota, expected: Expected):
    if not expected.profile.resumes:
        pytest.skip("this firmware asks for no rest, so that it cannot be seen what it has noticed")
    result = ota.offer(faults=faults.parse_all("truncate 50% once"))
    assert result.outcome is Outcome.UPGRADED
    assert result.downloads[0].seconds < expected.profile.stall_s, "a close was read as no data"


@pytest.mark.nightly
@pytest.mark.scenario("D25a")
def test_a_drip_is_given_up_by_a_firmware_that_has_a_limit_for_it(ota, expected: Expected):
    if expected.profile.fixture != "reference":
        pytest.skip("this firmware waits for as long as there are bytes: hours")
    result = ota.offer(faults=[faults.drip(1)])
    assert result.outcome is Outcome.STALLED
    assert result.downloads[-1].ended != "open", "a drip is taken for ever, byte by byte"


@pytest.mark.scenario("D35")
def test_a_redirect_takes_no_token_to_another_host(ota):
    result = ota.offer(faults=[faults.redirect(to="other-host")])
    asked = requests(result)
    assert asked
    told = {name for one in asked if "hop=" in one["path"] for name in one["headers"]}
    assert told & SECRET == set(), "headers for the first host alone were sent to another one"


@pytest.mark.nightly
@pytest.mark.scenario("D22d")
def test_every_download_stalled_ends_at_the_limit(ota, expected: Expected):
    result = ota.ship(faults=[faults.stall(after="50%")], download_limit=3)
    expected.check(result, "L L O S")
    if result.outcome is Outcome.DOWNLOAD_LIMIT_REACHED:
        assert result.air_status is AirStatus.DOWNLOAD_LIMIT_REACHED
        assert [download.ended for download in result.downloads] == ["stalled"] * 3
