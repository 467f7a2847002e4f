"""Secrets are replaced in each form in which programs write them, and at little cost."""

import base64
import hashlib
import json
import re
import timeit
from itertools import zip_longest
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_blynk_ota.evidence.redact import Redactor

TOKEN = "0123456789abcdef0123456789abcdef"
UNUSUAL = 'p@ss w/ö"rd\\+%&=1'


def forms(value):
    data = value.encode()
    return {
        "raw": value,
        "url": quote(value, safe=""),
        "form": quote_plus(value),
        "lower url": re.sub("%..", lambda found: found[0].lower(), quote(value, safe="")),
        "json": json.dumps(value)[1:-1],
        "json utf-8": json.dumps(value, ensure_ascii=False)[1:-1],
        "base64": base64.b64encode(data).decode(),
        "basic": base64.b64encode(b"device:" + data).decode(),
        "url-safe base64": base64.urlsafe_b64encode(b"a:" + data).decode(),
    }


@pytest.mark.parametrize("form", forms(UNUSUAL))
def test_a_known_secret_is_replaced_in_each_form_that_programs_write(form):
    redactor = Redactor()
    redactor.learn(UNUSUAL, "passphrase of lab")
    written = forms(UNUSUAL)[form]
    clean = redactor.text(f"before {written} behind")
    assert "[passphrase of lab]" in clean
    assert written[len(written) // 2 :].rstrip("=")[:-2] not in clean


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Basic {TOKEN}",
        f'{{"authorization": "Bearer {TOKEN}"}}',
        f'["Authorization", "Bearer {TOKEN}"]',
        f"Set-Cookie: session={TOKEN}; Path=/",
        f"cookie: session={TOKEN}",
        f"mqtt://device:{TOKEN}@blynk.cloud:8883",
        f'{{"password": "{TOKEN}"}}',
        f"next=%3Ftoken%3D{TOKEN}%26x",
        f"?token=[{TOKEN}",
    ],
)
def test_what_looks_like_a_secret_in_a_header_or_a_url_is_replaced(text):
    assert TOKEN not in Redactor().text(text)


VALUES = st.lists(
    st.text(st.sampled_from('ab1[]%+ =sectr█:&\\"ö'), min_size=4, max_size=9), max_size=4
)


@given(VALUES, st.lists(st.text(max_size=6), min_size=5, max_size=5))
def test_no_known_value_survives_and_twice_is_once(values, between):
    redactor = Redactor()
    for number, value in enumerate(values):
        redactor.learn(value, f"token of {number}")
    mixed = "".join(a + b for a, b in zip_longest(between, values, fillvalue=""))
    clean = redactor.text(mixed)
    assert not [value for value in values if value in clean]
    assert redactor.text(clean) == clean


@given(st.text(st.characters(blacklist_characters="=:,%")))
def test_text_without_secrets_stays_as_it_is(text):
    redactor = Redactor()
    redactor.learn("Zx9" * 8, "token of a")
    assume("Zx9" not in text)
    assume("connect" not in text.lower())
    assert redactor.text(text) == text


def test_many_secrets_cost_a_line_little():
    redactor = Redactor()
    for number in range(64):
        redactor.learn(hashlib.sha256(str(number).encode()).hexdigest()[:32], f"token of {number}")
    line = "[  1234] I (1234) wifi: connected with lab, aid = 1, channel 6, bssid = aa:bb:cc:dd"
    assert redactor.text(line) == line
    best = min(timeit.repeat(lambda: redactor.text(line), number=200, repeat=5)) / 200
    assert best < 1e-3
