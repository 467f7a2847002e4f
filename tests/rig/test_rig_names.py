"""A rig's names: in its URLs, its certificates, and what its boards are told."""

import socket
import ssl
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.errors import Unavailable
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.rig.config import load
from pytest_blynk_ota.rig.rack import Rig

RIG = """
[rig]
name = "names"
speed = 20
[[board]]
name = "c3"
chip = "esp32c3"
port = "virtual"
provision = { kind = "edgent-nvs" }
dials = "tls"
"""
REAL = """
[rig]
name = "real"
advertise = "127.0.0.1"
[[board]]
name = "c3"
chip = "esp32c3"
port = "/dev/nonexistent"
"""


@pytest.fixture
def rigs(tmp_path, monkeypatch):
    """Makes rigs, whose virtual boards are not started yet."""
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path / "locks"))
    made = []

    def make(text):
        path = tmp_path / "rig.toml"
        path.write_text(text)
        recorder = Recorder(Timeline())
        made.append(Rig(load(path), path, run=tmp_path, recorder=recorder, redactor=Redactor()))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def host_of(rig, **more):
    campaign = rig.delivery.campaign("c3", b"x" * 100, name="new.bin", **more)
    return urlsplit(campaign.offer("o1"))


def test_urls_have_a_name_while_it_is_answered_as_a_test_wants(rigs):
    rig = rigs(RIG)
    assert host_of(rig).hostname == "127.0.0.1"
    with rig.network.dns("nxdomain", maybe=True):
        assert host_of(rig).hostname == "firmware.rig.test"
        with rig.network.dns("right", maybe=True):
            pass
        assert host_of(rig).hostname == "firmware.rig.test"
    assert host_of(rig).hostname == "127.0.0.1"


def test_a_rig_with_a_domain_goes_by_its_names(rigs):
    rig = rigs(RIG + '[network]\ndomain = "lab.test"\n')
    assert host_of(rig).hostname == "firmware.lab.test"
    rig.network.dns("right", maybe=True).end()
    assert host_of(rig).hostname == "firmware.lab.test"
    rig.network.dns("silence", of="cloud", maybe=True).end()


def test_boards_are_told_the_name_of_the_cloud_where_the_rig_has_a_domain(rigs):
    place = SimpleNamespace(
        config=load_board(rigs), token="t", ssid="s", passphrase="p", profile=None
    )
    assert rigs(RIG).settings(place).host == "127.0.0.1"
    rig = rigs(RIG + '[network]\ndomain = "lab.test"\n')
    assert rig.settings(place).host == "cloud.lab.test"


def load_board(rigs):
    return rigs(RIG).config.board[0]


def test_without_a_domain_the_cloud_has_no_name_and_says_why(rigs):
    with pytest.raises(Unavailable, match=r'address of the cloud.*domain = "rig.test"'):
        rigs(RIG).network.dns("nxdomain", of="cloud")


@pytest.mark.parametrize("name", ["firmware.rig.test", "cloud.rig.test"])
def test_certificates_are_good_for_the_name(rigs, name):
    rig = rigs(RIG)
    context = ssl.create_default_context(cadata=rig.cloud.authority.ca_pem)
    address = rig.cloud.address_of("tls") if name.startswith("cloud") else https_address(rig)
    with socket.create_connection(address, 5) as plain:
        context.wrap_socket(plain, server_hostname=name).close()


def https_address(rig):
    url = host_of(rig, https=True)
    return url.hostname, url.port


def test_real_boards_have_names_only_where_their_rig_says_so(rigs):
    assert "names of its own" in rigs(REAL).network.lack("dns")
    port = free_udp_port()
    rig = rigs(REAL + f'[network]\ndomain = "lab.test"\ndns_port = {port}\n')
    assert rig.network.lack("dns") is None
    assert rig._ports().udp == (port,)


def free_udp_port():
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_without_the_keys_a_real_rig_says_what_they_would_be(rigs):
    network = rigs(REAL).network
    assert '[network] interface = "wlan1"' in network.lack("link")
    assert "[network] ap = { on = […], off = […] }" in network.lack("ap")


def test_a_port_that_the_firmware_server_opens_later_is_held_back_like_the_others(rigs):
    rig = rigs(RIG)
    rig.delivery  # noqa: B018  # started
    seen = []
    rig.__dict__["network"] = SimpleNamespace(
        cover=lambda: seen.append(rig._ports().tcp), mend=lambda: None
    )
    url = host_of(rig, faults=[faults.unreachable()])
    assert url.port in seen[-1]
    assert {rig.cloud.address[1], rig.delivery.address[1]} < set(seen[-1])
