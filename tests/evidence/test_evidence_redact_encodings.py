"""Of a known secret nothing readable stays, in whatever encodings it is written."""

import base64
import gzip
import html
import json
import re
import shlex
import unicodedata
from pathlib import Path
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.evidence.pieces import is_counting
from pytest_blynk_ota.evidence.redact import PATTERNS, Redactor
from pytest_blynk_ota.evidence.views import MAX_WORK, views

DATA = Path(__file__).parents[1] / "data"
TOKEN = "q7Rk2ZtB9mWx4LpV8sNcY3hJ6dGf1aQe"


def knowing(*secrets):
    redactor = Redactor()
    for secret in secrets:
        redactor.learn(secret, "§")
    return redactor


def utf8(text):
    return text.encode()


def url(text):
    return quote(text, safe="")


def letters_of_utf16(text):
    data = text.encode("utf-16-be")
    return [data[at : at + 2].hex() for at in range(0, len(data), 2)]


def words(text):
    """As a memory dump shows it, whose words are little-endian."""
    data = utf8(text) + b"\0\0\0"
    return " ".join(f"0x{data[at : at + 4][::-1].hex()}" for at in range(0, len(data) - 3, 4))


ENCODINGS = {
    "raw": str,
    "URL": url,
    "URL, each letter": lambda s: "".join(f"%{byte:02x}" for byte in utf8(s)),
    "URL, three times": lambda s: url(url(url(s))),
    "form": quote_plus,
    "JSON": json.dumps,
    "JSON, UTF-8": lambda s: json.dumps(s, ensure_ascii=False),
    "Python": repr,
    "Python, ASCII": ascii,
    "Python, bytes": lambda s: repr(utf8(s)),
    "\\x": lambda s: "".join(f"\\x{byte:02x}" for byte in utf8(s)),
    "\\u": lambda s: "".join(f"\\u{letter}" for letter in letters_of_utf16(s)),
    "\\ octal": lambda s: "".join(f"\\{byte:03o}" for byte in utf8(s)),
    "HTML": html.escape,
    "XML attribute": quoteattr,
    "&#": lambda s: "".join(f"&#{ord(letter)};" for letter in s),
    "&#x": lambda s: "".join(f"&#x{ord(letter):X};" for letter in s),
    "hex": lambda s: utf8(s).hex(),
    "hex, 0x": lambda s: "0x" + utf8(s).hex().upper(),
    "hex, 0x each": lambda s: ", ".join(f"0x{byte:02X}" for byte in utf8(s)),
    "hex, -": lambda s: utf8(s).hex("-"),
    "hex, :": lambda s: utf8(s).hex(":").upper(),
    "hex, pairs": lambda s: utf8(s).hex(" ", -2),
    "hex, fours": lambda s: utf8(s).hex(" ", -4),
    "hex, words": words,
    "bits": lambda s: " ".join(f"{byte:08b}" for byte in utf8(s)),
    "numbers": lambda s: str(list(utf8(s))),
    "code points": lambda s: str(list(map(ord, s))),
    "letters": lambda s: str(list(s)),
    "base64": lambda s: base64.b64encode(utf8(s)).decode(),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(utf8(s)).decode(),
    "base64 with a user": lambda s: base64.b64encode(utf8(f"u:{s}")).decode(),
    "base64, wrapped": lambda s: base64.encodebytes(utf8(s)).decode(),
    "base32": lambda s: base64.b32encode(utf8(s)).decode(),
    "octal numbers": lambda s: str([oct(byte) for byte in utf8(s)]),
    "UTF-8 as Latin-1": lambda s: utf8(s).decode("latin-1"),
    "NFD": lambda s: unicodedata.normalize("NFD", s),
}
FIRST_ONLY = {"NFD"}
"""Of letters that are the wrong ones already, no program makes other ones."""
FRAME = re.compile(r"%(?:25)*(?:22|27|3D|0A|5B|5D|2C|20)|&(?:quot|#x27|#10);|\\[\"'n]")
"""What an encoding writes around any value, where it takes more room than letters."""

SECRETS = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from("\"' %\\&+=<[äß"),
    min_size=8,
    max_size=40,
).filter(lambda secret: not is_counting(secret))
BESIDE = st.text("ab1/ =:&\"'", max_size=6)


@settings(max_examples=200, deadline=None)
@given(
    SECRETS,
    st.sampled_from(sorted(ENCODINGS)),
    st.sampled_from(sorted(ENCODINGS.keys() - FIRST_ONLY)),
    BESIDE,
    BESIDE,
)
def test_of_a_secret_in_any_two_encodings_no_six_letters_stay(secret, first, then, before, after):
    def written(text):
        return ENCODINGS[then](ENCODINGS[first](text))

    redactor = knowing(secret)
    shown = redactor.text(before + written(secret) + after)
    left = FRAME.sub("", shown.replace("[§]", ""))
    six = min(len(written(secret[at : at + 6])) for at in range(len(secret) - 5))
    assert "[§]" in shown
    assert len(left) < len(before + after) + six
    assert redactor.text(shown) == shown


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_what_stands_beside_an_encoded_secret_stays(encoding):
    shown = knowing(TOKEN).text(f"wifi: joined, {ENCODINGS[encoding](TOKEN)} rssi -61, channel 6")
    assert "[§]" in shown
    assert shown.startswith("wifi: joined, ")
    assert shown.endswith(" rssi -61, channel 6")


@pytest.mark.parametrize(
    "data",
    [
        "pässwört-ß".encode("latin-1"),
        "pässwört-ß".encode("utf-16-le"),
        "pässwört-文字".encode("utf-16-be"),
        unicodedata.normalize("NFD", "pässwört-ß").encode(),
        "pässwört-ß".encode().decode("latin-1").encode(),
    ],
)
def test_a_secret_is_found_in_another_code_of_its_letters(data):
    redactor = knowing("pässwört-ß", "pässwört-文字")
    assert redactor.text(f"<{data.hex()}>") == "<[§]>"
    assert redactor.text(f"<{base64.b64encode(data).decode().rstrip('=')}>") == "<[§]>"


def test_a_secret_whose_letters_the_log_could_not_read_is_found():
    garbled = "pässwört-ß".encode("latin-1").decode("utf-8", "replace")
    assert knowing("pässwört-ß").text(f"psk {garbled}") == "psk [§]"
    assert knowing("ÄÖÜäöüßé").text("\ufffd" * 40 + "?" * 40) == "\ufffd" * 40 + "?" * 40


def test_a_hex_dump_of_many_lines_shows_no_six_letters_of_a_secret():
    data = b"ssid\0lab\0" + utf8(TOKEN) + b"\0" * 7
    rows = [data[at : at + 16].hex(" ") for at in range(0, len(data), 16)]
    redactor = knowing(TOKEN)
    left = "".join(
        bytes.fromhex(part).decode()
        for at, row in enumerate(rows)
        for part in redactor.line(f"I (310) nvs: {row}")[13:].split("[§]")
    )
    assert [at for at in range(len(TOKEN) - 5) if TOKEN[at : at + 6] in left] == []


def test_an_encoded_word_that_a_passphrase_has_too_is_no_secret():
    redactor = knowing("virtual-passphrase")
    for text in (b"ssid=virtual-lab", b"virtual: on", b"the virtual board"):
        for written in (text.hex(" "), base64.b64encode(text).decode(), str(list(text))):
            assert redactor.text(written) == written
    assert "[§]" in redactor.text(b"is virtual-pass".hex())


@pytest.mark.parametrize("before", [0, 4, 9, 15])
def test_the_letters_beside_a_hex_dump_are_those_of_the_dump(before):
    data = b"." * before + utf8(TOKEN) + b"." * 16
    redactor = knowing(TOKEN)
    for at in range(0, 48, 16):
        left, right = data[at : at + 8].hex(" "), data[at + 8 : at + 16].hex(" ")
        letters = data[at : at + 16].decode()
        row = f"I (31) nvs: 0x3ffb{at:04x}   {left}  {right}  |{letters}|"
        shown = redactor.text(row)
        assert [n for n in range(len(TOKEN) - 5) if TOKEN[n : n + 6] in shown] == []
        assert shown.startswith(f"I (31) nvs: 0x3ffb{at:04x}   ")
    table = "| what    | battery |\n| 12 34 56 78 | horse |"
    assert knowing("correct horse battery").text(table) == table


@pytest.mark.parametrize(
    "text",
    [
        TOKEN.upper(),
        TOKEN.lower(),
        "/tmp/pytest-0/test_it_correct_horse__battery_0",
        "correct\xa0horse,\xa0battery?",
        '"correct horse," " battery?"',
        "'correct ' + 'horse, battery?'",
        "\\x{63}orrect horse, b\\u{61}ttery?",
    ],
)
def test_a_secret_is_found_as_programs_show_it(text):
    shown = knowing(TOKEN, "correct horse, battery?").text(text)
    assert "[§]" in shown
    assert "rrec" not in shown
    assert "tte" not in shown


def test_numbers_that_are_the_letters_of_a_secret_are_replaced_in_events():
    clean = knowing(TOKEN).clean({"bytes": list(utf8(TOKEN)), "sizes": [4096, 8192, 1, 2]})
    assert "113" not in str(clean["bytes"])
    assert clean["sizes"] == [4096, 8192, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "41% 42% 43% 44% 45% 46% 47% 48% 49% 50% 51% 52% 53% 54% 55% 56% 57%",
        str(list(range(128))),
        "1, 2, 3, 4, 5, 6, 7, 8, 9",
        "a b c d e f g h i j",
        "30 31 32 33 34 35 36",
        "MAC 00:00:00:00:00:00",
    ],
)
def test_who_counts_says_no_secret(text):
    redactor = knowing("12345678", "lab12345678", "abcdefgh", "00000000", "0123456789abcdef")
    assert redactor.text(text) == text
    assert redactor.clean(list(range(300))) == list(range(300))
    assert redactor.text("31 32 33 34 35 36 37 38 00") == "[§] 00"


def test_a_passphrase_of_digits_is_no_number_in_an_event():
    clean = knowing("86420864").clean({"bytes": 86420, "wifi": [86420864, True, None]})
    assert clean == {"bytes": 86420, "wifi": ["[§]", True, None]}


def test_a_secret_in_the_quotes_of_a_shell_or_a_table_is_found():
    secret = "it's \"5 o'clock\""
    redactor = knowing(secret)
    assert redactor.text(shlex.join(["pytest", f"-k{secret}"])) == "pytest '-k[§]'"
    assert redactor.text("x,'" + secret.replace("'", "''") + "',y") == "x,'[§]',y"
    assert redactor.text('x,"' + secret.replace('"', '""') + '",y').startswith('x,"[§]')


def test_a_text_that_is_made_to_have_many_views_has_few(monkeypatch):
    nested = "%" + "25" * 9 + "\\" * 512 + "&" + "amp;" * 9
    text = nested + f"{TOKEN} 61-62-63-64 " * 100 + nested

    def letters():
        return sum(len(view.text) for view in views(text)) // len(text)

    monkeypatch.setattr("pytest_blynk_ota.evidence.views.MIN_WORK_CHARS", 0)
    assert 30 < letters() <= MAX_WORK + 1
    assert text != knowing(TOKEN).text(text)


def transcripts():
    for path in sorted(DATA.rglob("*")):
        if path.suffix in (".log", ".jsonl", ".json"):
            yield path.read_text("utf-8", "replace")
        elif path.parent.name == "timelines" and path.suffix == ".gz":
            yield gzip.decompress(path.read_bytes()).decode()


@pytest.fixture(scope="module")
def real_lines():
    lines = {line for text in transcripts() for line in text.split("\n") if len(line) < 1024}
    patterns = [pattern for _, pattern in PATTERNS]
    plain = [line for line in lines if not any(pattern.search(line) for pattern in patterns)]
    assert len(plain) > 5000
    return sorted(plain)


def test_what_real_boards_print_stays_as_it_is(real_lines):
    words = ["correct horse battery", "connecting people", "firmware update", "virtual-passphrase"]
    redactor = knowing(
        "esp32-c3-lab-2024",
        "hunter2!",
        *words,
        *(TOKEN[at:] + TOKEN[:at] for at in range(len(TOKEN))),
    )
    changed = [line for line in real_lines if redactor.line(line) != line]
    assert changed == []
