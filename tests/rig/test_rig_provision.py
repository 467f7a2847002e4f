"""Each way to provision, end to end on a virtual board: reset, told, logged in at our cloud."""

from provision_bench import logs_in, opened

TOKEN = "0123456789abcdef0123456789abcdef"
NVS = """profile = "sketch"
token = "env:APP_TOKEN"

[board.provision]
kind = "nvs"
namespace = "app"

[board.provision.keys]
ssid = "{ssid}"
pass = "{passphrase}"
host = "{host}"
port = { value = "{port}", type = "u16" }
token = "env:APP_TOKEN"
"""


def test_a_sketch_finds_its_settings_under_its_own_keys_in_nvs(tmp_path, monkeypatch):
    monkeypatch.setenv("APP_TOKEN", TOKEN)
    with opened(tmp_path, NVS) as session:
        logs_in(session)
        assert TOKEN not in str(session.recorder.timeline.events())
