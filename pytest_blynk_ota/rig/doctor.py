"""Each board of a rig, tried end to end: what works, what does not, and what to do about it.

A check that fails ends those that need it. What a check writes to flash it takes back.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_blynk_ota.board.baseline import SECTOR_BYTES, Baseline, Region
from pytest_blynk_ota.board.board import Identity
from pytest_blynk_ota.board.patterns import ROM_BANNER
from pytest_blynk_ota.errors import BoardLocked, RigError, UsageError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.rig.cloud_ports import dials
from pytest_blynk_ota.rig.config import BoardSection
from pytest_blynk_ota.rig.dialling import mismatches, summary
from pytest_blynk_ota.rig.learning import learn
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.rack import Rig

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Image

OK, FAIL, SKIP = "ok", "fail", "skip"
LISTEN_S = 2.0
"""Wall seconds in which a board that has been reset says something."""
DARK_S = 2.5
"""Wall seconds without power: 1 s until the board counts as silent, and some to listen."""
REQUEST_S = 30.0
"""Device seconds from the order to update to the request for the file."""
GARBAGE_PART = 0.3
"""Of the letters of a line: so many that are none mean another baud rate."""
ODD_BYTE = "\N{REPLACEMENT CHARACTER}"
NO_FILE = "doctor/there-is-no-such-file.bin"


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one check of one board.

    Attributes:
        state: ``ok``, ``fail`` or ``skip``.
        detail: what was seen.
        remedy: what to do about it; "" if nothing.
    """

    check: str
    state: str
    detail: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Failed(Exception):
    """Raised by a check: what was seen, and what to do."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail, self.remedy = detail, remedy


class Skipped(Exception):
    """Raised by a check that cannot be made here; says why."""


Check = tuple[str, Callable[["Patient"], str], str]


class Patient:
    """One board, and what is known of it so far.

    Args:
        rig: its rig, open.
        section: the board in the rig file.
        bring: brings a firmware that knows this rig onto the board and gives Old; None: what is on
            it is used.
    """

    def __init__(
        self, rig: Rig, section: BoardSection, bring: Callable[[Place], Image] | None = None
    ) -> None:
        self.rig, self.section, self._bring = rig, section, bring
        self._old: Image | None = None
        self._place: Place | None = None
        self.identity: Identity | None = None
        self.logged_in = False

    @property
    def place(self) -> Place:
        assert self._place is not None, "the port is looked at first"
        return self._place

    def examine(self) -> Iterator[Cell]:
        """Make all checks, one after the other."""
        broken = ""
        for name, check, needs in CHECKS:
            if broken and needs:
                yield Cell(name, SKIP, f"not tried: {broken} failed")
                continue
            try:
                yield Cell(name, OK, check(self))
            except Skipped as why:
                yield Cell(name, SKIP, str(why))
            except Failed as error:
                yield Cell(name, FAIL, error.detail, error.remedy)
                broken = broken or (name if name in ENDS_ALL else "")
            except (RigError, UsageError) as error:
                yield Cell(name, FAIL, " ".join(str(error).split()), REMEDIES[name])
                broken = broken or (name if name in ENDS_ALL else "")
        if not broken:
            self.rig.ward(self.section).lift()

    # -- the checks, in their order

    def port(self) -> str:
        """Nobody else has the board, and its port opens."""
        self._place = self.rig.place(self.section.name, even_refused=True)
        return self.place.board.console.url

    def console(self) -> str:
        """A reset by its EN line makes it talk, and in letters."""
        board = self.place.board
        cursor = board.console.cursor
        board.reset(by="rig")
        found = board.console.find(ROM_BANNER, after=cursor, wall_s=LISTEN_S)
        lines = [line.text for line in board.console.lines(cursor)]
        text = "".join(lines)
        if found is not None:
            return found.string
        if text and text.count(ODD_BYTE) >= GARBAGE_PART * len(text):
            raise Failed(
                f"what came is no text: {text[:40]!r}",
                f"baud in the rig file is {self.section.baud}; the firmware or the ROM has another",
            )
        if not lines:
            raise Failed("nothing came, not one line", REMEDIES["console"])
        return f"no banner of the ROM, but it talks: {lines[-1]}"

    def loader(self) -> str:
        """It goes into download mode, says who it is, and comes back."""
        one = self.identity = self.place.board.identity()
        size = one.flash_bytes >> 20
        return f"{one.chip} {one.revision}, {one.mac}, {size} MB of flash, {one.kind}"

    def flash(self) -> str:
        """The last 4 KB of the flash take another content and give it back."""
        assert self.identity is not None
        board, offset = self.place.board, self.identity.flash_bytes - SECTOR_BYTES
        before = board.read(offset, SECTOR_BYTES)
        trial = secrets.token_bytes(SECTOR_BYTES)
        try:
            self._write(offset, trial)
            if board.read(offset, SECTOR_BYTES) != trial:
                raise Failed(f"4 KB at {offset:#x} read back otherwise", REMEDIES["flash"])
        except BoardLocked as error:  # for good, or for want of a word: the message says which
            raise Skipped(str(error)) from None
        finally:
            if board.read(offset, SECTOR_BYTES) != before:
                self._write(offset, before)
        return f"4 KB at {offset:#x} were written, read back, and put back"

    def _write(self, offset: int, data: bytes) -> None:
        self.place.board.restore(Baseline((Region("spare sector", offset, data),)), prove=True)

    def power(self) -> str:
        """Without power it is silent, and with it it starts."""
        power, console = self.place.power, self.place.board.console
        if power is None:
            raise Skipped("the rig file names no way to switch its power")
        cursor = console.cursor
        power.cycle(DARK_S * self.rig.speed, by="rig")
        if console.find(ROM_BANNER, after=cursor, wall_s=LISTEN_S + DARK_S) is None:
            raise Failed(
                "after the power came back it did not start",
                "is it this board's outlet, and does it come on again? Look at the board",
            )
        return f"silent without power, and started with it ({DARK_S:g} s of darkness)"

    def firmware(self) -> str:
        """A firmware that knows this rig stands in flash."""
        if self._bring is None:
            raise Skipped("what is on it is used as it is; --old FILE brings your firmware")
        try:
            self._old = self._bring(self.place)
        except BoardLocked as error:
            raise Skipped(str(error)) from None
        return "Old stands in its slot, with this rig's settings"

    def dials(self) -> str:
        """What the firmware will dial is where we are, and it will trust us."""
        found = [*mismatches(board := self.rig.dialling(self.place, self._old))]
        if found:
            raise Failed("; ".join(one.detail for one in found), "; ".join(o.remedy for o in found))
        return summary(board)

    def cloud(self) -> str:
        """The firmware that is on it logs in at this rig's cloud."""
        profile, timeline = self.section.profile, self.rig.recorder.timeline
        host, port = self.rig.cloud.address_of(dials(self.section))
        cursor = timeline.cursor
        self.place.board.reset(by="rig")
        if not self.place.token:
            learn(self.rig, self.place, time.monotonic())
        wait_s = self.rig.timeout(profile.boot_s + profile.login_s)
        version = timeline.wait(self._reported, wait_s, after=cursor)
        if version is None:
            raise Failed(
                f"nothing logged in within {wait_s:.1f} s with the token of {self.section.name}",
                f"the firmware on it may dial another server (--old FILE brings yours). If it "
                f"dials {host}:{port}: is that address in its network, and does a firewall "
                f"keep it out? (rig.advertise, cloud.ports in the rig file)",
            )
        self.logged_in = True
        return f"it logged in at {host}:{port}, with version {version}"

    def _reported(self, batch: Sequence[Event]) -> str | None:
        """The version that it reports behind its login: only then it listens, on MQTT."""
        mine = ("cloud", "report", self.section.name)
        said = [e.data["version"] for e in batch if (e.source, e.kind, e.board) == mine]
        return said[-1] if said else None

    def server(self) -> str:
        """Told to update, it comes to this rig's firmware server, which has nothing for it."""
        if not self.logged_in:
            raise Skipped("not tried: it did not log in, so it cannot be told where to come")
        host, port = self.rig.delivery.address
        timeline = self.rig.recorder.timeline
        cursor = timeline.cursor
        tag = {"type": "doctor", "ver": "0.0.0", "build": "doctor"}  # MQTT sends all of it
        url = f"http://{host}:{port}/{NO_FILE}"
        sent = self.rig.cloud.send_ota(self.section.name, url, offer="doctor", size=1, tag=tag)
        self.rig.background.call(sent)
        wait_s = self.rig.timeout(REQUEST_S)
        if timeline.wait(_request, wait_s, after=cursor) is None:
            raise Failed(
                f"it did not come to http://{host}:{port} within {wait_s:.1f} s",
                "does a firewall keep that port from the boards? Does this firmware know the "
                "update command (InternalPinOTA)?",
            )
        return f"it came to {host}:{port}"


def _request(batch: Sequence[Event]) -> bool | None:
    asked = [e for e in batch if (e.source, e.kind) == ("delivery", "request")]
    return True if any(NO_FILE in e.data["path"] for e in asked) else None


REMEDIES = {
    "port": "blynk-ota rig scan lists the ports, and rig status who has a board",
    "console": "is it powered, are TX and RX right, and does EN hang on RTS?",
    "loader": "hold IO0 (BOOT) while you press EN: if that helps, DTR does not reach IO0; a board "
    "with another chip than the rig file says is named in the message",
    "flash": "a shorter cable, or a lower flash_baud in the rig file; a flash that is worn out "
    "wants another board",
    "power": "run the outlet's command by hand, and see that nothing else feeds the board",
    "firmware": "is it for this chip and this partition table? blynk-ota image info says",
    "dials": "is the address right (rig.advertise)?",
    "cloud": "is the network of provision.wifi right, and this host in it (rig.advertise)?",
    "server": "does a firewall keep the port from the boards?",
}
CHECKS: Sequence[Check] = (
    ("port", Patient.port, ""),
    ("console", Patient.console, "port"),
    ("loader", Patient.loader, "port"),
    ("flash", Patient.flash, "loader"),
    ("power", Patient.power, "port"),
    ("firmware", Patient.firmware, "loader"),
    ("dials", Patient.dials, "port"),
    ("cloud", Patient.cloud, "port"),
    ("server", Patient.server, "port"),
)
"""Name, what is done, and what it needs to have worked."""
ENDS_ALL = ("port", "loader")
