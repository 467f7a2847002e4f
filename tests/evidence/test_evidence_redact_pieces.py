"""Of a secret that was cut, wrapped or shortened no six letters stay, and no word is eaten."""

import pprint
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.evidence.redact import Redactor

TOKEN = "q7Rk2ZtB9mWx4LpV8sNcY3hJ6dGf1aQe"
HEX = "9f86d081884c7d659a2feaa0c55ad015"
WORDS = "correct horse battery staple"


def knowing(*secrets):
    redactor = Redactor()
    for secret in secrets:
        redactor.learn(secret, "§")
    return redactor


def stays(secret, shown):
    """Each six letters of a secret that a text shows."""
    return [one for at in range(len(secret) - 5) if (one := secret[at : at + 6]) in shown]


def shortened(text, size):
    """As pytest writes a value in an assertion."""
    head = (size - 3) // 2
    return f"{text[:head]}...{text[head + 3 - size :]}"


@pytest.mark.parametrize("secret", [TOKEN, HEX, WORDS])
@pytest.mark.parametrize("size", range(11, 28))
def test_of_a_shortened_repr_no_piece_of_a_secret_stays(secret, size):
    short = shortened(repr(secret), size)
    shown = knowing(secret).text(f"AssertionError: assert {short} == 'x'")
    assert stays(secret, shown) == []
    assert shown.startswith("AssertionError: assert '")
    assert "..." in shown


@pytest.mark.parametrize("place", range(40))
def test_a_secret_within_a_shortened_text_leaves_no_six_letters(place):
    text = f"{'GET /firmware/a.bin?v=1&x='[:place]}{TOKEN}{'&board=c3-a HTTP/1.1'[: 40 - place]}"
    for size in (24, 30, 36):
        assert (
            stays(TOKEN, knowing(TOKEN).text(f"assert {shortened(repr(text), size)} in log")) == []
        )


def test_a_shortened_repr_of_an_escaped_secret_leaves_no_piece():
    secret = "p@ss w/ö\"rd\\+%&=1'x-0123"
    shown = knowing(secret).text(f"assert {shortened(ascii(secret), 30)} == 'x'")
    assert shown.count("[§]") == 2


def test_a_line_that_ends_in_dots_keeps_its_words():
    text = "Connecting...\nstarting firmware...\nE   - horse\nbattery low"
    assert knowing("Connecting people is fun", WORDS, "firmware-2024-lab").text(text) == text


MARGINS = ["", "E   ", "E       ", "> ", "    ", "INFO     root:test_it.py:12 ", "[2189] "]


@pytest.mark.parametrize("secret", [TOKEN, HEX, WORDS])
@pytest.mark.parametrize("margin", MARGINS)
def test_of_a_secret_over_two_lines_of_a_text_no_four_letters_stay(secret, margin):
    redactor = knowing(secret)
    for at in range(4, len(secret) - 4):
        shown = redactor.text(f"{margin}bad token {secret[:at]}\n{margin}{secret[at:]} of board a")
        wanted = f"{margin}bad token [§]\n{margin}[§] of board a"
        assert "".join(shown.split()) == "".join(wanted.split())


@pytest.mark.parametrize("width", [8, 10, 13, 16])
def test_a_secret_that_is_wrapped_leaves_no_six_letters(width):
    secret = TOKEN + HEX
    lines = textwrap.wrap(f"the token {secret} is wrong", width, drop_whitespace=True)
    assert len(lines) > 4
    shown = knowing(secret).text("\n".join(f"E   {line}" for line in lines))
    assert stays(secret, shown) == []
    assert shown.endswith("wrong")


def test_a_passphrase_that_pprint_wraps_at_its_spaces_is_found():
    secret = "correct horse battery staple of the third lab"
    printed = pprint.pformat({"wifi": f"lab:{secret}"}, width=32)
    assert printed.count("\n") > 1
    shown = knowing(secret).text(printed)
    assert not [word for word in secret.split() if f"{word} " in shown]


def test_a_diff_that_leaves_out_what_is_alike_shows_no_six_letters():
    text = "\n".join([
        "E     Skipping 18 identical leading characters in diff, use -v to show",
        f"E     - {TOKEN[8:]}&x=1",
        f"E     + {TOKEN[20:]}&x=2",
        f"E     + GET /?token={TOKEN[:9]}",
        f"E     - {TOKEN[5:20]}",
    ])  # fmt: skip
    assert stays(TOKEN, knowing(TOKEN).text(text)) == []


def test_half_of_a_long_secret_is_replaced_wherever_it_stands():
    redactor = knowing(TOKEN, "esp32-c3-lab-2024")
    assert redactor.text(f"wrong: {TOKEN[:31]}x, {TOKEN[3:19]}.") == "wrong: [§]x, [§]."
    assert redactor.text("board esp32-c3-lab is here") == "board esp32-c3-lab is here"


def test_a_key_of_many_lines_costs_little():
    key = "".join(TOKEN[at % 32] + HEX[at % 31] for at in range(20_000))
    redactor = knowing(key)
    begun = time.process_time()
    assert redactor.text(f"E   {key[9:]},\nE   ...{key[-20:]}") == "E   [§],\nE   ...[§]"
    assert time.process_time() - begun < 5


@given(st.integers(0, 32), st.integers(0, 32), st.sampled_from(["\n", "...", "\nE   ", "…"]))
def test_pieces_twice_are_pieces_once(first, last, cut):
    redactor = knowing(TOKEN, HEX)
    once = redactor.text(f"a {TOKEN[:first]}{cut}{TOKEN[last:]} {HEX[:last]}{cut}")
    assert redactor.text(once) == once


def knowing_a(token):
    redactor = Redactor()
    redactor.learn(token, "token of a")
    return redactor


@pytest.mark.parametrize(
    "text",
    [
        "password=[x y]hunter2",
        "password=[hunter2",
        "password=[hunter2]",
        "pass=[token of a]hunter2",
        "pass=hunter2[token of a]hunter2&x=1",
        "token=[url token]hunter2&x=1",
        "psk=[password][password]hunter2 joined",
        "Authorization: [authorization header]hunter2",
        "Authorization: Bearer [x y]hunter2",
        "Cookie: [cookie]hunter2",
        "mqtt://user:[password]hunter2@host",
        "mqtt://user:[token of a]hunter2@host",
        '{"password": "[x y]hunter2"}',
    ],
)
def test_what_begins_like_a_mark_hides_nothing(text):
    redactor = knowing_a(TOKEN)
    once = redactor.text(text)
    assert "hunter2" not in once
    assert redactor.text(once) == once


@pytest.mark.parametrize(
    "text", ["pass=[token of a]&x=1", "pass=[passphrase]", "mqtt://user:[token of a]@host"]
)
def test_a_mark_of_ours_keeps_its_name(text):
    assert knowing_a(TOKEN).text(text) == text


def test_a_field_that_is_a_secret_is_none_for_its_brackets():
    clean = knowing_a(TOKEN).clean({"password": "[hunter2]", "cookie": "[token of a]"})
    assert clean == {"password": "[password]", "cookie": "[token of a]"}


def test_a_header_that_held_a_known_token_is_one_mark():
    shown = knowing_a(TOKEN).text(f"Authorization: Bearer {TOKEN}, x")
    assert shown == "Authorization: [authorization header], x"


def test_a_secret_that_looks_like_a_mark_is_found():
    assert knowing("ab[password]cd").text("it is ab[password]cd.") == "it is [§]."
