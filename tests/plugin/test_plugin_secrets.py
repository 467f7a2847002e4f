"""No secret of a rig stands in any file of a run, nor in the JUnit file."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

from pytest_blynk_ota.rig.shipped import folder

PASSPHRASE = 'käse "50 % + 1/2" \\ \'<&>:'
TOKENS = {
    "edgent-old": "ao%2F+/=&?'\"<>\\{}[]:;,.~01234567",
    "edgent-new": 'an/+%20token=&"quoted"\'012345678',
    "sketch": "sk+/%25\"'\\abcdefghijklmnopqrstuvw",
    "mqtt-idf": "mq+/%25:@\"'abcdefghijklmnopqrstuv",
    "reference": "re+/%25:@\"'\\abcdefghijklmnopqrstu",
}
CONFTEST = f"""
from pytest_blynk_ota.rig import rack

rack.VIRTUAL_WIFI = "lab:" + {PASSPHRASE!r}
"""
TEST = """
import base64
from urllib.parse import quote

import pytest

BOARDS = ["edgent-old", "edgent-new", "sketch", "mqtt-idf", "reference"]


def says_its_secrets(rig, place):
    for secret in (place.token, place.passphrase):
        known = base64.b64encode(b"device:" + secret.encode())
        for text in (secret, quote(secret, safe=""), known):
            rig.recorder("uart", "line", place.name, text=f"it says {text} so")


@pytest.mark.finding("secret in the log")
@pytest.mark.parametrize("_blynk_ota_place", BOARDS, indirect=True)
def test_it(ota, rig, _blynk_ota_place):
    says_its_secrets(rig, _blynk_ota_place)
    assert str(ota.ship().outcome) == "UPGRADED"
    shown = _blynk_ota_place
    assert shown is None
"""


def in_each_form(secret: str) -> set[bytes]:
    raw = secret.encode()
    shifted = {base64.b64encode(b"device:"[: 6 + n] + raw)[8:-4] for n in range(2)}
    texts = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), raw.hex()}
    texts |= {
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    return {one.encode() for one in texts} | {base64.b64encode(raw).rstrip(b"=")} | shifted


def test_no_secret_of_any_profile_stands_in_a_file_of_the_run(pytester, run_folder, monkeypatch):
    text = (folder("rigs") / "profiles.toml").read_text().replace("speed = 20", "speed = 60")
    for number, (board, token) in enumerate(TOKENS.items()):
        token = TOKENS[board] = (token + 32 * "0")[:32]
        monkeypatch.setenv(f"TOKEN_{number}", token)
        assert f'"{board}"\nchip' in text
        text = text.replace(f'"{board}"\nchip', f'"{board}"\ntoken = "env:TOKEN_{number}"\nchip', 1)
    (pytester.path / "rig.toml").write_text(text)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=TEST)
    result = pytester.runpytest_subprocess("--rig=rig.toml", "--junitxml=junit.xml", "-l", "-vv")
    result.assert_outcomes(failed=len(TOKENS))
    result.stdout.fnmatch_lines(["*assert Place(*is None*"])
    files = [path for path in run_folder().rglob("*") if path.is_file()]
    assert sum(path.name == "events.jsonl" for path in files) == len(TOKENS)
    assert sum(path.read_bytes().count(b"[token of ") for path in files) >= len(TOKENS)
    texts = {path: path.read_bytes() for path in files}
    junit = (pytester.path / "junit.xml").read_text(encoding="utf-8")
    texts[pytester.path / "junit.xml"] = html.unescape(junit).encode()
    for secret in (*TOKENS.values(), PASSPHRASE):
        for form in in_each_form(secret):
            for path, text in texts.items():
                assert form not in text, f"{form!r} stands in {path}"
