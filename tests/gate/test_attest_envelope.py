"""The envelope reader: one form, one signature, one key. All else is refused in words."""

import base64
import json
import tracemalloc

import pytest
from attest_bench import NOW, private_pem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fuzz_envelope import check
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope

from pytest_blynk_ota.errors import BadSignature
from pytest_blynk_ota.gate.envelope import (
    MAX_FILE_BYTES,
    PAYLOAD_TYPE,
    canonical,
    lines_of,
    opened,
    seal,
)
from pytest_blynk_ota.gate.keys import Secret, read_private

OURS = read_private(Secret(private_pem(Ed25519PrivateKey.generate())), "ours")
THEIRS = read_private(Secret(private_pem(Ed25519PrivateKey.generate())), "theirs")
PAYLOAD = canonical({"made": NOW.isoformat(), "odd": "ü\n\x00"})
LINE = seal(PAYLOAD, OURS)
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the base point (RFC 8032, 5.1): S and S + ORDER are one number to a careless reader."""


def row():
    return json.loads(LINE)


def changed(**changes):
    return canonical(row() | changes)


def signed(**changes):
    return changed(signatures=[row()["signatures"][0] | changes])


def spare_bits(text):
    """The same bytes in base64, written with the spare bits of the last letter set."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = text.rstrip("=")
    return body[:-1] + letters[letters.index(body[-1]) | 1] + text[len(body) :]


def high_s(text):
    raw = base64.b64decode(text)
    s = int.from_bytes(raw[32:], "little") + ORDER
    return base64.b64encode(raw[:32] + s.to_bytes(32, "little")).decode()


def test_what_is_sealed_is_opened_and_reads_as_an_envelope_of_dsse():
    assert opened(LINE, OURS.public) == PAYLOAD
    theirs = Envelope.from_dict(row())
    assert (theirs.payload, theirs.payload_type) == (PAYLOAD, PAYLOAD_TYPE)
    assert theirs.verify([OURS.public], 1)


def test_sealing_twice_gives_the_same_bytes():
    assert seal(PAYLOAD, OURS) == LINE


SIG = row()["signatures"][0]["sig"]
REFUSED = {
    "another key": (seal(PAYLOAD, THEIRS), "signed by the key"),
    "another key under our key's name": (
        canonical(json.loads(seal(PAYLOAD, THEIRS)) | {"signatures": [
            json.loads(seal(PAYLOAD, THEIRS))["signatures"][0] | {"keyid": OURS.public.keyid}]}),
        "signature is not one of the key",
    ),
    "another payload": (changed(payload=base64.b64encode(b"{}").decode()), "signature is not"),
    "no payload": (changed(payload=""), "signature is not"),
    "a payload type of others": (changed(payloadType="application/json"), "payloadType: expected"),
    "no signature": (changed(signatures=[]), "signatures: expected one, got 0"),
    "two signatures": (changed(signatures=row()["signatures"] * 2), "expected one, got 2"),
    "signatures that are no list": (changed(signatures={}), "signatures: expected one, got {}"),
    "a signature that is no object": (changed(signatures=["x"]), "expected an object with keyid"),
    "an empty signature": (signed(sig=""), "sig: expected 64 bytes"),
    "a signature of 63 bytes": (signed(sig=base64.b64encode(bytes(63)).decode()), "expected 64"),
    "a signature of zeros": (signed(sig=base64.b64encode(bytes(64)).decode()), "signature is not"),
    "a signature with the order added": (signed(sig=high_s(SIG)), "signature is not"),
    "a signature in hexadecimal": (signed(sig=base64.b64decode(SIG).hex()), "no base64|64 bytes"),
    "no keyid": (changed(signatures=[{"sig": SIG}]), "keyid is missing"),
    "an empty keyid": (signed(keyid=""), "keyid: expected 64"),
    "a keyid in capitals": (signed(keyid=OURS.public.keyid.upper().replace("0", "A")), "keyid"),
    "a keyid that is no text": (signed(keyid=None), "keyid: expected text"),
    "an unknown field": (changed(more=1), "'more' is unknown"),
    "an unknown field of the signature": (signed(cert="x"), "'cert' is unknown"),
    "a missing field": (canonical({"payload": "", "signatures": []}), "payloadType is missing"),
    "a key that stands twice": (LINE[:-1] + b',"payload":"e30="}', "'payload' stands twice"),
    "spare bits in the signature": (signed(sig=spare_bits(SIG)), "sig: is no base64"),
    "white space in base64": (signed(sig=SIG[:4] + "\n" + SIG[4:]), "sig: is no base64"),
    "base64 for URLs": (changed(payload="-_8="), "payload: is no base64"),
    "base64 without its end": (signed(sig=SIG[:-1]), "sig: is no base64"),
    "a payload that is no text": (changed(payload=1), "payload: expected text"),
    "white space": (LINE.replace(b":", b": ", 1), "written in another way"),
    "white space at the end": (LINE + b" ", "written in another way"),
    "a carriage return": (LINE + b"\r", "written in another way"),
    "an escape": (LINE.replace(b"payload", b"p\\u0061yload", 1), "written in another way"),
    "another order": (json.dumps(dict(reversed(row().items())), separators=(",", ":")).encode(),
                      "written in another way"),
    "nothing": (b"", "an empty line"),
    "NaN": (b'{"payload":NaN}', "NaN is no JSON"),
    "endless": (b'{"payload":' + b"9" * 5000 + b"}", "no envelope"),
    "deep": (b"[" * 200_000, "nested too deep"),
    "no UTF-8": (LINE.replace(b"payload", b"\xff\xfe", 1), "0xff at 2 is no ASCII"),
    "a mark of byte order": (b"\xef\xbb\xbf" + LINE, "no ASCII"),
    "UTF-16": (LINE.decode().encode("utf-16-le"), "no envelope"),
    "null": (b"null", "expected an object"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_the_signed_envelope_in_its_one_form_is_refused_in_words(name):
    line, words = REFUSED[name]
    assert line != LINE
    with pytest.raises(BadSignature, match=words) as raised:
        opened(line, OURS.public)
    assert len(str(raised.value)) < 400
    assert str(raised.value).isprintable()


def test_what_the_key_signed_as_another_type_is_not_taken_for_a_statement():
    envelope = Envelope(PAYLOAD, "application/json", {})
    envelope.sign(OURS.signer)
    assert envelope.verify([OURS.public], 1)
    with pytest.raises(BadSignature, match="payloadType"):
        opened(canonical(envelope.to_dict()), OURS.public)
    with pytest.raises(BadSignature, match="signature is not"):
        opened(canonical(envelope.to_dict() | {"payloadType": PAYLOAD_TYPE}), OURS.public)


def test_what_the_key_signed_as_it_is_without_its_type_is_not_taken_for_a_statement():
    signature = OURS.signer.sign(PAYLOAD)
    with pytest.raises(BadSignature, match="signature is not"):
        opened(
            signed(sig=base64.b64encode(bytes.fromhex(signature.signature)).decode()), OURS.public
        )


SPARE = seal(PAYLOAD if len(PAYLOAD) % 3 else PAYLOAD + b" ", OURS)


def test_spare_bits_in_the_payload_are_refused_though_they_decode_to_the_same():
    envelope = json.loads(SPARE)
    other = spare_bits(envelope["payload"])
    assert base64.b64decode(other) == base64.b64decode(envelope["payload"])
    assert other != envelope["payload"]
    with pytest.raises(BadSignature, match="payload: is no base64 in its one form"):
        opened(canonical(envelope | {"payload": other}), OURS.public)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (LINE, "half a line"),
        (LINE + b"\n" + LINE, "half a line"),
        (bytes(MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_no_file_of_whole_lines_is_refused(data, words):
    with pytest.raises(BadSignature, match=words):
        list(lines_of(data))


def test_a_file_of_many_empty_lines_is_not_taken_apart_before_the_first_is_refused():
    """64 million of them would be half a gigabyte."""
    tracemalloc.start()
    try:
        assert next(iter(lines_of(b"\n" * (8 << 20)))) == b""
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_payload_and_come_back_as_they_were(payload):
    assert opened(seal(payload, OURS), OURS.public) == payload


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(data):
    check(data, OURS.public, LINE)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.just(SIG),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["payload", "payloadType", "signatures", "keyid", "sig"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON, JSON)
@settings(max_examples=200)
def test_any_json_in_place_of_a_part_is_refused_in_words(payload, kind, signatures):
    given = {"payload": payload, "payloadType": kind, "signatures": signatures}
    check(json.dumps(given, separators=(",", ":")).encode(), OURS.public, LINE)


@given(st.integers(0, len(LINE) - 1), st.integers(1, 255))
@settings(max_examples=300)
def test_no_changed_byte_goes_unseen(at, change):
    data = bytearray(LINE)
    data[at] ^= change
    check(bytes(data), OURS.public, LINE)


@given(st.integers(0, len(LINE)), st.integers(0, 4), st.binary(max_size=4))
@settings(max_examples=300)
def test_nothing_that_is_cut_out_or_put_in_goes_unseen(at, cut, put):
    check(LINE[:at] + put + LINE[at + cut :], OURS.public, LINE)
