"""Fuzz target of the envelope reader: whatever comes is refused in words, but for the one line.

``python tests/gate/fuzz_envelope.py SECONDS [SEED]`` runs it on mutated envelopes; the hypothesis
tests use the same function.
"""

from __future__ import annotations

import random
import sys
import time

from attest_bench import private_pem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import SSlibKey

from pytest_blynk_ota.errors import BadSignature
from pytest_blynk_ota.gate.decision import Subject
from pytest_blynk_ota.gate.envelope import opened, seal
from pytest_blynk_ota.gate.keys import Secret, read_private
from pytest_blynk_ota.gate.verify import verify

PIECES = (
    b'"payload":', b'"payloadType":', b'"signatures":[', b'{"keyid":"', b'","sig":"', b'"}]}',
    b"NaN", b"Infinity", b"1e999", b"9" * 5000, b"[" * 5000, b'{"a":' * 5000, b"\xff", b"\x00",
    b"\\u0000", b"\\ud800", b"\xed\xa0\x80", b"==", b"\n", b"\r\n", b" ", b"\xef\xbb\xbf", b"null",
    b'"payload":"e30=",', b'{"keyid":"","sig":""},', b"]}", b"application/vnd.in-toto+json",
)  # fmt: skip


def check(data: bytes, key: SSlibKey, good: bytes) -> None:
    """A line is the one that was signed, or refused with one printable sentence."""
    try:
        opened(data, key)
        said = None
    except BadSignature as error:
        said = str(error)
    assert (said is None) == (data == good), f"{said or 'taken'}: {data!r:.200}"
    assert said is None or (0 < len(said) < 500 and said.isprintable())


def mutated(rng: random.Random, good: bytes) -> bytes:
    """An envelope with pieces changed, cut out, put in and moved."""
    data = bytearray(good)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        cut = rng.choice((0, 0, 1, 2, rng.randrange(100)))
        put = rng.choice((b"", rng.randbytes(1), rng.randbytes(3), rng.choice(PIECES)))
        data[at : at + cut] = put
        if rng.random() < 0.1:
            one, two = sorted(rng.randrange(len(data) + 1) for _ in range(2))
            data += data[one:two]
    return bytes(data)


def main(seconds: float, seed: int) -> None:
    """Fuzz for some seconds; the failing input is printed."""
    rng = random.Random(seed)
    signer = read_private(Secret(private_pem(Ed25519PrivateKey.generate())), "made")
    end, count, taken = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        good = seal(rng.randbytes(rng.randrange(60)), signer)
        for _ in range(50):
            data = mutated(rng, good)
            try:
                check(data, signer.public, good)
                verify(data + b"\n", signer.public, Subject("x", "00" * 32))
            except Exception:
                print(f"seed {seed}, input {count}: {data.hex()}")
                raise
            count += 1
            taken += data == good
    print(f"{count} inputs, seed {seed}, {taken} of them unchanged: nothing broke")


if __name__ == "__main__":
    main(
        float(sys.argv[1]) if len(sys.argv) > 1 else 10.0,
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
    )
