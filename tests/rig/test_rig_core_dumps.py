"""Core dumps kept beside the events, without the secrets that are known."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from pathlib import Path

import pytest

from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.evidence.writer import TestBundle
from pytest_blynk_ota.rig.core_dumps import elf_in, keep

SECRET = "correct-horse-battery"


def crc32(data: bytes) -> bytes:
    return struct.pack("<I", binascii.crc32(data))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


SUMS = pytest.mark.parametrize("summed", [crc32, sha256])
ELF = b"\x7fELF" + bytes(range(200)) + SECRET.encode() + bytes(50)


def dump(summed=crc32, header: int = 20) -> bytes:
    size = header + len(ELF) + len(summed(b""))
    body = struct.pack("<I", size).ljust(header, b"\0") + ELF
    return body + summed(body)


@pytest.fixture
def bundle(tmp_path) -> TestBundle:
    return TestBundle(tmp_path, "test_x", Redactor())


def keeping(bundle: TestBundle, content: bytes, redactor: Redactor | None = None) -> dict:
    return keep(content, redactor or Redactor(), Recorder(bundle.timeline))


def test_a_dump_is_kept_as_it_was_printed_as_bytes_and_as_elf(bundle):
    said = keeping(bundle, dump())
    assert said == {"files": ["coredump-1.b64", "coredump-1.bin", "coredump-1.elf"]}
    lines = (bundle.folder / "coredump-1.b64").read_bytes().split()
    assert b"".join(base64.b64decode(line) for line in lines) == dump()
    assert (bundle.folder / "coredump-1.bin").read_bytes() == dump()
    assert (bundle.folder / "coredump-1.elf").read_bytes() == ELF


def test_each_dump_of_a_test_has_its_number(bundle):
    keeping(bundle, dump())
    assert keeping(bundle, dump())["files"][0] == "coredump-2.b64"


@SUMS
@pytest.mark.parametrize("header", [20, 24])
def test_the_elf_ends_where_the_checksum_begins(summed, header):
    assert elf_in(dump(summed, header)) == ELF


def test_a_dump_that_is_no_elf_has_no_elf_file(bundle):
    assert keeping(bundle, b"\0" * 64)["files"] == ["coredump-1.b64", "coredump-1.bin"]


@SUMS
def test_known_secrets_are_overwritten_and_the_checksum_made_right(bundle, summed):
    redactor = Redactor()
    redactor.learn(SECRET, "passphrase")
    said = keeping(bundle, dump(summed), redactor)
    assert said["masked"]
    size = len(summed(b""))
    kept = (bundle.folder / "coredump-1.bin").read_bytes()
    assert len(kept) == len(dump(summed))
    assert kept[-size:] == summed(kept[:-size])
    lines = (bundle.folder / "coredump-1.b64").read_bytes().split()
    for data in (kept, b"".join(map(base64.b64decode, lines)),
                 (bundle.folder / "coredump-1.elf").read_bytes()):  # fmt: skip
        assert SECRET.encode() not in data


def test_a_rerun_of_a_test_replaces_the_dumps_of_the_one_before(tmp_path):
    first = TestBundle(tmp_path, "test_x", Redactor())
    keeping(first, dump())
    second = TestBundle(tmp_path, "test_x", Redactor())
    assert not list(Path(second.folder).glob("coredump-*"))


def test_between_tests_there_is_no_folder_to_keep_it_in():
    assert keep(dump(), Redactor(), Recorder(Timeline())) == {"files": []}
