"""Secrets are replaced before they are written."""

import pytest

from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Timeline

TOKEN = "0123456789abcdef0123456789abcdef"


def test_a_known_secret_is_replaced_wherever_it_stands(tmp_path):
    redactor = Redactor()
    redactor.learn(TOKEN, "token of a")
    path = tmp_path / "events.jsonl"
    timeline = Timeline(redactor=redactor, path=path)
    timeline.add("uart", "line", text=f"auth {TOKEN}!", nested={"deep": [TOKEN]}, **{TOKEN: 1})
    timeline.close()
    assert TOKEN not in path.read_text()
    assert timeline.events()[0].data["text"] == "auth [token of a]!"


@pytest.mark.parametrize(
    "text",
    [
        f"GET http://h/f/x.bin?token={TOKEN}&s=0",
        f"Authorization: Bearer {TOKEN}",
        f"connect {TOKEN} ssid",
        f"/config?ssid=x&pass={TOKEN}&blynk=y",
    ],
)
def test_what_looks_like_a_secret_is_replaced(text):
    assert TOKEN not in Redactor().text(text)


def test_the_rest_of_a_url_stays_readable():
    assert (
        Redactor().text("http://h/f/x.bin?token=abc&s=0")
        == "http://h/f/x.bin?token=[url token]&s=0"
    )


def test_redacting_twice_changes_nothing():
    redactor = Redactor()
    once = redactor.text(f"?token={TOKEN}")
    assert redactor.text(once) == once


def test_a_secret_inside_a_longer_one_leaves_nothing_of_it():
    redactor = Redactor()
    redactor.learn("secret", "short")
    redactor.learn("secretive", "long")
    assert redactor.text("secretive") == "[long]"


def test_a_value_too_short_to_redact_is_refused():
    with pytest.raises(ValueError, match="3 characters"):
        Redactor().learn("abc", "pin")
