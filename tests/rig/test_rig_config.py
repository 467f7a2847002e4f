"""Rig files: read whole, refused with every mistake named."""

from pathlib import Path

import pytest

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.rig.across import ways_to_provision
from pytest_blynk_ota.rig.config import check, load
from pytest_blynk_ota.rig.shipped import find_rig

FIVE_MISTAKES = """
[rig]
name = "lab"
spede = 20

[[board]]
name = "a"
chip = "esp23"
prot = "virtual"

[[board]]
name = "b"
chip = "esp32"
port = "/dev/ttyUSB0"
baud = "fast"
"""


def problems_of(text: str, tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "rig.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return caught.value.problems


def test_five_mistakes_are_five_lines_each_with_its_key(tmp_path):
    problems = problems_of(FIVE_MISTAKES, tmp_path)
    assert [problem.split(":")[0] for problem in problems] == [
        "rig.spede",
        "board[0].chip",
        "board[0].port",
        "board[0].prot",
        "board[1].baud",
    ]


def test_a_mistyped_key_names_the_nearest_one(tmp_path):
    problems = problems_of(FIVE_MISTAKES, tmp_path)
    assert "did you mean 'speed'?" in problems[0]
    assert "did you mean 'port'?" in problems[3]


def test_a_mistyped_value_says_what_was_expected(tmp_path):
    chip = problems_of(FIVE_MISTAKES, tmp_path)[1]
    assert "expected a chip" in chip
    assert "got 'esp23'" in chip
    assert "did you mean 'esp32'?" in chip


@pytest.mark.parametrize(
    ("board", "words"),
    [
        (
            {"power": {"http": "http://x", "command": {"on": ["a"], "off": ["b"]}}},
            "got command and http",
        ),
        ({"power": {"virtual": False}}, "got none"),
        ({"power": {"htp": "http://x"}}, "did you mean 'http'?"),
        ({"power": {"http": "10.0.0.7/outlet"}}, 'expected "http://…"'),
        ({"power": "mains"}, "got 'mains'"),
        ({"token": "0123456789abcdef0123456789abcdef"}, "in clear"),
        ({"provision": {"kind": "edgent-nvs", "wifi": "lab:secret"}}, "network does not stand"),
        ({"provision": {"kind": "edgent-nsv"}}, "did you mean 'edgent-nvs'?"),
        ({"profile": "edgent"}, "expected a firmware profile"),
        ({"name": "no spaces"}, "expected a name of letters, digits, "),
    ],
)
def test_a_wrong_board_key_is_refused_by_name(board, words):
    data = {
        "rig": {"name": "x"},
        "board": [{"name": "a", "chip": "esp32", "port": "/dev/p"} | board],
    }
    with pytest.raises(ConfigError) as caught:
        check(data, "x")
    assert len(caught.value.problems) == 1
    assert words in caught.value.problems[0]


@pytest.mark.parametrize(
    ("board", "words"),
    [
        ({"port": "virtaul"}, "got 'virtaul'; did you mean 'virtual'?"),
        ({"port": "rfc2217:/x"}, "rfc2217://HOST:PORT"),
        ({"power": "virtual"}, "is real"),
        ({"virtual": {"outlet": "hub"}}, "is real"),
        ({"port": "virtual", "name": "network"}, "can be called network"),
        (
            {"port": "virtual", "profile": "sketch", "dials": "mqtt"},
            "board[0].dials: the firmware of profile sketch dials tcp or tls, got 'mqtt'",
        ),
        (
            {"port": "virtual", "profile": "mqtt-idf", "dials": "tls"},
            "board[0].dials: the firmware of profile mqtt-idf dials mqtt or mqtts, got 'tls'",
        ),
    ],
)
def test_keys_that_do_not_fit_the_port_are_refused(board, words):
    data = {
        "rig": {"name": "x"},
        "board": [{"name": "a", "chip": "esp32", "port": "/dev/p"} | board],
    }
    with pytest.raises(ConfigError) as caught:
        check(data, "x")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "board",
    [
        {"port": "/dev/p", "profile": "sketch"},  # a real board runs what its owner gave it
        {"port": "virtual", "profile": "default"},
    ],
)
def test_firmware_of_ones_own_may_dial_any_port(board):
    board = {"name": "a", "chip": "esp32", "dials": "mqtts"} | board
    assert check({"rig": {"name": "x"}, "board": [board]}, "x").board[0].dials == "mqtts"


@pytest.mark.parametrize(
    ("virtual", "problem"),
    [
        (
            {"mac": "zz"},
            "board[0].virtual.mac: expected a MAC address as 02:b1:6e:00:00:01, got 'zz'",
        ),
        (
            {"revision": "3"},
            "board[0].virtual.revision: expected a chip revision as \"v3.0\", got '3'",
        ),
        ({"paced": "yes"}, "board[0].virtual.paced: expected a valid boolean, got 'yes'"),
        (
            {"bad_sectors": [7]},
            "board[0].virtual.bad_sectors[0]: expected a multiple of 4096, got 7",
        ),
        ({"usb": "jtag"}, "board[0].virtual.usb: an esp32 has no USB port of its own"),
    ],
)
def test_what_a_virtual_board_cannot_be_is_a_mistake_of_the_rig_file(virtual, problem):
    board = {"name": "a", "chip": "esp32", "port": "virtual", "virtual": virtual}
    with pytest.raises(ConfigError) as caught:
        check({"rig": {"name": "x"}, "board": [board]}, "x")
    (found,) = caught.value.problems
    assert found.startswith(problem)


ALL_AT_ONCE = """
[rig]
name = "x"
speed = 20
[cloud]
relay_ca = "ca.pem"
certificate = 5
key = "key.pem"
ports = { tcp = [80], tls = [80] }
[[board]]
name = "a"
chip = "esp32"
port = "virtual"
baud = "fast"
provision = { kind = "edgent-nvs", wifi = "lab:secret" }
profile = "sketch"
virtual = { usb = "jtag", paced = true, flash = "one.bin", efuse = "one.bin", mac = "zz" }
[[board]]
name = "a"
chip = "esp32c3"
port = "dev/ttyUSB0"
provision = { kind = "image" }
power = "virtual"
"""


def test_mistakes_between_keys_are_told_along_with_those_of_single_keys(tmp_path):
    problems = problems_of(ALL_AT_ONCE, tmp_path)
    assert [problem.split(": ")[0] for problem in problems if ": " in problem] == [
        "board[0].provision.wifi",
        "board[0].baud",
        "board[0].virtual.mac",
        "cloud.certificate",
        "board[0].virtual.usb",
        "board[0].virtual.paced",
        "board[0].provision.kind",
        "board[1].port",
        "board[1].power",
        "board[1].provision.kind",
        "board names are used twice",
        "rig.speed",
        "cloud",
        "cloud.ports",
    ]
    (files,) = [problem for problem in problems if ": " not in problem]
    assert files == (
        "virtual.efuse of board a is 'one.bin', as virtual.flash of board a is; "
        "expected a file of its own"
    )


def test_a_wrong_key_is_not_also_told_as_missing(tmp_path):
    text = '[rig]\nname = "x"\n[[board]]\nname = "a"\nchip = "esp32"\nport = "virtual"\n[cloud]\n'
    problems = problems_of(
        text + 'key = 5\ncertificate = "c"\nrelay = 5\nrelay_ca = "c"\n', tmp_path
    )
    assert [problem.split(": ")[0] for problem in problems] == ["cloud.key", "cloud.relay"]


@pytest.mark.parametrize("table", [[], [[]], [3], 3, [{}], [{"name": {"a": 1}}]])
def test_no_boards_where_boards_should_be_are_told_and_nothing_else(table):
    with pytest.raises(ConfigError, match="board"):
        check({"rig": {"name": "x"}, "board": table, "cloud": 3}, "x")


@pytest.mark.parametrize(
    ("board", "problem"),
    [
        (
            {"profile": "mqtt-idf", "port": "virtual", "provision": {"kind": "edgent-nvs"}},
            "firmware of the profile mqtt-idf reads no settings from NVS as Edgent keeps them; "
            'expected "image" or "patch" or "none", got "edgent-nvs"',
        ),
        (
            {"profile": "sketch", "provision": {"kind": "edgent-nvs"}},
            "firmware of the profile sketch reads no settings from NVS as Edgent keeps them; "
            'expected "nvs" or "patch" or "none", got "edgent-nvs"',
        ),
        (
            {"profile": "edgent-new", "provision": {"kind": "image"}},
            "only virtual boards run the images that settings are compiled into; "
            'expected "edgent-nvs" or "edgent-console" or "nvs" or "patch" or "none", got "image"',
        ),
    ],
)
def test_a_way_to_provision_that_the_firmware_does_not_know_is_refused(board, problem):
    data = {
        "rig": {"name": "x"},
        "board": [{"name": "a", "chip": "esp32", "port": "/dev/p"} | board],
    }
    with pytest.raises(ConfigError) as caught:
        check(data, "x")
    assert caught.value.problems == (f"board[0].provision.kind: {problem}",)


def test_each_profile_can_be_provisioned_as_its_virtual_firmware_reads_it():
    """What says that a profile reads NVS is the shipped rig that runs each of them."""
    for board in load(find_rig("profiles", Path("/nonexistent"))).board:
        assert board.provision is not None
        assert ways_to_provision(board)[0] == board.provision.kind


def test_two_boards_on_one_port_are_refused():
    boards = [{"name": name, "chip": "esp32", "port": "/dev/p"} for name in "ab"]
    with pytest.raises(ConfigError, match="two boards have the port /dev/p"):
        check({"rig": {"name": "x"}, "board": boards}, "x")


@pytest.mark.parametrize("key", ["flash", "efuse"])
def test_two_boards_on_one_file_are_refused(key):
    boards = [
        {"name": name, "chip": "esp32", "port": "virtual", "virtual": {key: path}}
        for name, path in (("a", "kept.bin"), ("b", "./kept.bin"))
    ]
    with pytest.raises(ConfigError, match=f"{key} of board b is './kept.bin', as .* of board a is"):
        check({"rig": {"name": "x"}, "board": boards}, "x")


def test_two_boards_of_one_name_are_refused():
    board = {"name": "a", "chip": "esp32", "port": "/dev/p"}
    with pytest.raises(ConfigError, match="used twice: a"):
        check({"rig": {"name": "x"}, "board": [board, board]}, "x")


def test_a_real_board_has_no_faster_clock():
    board = {"name": "a", "chip": "esp32", "port": "/dev/ttyUSB0"}
    with pytest.raises(ConfigError, match="real board"):
        check({"rig": {"name": "x", "speed": 20}, "board": [board]}, "x")


def test_no_toml_is_said_with_its_line(tmp_path):
    assert "line 1" in problems_of("[rig\n", tmp_path)[0]


def test_every_shipped_rig_is_valid():
    for name in ("virtual", "lab1", "profiles"):
        assert load(find_rig(name, Path("/nonexistent"))).rig.name == name


def test_an_unknown_rig_names_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'virtual'"):
        find_rig("virtaul", tmp_path)


def test_a_rig_of_the_user_wins_over_a_shipped_one(tmp_path):
    own = tmp_path / "rigs" / "virtual.toml"
    own.parent.mkdir()
    own.write_text("")
    assert find_rig("virtual", tmp_path) == own


def test_an_unknown_board_names_the_nearest_one():
    config = load(find_rig("virtual", Path("/nonexistent")))
    with pytest.raises(ConfigError, match="did you mean 'c3-a'"):
        config.pick("c3a")


def network_problems(port, network):
    board = {"name": "a", "chip": "esp32", "port": port}
    with pytest.raises(ConfigError) as caught:
        check({"rig": {"name": "x"}, "board": [board], "network": network}, "x")
    return caught.value.problems


@pytest.mark.parametrize(
    ("port", "network", "words"),
    [
        ("/dev/p", {"ap": {"on": ["a"]}}, "network.ap.off: is missing"),
        ("/dev/p", {"ap": {"on": [], "off": ["b"]}}, "network.ap.on: expected"),
        ("/dev/p", {"interfac": "wlan1"}, "did you mean 'interface'?"),
        ("/dev/p", {"interface": "wlan 1"}, "expected a network interface as wlan1, got 'wlan 1'"),
        ("/dev/p", {"interface": "lo"}, "a is a real board, which lo does not lead to"),
        (
            "/dev/p",
            {"prefix": ["sudo"]},
            "network.prefix: stands before tc, and no interface is named",
        ),
        ("/dev/p", {"domain": "rig.test"}, "expected domain and dns_port together"),
        ("/dev/p", {"dns_port": 53}, "expected domain and dns_port together"),
        ("virtual", {"domain": "Rig.test"}, "expected a domain as rig.test, got 'Rig.test'"),
        ("virtual", {"domain": "192.0.2.7"}, "expected a domain as rig.test"),
        ("virtual", {"dns_port": 0}, "network.dns_port: expected"),
        ("virtual", {"interface": "wlan1"}, "lo leads to virtual boards, not wlan1"),
        ("virtual", {"ap": {"on": ["a"], "off": ["b"]}}, "virtual boards is in their rack"),
    ],
)
def test_what_a_network_cannot_be_is_a_mistake_of_the_rig_file(port, network, words):
    (problem,) = network_problems(port, network)
    assert words in problem


def test_all_mistakes_of_a_network_are_said_at_once():
    network = {"interface": 7, "prefix": [""], "ap": {"on": ["a"]}, "domian": "x"}
    assert len(network_problems("/dev/p", network)) == 4


def test_a_network_of_a_real_and_of_a_virtual_rack_is_read():
    real = {"interface": "wlan1", "prefix": ["sudo", "-n"], "ap": {"on": ["a"], "off": ["b"]}}
    for port, network in (("/dev/p", real), ("virtual", {"interface": "lo"})):
        board = {"name": "a", "chip": "esp32", "port": port}
        rig = check({"rig": {"name": "x"}, "board": [board], "network": network}, "x")
        assert rig.network.interface == network["interface"]


DELIVERY = """
[rig]
name = "lab"
[[board]]
name = "a"
chip = "esp32"
port = "virtual"
provision = { kind = "edgent-nvs", wifi = "env:WIFI" }
[delivery]
"""


def test_how_files_are_delivered_stands_in_the_rig_file(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(DELIVERY + 'https = true\nexpires = 60\nsingle_use = true\n'
                    'faults = ["latency 1", "random seed=7 of stall 0 or reset 0"]\n')  # fmt: skip
    delivery = load(path).delivery
    assert (delivery.https, delivery.expires, delivery.single_use) == (True, 60, True)
    assert len(delivery.faults) == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("htps = true", "delivery.htps: unknown key; did you mean 'https'?"),
        ("https = 1", "delivery.https: expected a valid boolean, got 1"),
        ("expires = 0", "delivery.expires: expected greater than 0, got 0"),
        ('faults = ["latency 1", "stal 0"]', "did you mean 'stall'?"),
        ('faults = "stall 0"', "delivery.faults: expected a valid list, got 'stall 0'"),
    ],
)
def test_a_mistake_in_how_files_are_delivered_is_told_with_its_key(line, problem, tmp_path):
    problems = problems_of(DELIVERY + line, tmp_path)
    assert len(problems) == 1
    assert problem in problems[0]
    assert problems[0].startswith("delivery.")


@pytest.mark.parametrize(("text", "why"), [
    ("tls expired", "tls how=expired could never fire: URLs are http ones; expected https = true"),
    ("stall 99999999999", "byte 99999999999 is outside of the largest firmware (16777216 bytes)"),
    ("other path=nothere.bin", "nothere.bin cannot be read: No such file or directory"),
    ("http_version 1.1", "the answer is HTTP/1.1 anyway"),
    ("reset 0 then stall 99999999999", "stall after=99999999999"),
])  # fmt: skip
def test_a_fault_that_can_fire_with_no_file_is_a_mistake_with_its_place(text, why, tmp_path):
    problems = problems_of(DELIVERY + f"faults = ['latency 1', '{text}']", tmp_path)
    assert len(problems) == 1
    assert problems[0].startswith("delivery.faults[1]: ")
    assert why in problems[0]


@pytest.mark.parametrize("text", [
    "tls expired", "stall 16000000", "reset last 100000", "chunked 1", "zero 5% bytes=100000",
    f"other path={__file__}", "random seed=7", "status 503 from go", "unreachable silent",
    "ranges shifted", "drop_header x-MD5 with header Range",
])  # fmt: skip
def test_a_fault_that_can_fire_with_some_file_is_none(text, tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(DELIVERY + f"https = true\nfaults = ['{text}']")
    assert load(path).delivery.faults == [text]


def test_a_fault_that_cannot_be_read_is_told_with_its_place(tmp_path):
    problems = problems_of(DELIVERY + 'faults = ["latency 1", "stal 0"]', tmp_path)
    assert problems[0].startswith("delivery.faults[1]: ")


GOOD = """
[rig]
name = "lab"

[metrics]
"queue length" = { regex = "queue=(\\\\d+)" }
"free heap" = { regex = "mem: (\\\\d+)", unit = "B" }

[[board]]
name = "a"
chip = "esp32"
port = "/dev/ttyUSB0"
elf = "build/app.elf"
metrics = { temperature = { regex = "t=(-?\\\\d+)", unit = "C" } }
"""


def test_metrics_of_ones_own_hold_for_the_rig_or_for_a_board(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(GOOD)
    config = load(path)
    assert config.metrics["queue length"].unit == ""
    assert config.board[0].metrics["temperature"].regex == r"t=(-?\d+)"
    assert config.board[0].elf == "build/app.elf"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('x = { regex = "(" }', "metrics.x.regex: is no regular expression: "),
        ('x = { regex = "heap" }', "metrics.x.regex: expected one group, which holds the number; "
         "it has 0"),
        ('x = { regex = "(a)(b)" }', "metrics.x.regex: expected one group"),
        ('x = { unit = "B" }', "metrics.x.regex: is missing"),
        ('x = { regex = "(1)", units = "B" }', "metrics.x.units: unknown key; did you mean 'unit'"),
        ('x = { regex = "(1)", unit = "bytes per s" }', "metrics.x.unit: expected a unit"),
        ('"Free Heap" = { regex = "(1)" }', "metrics: expected a name of small letters"),
        ('"boot time" = { regex = "(1)" }', "metrics.boot time: is worked out from other evidence"),
        ('temperature = { regex = "(1)" }', "board[0].metrics.temperature: has the name of one in "
         "[metrics]"),
    ],
)  # fmt: skip
def test_a_wrong_metric_is_refused_with_its_path(tmp_path, table, problem):
    begin, end = GOOD.index('"queue'), GOOD.index("[[board]]")
    problems = problems_of(GOOD[:begin] + table + "\n\n" + GOOD[end:], tmp_path)
    assert len(problems) == 1
    assert problem in problems[0]


def test_mistakes_in_metrics_of_a_board_are_told_with_the_board(tmp_path):
    problems = problems_of(GOOD.replace('"t=(-?\\\\d+)"', '"t="'), tmp_path)
    assert problems[0].startswith("board[0].metrics.temperature.regex: expected one group")


@pytest.mark.parametrize(("section", "key"), [
    ("[rig]\nname = 'lab'\nspeed = {}", "rig.speed"),
    ("[delivery]\nexpires = {}", "delivery.expires"),
    ("[cloud]\nping_s = {}", "cloud.ping_s"),
    ("[cloud]\nflood_per_s = {}", "cloud.flood_per_s"),
    ("[network]\ndns_port = {}", "network.dns_port"),
])  # fmt: skip
@pytest.mark.parametrize("value", ["true", "'20'"])
def test_what_only_looks_like_a_number_is_a_mistake(section, key, value, tmp_path):
    rig = "" if section.startswith("[rig]") else "[rig]\nname = 'lab'\n"
    board = "\n[[board]]\nname = 'a'\nchip = 'esp32'\nport = 'virtual'\n"
    problems = problems_of(rig + section.format(value) + board, tmp_path)
    assert [problem.split(":")[0] for problem in problems] == [key]


def test_a_fault_of_a_board_that_the_rig_has_not_is_a_mistake(tmp_path):
    board = "[rig]\nname = 'lab'\n[[board]]\nname = 'c3-a'\nchip = 'esp32c3'\nport = 'virtual'\n"
    faults = "[delivery]\nfaults = ['status 503 on board c3-a', 'stall 0 on board c3-b']\n"
    assert problems_of(board + faults, tmp_path) == (
        "delivery.faults[1]: no board 'c3-b'; the rig has c3-a; did you mean 'c3-a'?",
    )


def test_what_stands_in_place_of_a_section_is_told_without_words_of_python(tmp_path):
    board = "[rig]\nname = 'lab'\n[[board]]\nname = 'c3-a'\nchip = 'esp32c3'\nport = 'virtual'\n"
    assert problems_of("delivery = 5\n" + board, tmp_path) == ("delivery: expected a table, got 5",)


@pytest.mark.parametrize(
    ("port", "address", "problem"),
    [
        ("/dev/ttyUSB0", "lab.local", "board[0].address: expected an IP address as"),
        ("/dev/ttyUSB0", 7, "board[0].address"),
        ("virtual", "10.0.0.1", "board[0].address: a virtual board has one that its rack chooses"),
    ],
)
def test_what_no_address_of_a_board_can_be_is_a_mistake(port, address, problem):
    board = {"name": "a", "chip": "esp32", "port": port, "address": address}
    with pytest.raises(ConfigError) as caught:
        check({"rig": {"name": "x"}, "board": [board]}, "x")
    (found,) = caught.value.problems
    assert found.startswith(problem)


def test_two_boards_do_not_have_one_address():
    rows = [
        {"name": name, "chip": "esp32", "port": f"/dev/{name}", "address": address}
        for name, address in (("a", "fd00::7"), ("b", "fd00:0::7"))
    ]
    with pytest.raises(ConfigError, match="two boards have the address fd00::7"):
        check({"rig": {"name": "x"}, "board": rows}, "x")
