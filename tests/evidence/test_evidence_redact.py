"""Secrets are replaced before they are written."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

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


SECRETS = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=8, max_size=63
)


def in_base64(secret, user=""):
    return base64.b64encode(f"{user}{secret}".encode()).decode()


def lower(quoted):
    """Escapes of a URL in lower case; their letters are the only upper-case hex after a %."""
    parts = quoted.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


FORMS = {
    "raw": str,
    "URL": lambda s: quote(s, safe=""),
    "path": quote,
    "form": quote_plus,
    "URL, lower case": lambda s: lower(quote(s, safe="")),
    "URL in a URL": lambda s: quote(quote(s, safe=""), safe=""),
    "JSON": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "JSON, ASCII": lambda s: json.dumps(s)[1:-1],
    "JSON in JSON": lambda s: json.dumps(json.dumps(s))[1:-1][2:-2],
    "Python": lambda s: repr(s)[1:-1],
    "Python bytes": lambda s: repr(s.encode())[2:-1],
    "HTML": html.escape,
    "hex": lambda s: s.encode().hex(),
    "hex dump": lambda s: s.encode().hex(" ").upper(),
    "base64": lambda s: in_base64(s).rstrip("="),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(s.encode()).decode().rstrip("="),
}


def knowing(*secrets):
    redactor = Redactor()
    for number, secret in enumerate(secrets):
        redactor.learn(secret, f"secret {number}")
    return redactor


@given(
    SECRETS,
    st.lists(SECRETS, max_size=3),
    st.sampled_from(sorted(FORMS)),
    st.text("ab=&?:%\"' []", max_size=9),
    st.text("ab=&?:%\"' []", max_size=9),
)
def test_no_known_value_survives_in_any_form_and_twice_is_once(secret, others, form, before, after):
    redactor = knowing(secret, *others)
    written = FORMS[form](secret)
    assume(not any(written in f"[secret {number}]" for number in range(9)))
    once = redactor.text(before + written + after)
    assert written not in once
    assert redactor.text(once) == once
    assert redactor.line(redactor.line(once)) == redactor.line(once)


@given(SECRETS, st.text(min_size=1, max_size=9).filter(lambda s: s.isalnum()))
def test_user_and_password_in_base64_leave_no_letter_of_the_password(secret, user):
    written = in_base64(secret, f"{user}:")
    first = -(-len(f"{user}:".encode()) * 8 // 6)
    whole = len(f"{user}:{secret}".encode()) * 8 // 6
    left = knowing(secret).text(f"<{written}>")
    assert written[first:whole] not in left
    assert "[secret 0]" in left


@given(
    st.lists(SECRETS, max_size=3),
    st.lists(st.sampled_from(["wifi:", "connected", "to", "lab,", "rssi", "-61", "12"])),
)
def test_text_without_secrets_stays_as_it_is(secrets, words):
    text = " ".join(words)
    assert knowing(*secrets).line(text) == text


@pytest.mark.parametrize("at", range(len(TOKEN) + 1))
def test_of_a_secret_cut_over_two_lines_at_most_the_shorter_half_stays(at):
    redactor = knowing(TOKEN)
    first, second = redactor.line(f"auth {TOKEN[:at]}"), redactor.line(f"{TOKEN[at:]} ok")
    shown = max(at if TOKEN[:at] in first else 0, len(TOKEN) - at if TOKEN[at:] in second else 0)
    assert shown < len(TOKEN) / 2
    assert first.startswith("auth ")
    assert second.endswith(" ok")


def test_a_cut_secret_is_not_written_as_a_line(tmp_path):
    timeline = Timeline(redactor=knowing(TOKEN), path=tmp_path / "events.jsonl")
    timeline.add("uart", "line", text=f"auth {TOKEN[:20]}")
    timeline.close()
    assert TOKEN[:20] not in (tmp_path / "events.jsonl").read_text()


@pytest.mark.parametrize(
    "data",
    [
        {"headers": {"Authorization": "Basic dXNlcjpodXNo"}},
        {"headers": [["Set-Cookie", "sid=dXNlcjpodXNo; Path=/"]]},
        {"headers": [("cookie", "dXNlcjpodXNo")]},
        {"text": '{"authorization": "Bearer dXNlcjpodXNo"}'},
        {"text": "Cookie: a=1; sid=dXNlcjpodXNo"},
        {"text": "proxy-authorization: dXNlcjpodXNo"},
        {"url": "mqtt://device:dXNlcjpodXNo@host:1883"},
        {"url": "http://h/go?to=http%3A%2F%2Fh%2Ff%3Ftoken%3DdXNlcjpodXNo%26a%3D1"},
        {"password": "dXNlcjpodXNo"},
        {"text": "password=dXNlcjpodXNo"},
    ],
)
def test_what_stands_where_a_secret_stands_is_replaced(data):
    redactor = Redactor()
    once = redactor.clean(data)
    assert "dXNlcjpodXNo" not in str(once)
    assert redactor.clean(once) == once


def test_a_known_secret_in_memory_is_masked_in_each_form_and_length_stays():
    memory = b"\0" + TOKEN.encode() + b"\xff" + in_base64(TOKEN, "device:").encode() + b"\0"
    clean = knowing(TOKEN).masked(memory)
    assert len(clean) == len(memory)
    assert TOKEN.encode() not in clean
    assert b"xxxx" in clean.split(b"\xff")[1]
