"""Each way to provision, end to end on a virtual board: reset, told, logged in at our cloud."""

import pytest
from provision_bench import logs_in, opened, written

from pytest_blynk_ota.errors import ConfigError, UsageError
from pytest_blynk_ota.firmware import behaviour, recipe
from pytest_blynk_ota.firmware.compiled import compiled
from pytest_blynk_ota.firmware.derive import restamped
from pytest_blynk_ota.firmware.image import SIGNATURE_V2_MAGIC, mend
from pytest_blynk_ota.rig.config import check
from pytest_blynk_ota.session import Options, Session

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
        assert TOKEN not in written(session)


def test_old_edgent_is_told_its_token_and_network_at_its_console(tmp_path):
    with opened(tmp_path, 'provision = { kind = "edgent-console" }') as session:
        place = logs_in(session)
        assert place.token not in written(session)  # the console echoes it
        assert "connect [token of a] virtual-lab [Wi-Fi passphrase]" in written(session)
        assert any("trying to connect" in line.text for line in place.board.console.lines())


def test_new_edgent_is_told_its_host_as_well(tmp_path):
    board = 'profile = "edgent-new"\nprovision = { kind = "edgent-console", generation = "new" }'
    with opened(tmp_path, board) as session:
        place = logs_in(session)
        assert any("Trying to connect" in line.text for line in place.board.console.lines())


def test_what_the_firmware_has_kept_is_gone_at_the_next_restore_and_told_again(tmp_path):
    with opened(tmp_path, 'provision = { kind = "edgent-console" }') as session:
        logs_in(session)  # it keeps what has led to the cloud in its NVS
        console = logs_in(session).board.console
        waits = [line.text for line in console.lines() if "INIT => WAIT_CONFIG" in line.text]
        assert len(waits) == 2


def test_old_edgent_finds_its_settings_in_its_blnkopt_section(tmp_path):
    with opened(tmp_path, 'provision = { kind = "edgent-blob" }') as session:
        place = logs_in(session)
        assert any("preprovisioned" in line.text for line in place.board.console.lines())


PATCH = """profile = "sketch"
dials = "tls"
token = "env:APP_TOKEN"
provision = { kind = "patch" }
"""


def test_a_patched_sketch_dials_the_rig_and_trusts_its_ca_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("APP_TOKEN", TOKEN)
    with opened(tmp_path, PATCH) as session:
        place = logs_in(session)
        built = session.firmware(place.config).old.behaviour
        assert (built.settings.host, built.ca) == ("", "")  # what it knows, it has of the patch


# -- firmware of the user's that a way cannot change is told before a board is touched


def firmware_of_a_user(change=lambda data: data):
    """A stock build as a user has it: host, blnkopt section and root, and no behaviour."""
    data = recipe.make(recipe.Recipe(), "esp32c3")
    return mend(change(mend(data.replace(behaviour.MAGIC, b"NOTHING."))))


def signed(data):
    return data.ljust(-(-len(data) // 4096) * 4096, b"\xff") + SIGNATURE_V2_MAGIC.ljust(4096)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("edgent-blob", signed, "'edgent-blob': --old: cannot be given settings: it is signed"),
        (
            "edgent-blob",
            lambda data: data.replace(b"blnkopt\0", b"blnkopT\0"),
            "--old: it has no blnkopt section",
        ),
        ("patch", signed, "'patch': --old: cannot be pointed elsewhere: it is signed"),
        (
            "patch",
            lambda data: data.replace(b"blynk.cloud\0", b"blynk.house\0"),
            "--old: it does not hold its host 'blynk.cloud'",
        ),
        (
            "patch",
            lambda data: data.replace(b"BEGIN CERT", b"BEGUN CERT"),
            "--old: it has no TLS root certificate in PEM",
        ),
    ],
)
def test_firmware_that_a_way_cannot_change_is_told(tmp_path, monkeypatch, kind, change, said):
    monkeypatch.setenv("APP_TOKEN", TOKEN)
    old, new = tmp_path / "old.bin", tmp_path / "new.bin"
    old.write_bytes(firmware_of_a_user(change))
    new.write_bytes(firmware_of_a_user(lambda data: restamped(data, "2.0.0")))
    board = f'token = "env:APP_TOKEN"\ndials = "tls"\nprovision = {{ kind = "{kind}" }}'
    with (
        pytest.raises(UsageError, match=said) as caught,
        opened(tmp_path, board, old=old, new=new),
    ):
        pass
    assert "rig bench, board a, provision" in str(caught.value)


def test_a_rig_whose_address_is_longer_than_the_host_is_told_with_both_lengths(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("APP_TOKEN", TOKEN)
    old = tmp_path / "old.bin"
    old.write_bytes(firmware_of_a_user())
    board = 'token = "env:APP_TOKEN"\nprovision = { kind = "patch" }'
    more = '[network]\ndomain = "rig-of-the-lab.test"\n'
    said = r"'cloud\.rig-of-the-lab\.test' has 25 bytes, in place of 'blynk\.cloud' .* room for 11"
    with pytest.raises(UsageError, match=said), opened(tmp_path, board, more, old=old):
        pass


def test_firmware_that_a_way_can_change_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("APP_TOKEN", TOKEN)
    old = tmp_path / "old.bin"
    old.write_bytes(firmware_of_a_user())
    board = 'token = "env:APP_TOKEN"\ndials = "tls"\nprovision = { kind = "patch" }'
    with opened(tmp_path, board, old=old) as session:
        place = session.place("a")
        firmware = session.firmware(place.config)
        ca = session.rig.cloud.authority.ca_pem
        for image in (firmware.old, firmware.new):  # New has to find the rig, too
            assert image.problems == ()
            assert compiled(image).host == "127.0.0.1"
            assert compiled(image).roots.strip() == ca.strip()


# -- what fits which firmware


@pytest.mark.parametrize(
    ("board", "said"),
    [
        ({"kind": "edgent-console", "profile": "sketch"}, "has no console of Edgent's"),
        ({"kind": "edgent-blob", "profile": "edgent-new"}, "has no blnkopt section"),
        ({"kind": "nvs", "profile": "reference"}, "reads no keys of its own from NVS"),
        ({"kind": "patch", "profile": "edgent-new"}, "has no token but what it is told"),
        ({"kind": "edgent-nvs", "profile": "sketch"}, "reads no settings from NVS"),
        ({"kind": "image", "port": "/dev/ttyUSB0"}, "only virtual boards run the images"),
    ],
)
def test_a_way_that_the_firmware_does_not_know_is_a_mistake(board, said):
    board = {"name": "a", "chip": "esp32c3", "port": "virtual", "token": "env:T", **board}
    keys = {"nvs": {"namespace": "app", "keys": {"t": "{token}"}}}
    board["provision"] = {"kind": board["kind"], **keys.get(board.pop("kind"), {})}
    with pytest.raises(ConfigError) as caught:
        check({"rig": {"name": "lab"}, "board": [board]}, "lab.toml")
    (problem,) = caught.value.problems
    assert problem.startswith("board[0].provision.kind: ")
    assert said in problem


@pytest.mark.parametrize(
    ("provision", "said"),
    [
        ({"kind": "edgent-console", "generation": "newer"}, "got 'newer'; did you mean 'new'?"),
        ({"kind": "patch", "host": ""}, "host: expected the host that the firmware was built with"),
        ({"kind": "edgent-nvs", "wfi": "env:W"}, "did you mean 'wifi'?"),
        ({"kind": "patch", "hots": "h"}, "did you mean 'host'?"),
    ],
)
def test_a_mistake_in_the_keys_of_a_way_is_found_when_the_rig_file_is_checked(provision, said):
    board = {"name": "a", "chip": "esp32c3", "port": "/dev/none", "provision": provision}
    with pytest.raises(ConfigError) as caught:
        check({"rig": {"name": "lab"}, "board": [board]}, "lab.toml")
    (problem,) = caught.value.problems
    assert problem.startswith("board[0].provision: ")
    assert said in problem


def test_a_way_that_brings_no_token_asks_for_one(tmp_path):
    with (
        opened(tmp_path, 'profile = "sketch"\nprovision = { kind = "patch" }') as session,
        pytest.raises(UsageError, match="it has neither a token nor a way to provision one"),
    ):
        session.place("a")


@pytest.mark.parametrize("token", ["", 'token = "env:APP_TOKEN"\n'])
def test_a_network_that_is_not_in_the_environment_is_told_before_a_board_is_touched(
    tmp_path, monkeypatch, token
):
    monkeypatch.setenv("APP_TOKEN", TOKEN)
    monkeypatch.delenv("LAB_WIFI", raising=False)
    path = tmp_path / "lab.toml"
    path.write_text(
        '[rig]\nname = "lab"\n[[board]]\nname = "a"\nchip = "esp32c3"\nport = "/dev/none"\n'
        f'{token}provision = {{ kind = "edgent-console", wifi = "env:LAB_WIFI" }}\n'
    )
    options = Options(root=tmp_path, rig=str(path), board=None, old=None, new=None)
    with pytest.raises(ConfigError, match="the environment variable LAB_WIFI is not set") as caught:
        Session(options, lambda: tmp_path)
    assert caught.value.where == "rig lab, board a, provision.wifi"
