"""DSSE envelopes, one a line, in one form alone: whatever reads the same but is not, is refused.

A signature covers the payload and its type; base64 and JSON leave a dozen ways to write the same
envelope. Only what :func:`seal` writes is read back, so no byte of a file can change unseen.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Signature, SSlibKey

from pytest_blynk_ota.errors import BadSignature
from pytest_blynk_ota.evidence.event import shown
from pytest_blynk_ota.gate.keys import SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""in-toto attestation framework 1.2, envelope layer."""
MAX_FILE_BYTES = 64 << 20
FORM = re.compile(
    rb'\{"payload":"([A-Za-z0-9+/]*={0,2})","payloadType":"application/vnd\.in-toto\+json",'
    rb'"signatures":\[\{"keyid":"([0-9a-f]{64})","sig":"([A-Za-z0-9+/]{86}==)"\}\]\}'
)
"""An envelope as it is written here."""
FIELDS = ("payload", "payloadType", "signatures")
SIGNATURE_FIELDS = ("keyid", "sig")


def canonical(value: Mapping[str, Any]) -> bytes:
    """JSON in one form: keys sorted, no white space, ASCII. Raises ValueError for NaN."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii")


def seal(payload: bytes, key: SigningKey) -> bytes:
    """The line of a signed payload, without its end."""
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(key.signer)
    return canonical(envelope.to_dict())


def lines_of(data: bytes) -> Iterator[bytes]:
    """The lines of a file of envelopes, one after the other: there may be millions of bad ones.

    Raises:
        BadSignature: it is empty, too large, or does not end as a line does.
    """
    if not data:
        raise BadSignature("it is empty, expected one envelope a line")
    if len(data) > MAX_FILE_BYTES:
        raise BadSignature(f"it is larger than {MAX_FILE_BYTES} bytes")
    if not data.endswith(b"\n"):
        raise BadSignature("it ends in half a line")
    yield from (line[:-1] for line in io.BytesIO(data))


def opened(line: bytes, key: SSlibKey) -> bytes:
    """The payload of an envelope, whose signature holds.

    Args:
        line: the envelope, without the line's end.
        key: the public key that must have signed it.

    Raises:
        BadSignature: it is no envelope, is written in another way, or the key did not sign it.
    """
    form = FORM.fullmatch(line)
    payload, sig = (_decoded(form[1]), _decoded(form[3])) if form else (None, None)
    if form is None or payload is None or sig is None:
        raise BadSignature(_whats_wrong(line))
    keyid = form[2].decode("ascii")
    if keyid != key.keyid:
        raise BadSignature(f"it is signed by the key {keyid}, expected {key.keyid}")
    envelope = Envelope(payload, PAYLOAD_TYPE, {keyid: Signature(keyid, sig.hex())})
    try:
        envelope.verify([key], 1)
    except (VerificationError, UnverifiedSignatureError) as error:
        raise BadSignature(f"its signature is not one of the key {keyid} for this text") from error
    return payload


def _decoded(text: bytes) -> bytes | None:
    """Base64 decoded, if it is what encoding gives: the last letter has bits to spare."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return data if base64.b64encode(data) == text else None


class _Twice(ValueError):
    """Raised when an object has a key twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def strict_json(data: bytes) -> Any:
    """What a JSON text holds; no key twice, no NaN, ASCII alone.

    Raises:
        ValueError: it is none; in words.
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte 0x{data[error.start]:02x} at {error.start} is no ASCII") from None
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except _Twice as error:
        raise ValueError(f"the key {shown(str(error))} stands twice in one object") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _whats_wrong(line: bytes) -> str:
    """Why a line is not of the form, in words. It decides nothing: the line is refused."""
    if not line:
        return "it is an empty line"
    try:
        row = strict_json(line)
    except ValueError as error:
        return f"it is no envelope: {error}"
    if wrong := _not_these(row, FIELDS):
        return f"it is no envelope: {wrong}"
    if row["payloadType"] != PAYLOAD_TYPE:
        return f"payloadType: expected {PAYLOAD_TYPE}, got {shown(row['payloadType'])}"
    signatures = row["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        got = f"{len(signatures)}" if isinstance(signatures, list) else shown(signatures)
        return f"signatures: expected one, got {got}"
    if wrong := _not_these(signatures[0], SIGNATURE_FIELDS):
        return f"signatures: {wrong}"
    texts = {"payload": row["payload"], **signatures[0]}
    for name, value in texts.items():
        if not isinstance(value, str):
            return f"{name}: expected text, got {shown(value)}"
        if name != "keyid" and _decoded(value.encode("ascii", "replace")) is None:
            return f"{name}: is no base64 in its one form, got {shown(value)}"
    if not re.fullmatch("[0-9a-f]{64}", texts["keyid"]):
        return f"keyid: expected 64 hexadecimal digits, got {shown(texts['keyid'])}"
    if len(texts["sig"]) != 88:
        return f"sig: expected 64 bytes, got {shown(texts['sig'])}"
    return "it reads as an envelope, but was written in another way: spaces, escapes or order"


def _not_these(row: Any, fields: Sequence[str]) -> str:
    if not isinstance(row, dict):
        return f"expected an object with {', '.join(fields)}, got {shown(row)}"
    missing = [name for name in fields if name not in row]
    unknown = [name for name in row if name not in fields]
    if missing:
        return f"{missing[0]} is missing"
    return f"{shown(unknown[0])} is unknown" if unknown else ""
