"""pytest-embedded's own services on a virtual board, in a test run that is not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from accept_bench import APP_OFFSET, rig_file, running, whole_flash

RUN_S = 90.0
TEST = """
def test_flashed(dut):
    dut.expect(r"rst:0x1 \\(POWERON", timeout=20)
    dut.expect(r"1\\.0\\.0 \\(build", timeout=20)
    dut.write("devinfo")
    dut.expect(r'"fw_ver":"1\\.0\\.0"', timeout=20)
"""


def build(folder, chip):
    """What ``idf.py build`` leaves, as far as pytest-embedded reads it."""
    names = {APP_OFFSET: "app.bin"}
    files = {}
    for offset, data in whole_flash(chip).items():
        name = names.get(offset, f"at-{offset:x}.bin")
        (folder / name).write_bytes(data)
        files[hex(offset)] = name
    described = {
        "write_flash_args": ["--flash-size", "keep"],
        "flash_settings": {"flash_mode": "dio", "flash_size": "4MB", "flash_freq": "40m"},
        "flash_files": files,
        "app": {"offset": hex(APP_OFFSET), "file": "app.bin", "encrypted": "false"},
        "extra_esptool_args": {
            "after": "hard-reset", "before": "default-reset", "stub": True, "chip": chip
        },
    }  # fmt: skip
    (folder / "flasher_args.json").write_text(json.dumps(described))
    (folder / "config").mkdir()
    (folder / "config/sdkconfig.json").write_text(json.dumps({"IDF_TARGET": chip}))


@pytest.mark.nightly
def test_its_esp_service_flashes_a_board_and_expects_its_log(tmp_path):
    pytest.importorskip("pytest_embedded_idf", reason="it is in the extra [test]")
    app = tmp_path / "app"
    (app / "build").mkdir(parents=True)
    build(app / "build", "esp32c3")
    (app / "test_app.py").write_text(TEST)
    with running("virtual", rig_file(tmp_path, 'name = "a"\nchip = "esp32c3"')) as rack:
        url = rack.ready["boards"][0]["url"]
        services = ["--embedded-services", "esp,idf", "--port", url, "--target", "esp32c3"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *services, str(app)],
            cwd=app,
            # at another rate than the log's, the first lines after the last reset are garbage
            env={**os.environ, "ESPBAUD": "115200"},
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
