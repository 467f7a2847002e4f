"""What a board's ``port`` means: from a name and the ports that are there to the one to open.

Pure: ``board/usb.py`` looks at the system. A name is one of

====================  =================================================================
``usb:SERIAL``        the USB serial number; on whatever port the board comes back
``usb:LOCATION``      the place in the tree of hubs, as ``usb:1-1.2``: for boards whose
                      serial numbers are equal; the board has to stay in its socket
``usb:…:1.0``         the same with the USB interface, where one device has several ports
``mac:aa:bb:…``       the chip's MAC address
a path                ``/dev/ttyUSB0``, ``/dev/serial/by-id/…``, ``/dev/serial/by-path/…``
``rfc2217://H:P``     a serial server; ``socket://H:P`` one that passes bytes alone
``virtual``           a board made of software, started by the rig
====================  =================================================================
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pytest_blynk_ota.errors import ConfigError, PortGone

USB, MAC = "usb:", "mac:"
URLS = ("rfc2217://", "socket://")
BY_ID = "/dev/serial/by-id/"
EXPECTED = (
    '"virtual", a device path, usb:SERIAL, usb:LOCATION as usb:1-1.2, mac:aa:bb:cc:dd:ee:ff, '
    "rfc2217://HOST:PORT or socket://HOST:PORT"
)
FORM = re.compile(
    r"/.|usb:.|mac:[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}$|(rfc2217|socket)://[^/:]+:\d+$|COM\d+$"
)
"""Of a port that is not ``virtual``."""
MAC_FORM = re.compile(r"[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}")
ESPRESSIF = 0x303A
"""The USB vendor of chips with a USB port of their own; their serial number is their MAC."""

BRIDGES = {
    (0x10C4, 0xEA60): "CP210x",
    (0x10C4, 0xEA70): "CP2105",
    (0x10C4, 0xEA71): "CP2108",
    (0x1A86, 0x7522): "CH340",
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x55D2): "CH342",
    (0x1A86, 0x55D3): "CH343",
    (0x1A86, 0x55D4): "CH9102",
    (0x0403, 0x6001): "FT232R",
    (0x0403, 0x6010): "FT2232",
    (0x0403, 0x6011): "FT4232",
    (0x0403, 0x6014): "FT232H",
    (0x0403, 0x6015): "FT231X",
    (0x067B, 0x2303): "PL2303",
    (0x067B, 0x23A3): "PL2303GC",
}
"""USB-to-serial chips on boards with an ESP32 (the product lists of esp-idf-monitor and udev)."""

SHARED_NUMBERS = frozenset({"0", "1", "0000", "0001", "00000000", "0123456789", "1234567890"})
"""Serial numbers that a maker gave to all its boards: clones of the CP2102 all say 0001."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A serial port that the system lists.

    Attributes:
        device: its path.
        vid, pid: of its USB device; None if it is no USB port.
        serial: the USB serial number; "" if the device has none.
        location: place in the tree of hubs, ``1-1.2``; with the interface where the device has
            several: ``1-1.2:1.0``.
        product: what the device calls itself.
    """

    device: str
    vid: int | None = None
    pid: int | None = None
    serial: str = ""
    location: str = ""
    product: str = ""

    @property
    def place(self) -> str:
        """The location without the interface: the socket that the plug is in."""
        return self.location.partition(":")[0]

    @property
    def interface(self) -> str:
        """``1.0``; "" where the device has one port only."""
        return self.location.partition(":")[2]

    @property
    def mac(self) -> str:
        """The chip's MAC address where USB says it, ``aa:bb:…``; else ""."""
        if self.vid == ESPRESSIF and MAC_FORM.fullmatch(self.serial):
            return plain_mac(self.serial)
        return ""

    @property
    def bridge(self) -> str:
        """What is between USB and the chip; "" if no board with an ESP32 is known to have it."""
        if self.vid == ESPRESSIF:
            return "native USB"
        return BRIDGES.get((self.vid or 0, self.pid or 0), "")

    @property
    def is_jtag(self) -> bool:
        """Whether it is no UART: channel A of a two-port FT2232 is JTAG on ESP-Prog and on
        ESP-WROVER-KIT, and the console is channel B (their user guides)."""
        return (self.vid, self.pid, self.interface) == (0x0403, 0x6010, "1.0")

    @property
    def ids(self) -> str:
        """``10c4:ea60``; "" if it is no USB port."""
        return f"{self.vid:04x}:{self.pid:04x}" if self.vid is not None else ""


@dataclass(frozen=True, slots=True)
class Known:
    """A board that has been asked once: which USB device its chip was behind."""

    mac: str
    vid: int
    pid: int
    serial: str
    location: str

    def is_behind(self, port: Seen) -> bool:
        """Whether the port is of that USB device, or of one that looks the same."""
        same = (port.vid, port.pid, port.serial) == (self.vid, self.pid, self.serial)
        return same and port.interface == self.location.partition(":")[2]


def plain_mac(text: str) -> str:
    """``aa:bb:cc:dd:ee:ff`` from any way to write it."""
    digits = re.sub(r"[:-]", "", text).lower()
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def names_a_port(word: str) -> bool:
    """Whether it is a way to name one board, and no rig's name or file."""
    starts = ("/dev/", USB, MAC, *URLS)
    return word.startswith(starts) and not word.endswith(".toml")


def label_of(word: str) -> str:
    """The word as a file's name, for build servers too: ``/dev/ttyUSB0`` is ``ttyUSB0``."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", word.removeprefix("/dev/")).strip("-.")


def locate(word: str, seen: Sequence[Seen], known: Iterable[Known] = ()) -> str:
    """The device path or URL to open for a name.

    Args:
        word: any name but ``virtual``.
        seen: all ports that are there.
        known: boards that have been asked for their MAC before.

    Raises:
        PortGone: nothing there has this name, or several have; says which there are and what to
            write instead.
        ConfigError: it is no way to name a board.
    """
    if word.startswith(USB):
        return _only(word, _by_usb(word.removeprefix(USB), seen), seen).device
    if word.startswith(MAC):
        return _only(word, _by_mac(word, seen, known), seen).device
    if word.startswith(BY_ID):
        _refuse_twins(word, seen)
    if word.startswith("/") or word.startswith(URLS) or re.fullmatch(r"COM\d+", word):
        return word
    raise ConfigError("port", [f"expected {EXPECTED}, got {word!r}"])


def best_name(port: Seen, seen: Sequence[Seen]) -> str:
    """The name for a rig file: it means this port alone, and holds as long as it can."""
    fit = port.serial.isprintable() and port.serial not in SHARED_NUMBERS
    number = port.serial if fit else ""
    for word, found in (
        (f"{MAC}{port.mac}", port.mac and _by_mac(f"{MAC}{port.mac}", seen, ())),
        (f"{USB}{number}", number and _by_usb(number, seen)),
        (f"{USB}{number}:{port.interface}", number and _by_usb(f"{number}:{port.interface}", seen)),
        (f"{USB}{port.place}", port.place and _by_usb(port.place, seen)),
        (f"{USB}{port.location}", port.location and _by_usb(port.location, seen)),
    ):
        if found and list(found) == [port]:
            return word
    return port.device


def listed(ports: Iterable[Seen], seen: Sequence[Seen], between: str = "; ") -> str:
    """Ports in words, each with the name to write: for messages."""
    rows = []
    for port in ports:
        what = ", ".join(
            filter(None, [port.bridge or port.product, port.serial and f"serial {port.serial}"])
        )
        rows.append(f"{best_name(port, seen)} ({port.device}{', ' if what else ''}{what})")
    return between.join(rows) or "none"


def usb_ports(seen: Iterable[Seen]) -> list[Seen]:
    """Those that are on USB."""
    return [port for port in seen if port.vid is not None]


def _by_usb(text: str, seen: Iterable[Seen]) -> list[Seen]:
    wanted = text.casefold()
    return [port for port in usb_ports(seen) if wanted in _usb_words(port)]


def _usb_words(port: Seen) -> Collection[str]:
    """What may stand after ``usb:``, in small letters."""
    words = {port.serial, port.location, port.place}
    if port.serial and port.interface:
        words.add(f"{port.serial}:{port.interface}")
    return {word.casefold() for word in words if word}


def _by_mac(word: str, seen: Sequence[Seen], known: Iterable[Known]) -> list[Seen]:
    text = word.removeprefix(MAC)
    if not MAC_FORM.fullmatch(text):
        raise ConfigError("port", [f"expected mac:aa:bb:cc:dd:ee:ff, got {word!r}"])
    mac = plain_mac(text)
    if native := [port for port in seen if port.mac == mac]:
        return native
    boards = list(known)
    return next((_behind(one, boards, seen) for one in boards if plain_mac(one.mac) == mac), [])


def _behind(board: Known, known: Sequence[Known], seen: Sequence[Seen]) -> list[Seen]:
    """The ports that a board may be at: its own place, else where no other of its kind belongs."""
    alike = [port for port in usb_ports(seen) if board.is_behind(port)]
    own = [port for port in alike if port.location == board.location]
    taken = {one.location for one in known if one is not board and any(map(one.is_behind, alike))}
    return own or [port for port in alike if port.location not in taken]


def _only(word: str, found: Sequence[Seen], seen: Sequence[Seen]) -> Seen:
    if len(found) == 1:
        return found[0]
    if found:
        raise PortGone(
            f"{word} means {len(found)} ports. Write one of these instead: {listed(found, seen)}"
        )
    raise PortGone(f"{_missing(word)}; found: {listed(usb_ports(seen), seen)}. {HINTS[word[:4]]}")


def _missing(word: str) -> str:
    text = word[len(USB) :]
    if word.startswith(MAC):
        return f"no USB serial port is known to lead to the chip with the MAC {text}"
    if re.fullmatch(r"\d+-\d+(\.\d+)*(:\d+\.\d+)?", text):
        return f"no USB serial port is at the place {text}"
    return f"no USB serial port has the serial number {text}"


HINTS = {
    USB: "Is the board plugged in and powered?",
    MAC: (
        "Is the board plugged in and powered? One behind a USB-to-serial bridge has to be asked "
        "for its MAC once: blynk-ota rig scan --ask"
    ),
}


def _refuse_twins(word: str, seen: Sequence[Seen]) -> None:
    """Links by serial number lead to any one of the boards whose numbers are equal."""
    meant = [port for port in usb_ports(seen) if port.serial and _is_link_to(word, port)]
    for port in meant:
        kind = (port.vid, port.pid, port.interface)
        twins = [one for one in meant if (one.vid, one.pid, one.interface) == kind]
        if len(twins) > 1:
            raise PortGone(
                f"{word} leads to any one of {len(twins)} ports with this serial number. Write one "
                f"of these instead: {listed(twins, seen)}"
            )


def _is_link_to(word: str, port: Seen) -> bool:
    """udev makes it of the maker's name, the product and the serial number."""
    product = re.sub(r"[^A-Za-z0-9#+.:=@_-]", "_", port.product)
    return f"{product}_{port.serial}-if" in word
