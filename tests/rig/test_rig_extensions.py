"""A power driver or a way to provision of a user's: found by its name, and never trusted."""

import json
import sys
import threading
import time

import pytest

from pytest_blynk_ota import Provisioning, Settings
from pytest_blynk_ota.board.console import Console, LogLine
from pytest_blynk_ota.errors import ConfigError, OutletUnreachable, RigError
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE
from pytest_blynk_ota.rig import extensions
from pytest_blynk_ota.rig.config import check
from pytest_blynk_ota.rig.extensions import Extensions, Own, gathered
from pytest_blynk_ota.rig.foreign import Caller, DriverOutlet, Told, provisioning_of
from pytest_blynk_ota.rig.rack import Rig

SETTINGS = Settings("10.0.0.1", 8080, "0" * 32, "lab", "passphrase")
WHERE = "lab.toml, board a, power.driver 'card'"


class Card:
    """A driver that keeps what it was told."""

    def __init__(self, channel, password=""):
        self.channel, self.password, self.told = channel, password, []

    def switch(self, on):
        self.told.append(on)


class Typed(Provisioning):
    def __init__(self, prompt="ready"):
        self.prompt = prompt


OURS = Extensions({"card": Card}, {"typed": Typed}, by_conftest=True)


def config_of(extensions=OURS, **board):
    base = {"name": "a", "chip": "esp32c3", "port": "/dev/none", "token": "env:TOKEN"}
    data = {"rig": {"name": "lab", "advertise": "127.0.0.1"}, "board": [{**base, **board}]}
    return check(data, "lab.toml", extensions)


def problems_of(extensions=OURS, **board):
    with pytest.raises(ConfigError) as caught:
        config_of(extensions, **board)
    assert caught.value.where == "lab.toml"
    return caught.value.problems


def installed(monkeypatch, folder, group, name, module, package="tools"):
    """A package as pip leaves it: a module, and its entry point."""
    (folder / f"{package}_module.py").write_text(module)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {package}_module:made\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, f"{package}_module", raising=False)


def outlet_of(factory, *, timeout_s=5.0, clean=str, **options):
    caller = Caller(WHERE, OutletUnreachable, clean, timeout_s=timeout_s)
    return DriverOutlet(Own("card", "lab.toml", factory, options), options, caller)


# -- the rig file


def test_the_other_keys_are_the_drivers(monkeypatch):
    own = config_of(power={"driver": "card", "channel": 3}).board[0].power.own
    assert (own.name, own.factory, own.options) == ("card", Card, {"channel": 3})


def test_the_other_keys_but_wifi_are_the_ways():
    provision = (
        config_of(provision={"kind": "typed", "wifi": "env:W", "prompt": ">"}).board[0].provision
    )
    assert provision.wifi == "env:W"
    assert provision.own.options == {"prompt": ">"}


@pytest.mark.parametrize(
    ("key", "table", "said"),
    [
        ("power.driver", {"driver": "cart", "channel": 1}, "did you mean 'card'?"),
        ("power", {"driver": "card"}, "missing a required argument: 'channel'"),
        ("power", {"driver": "card", "chanel": 1}, "takes channel, password"),
        ("power", {"driver": 3}, "valid string"),
        ("power", {}, "command, http and driver, got none"),
        ("provision.kind", {"kind": "typd"}, "none, nvs, patch, typed), got 'typd'"),
        ("provision", {"kind": "typed", "promt": ">"}, "unexpected keyword argument 'promt'"),
        ("provision", {"kind": "typed", "wifi": "lab:clear"}, 'expected "env:NAME"'),
        ("provision", {"kind": "none", "prompt": ">"}, "it takes no key"),
    ],
)
def test_a_mistake_is_told_with_its_key(key, table, said):
    (problem,) = problems_of(**{key.partition(".")[0]: table})
    assert problem.startswith(f"board[0].{key}")
    assert said in problem


def test_a_name_that_only_pytest_can_know_is_said_to_be_one():
    (problem,) = problems_of(Extensions(), power={"driver": "card"})
    assert "one of a conftest.py is known to pytest only" in problem


def test_an_installed_package_gives_a_driver(tmp_path, monkeypatch):
    module = "class made:\n    def __init__(self, channel): pass\n"
    installed(monkeypatch, tmp_path, extensions.POWER, "shelf", module)
    own = config_of(Extensions(), power={"driver": "shelf", "channel": 3}).board[0].power.own
    assert own.factory.__module__ == "tools_module"
    (problem,) = problems_of(Extensions(), power={"driver": "shelv", "channel": 3})
    assert "did you mean 'shelf'?" in problem


def test_a_package_that_cannot_be_loaded_says_why(tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path, extensions.POWER, "shelf", "1 / 0\n")
    (problem,) = problems_of(Extensions(), power={"driver": "shelf"})
    assert "'shelf' of package tools cannot be loaded: ZeroDivisionError" in problem
    assert "tools_module.py:1" in problem


def test_a_name_that_two_packages_give_is_nobodys(tmp_path, monkeypatch):
    for package in ("tools", "other"):
        folder = tmp_path / package
        folder.mkdir()
        installed(monkeypatch, folder, extensions.POWER, "shelf", "made = dict\n", package)
    (problem,) = problems_of(Extensions(), power={"driver": "shelf"})
    assert "package tools" in problem
    assert "package other" in problem


def test_an_installed_profile_is_based_on_one_of_ours(tmp_path, monkeypatch):
    table = 'made = {"base": "edgent-new", "stall_s": 12}\n'
    installed(monkeypatch, tmp_path, extensions.PROFILES, "lock-5", table)
    profile = config_of(profile="lock-5").board[0].profile
    assert (profile.name, profile.stall_s, profile.fixture) == ("lock-5", 12, "edgent-new")
    monkeypatch.delitem(sys.modules, "tools_module")


@pytest.mark.parametrize(
    ("table", "said"),
    [("{'base': 'lock-5'}", "a base of ours"), ("{'stal_s': 1}", "stal_s"), ("3", "a dict, got 3")],
)
def test_an_installed_profile_with_a_mistake_is_refused(tmp_path, monkeypatch, table, said):
    installed(monkeypatch, tmp_path, extensions.PROFILES, "lock-5", f"made = {table}\n")
    (problem,) = problems_of(profile="lock-5")
    assert problem.startswith("board[0].profile: ")
    assert said in problem


METRICS = """made = {"ping": {"regex": "ping: ([0-9]+)ms", "unit": "ms"}}"""


def test_metrics_of_a_package_are_named(tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path, extensions.METRICS, "lock", METRICS)
    assert config_of(metrics="lock").board[0].metrics["ping"].unit == "ms"
    (problem,) = problems_of(metrics="lick")
    assert problem.startswith("board[0].metrics: expected a table, or the name of one")


def test_a_mistake_in_the_metrics_of_a_package_has_its_key(tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path, extensions.METRICS, "lock", METRICS.replace("(", ""))
    (problem,) = problems_of(metrics="lock")
    assert problem.startswith("board[0].metrics.ping.regex: ")


def test_metrics_of_a_package_are_held_against_those_of_a_board(tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path, extensions.METRICS, "lock", METRICS)
    own = {"ping": {"regex": "p=([0-9]+)"}}
    data = {"rig": {"name": "lab"}, "metrics": "lock"}
    board = {"name": "a", "chip": "esp32c3", "port": "/dev/none", "token": "env:T", "metrics": own}
    with pytest.raises(ConfigError, match="has the name of one in"):
        check({**data, "board": [board]}, "lab.toml", OURS)


def test_packages_are_asked_only_for_a_name_that_is_not_known(monkeypatch):
    def asked(**_group):
        raise LookupError("packages were asked")

    monkeypatch.setattr(extensions, "entry_points", asked)
    config_of(power={"driver": "card", "channel": 1}, provision={"kind": "typed"})
    config_of(power={"http": "http://o"}, provision={"kind": "none"}, profile="reference")
    with pytest.raises(LookupError, match="packages were asked"):
        config_of(power={"driver": "cart"})


@pytest.mark.parametrize(
    ("gifts", "said"),
    [
        ([["card"]], "expected a dict of names"),
        ([{"card": Card}, {"card": Card}], "'card' is taken"),
        ([{"none": Typed}], "'none' is taken"),
    ],
)
def test_a_hook_that_gives_nothing_of_use_is_refused(gifts, said):
    with pytest.raises(ConfigError, match=said) as caught:
        gathered("pytest_blynk_ota_power", lambda: gifts, ("none",))
    assert "hook pytest_blynk_ota_power" in str(caught.value)


def test_a_hook_that_raises_is_told_by_its_line():
    with pytest.raises(ConfigError, match=r"ZeroDivisionError.*test_rig_extensions\.py:\d+"):
        gathered("pytest_blynk_ota_power", lambda: [1 / 0])


# -- calling it


def test_a_driver_is_made_once_and_told_on_and_off():
    card = Card(3)
    made = []
    outlet = outlet_of(lambda: made.append(1) or card)
    outlet.switch(False)
    outlet.switch(True)
    assert (made, card.told) == ([1], [False, True])


def test_a_driver_that_raises_is_an_outlet_that_did_not_switch():
    class Bad:
        def switch(self, on):
            raise OSError("relay says abc-secret-abc")

    outlet = outlet_of(Bad, clean=lambda text: text.replace("abc-secret-abc", "***"))
    with pytest.raises(OutletUnreachable) as caught:
        outlet.switch(False)
    assert str(caught.value).startswith(f"{WHERE}: switch(False): OSError: relay says *** (")
    assert "test_rig_extensions.py:" in str(caught.value)
    assert caught.value.__cause__ is None  # a traceback would show the secret


def test_not_even_a_failure_of_pytest_leaves_a_driver():
    class Bad:
        def switch(self, on):
            pytest.fail("not so")

    with pytest.raises(OutletUnreachable, match="not so"):
        outlet_of(Bad).switch(True)


def test_a_driver_that_hangs_ends_with_its_deadline_and_is_not_asked_twice():
    go, told = threading.Event(), []

    class Stuck:
        def switch(self, on):
            go.wait()
            told.append(on)

    outlet = outlet_of(Stuck, timeout_s=0.05)
    with pytest.raises(OutletUnreachable, match=r"switch\(False\) did not end within 0\.05 s"):
        outlet.switch(False)
    with pytest.raises(OutletUnreachable, match=r"switch\(True\): its switch\(False\) still hangs"):
        outlet.switch(True)
    assert told == []
    go.set()
    outlet.switch(True)  # it waits for the one that hung
    assert told == [False, True]


def test_the_line_that_is_told_is_the_users_though_a_library_raised():
    class Bad:
        def switch(self, on):
            json.loads("")

    line = Bad.switch.__code__.co_firstlineno + 1
    with pytest.raises(OutletUnreachable, match=rf"\(test_rig_extensions\.py:{line}\)"):
        outlet_of(Bad).switch(True)


def test_a_factory_that_makes_no_driver_is_told():
    with pytest.raises(OutletUnreachable, match=r"expected an object with switch\(on\), got 3"):
        outlet_of(lambda: 3).switch(True)


def told_of(way):
    return Told(way, Caller("lab.toml, board a, provision.kind 'x'", RigError, str))


class Flash(Provisioning):
    def __init__(self, given):
        self.given = given

    def flash(self, settings, table):
        return self.given


def test_what_a_way_gives_for_a_partition_fills_it():
    (region,) = told_of(Flash({"nvs": b"abc"})).regions(SETTINGS, DEFAULT_TABLE)
    nvs = DEFAULT_TABLE.find("nvs")
    assert (region.offset, region.size) == (nvs.offset, nvs.size)
    assert region.data == b"abc".ljust(nvs.size, b"\xff")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nvz": b""}, "got 'nvz'"),
        ({"app0": b""}, "got 'app0'"),
        ({"otadata": b""}, "got 'otadata'"),
        ({"nvs": b"\0" * 0x100000}, r"nvs: expected at most \d+ bytes, got 1048576 bytes"),
        ({"nvs": "text"}, "got <class 'str'>"),
        ("nvs", "expected a dict of labels to bytes"),
    ],
)
def test_what_does_not_fit_the_board_is_refused(given, said):
    with pytest.raises(RigError, match=said) as caught:
        told_of(Flash(given)).regions(SETTINGS, DEFAULT_TABLE)
    assert str(caught.value).startswith("lab.toml, board a, provision.kind 'x': flash(): ")


def test_a_way_that_tells_for_ever_ends_with_its_deadline():
    go = threading.Event()

    class Stuck(Provisioning):
        def tell(self, settings, board):
            go.wait()

    with pytest.raises(RigError, match=r"tell\(\) did not end within 0\.05 s"):
        told_of(Stuck()).tell(SETTINGS, None, 0.05)
    go.set()


def test_a_line_that_a_way_waits_for_in_vain_is_the_racks_fault():
    class Deaf(Provisioning):
        def tell(self, settings, board):
            raise AssertionError("no prompt")

    with pytest.raises(RigError, match="no prompt"):
        told_of(Deaf()).tell(SETTINGS, None, 5)


def test_a_factory_that_makes_no_way_is_told():
    caller = Caller("lab.toml, board a, provision.kind 'x'", RigError, str)
    with pytest.raises(RigError, match="expected a Provisioning, got 3"):
        provisioning_of(Own("x", "lab.toml", lambda: 3, {}), {}, caller)


def test_settings_do_not_print_their_secrets():
    assert SETTINGS.token not in repr(SETTINGS)
    assert SETTINGS.passphrase not in repr(SETTINGS)


# -- in a rig


def test_secrets_among_the_keys_reach_the_driver_and_no_evidence(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))
    monkeypatch.setenv("TOKEN", "0" * 32)
    monkeypatch.setenv("RELAY", "relay-password-1")
    monkeypatch.setattr(Console, "open", lambda self: None)
    made = []

    class Bad(Card):
        def switch(self, on):
            made.append(self)
            raise OSError(f"login with {self.password} refused")

    power = {"driver": "card", "channel": 3, "password": "env:RELAY"}
    config = config_of(Extensions({"card": Bad}), power=power)
    redactor = Redactor()
    recorder = Recorder(Timeline(redactor=redactor))
    rig = Rig(config, tmp_path, run=tmp_path, recorder=recorder, redactor=redactor)
    assert "relay-password-1" not in redactor.text("relay-password-1")  # before it is used
    try:
        with pytest.raises(OutletUnreachable, match=r"lab\.toml, board a, power\.driver") as caught:
            rig.place("a").power.off()
    finally:
        rig.close()
    assert made[0].password == "relay-password-1"
    assert "relay-password-1" not in str(caught.value)


@pytest.mark.parametrize(
    "power",
    [
        {"driver": "card", "channel": 3},
        {"command": {"on": ["true"], "off": ["true"]}},
    ],
)
def test_no_outlet_of_a_real_board_is_believed(tmp_path, monkeypatch, power):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))
    monkeypatch.setenv("TOKEN", "0" * 32)
    monkeypatch.setattr(Console, "open", lambda self: None)
    late = LogLine(1, time.monotonic() + 60, "State: RUNNING")
    monkeypatch.setattr(Console, "lines", lambda self, after=0: (late,))
    recorder = Recorder(Timeline())
    config = config_of(power=power)
    rig = Rig(config, tmp_path, run=tmp_path, recorder=recorder, redactor=Redactor())
    try:
        place = rig.place("a")
        place.power.off()
        with pytest.raises(OutletUnreachable, match="the board still talked: 'State: RUNNING'"):
            place.power.on()
    finally:
        rig.close()
