"""One thing varied over its whole range, at night: offsets, sizes, networks, moments of a cut."""

import pytest
from expected import Expected

from pytest_blynk_ota import Outcome, faults

pytestmark = pytest.mark.nightly

OFFSETS = [0, 1, 23, 24, 288, 4095, 4096, 4097, "25%", 65535, 65536, 65537, "75%", "last 1"]
"""The ends of the file, of its headers, of flash sectors and blocks."""
SIZES = [98_384, 131_072, 131_088, 196_592, 196_608, 200_704, 262_144, 1_000_000]
"""Whole flash blocks and sectors, and 16 bytes beside: images are made of units of 16."""


@pytest.mark.parametrize("after", OFFSETS)
@pytest.mark.parametrize("kind", ["truncate", "reset"])
@pytest.mark.scenario("D20", "D21")
def test_wherever_a_download_is_cut_the_next_one_gets_through(ota, kind, after):
    result = ota.offer(faults=[getattr(faults, kind)(after=after)])
    assert result.outcome in (Outcome.DOWNLOAD_FAILED, Outcome.UPGRADED)  # or it went on
    assert ota.ship().outcome is Outcome.UPGRADED


@pytest.mark.parametrize("after", OFFSETS)
@pytest.mark.scenario("D22")
def test_wherever_a_download_stalls_the_device_comes_back(ota, expected: Expected, after):
    result = ota.offer(faults=[faults.stall(after=after)])
    expected.check(result, "SSSS")


@pytest.mark.requires("fixture-firmware")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.scenario("H3")
def test_whatever_its_size_the_file_is_whole_in_flash(ota, firmware, size):
    result = ota.offer(firmware.recipe("new", size=size))
    assert result.outcome is Outcome.UPGRADED  # the judge has read the slot's digest back


@pytest.mark.parametrize("bytes_per_s", [4_000, 20_000, 80_000])
@pytest.mark.parametrize("seconds", [0.05, 0.5, 2])
@pytest.mark.scenario("D26")
def test_a_slow_and_late_network_is_no_reason_to_fail(ota, seconds, bytes_per_s):
    result = ota.offer(faults=[faults.latency(seconds), faults.bandwidth(bytes_per_s)])
    assert result.outcome is Outcome.UPGRADED
