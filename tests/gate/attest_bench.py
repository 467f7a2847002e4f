"""A binary, evidence of it, a policy, a key and a signed decision, for the tests of attestation."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pytest_blynk_ota.cli.gate_attest import attest, attestation_of
from pytest_blynk_ota.cli.gate_keys import public_key, signing_key
from pytest_blynk_ota.cli.gate_verify import code_of, command, seen
from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.bundle import read_test
from pytest_blynk_ota.evidence.manifest import manifest_of
from pytest_blynk_ota.evidence.results import TestResult, result_of
from pytest_blynk_ota.evidence.writer import write_json
from pytest_blynk_ota.gate.decision import Decision, Line, RigUsed, RunUsed, Subject
from pytest_blynk_ota.gate.envelope import canonical, seal
from pytest_blynk_ota.gate.verify import verify

STORED = Path(__file__).parents[1] / "data" / "evidence" / "schema1" / "run"
UPGRADE = "test_update.py.test_an_upgrade-ecfede"
STALL = "test_update.py.test_a_stall-a09eb0"
RACK = "test_update.py.test_a_rack_that_dies-530788"
NOW = datetime(2026, 11, 27, 3, 0, 0, tzinfo=UTC)
RIG_FILE = "ab" * 32
RECORDED_NEW = "02dd30223d36331dc66e87b9af1f487342570eef081aac40b5cdfb21a71ba45c"
"""The image that the stored run had as New."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def private_pem(key: Any, passphrase: bytes | None = None) -> bytes:
    lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_private(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def reseal(run: Path) -> str:
    """Write a run's manifest anew; returns its hash."""
    write_json(run / "manifest.json", manifest_of(run))
    return sha256((run / "manifest.json").read_bytes())


def with_identity(events: str, kind: str) -> str:
    """The events with what the board says of itself in the second place, as today's have it."""
    rows = [json.loads(line) for line in events.splitlines()]
    said = {"source": "rig", "kind": "identity", "board": "c3-a"}
    told = {"kind": kind, "chip": "esp32c3", "mac": "02:b1:6e:07:88:dc", "flash_bytes": 4194304}
    rows.insert(1, rows[0] | said | {"data": told})
    return "".join(json.dumps(row | {"seq": at}) + "\n" for at, row in enumerate(rows, 1))


def a_run(
    folder: Path, image: bytes, words: dict[str, str] | None = None, kind: str = "virtual"
) -> Path:
    """The stored run as today's format has it, its New being ``image``."""
    words = words or {UPGRADE: "passed", STALL: "passed"}
    shutil.copytree(STORED, folder)
    lines = []
    for test in sorted((folder / "tests").iterdir()):
        if test.name not in words:
            shutil.rmtree(test)
            continue
        events = test / "events.jsonl"
        text = with_identity(events.read_text(), kind)
        events.write_text(text.replace(RECORDED_NEW, sha256(image)))
        row = TestResult(
            id=read_test(test).events[0].data["id"],
            folder=f"tests/{test.name}",
            word=words[test.name],
            seconds=1.0,
            boards=("c3-a",),
        )
        lines.append(row.to_json() + "\n")
    (folder / "results.jsonl").write_text("".join(lines))
    data = json.loads((folder / "run.json").read_text().replace(RECORDED_NEW, sha256(image)))
    result = result_of(Counter(words.values()), complete=True)
    data |= {
        "schema": 2,
        "id": sha256(str(folder).encode())[:16],
        "rig_kind": kind,
        "rig_file_sha256": RIG_FILE,
        "result": result,
        "counts": {},
    }
    write_json(folder / "run.json", data)
    reseal(folder)
    return folder


@dataclass
class Bench:
    """A release in a folder: ``app.bin``, its evidence, its policy, keys, and a decision."""

    root: Path
    image_bytes: bytes = bytes(range(256)) * 4
    words: dict[str, str] = field(default_factory=dict)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def __post_init__(self) -> None:
        self.image = self.root / "app.bin"
        self.image.write_bytes(self.image_bytes)
        self.policy = self.root / "policy.toml"
        self.policy.write_text('[policy]\nname = "release"\n')
        self.run = a_run(self.root / "run", self.image_bytes, self.words)
        self.private = write_private(self.root / "release.pem", private_pem(self.key))
        self.public = self.root / "release.pub.pem"
        self.public.write_bytes(public_pem(self.key))
        self.envelope = attestation_of(self.image)

    def decision(self, **changes: Any) -> Decision:
        made = Decision(
            verdict="pass",
            subject=Subject("app.bin", sha256(self.image_bytes)),
            lines=(Line("upgrade on esp32c3", "pass", "2 of 2 runs passed"),),
            properties=("BLYNKOTA_UPGRADE",),
            policy_sha256=sha256(self.policy.read_bytes()),
            rigs=(RigUsed("virtual", "virtual", None),),
            runs=(self.used(self.run),),
            since="2026-11-26T16:18:12+00:00",
            until="2026-11-26T16:18:22+00:00",
        )
        return replace(made, **changes)

    def used(self, run: Path) -> RunUsed:
        data = json.loads((run / "run.json").read_text())
        return RunUsed(str(run), data["id"], sha256((run / "manifest.json").read_bytes()))

    def sign(self, **changes: Any) -> Path:
        """Attest the decision; with a key of the bench, in the place where it belongs."""
        key = signing_key(self.private)
        assert key is not None
        attest(self.decision(**changes), key, self.envelope, NOW)
        return self.envelope

    def seal(self, *statements: dict[str, Any]) -> None:
        """Write envelopes of any statements, rightly signed by the bench's key."""
        key = signing_key(self.private)
        assert key is not None
        self.envelope.write_bytes(b"".join(seal(canonical(s), key) + b"\n" for s in statements))

    def trusted(self) -> Any:
        return public_key(self.public)

    def verify(self, *more: object, image: Path | None = None, key: Path | None = None) -> Result:
        """What the command says."""
        words = ["--key", key or self.public, "--image", image or self.image, *more]
        done = CliRunner().invoke(command, [str(self.envelope), *map(str, words)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    def verify_all(self, **changes: Any) -> Result:
        """The same, with policy and evidence."""
        return self.verify("--policy", self.policy, "--run", self.run, **changes)

    def code(self) -> int:
        """The exit code with policy and evidence, without a process or a parser in between."""
        try:
            found = verify(
                self.envelope.read_bytes(),
                self.trusted(),
                Subject(self.image.name, sha256(self.image.read_bytes())),
                sha256(self.policy.read_bytes()),
                [seen(self.run)],
            )
        except EvidenceError:
            return 4
        return code_of([one.what for one in found.differences])

    def payloads(self) -> list[dict[str, Any]]:
        """The statements of the envelope, whoever signed them."""
        lines = self.envelope.read_bytes().splitlines()
        return [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in lines]
