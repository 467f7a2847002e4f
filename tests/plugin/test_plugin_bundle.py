"""The folder of a run: its results, what a kill leaves, and that no secret is in any file."""

import base64
import json
import os
import signal
from urllib.parse import quote

import pytest

from pytest_blynk_ota.evidence.run import read_run

TOKEN = "-Ab_0123456789abcdefABCDEF_-x9z-"
SECRETS = """
import base64
from urllib.parse import quote
import pytest

TOKEN = "-Ab_0123456789abcdefABCDEF_-x9z-"
PASSPHRASE = 'p@ss w/o"rd\\\\+%&=1'


@pytest.mark.finding("secret in the log")
@pytest.mark.parametrize("value", [TOKEN])
def test_leaks(rig, board, ota, value):
    rig.recorder.timeline._redactor.learn(PASSPHRASE, "passphrase of lab")
    assert rig.place(board.name).token == TOKEN
    told = []
    for secret in (TOKEN, PASSPHRASE):
        told += [secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()]
        told.append(base64.b64encode(f"device:{secret}".encode()).decode())
    for text in told:
        print("printed", text)
        rig.recorder("test", "action", board.name, what=text, headers={"Authorization": text})
        board.console.write(f"say {text}\\r\\n")
    ota.offer()
    raise AssertionError("failed over " + " ".join(told))


def test_skips(rig, board):
    pytest.skip(f"no {TOKEN}")
"""
RIG = """
[rig]
name  = "leaky"
speed = 20
[[board]]
name      = "c3-a"
chip      = "esp32c3"
port      = "virtual"
token     = "env:OUR_TOKEN"
provision = { kind = "edgent-nvs" }
"""


def test_no_file_of_a_run_holds_a_secret_in_any_form(pytester, monkeypatch, run_folder):
    monkeypatch.setenv("OUR_TOKEN", TOKEN)
    (pytester.path / "leaky.toml").write_text(RIG)
    pytester.makepyfile(test_it=SECRETS)
    done = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--rig=leaky.toml", f"--deselect=none?token={TOKEN}"
    )
    done.assert_outcomes(failed=1, skipped=1)
    run = read_run(run_folder())
    assert not run.marks
    assert [test.word for test in run.tests] == ["firmware", "skipped"]
    texts = [run.tests[0].result.text, run.tests[1].message, json.dumps(run.data["command"])]
    for text in texts:
        assert "[token of c3-a]" in text
    assert "[passphrase of lab]" in texts[0]
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert {"run.json", "results.jsonl", "manifest.json", "serial.log"} <= {f.name for f in files}
    for secret in (TOKEN, 'p@ss w/o"rd\\+%&=1'):
        told = [secret, quote(secret, safe=""), json.dumps(secret)[1:-1]]
        told += [
            base64.b64encode(text + secret.encode()).decode()[4:-4] for text in (b"", b"device:")
        ]
        for path in files:
            content = path.read_bytes()
            found = [form for form in told if form.encode() in content]
            assert not found, (path, found)
            assert secret not in path.name


DIES = """
import os
import pytest

@pytest.fixture
def dying():
    os._exit(9)

@pytest.mark.parametrize("value", ["http://x/?token=abcdef"])
def test_in_its_call(firmware, value):
    os._exit(9)

@pytest.mark.parametrize("value", ["{token}"])
def test_in_its_setup(dying, firmware, value):
    pass
"""


def test_of_a_worker_that_died_no_secret_stands_in_the_results(pytester, monkeypatch, run_folder):
    monkeypatch.setenv("OUR_TOKEN", TOKEN)
    (pytester.path / "leaky.toml").write_text(RIG)
    (pytester.path / "pytest.ini").write_text("[pytest]\nrig = leaky.toml\n")
    pytester.makepyfile(test_it=DIES.replace("{token}", TOKEN))
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n1")
    run = read_run(run_folder())
    assert [test.word for test in run.tests] == ["error", "error"]
    texts = [test.result.text for test in run.tests]
    assert all("crashed while running" in text for text in texts)
    assert ["[url token]" in texts[0], "[token of c3-a]" in texts[1]] == [True, True]
    results = (run.folder / "results.jsonl").read_text()
    assert TOKEN not in results
    assert "abcdef" not in results


TWO = """
import pytest

@pytest.mark.parametrize("n", range(3))
def test_quick(ota, n):
    assert n != 1, "one is wrong"
"""


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["alone", "xdist"])
def test_each_test_has_a_line_and_the_manifest_fits(pytester, run_folder, workers):
    pytester.makepyfile(test_it=TWO)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", *workers)
    run = read_run(run_folder())
    assert not run.marks
    assert run.complete
    assert sorted(test.id for test in run.tests) == [
        f"test_it.py::test_quick[{n}]" for n in range(3)
    ]
    assert run.words == {"firmware": 1, "passed": 2}
    (failed,) = [test for test in run.tests if test.word == "firmware"]
    assert "one is wrong" in failed.message
    assert failed.folder is not None
    assert failed.result.boards
    assert {test.result.worker for test in run.tests} <= ({"gw0", "gw1"} if workers else {None})
    assert "test_quick[1]" in failed.result.rerun


SLOW_SECOND = """
import time

def test_first(ota):
    pass

def test_second(ota, rig):
    rig.recorder("test", "action", what="begun")
    time.sleep(300)
"""


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "xdist"])
def test_a_killed_run_keeps_its_results_and_names_the_test_that_ran(background, workers):
    run = background(SLOW_SECOND, *workers)
    run.wait_for("test", "action")
    for pid in [run.process.pid, *run.children]:
        os.kill(pid, signal.SIGKILL)
    run.process.wait(20)
    (folder,) = run.folder.glob(".blynk-ota/runs/*")
    stored = read_run(folder)
    assert (stored.complete, stored.killed) == (False, True)
    assert [(test.id, test.word, test.running) for test in stored.tests] == [
        ("test_it.py::test_first", "passed", False),
        ("test_it.py::test_second", None, True),
    ]
    assert any("did not come to its end" in mark.text for mark in stored.marks)
    assert any("running when the run was cut short" in mark.text for mark in stored.marks)
