"""What a run says: failures explained, findings, properties, run.json, skips; and no secrets."""

import hashlib
import json
from pathlib import Path

import pytest

from pytest_blynk_ota.evidence.results import result_of
from pytest_blynk_ota.firmware import behaviour, image

TESTS = """
import pytest
from pytest_blynk_ota import AirStatus, Outcome, faults

ONCE = {"when": "after_report", "how": "panic", "times": 1}  # New crashes once and goes on


def test_wrong(ota):
    result = ota.offer(faults=[faults.status(404)])
    assert result.outcome is Outcome.UPGRADED


def test_unexpected_finding(ota, firmware):
    assert ota.ship(firmware.behaving(crash=ONCE)).outcome is Outcome.UPGRADED


@pytest.mark.finding("crash")
def test_expected_finding(ota, firmware):
    assert ota.ship(firmware.behaving(crash=ONCE)).outcome is Outcome.UPGRADED


@pytest.mark.requires("power")
def test_without_power(cloud):
    raise AssertionError("skipped before this")


def test_power_itself(power):
    raise AssertionError("skipped before this")


@pytest.mark.requires("rollback")
def test_without_rollback(firmware):
    raise AssertionError("skipped before this")


def test_wrong_request(ota, firmware):
    ota.ship(firmware.old)


@pytest.mark.finding("secret in the log")  # the console echoes what is typed
def test_secrets(rig, board, ota, pytestconfig):
    place = rig.place(board.name)
    assert len(place.token) == 32 and len(place.passphrase) >= 8
    (pytestconfig.rootpath / f"secrets-{place.token}").write_text(place.passphrase)
    rig.recorder("test", "action", board.name, what=f"{place.token} {place.passphrase}")
    board.console.write(f"say {place.token} ssid={place.ssid} pass={place.passphrase}\\r\\n")
    result = ota.offer()
    assert result.outcome == Outcome.UPGRADED


def test_no_rig():
    pass
"""
RIG = """
[rig]
name  = "poor"
speed = 20
[[board]]
name      = "c3-a"
chip      = "esp32c3"
port      = "virtual"
provision = { kind = "edgent-nvs" }
bootloader = { rollback = false }
"""


@pytest.fixture
def poor_rig(pytester):
    """A rig of one board without power and without rollback."""
    path = pytester.path / "poor.toml"
    path.write_text(RIG)
    return f"--rig={path}"


@pytest.mark.parametrize(
    "workers",
    [pytest.param([], id="alone"), pytest.param(["-n2"], id="xdist", marks=pytest.mark.nightly)],
)
def test_a_run_tells_what_happened(pytester, poor_rig, run_folder, run_json, junit, workers):
    pytester.makepyfile(test_it=TESTS)
    arguments = [poor_rig, "--junitxml=junit.xml", "-rsf", *workers]
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)
    output = done.stdout.str()

    done.assert_outcomes(failed=3, passed=3, skipped=3)
    explains_the_failure(done, output)
    fails_for_the_finding(output)
    for reason in (
        "board c3-a has no power outlet in the rig file",
        "the bootloader of board c3-a has no rollback, says the rig file",
    ):
        assert reason in output

    data = run_json()
    assert data["counts"] == {"firmware": 2, "error": 1, "passed": 2, "skipped": 3}
    assert (data["complete"], data["result"]) == (True, "firmware")
    assert data["rig"] == "poor"
    assert data["rig_kind"] == "virtual"
    rig_file = Path(data["rig_file"]).read_bytes()
    assert data["rig_file_sha256"] == hashlib.sha256(rig_file).hexdigest()
    assert data["command"][1:] == ["-p", "no:cacheprovider", *arguments] or (
        data["command"][-len(arguments) :] == arguments
    )
    assert {"python", "pytest", "esptool", "pytest-blynk-ota"} <= set(data["tools"])
    assert "2 firmware" in output

    tells_by_properties(data, junit(), run_folder())
    keeps_secrets(pytester, run_folder())


def explains_the_failure(done, output: str) -> None:
    assert "expected UPGRADED, got DOWNLOAD_FAILED" in output
    done.stdout.fnmatch_lines(
        [
            "*expected UPGRADED, got DOWNLOAD_FAILED",
            "*because *",
            "*evidence: *test_it.py.test_wrong*",
            "*- operation 1 -*",
            "DOWNLOAD_FAILED*",
            "*download 1 (o1): refused, HTTP 404*",
            "last lines of the log:",
            "    *",
            "evidence: *",
        ]
    )


def fails_for_the_finding(output: str) -> None:
    assert "the test passed, but there is an error finding: crash: " in output
    assert "@pytest.mark.finding('crash')" in output
    assert "FAILED test_it.py::test_unexpected_finding" in output


def tells_by_properties(data, cases, folder) -> None:
    rows, tags = cases["test_wrong"]
    told = dict(rows)
    assert "failure" in tags
    assert told["blynk_ota_rig"] == "poor"
    assert told["blynk_ota_rig_kind"] == "virtual"
    assert told["blynk_ota_board"] == "c3-a"
    for name in ("old", "new"):
        assert told[f"blynk_ota_{name}_sha256"] == data["firmware"]["c3-a"][name]["sha256"]
        assert told[f"blynk_ota_{name}_version"] == data["firmware"]["c3-a"][name]["version"]
    assert told["blynk_ota_outcome"] == "DOWNLOAD_FAILED"
    assert told["blynk_ota_reason"]
    verdict = json.loads((folder / told["blynk_ota_evidence"] / "verdict.json").read_text())
    assert verdict["verdicts"][0]["outcome"] == "DOWNLOAD_FAILED"
    assert dict(cases["test_expected_finding"][0])["blynk_ota_outcome"] == "UPGRADED"
    assert cases["test_no_rig"] == ([], [])


def keeps_secrets(pytester, folder) -> None:
    (told,) = pytester.path.glob("secrets-*")
    secrets = [told.name.removeprefix("secrets-"), told.read_text()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    evidence = "".join(path.read_text() for path in files if path.name == "events.jsonl")
    assert "[token of c3-a] [Wi-Fi passphrase]" in evidence
    assert "?token=[url token]" in evidence
    for path in files:
        content = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, path


def test_an_own_firmware_skips_what_it_cannot_do(pytester, images, run_json):
    """An image without a behaviour segment is a user's own: it cannot be told to misbehave."""
    ours = images["old"].read_bytes()
    foreign = image.mend(ours.replace(behaviour.MAGIC, b"FOREIGN!"))
    assert image.parse(foreign).behaviour is None
    images["old"].write_bytes(foreign)
    pytester.makepyfile(
        "import pytest\n@pytest.mark.requires('fixture-firmware')\n"
        "def test_it(firmware): raise AssertionError\n"
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--old=old.bin", "-rs")
    done.assert_outcomes(skipped=1)
    assert "--old is your own" in done.stdout.str()
    data = run_json()
    assert data["firmware"]["c3-a"]["old"] == {
        "path": str(images["old"]),
        "version": "1.0.0",
        "build": data["firmware"]["c3-a"]["old"]["build"],
        "sha256": hashlib.sha256(images["old"].read_bytes()).hexdigest(),
    }
    assert (data["complete"], data["result"], data["counts"]) == (True, "ok", {"skipped": 1})


def test_an_own_firmware_on_a_virtual_board_is_told_why_not(pytester, images, run_json):
    ours = images["old"].read_bytes()
    images["old"].write_bytes(image.mend(ours.replace(behaviour.MAGIC, b"FOREIGN!")))
    pytester.makepyfile("def test_it(ota): pass\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--old=old.bin")
    done.assert_outcomes(errors=1)
    assert "firmware of your own needs a rig with a real board" in done.stdout.str()
    assert run_json()["counts"] == {"error": 1}


@pytest.mark.parametrize(
    "call",
    [
        'ship("new.bin")',
        *(
            pytest.param(one, marks=pytest.mark.nightly)
            for one in ('ship(faults="stall")', "ship(download_limit='3')", "ship(limit=3)")
        ),
    ],
)
def test_a_call_that_is_written_wrongly_is_not_the_firmwares_failure(pytester, run_json, call):
    pytester.makepyfile(f"def test_it(ota): ota.{call}\n")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(failed=1)
    assert run_json()["counts"] == {"error": 1}


REFUSED = """
import pytest

from pytest_blynk_ota import Outcome, UsageError


def test_inside_another(ota):
    with ota.shipping() as shipment, pytest.raises(UsageError, match="under way"):
        ota.ship()
    assert shipment.result.outcome is Outcome.UPGRADED


def test_never_entered(ota):
    ota.shipping()
    assert ota.ship().outcome is Outcome.UPGRADED
"""


def test_an_operation_that_never_begins_leaves_the_others_their_verdicts(pytester, run_json):
    pytester.makepyfile(REFUSED)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
    assert run_json()["counts"] == {"passed": 2}


@pytest.mark.nightly
def test_a_second_run_in_a_named_folder_replaces_the_first(pytester):
    for name in ("first", "second"):
        for old in pytester.path.glob("test_*.py"):
            old.unlink()
        pytester.makepyfile(**{f"test_{name}": "def test_it(firmware): pass\n"})
        (pytester.path / "kept").mkdir(exist_ok=True)
        (pytester.path / "kept" / "notes.txt").write_text("mine")
        pytester.runpytest_subprocess("-p", "no:cacheprovider", "--evidence=kept")
    (only,) = (pytester.path / "kept" / "tests").iterdir()
    assert "second" in only.name
    assert (pytester.path / "kept" / "notes.txt").read_text() == "mine"


def test_a_run_that_stops_at_its_first_failure_is_not_complete(pytester, run_json):
    pytester.makepyfile(
        "def test_1(firmware): assert firmware.old.version == '9'\ndef test_2(firmware): pass\n"
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-x").assert_outcomes(failed=1)
    data = run_json()
    assert (data["complete"], data["result"], data["counts"]) == (
        False,
        "firmware",
        {"firmware": 1},
    )


@pytest.mark.parametrize(
    ("counts", "complete", "result"),
    [
        ({}, True, "incomplete"),
        ({"passed": 3, "skipped": 1}, True, "ok"),
        ({"passed": 3}, False, "incomplete"),
        ({"passed": 3, "error": 1}, True, "incomplete"),
        ({"passed": 3, "rig": 1}, True, "rig"),
        ({"rig": 1, "firmware": 1}, False, "firmware"),
    ],
)
def test_a_firmware_failure_outweighs_a_rack_error_and_both_a_stopped_run(counts, complete, result):
    assert result_of(counts, complete) == result
