"""What a rig file says of the cloud: its mistakes, and the ports that come of it."""

from __future__ import annotations

import pytest

from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.rig.cloud_ports import cloud_doors, dials, upstream
from pytest_blynk_ota.rig.config import load

BOARD = """
[rig]
name = "x"
[[board]]
name = "a"
chip = "esp32"
port = "virtual"
"""


def rig(tmp_path, text: str):
    path = tmp_path / "rig.toml"
    path.write_text(BOARD + text)
    return load(path)


def test_without_a_word_there_is_a_free_port_of_each_kind_that_a_board_dials(tmp_path):
    assert cloud_doors(rig(tmp_path, "")) == [Door("tcp")]
    config = rig(tmp_path, 'dials = "tls"\n[[board]]\nname="b"\nchip="esp32"\nport="virtual"')
    assert [dials(board) for board in config.board] == ["tls", "tcp"]
    assert cloud_doors(config) == [Door("tls"), Door("tcp")]


def test_fixed_ports_are_opened_as_they_stand(tmp_path):
    config = rig(tmp_path, "[cloud]\nports = { tcp = [8081, 8080] }")
    assert cloud_doors(config) == [Door("tcp", 8081), Door("tcp", 8080)]


def test_a_board_that_dials_mqtt_stands_behind_no_relay(tmp_path):
    with pytest.raises(ConfigError, match="MQTT not: board a"):
        rig(tmp_path, 'dials = "mqtts"\n[cloud]\nrelay = "h:443"')


def test_a_relay_is_read(tmp_path):
    assert str(upstream(rig(tmp_path, '[cloud]\nrelay = "h:443"').cloud)) == "tls://h:443"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ports = { tpc = [1] }", "did you mean 'tcp'"),
        ("ports = { tcp = [0] }", "cloud.ports.tcp"),
        ("ports = { tcp = [5], tls = [5] }", "used twice: 5"),
        ('certificate = "a.pem"', "certificate and key together"),
        ('relay = "nowhere"', "expected HOST:PORT"),
        ('relay_ca = "a.pem"', "expected relay, too"),
        ('relay = "tcp://h:443"\nrelay_ca = "a.pem"', "relay over TLS; relay is 'tcp://h:443'"),
        ('relay = "h:80"\nports = { mqtt = [1883] }', "MQTT not: cloud.ports.mqtt"),
        ("ping_s = 0", "cloud.ping_s"),
        ("linger_s = -1", "cloud.linger_s"),
        ('linger_s = "long"', "cloud.linger_s"),
        ("flod_per_s = 1", "did you mean 'flood_per_s'"),
    ],
)
def test_a_mistake_is_said_with_its_key(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        rig(tmp_path, f"[cloud]\n{text}")
