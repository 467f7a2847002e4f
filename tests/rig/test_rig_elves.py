"""Crashes decoded with the ELF file that fits, and with no other."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from pytest_blynk_ota.errors import FirmwareError, UsageError
from pytest_blynk_ota.firmware.image import AppDesc
from pytest_blynk_ota.rig.elves import Elves, beside, read_elf

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this host")


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.c").write_text("int main(void)\n{\n    return 0;\n}\n")
    subprocess.run(["gcc", "-g", "-no-pie", "app.c", "-o", "app.elf"], cwd=folder, check=True)
    return folder / "app.elf"


@pytest.fixture(scope="module")
def main(app) -> str:
    """Where ``main`` is, as a crash tells it."""
    with app.open("rb") as file:
        rows = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name("main")
    return f"0x{rows[0]['st_value']:08x}"


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def crash(app: Path, pc: str, **more: object) -> dict:
    return {"pc": pc, "backtrace": [pc], "elf_sha256": sha(app)[:9], **more}


def test_a_crash_is_decoded_with_the_elf_whose_hash_the_application_printed(app, main):
    told = Elves(read_elf(app, "--elf")).decode(crash(app, main))
    assert told == {
        "elf": f"--elf {app}",
        "decoded": [f"{main}: main at {app.parent.name}/app.c:2"],
    }


@pytest.mark.parametrize("shown", ["0123456789", ""])
def test_with_another_elf_or_no_hash_the_addresses_stay_as_they_are(app, main, shown):
    told = Elves(read_elf(app, "--elf")).decode(crash(app, main, elf_sha256=shown))
    assert "decoded" not in told
    assert told["elf"].startswith("not used: ")


def test_three_letters_of_a_torn_hash_prove_nothing(app, main):
    told = Elves(read_elf(app, "--elf")).decode(crash(app, main, elf_sha256=sha(app)[:3]))
    assert "decoded" not in told


def test_without_an_elf_file_nothing_is_said_of_one(app, main):
    assert Elves().decode(crash(app, main)) == {}


def test_of_several_the_one_that_fits_is_used(app, main, tmp_path):
    other = tmp_path / "other.elf"
    other.write_bytes(app.read_bytes() + b"\0")
    for order in ([app, other], [other, app]):
        elves = Elves(one for path in order for one in read_elf(path, "--elf"))
        assert elves.decode(crash(app, main))["elf"] == f"--elf {app}"


def test_a_folder_stands_for_all_its_elf_files(app, tmp_path):
    assert len(Elves(read_elf(app.parent, "--elf"))) == 1
    with pytest.raises(UsageError, match=r"holds no \*\.elf file"):
        read_elf(tmp_path, "--elf")


def test_a_file_that_is_missing_or_none_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"--elf .*gone\.elf: No such file"):
        read_elf(tmp_path / "gone.elf", "--elf")
    (tmp_path / "app.elf").write_bytes(b"text")
    with pytest.raises(FirmwareError, match=r"--elf .*app\.elf: is no ELF file"):
        read_elf(tmp_path / "app.elf", "--elf")


def test_the_elf_beside_a_binary_is_found(app):
    assert [elf.sha256 for elf in beside(app.with_suffix(".bin"))] == [sha(app)]
    assert beside(app.with_name("other.bin")) == []
    assert beside(None) == []


def desc(elf_sha256: bytes) -> AppDesc:
    return AppDesc("1", "app", "", "", "", elf_sha256=elf_sha256)


def test_an_elf_of_none_of_the_images_is_said(app):
    elves = Elves(read_elf(app, "--elf"))
    assert elves.misfits([desc(bytes.fromhex(sha(app))), None]) == []
    (sentence,) = elves.misfits([desc(b"\x12" * 32)])
    assert sha(app)[:9] in sentence
    assert "121212121" in sentence
    assert "not used" in sentence
