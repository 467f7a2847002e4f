"""The page on verifying, word for word: its commands are run as they stand there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attest_bench import Bench, reseal, sha256, write_private

from pytest_blynk_ota.cli.gate_keys import public_key

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "verify-an-attestation.md"
GOOD = "Signature Verified Successfully"


def _missing() -> str:
    """Why OpenSSL cannot be used here; "" if it can."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return "there is no openssl here"
    done = subprocess.run([openssl, "version"], capture_output=True, text=True, check=False)
    found = re.match(r"OpenSSL (\d+)\.", done.stdout)
    if found is None or int(found[1]) < 3:
        return f"OpenSSL 3.0 or newer is needed, here is {done.stdout.strip()}"
    return ""


MISSING = _missing()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def commands(heading):
    """The blocks of commands under a heading of the page, each a script."""
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.M)
    blocks = re.findall(r"^```console\n(.*?)^```", section[1], re.DOTALL | re.M)
    found = [re.findall(r"^\$ (.*)$", block, re.M) for block in blocks]
    assert all(found)
    return ["\n".join(lines) for lines in found]


def bash(script, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bench(tmp_path):
    """A release, signed with a key made as the page says."""
    made = Bench(tmp_path)
    made.private.unlink()
    made.public.unlink()
    (make,) = commands("Make a key")
    done = bash(make, tmp_path)
    assert done.returncode == 0, done.stderr
    made.keyid = done.stdout.split()[0]
    made.sign()
    return made


def test_a_key_made_as_the_page_says_signs_and_has_the_id_that_openssl_prints(bench):
    assert public_key(bench.public).keyid == bench.keyid
    line = json.loads(bench.envelope.read_bytes().splitlines()[0])
    assert line["signatures"][0]["keyid"] == bench.keyid


def test_the_page_s_command_verifies_it(bench):
    (verify,) = commands("Verify with blynk-ota")
    done = bash(verify, bench.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the gate let it pass" in done.stdout


def test_openssl_alone_verifies_each_line_and_shows_what_to_compare(bench):
    verify, compare, result = commands("Verify with OpenSSL alone")
    for line in (1, 2):
        done = bash(re.sub("LINE=2", f"LINE={line}", verify), bench.root)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == GOOD
    seen = bash(compare, bench.root).stdout
    assert seen.count(sha256(bench.image.read_bytes())) == 2
    assert seen.count(sha256(bench.policy.read_bytes())) == 2
    seen += bash(result, bench.root).stdout
    assert seen.count(sha256((bench.root / "statement.json").read_bytes())) == 2
    assert seen.count(sha256((bench.run / "manifest.json").read_bytes())) == 2


def test_openssl_alone_refuses_a_changed_payload_and_another_key(bench):
    verify = commands("Verify with OpenSSL alone")[0]
    good = bench.envelope.read_text()
    payload = json.loads(good.splitlines()[1])["payload"]
    bench.envelope.write_text(good.replace(payload, payload[:40] + "A" + payload[41:]))
    assert bench.envelope.read_text() != good
    done = bash(verify, bench.root)
    assert done.returncode != 0
    assert GOOD not in done.stdout
    bench.envelope.write_text(good)
    assert bash(verify, bench.root).returncode == 0
    bash(commands("Make a key")[0], bench.root)
    assert bash(verify, bench.root).returncode != 0


def test_a_statement_of_a_megabyte_is_verified_by_openssl(bench):
    results = bench.run / "results.jsonl"
    row = json.loads(results.read_text().splitlines()[0])
    rows = [row | {"id": f"test_it.py::test_{at:0100d}", "folder": None} for at in range(8000)]
    text = "".join(json.dumps(one) + "\n" for one in rows)
    results.write_text(results.read_text() + text)
    reseal(bench.run)
    bench.sign()
    assert bench.envelope.stat().st_size > 1_000_000
    script = commands("Verify with OpenSSL alone")[0].replace("LINE=2", "LINE=1")
    assert bash(script, bench.root).stdout.strip() == GOOD


def test_a_key_that_openssl_has_locked_is_opened_by_its_passphrase(bench, monkeypatch):
    locked = bash("openssl genpkey -algorithm ed25519 -aes256 -pass pass:sesame", bench.root)
    write_private(bench.private, locked.stdout.encode())
    monkeypatch.setenv("BLYNK_OTA_SIGNING_PASSPHRASE", "sesame")
    bench.sign()
    public = bash("openssl pkey -in release.pem -passin pass:sesame -pubout", bench.root)
    bench.public.write_text(public.stdout)
    assert bench.verify_all().exit_code == 0
