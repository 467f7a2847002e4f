"""A lab in a virtual machine: boards on this host, real USB ports in a real kernel, tests in there.

python tests/lab_vm/lab_vm.py [--keep] [-- words of pytest in the guest]

Takes Debian's kernel and usbip (unpacked, not installed), BusyBox and QEMU. The guest sees this
host's files, read only under a RAM disk, so that it has the same Python. The boards are exported by
USB/IP and dial the guest over a network of their own; that takes root here. What is missing
(qemu-system-x86_64, apt-get, dpkg-deb, ip) ends it with code 77, as "skipped" does of automake.

LAB_CYCLES: how often each board is unplugged; LAB_ROWS: words that choose rows of hil_tests.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".blynk-ota" / "lab-vm"
SKIPPED = 77
OUTLET_PORT = 8000
"""As rigs/lab-vm.toml says; nobody else is in that network."""
HOST_IP, GUEST_IP, TAP = "192.168.77.1", "192.168.77.2", "blynkota0"
MODULES = (
    "virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_net", "vhci-hcd", "cdc-acm", "cp210x",
)  # fmt: skip
PACKAGES = ("busybox-static", "usbip")
TOOL = Path("usr", "sbin", "usbip")
NEEDED = ("qemu-system-x86_64", "apt-get", "dpkg-deb", "ip")
LOGS = ("rows.log", "pytest.log", "console.log", "attach.log")
ROWS = '-k "smoke or (test_power and not any_moment)"'
"""The sweep alone takes longer than all others."""
SHOWN = 8000
"""Letters of the end of a log."""
RACK = """[rig]
name = "lab-vm"
[[board]]
name = "bridge"
chip = "esp32"
port = "virtual"
power = "virtual"
virtual = { outlet = "hub" }
[[board]]
name = "jtag"
chip = "esp32c3"
port = "virtual"
power = "virtual"
virtual = { usb = "jtag" }
"""
INIT = """#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /sys /dev /ro /rw /new
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
for module in $(busybox cat /modules/order); do busybox insmod /modules/$module; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /ro
busybox mount -t tmpfs tmpfs /rw
busybox mkdir /rw/up /rw/work
busybox mount -t overlay -o lowerdir=/ro,upperdir=/rw/up,workdir=/rw/work overlay /new
for place in proc sys dev; do busybox mount --move /$place /new/$place; done
busybox mkdir -p /new/out
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 out /new/out
exec busybox switch_root /new /bin/sh {guest}
"""


class Missing(Exception):
    """Raised when this host lacks something; says what."""


def cpio(files: dict[str, tuple[int, bytes]]) -> bytes:
    """An initramfs: names to mode and content, in the format "newc"."""
    made = bytearray()
    rows = [*files.items(), ("TRAILER!!!", (0, b""))]
    for number, (name, (mode, data)) in enumerate(rows, 1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        made += b"070701" + "".join(f"{field:08x}" for field in fields).encode() + raw
        made += bytes(-len(made) % 4) + data
        made += bytes(-len(made) % 4)
    return bytes(made)


def run(*line: object, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in line], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"{line[0]} {line[1]} failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def kernel() -> Path:
    """The unpacked packages: kernel, modules, BusyBox; fetched once."""
    root = CACHE / "root"
    there = [(root / "bin" / "busybox").exists(), (root / TOOL).exists()]
    if all(there) and list((root / "boot").glob("vmlinuz-*")):
        return root
    words = run("apt-cache", "depends", "linux-image-amd64").split()
    image = next((word for word in words if word.startswith("linux-image-6")), None)
    if image is None:
        raise Missing("apt-cache knows no kernel that linux-image-amd64 stands for")
    CACHE.mkdir(parents=True, exist_ok=True)
    run("apt-get", "download", image, *PACKAGES, cwd=CACHE)
    for package in CACHE.glob("*.deb"):
        run("dpkg-deb", "-x", package, root)
        package.unlink()
    run(root / TOOL, "version")  # has it its libudev?
    return root


def ordered(tree: Path) -> list[Path]:
    """The modules with all that they need, each behind what it needs."""
    needs: dict[str, list[str]] = {}
    names = {path.stem.replace("-", "_"): path for path in tree.rglob("*.ko")}
    for name, path in names.items():
        told = [part for part in path.read_bytes().split(b"\0") if part.startswith(b"depends=")]
        needs[name] = [one for one in told[0][8:].decode().split(",") if one] if told else []
    found: list[str] = []

    def add(name: str) -> None:
        name = name.replace("-", "_")
        if name in found or name not in names:  # built into the kernel
            return
        for one in needs[name]:
            add(one)
        found.append(name)

    for module in MODULES:
        add(module)
    return [names[name] for name in found]


def initramfs(root: Path, guest: Path, target: Path) -> None:
    """Write the first file system of the guest."""
    modules = ordered(root / "lib" / "modules")
    files: dict[str, tuple[int, bytes]] = {"bin": (0o40755, b""), "modules": (0o40755, b"")}
    files["bin/busybox"] = (0o100755, (root / "bin" / "busybox").read_bytes())
    files["init"] = (0o100755, INIT.format(guest=guest).encode())
    files["modules/order"] = (0o100644, "\n".join(path.name for path in modules).encode())
    files |= {f"modules/{path.name}": (0o100644, path.read_bytes()) for path in modules}
    target.write_bytes(cpio(files))


@contextmanager
def rack(folder: Path) -> Iterator[dict[str, Any]]:
    """The boards, as USB devices of this host."""
    file = folder / "rack.toml"
    file.write_text(RACK)
    line = [sys.executable, "-m", "pytest_blynk_ota.virtual", str(file), "--usbip", "--json"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextmanager
def network() -> Iterator[None]:
    """A cable between this host and the guest."""
    if os.geteuid() != 0:
        raise Missing("root: a network between this host and the guest takes it")
    run("ip", "tuntap", "add", "dev", TAP, "mode", "tap")
    try:
        run("ip", "addr", "add", f"{HOST_IP}/24", "dev", TAP)
        run("ip", "link", "set", TAP, "up")
        yield
    finally:
        subprocess.run(["ip", "link", "del", TAP], check=False, capture_output=True)


def relay(url: str, port: int = 0) -> subprocess.Popen[bytes]:
    """The boards listen on loopback alone: a port for the guest that leads there; the same one if
    none is named."""
    return subprocess.Popen([sys.executable, str(HERE / "relay.py"), HOST_IP, url, str(port)])


def guest_script(folder: Path, ready: dict[str, Any], words: list[str]) -> Path:
    """What the guest runs when it is up."""
    ports = [board["url"].rpartition(":")[2] for board in ready["boards"]]
    serials = {
        "bridge": ready["boards"][0]["mac"].replace(":", ""),
        "jtag": ready["boards"][1]["mac"].upper(),
    }
    variables = {
        "LAB_USBIP_TOOL": str(CACHE / "root" / TOOL),
        "LAB_USBIP": " ".join(f"{HOST_IP}:{port}" for port in ports),
        "LAB_OUTLET": f"http://{HOST_IP}:{OUTLET_PORT}",
        "LAB_SERIAL_BRIDGE": serials["bridge"],
        "LAB_SERIAL_JTAG": serials["jtag"],
        "LAB_ROWS": os.environ.get("LAB_ROWS", ROWS),
        "LAB_CYCLES": os.environ.get("LAB_CYCLES", "50"),
        "WIFI": "lab:virtual-passphrase",
        "HOME": "/root",
        "BLYNK_OTA_LOCKS": "/tmp/locks",
    }
    path = folder / "guest.sh"
    exports = "\n".join(f"export {name}='{value}'" for name, value in variables.items())
    path.write_text(
        f"{exports}\nmount -t tmpfs tmpfs /tmp\nmount -t tmpfs tmpfs /run\n"
        f"ip link set lo up; ip addr add {GUEST_IP}/24 dev eth0; ip link set eth0 up\n"
        f"mkdir -p /tmp/work; cd /tmp/work\n"
        f"{sys.executable} {HERE / 'attach.py'} $LAB_USBIP >/out/attach.log 2>&1 &\n"
        f"{sys.executable} -m pytest {HERE / 'in_the_guest.py'} -p no:cacheprovider "
        f"-o addopts= -c /dev/null --rootdir=/tmp/work {shlex.join(words)} >/out/pytest.log 2>&1\n"
        f"echo $? >/out/code\nsync\n"
        "echo 1 >/proc/sys/kernel/sysrq\necho b >/proc/sysrq-trigger\n"
    )
    return path


def machine(root: Path, ramdisk: Path, out: Path, limit_s: float) -> None:
    """Run the guest to its end. Raises TimeoutExpired."""
    (image,) = (root / "boot").glob("vmlinuz-*")
    line = [
        "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nographic",
        "-no-reboot", "-kernel", image, "-initrd", ramdisk,
        "-append", "console=ttyS0 quiet panic=1",
        "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on",
        "-virtfs", f"local,path={out},mount_tag=out,security_model=none",
        "-netdev", f"tap,id=n,ifname={TAP},script=no,downscript=no",
        "-device", "virtio-net-pci,netdev=n",
    ]  # fmt: skip
    with (out / "console.log").open("wb") as console:
        subprocess.run(
            [str(word) for word in line],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            timeout=limit_s,
            check=False,
        )


def lab(words: list[str], limit_s: float, out: Path) -> int:
    """The exit code of pytest in the guest."""
    for tool in NEEDED:
        if shutil.which(tool) is None:
            raise Missing(f"{tool} (Debian: qemu-system-x86, apt, dpkg, iproute2)")
    root = kernel()
    with tempfile.TemporaryDirectory() as name, rack(Path(name)) as ready, network():
        script = guest_script(Path(name), ready, words)
        ramdisk = Path(name) / "initramfs"
        initramfs(root, script, ramdisk)
        relays = [relay(board["url"]) for board in ready["boards"]]
        relays.append(relay(ready["outlet"], OUTLET_PORT))
        begun = time.monotonic()
        try:
            machine(root, ramdisk, out, limit_s)
        except subprocess.TimeoutExpired:
            print(f"the guest was ended after {limit_s:g} s; --limit gives it more")
        finally:
            for one in relays:
                one.kill()
                one.wait()
        print(f"the guest lived for {time.monotonic() - begun:.0f} s")
    code = out / "code"
    return int(code.read_text()) if code.exists() else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds that it may take")
    parser.add_argument("--keep", type=Path, help="a folder for the logs")
    parser.add_argument("words", nargs="*", help="for pytest in the guest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        out = options.keep or Path(name)
        out.mkdir(parents=True, exist_ok=True)
        try:
            code = lab(options.words, options.limit, out)
        except Missing as error:
            print(f"skipped: needs {error}")
            return SKIPPED
        for log in [out / one for one in LOGS if (out / one).exists()][:2]:
            print(log.read_text(errors="replace")[-SHOWN:])
        return code


if __name__ == "__main__":
    sys.exit(main())
