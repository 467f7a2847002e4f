"""A builder for hand-written evidence: a tale reads like what happened to the board.

Times are device seconds from the begin of the operation. Each verb records the events that the
witnesses would have recorded, and moves the clock.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytest_blynk_ota.errors import Undecided
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.verdict import Verdict, judge

SPEED = 20.0
BEGIN = 1000.0
SIZE = 100_000
VALID, NEW, PENDING, ABORTED, UNDEFINED = 2, 0, 1, 4, 0xFFFFFFFF
BLANK = "ff" * 32


def entry(seq: int, state: int = VALID) -> str:
    """One otadata entry in hex."""
    crc = zlib.crc32(struct.pack("<I", seq), 0xFFFFFFFF)
    return struct.pack("<I20sII", seq, b"\xff" * 20, state, crc).hex()


def image(version: str, **more: Any) -> dict[str, Any]:
    facts = {
        "version": version,
        "build": f"build of {version}",
        "fw_type": "TMPL",
        "project": "p",
        "app_version": version,
        "elf_sha256": version.replace(".", "") * 16,
        "sha256": version,
        "md5": version,
        "size": SIZE,
    }
    return facts | more


PROFILE = {
    "name": "test",
    "login_s": 60.0,
    "request_s": 20.0,
    "stall_s": 30.0,
    "apply_s": 30.0,
    "error_restart_s": 10.0,
    "boot_s": 15.0,
    "settle_s": 10.0,
    "self_test_s": 0.0,
    "loop": 4,
    "rollback": True,
    "in_flight_stall_s": 5.0,
}
OFFSETS = {"app0": 0x10000, "app1": 0x150000, "factory": 0x290000}


def planned(text: str, **more: Any) -> dict[str, Any]:
    """A fault as it stands in the operation's event."""
    row = {"text": text, "kind": text.split()[0], "attempts": None, "maybe": False, "sure": True}
    return row | more


class Tale:
    """One timeline under construction.

    Args:
        info: whether bootloader and app log at INFO; else only the ROM banner is seen.
        op: ``ship`` or ``offer``.
        online: whether Old is logged in when the operation begins.
    """

    def __init__(
        self,
        *,
        op: str = "ship",
        info: bool = False,
        uart: bool = True,
        flash: bool = True,
        limit: int | None = 3,
        faults: tuple[str | dict[str, Any], ...] = (),
        online: bool = True,
        restored: bool = False,
        images: dict[str, Any] | None = None,
        deadline: float = 600.0,
        otadata: list[str] | None = None,
        slots: dict[str, Any] | None = None,
        attempts: dict[int, list[int]] | None = None,
        **profile: Any,
    ) -> None:
        self.events: list[Event] = []
        self.now = -60.0
        self.info, self.uart = info, uart
        self.images = images or {"old": image("1.0.0"), "new": image("2.0.0")}
        self.places = dict(slots or {"app0": "old", "app1": None})
        self.running, self.slot = "old", "app0"
        self.session = self.conn = self.count = self.attempt = 0
        self.number = 0
        self.board = "c3-a"
        self._settings = {
            "limit": limit if op == "ship" else None,
            "deadline_s": deadline,
            "speed": SPEED,
            "skew_s": 1.0,
            "profile": PROFILE | profile,
            "images": self.images,
            "running": "old",
            "offered": "new",
            "otadata": otadata or [entry(1), BLANK],
            "uart": uart,
            "flash": flash,
        }
        if restored:
            self.add(
                "ota",
                "restored",
                image="old",
                slots={},
                otadata=[entry(1), BLANK],
                wrote_bytes=0,
                serial_bytes=0,
                seconds=1.0,
            )
        if online:
            self.boots("old", code=1, cause="POWERON", by="rig").wait(5).logs_in()
        self.now = 0.0
        self.begins(op, faults, attempts or {})

    def begins(
        self,
        op: str,
        faults: tuple[str | dict[str, Any], ...] = (),
        attempts: dict[int, list[int]] | None = None,
        **more: Any,
    ) -> Tale:
        """An operation begins."""
        self.number += 1
        self.count = self.attempt = 0
        slots = {
            label: {"offset": OFFSETS[label], "size": 0x140000, "image": name}
            for label, name in self.places.items()
        }
        rows = [
            {"text": one, "attempts": (attempts or {}).get(i)} if isinstance(one, str) else one
            for i, one in enumerate(faults)
        ]
        data = self._settings | {"op": op, "number": self.number, "slots": slots, "faults": rows}
        return self.add("ota", "operation", **(data | more))

    # the clock

    def wait(self, seconds: float) -> Tale:
        self.now += seconds
        return self

    def add(self, source: str, kind: str, board: str | None = "", /, **data: Any) -> Tale:
        """One event, now."""
        if source == "uart" and not self.uart:
            return self
        t = BEGIN + self.now / SPEED
        where = self.board if board == "" else board
        self.events.append(Event(len(self.events) + 1, t, t, source, kind, where, data))
        return self

    # the board

    def boots(
        self,
        name: str,
        *,
        code: int = 0xC,
        cause: str = "SW_CPU",
        by: str = "",
        info: bool | None = None,
    ) -> Tale:
        """A reset, and an image starts. ``by``: whose reset it was."""
        if by:
            self.add("rig", "reset", by=by, mode="run").wait(0.1)
        self.add("uart", "reset", code=code, cause=cause, download=False)
        self.running = name
        self.slot = next((label for label, held in self.places.items() if held == name), self.slot)
        if self.info if info is None else info:
            self.wait(0.3).add("uart", "slot", offset=OFFSETS[self.slot])
            facts = self.images.get(name, {})
            self.add("uart", "app", field="version", value=facts.get("app_version", "?"))
            self.add(
                "uart", "app", field="elf_sha256", value=(facts.get("elf_sha256") or "????")[:9]
            )
        return self

    def logs_in(self, version: str | None = None, build: str | None = None) -> Tale:
        """A login with a report; of what runs, unless told otherwise. "" reports nothing."""
        facts = self.images.get(self.running, {})
        told = facts.get("version") if version is None else version
        self.session += 1
        self.add("cloud", "connected", None, session=self.session, peer="10.0.0.2:5")
        self.wait(0.2).add("cloud", "login", session=self.session)
        pairs = {"mcu": told} if told else {}
        self.wait(0.2).add("cloud", "info", session=self.session, pairs=pairs)
        if told:
            built = build if build is not None else f"build of {told}"
            self.add(
                "cloud", "report", session=self.session, version=told, build=built, fw_type="TMPL"
            )
        return self

    def comes_back(self, name: str, *, code: int = 0xC, cause: str = "SW_CPU") -> Tale:
        """Restart into an image, login, settle."""
        return self.boots(name, code=code, cause=cause).wait(5).logs_in().wait(12)

    def leaves(self, by: str = "device", why: str = "closed") -> Tale:
        """The cloud session ends."""
        return self.add("cloud", "closed", session=self.session, by=by, why=why)

    def crashes(
        self, text: str = "Guru Meditation Error: Core 0 panic'ed (LoadProhibited)"
    ) -> Tale:
        return self.add("uart", "crash", what="panic", text=text)

    def prints(self, what: str, **data: Any) -> Tale:
        return self.add("uart", "firmware", what=what, text=what, **data)

    def fails_to_boot(self, code: int = 0x3, what: str = "no_bootable_app") -> Tale:
        self.add("uart", "reset", code=code, cause="SW_SYS", download=False).wait(0.2)
        return self.add("uart", "boot_error", what=what, text=f"E boot: {what}")

    def lands(self, name: str | None, label: str = "app1") -> Tale:
        """What a slot holds from now on."""
        self.places[label] = name
        return self

    # the cloud and the firmware server

    def offered(self, *, disconnects: bool = True, image: str | None = None) -> Tale:
        """A URL goes out; Edgent leaves the cloud for the download."""
        self.count += 1
        offer = f"o{self.count}"
        self.add("ota", "offer", offer=offer, number=self.count, image=image)
        self.add("cloud", "ota_sent", session=self.session, offer=offer, url="http://x/?token=t")
        self.wait(2)
        return self.leaves().wait(0.5) if disconnects else self

    def asks(
        self,
        status: int = 200,
        announced: int | None = SIZE,
        *,
        again: bool = False,
        part: tuple[int, int, int | None] | None = None,
        due: dict[int, int | None] | None = None,
        **more: Any,
    ) -> Tale:
        """A connection, a GET, the head of the answer.

        Args:
            again: it is a further request of the same download.
            part: the bytes of the file that it holds, as Content-Range says.
            due: places of faults that it is to fire, and the byte after which they are late.
        """
        self.requests(again=again).wait(0.1)
        if due is not None:
            more["due"] = [list(row) for row in due.items()]
        if part is not None:
            announced = part[1] - part[0]
            more["part"] = list(part)
        return self._deliver("response", status=status, announced=announced, **more)

    def requests(self, *, again: bool = False) -> Tale:
        """A connection and a GET, not answered yet."""
        self.conn += 1
        self.attempt += not again
        self.add("delivery", "connection", None, conn=self.conn, peer="10.0.0.2:6")
        return self._deliver("request", method="GET", path="/f/new.bin", range=None)

    def knocks(self, why: str = "", **more: Any) -> Tale:
        """A connection that asks for nothing; ``why``: its TLS handshake fails."""
        self.conn += 1
        where = None if "offer" not in more else ""
        self.add("delivery", "connection", where, conn=self.conn, peer="10.0.0.2:6", **more)
        return self.wait(0.1).fails(why) if why else self

    def fails(self, why: str) -> Tale:
        """The TLS handshake of the last connection comes to nothing."""
        return self.add("delivery", "handshake", None, conn=self.conn, why=why)

    def _deliver(self, kind: str, **data: Any) -> Tale:
        return self.add(
            "delivery", kind, conn=self.conn, offer=f"o{self.count}", attempt=self.attempt, **data
        )

    def gets(self, acked: int, written: int | None = None) -> Tale:
        return self._deliver("progress", written=acked if written is None else written, acked=acked)

    def fault(self, text: str, at: int = SIZE // 2, index: int = 0, phase: str = "fired") -> Tale:
        return self._deliver("fault", index=index, fault=text, at=at, phase=phase)

    def ends(
        self,
        by: str,
        how: str,
        acked: int,
        written: int | None = None,
        announced: int | None = SIZE,
        page: bool = False,
    ) -> Tale:
        return self._deliver(
            "ended",
            page=page,
            by=by,
            how=how,
            written=acked if written is None else written,
            acked=acked,
            announced=announced,
        )

    def downloads(self, *, size: int = SIZE, into: str | None = "new") -> Tale:
        """The whole file."""
        self.asks(announced=size).wait(2).gets(size // 2).wait(2).gets(size)
        self.ends("server", "complete", size, announced=size)
        if into is not None:
            target = "app1" if self.slot == "app0" else "app0"
            self.lands(into, target)
        return self.wait(1)

    def stalls(self, text: str = "stall after=50%", index: int = 0) -> Tale:
        """Half of the file, then silence until the device gives up."""
        self.asks().wait(2).gets(SIZE // 2).fault(text, index=index).wait(30)
        self.ends("device", "fin", SIZE // 2)
        return self.fault(text, index=index, phase="over").wait(10)

    # the rig, and the end

    def closed(self, why: str) -> Tale:
        return self.add("ota", "closed", why=why)

    def over(self, why: str = "") -> Tale:
        """The watch ends."""
        return self.add("ota", "watch_ended", why=why).wait(0.5)

    def flash(
        self,
        running: str | None,
        would_boot: str | None = "",
        otadata: list[str] | None = None,
        started: str | None = None,
        **slots: str | None,
    ) -> Tale:
        """A flash read, with the resets that it takes."""
        self.add("rig", "reset", by="rig", mode="loader").wait(0.2)
        self.add("uart", "reset", code=1, cause="POWERON", download=True).wait(2)
        held = self.places | slots
        self.add(
            "flash",
            "read",
            running=running,
            would_boot=running if would_boot == "" else would_boot,
            started=started,
            otadata=otadata or [entry(1), BLANK],
            table_md5=None,
            slots={
                label: {"offset": OFFSETS[label], "image": name} for label, name in held.items()
            },
        )
        self.add("rig", "reset", by="rig", mode="run").wait(0.1)
        return self.add("uart", "reset", code=1, cause="POWERON", download=False).wait(1)

    def unreadable(self) -> Tale:
        return self.add("flash", "unreadable", why="the flash is encrypted")

    def power_cycled(self) -> Tale:
        self.add("ota", "power_cycled", **{"for": "bricked"}).add("power", "off", by="rig").wait(1)
        return self.add("power", "on", by="rig").wait(0.3)

    def control(self, ok: bool = True) -> Tale:
        self.add(
            "ota",
            "restored",
            image="old",
            slots={},
            otadata=[],
            wrote_bytes=0,
            serial_bytes=0,
            seconds=1.0,
        ).wait(20)
        return self.add("ota", "control", ok=ok, detail="logged in" if ok else "silent")

    def judged(self, number: int | None = None) -> Verdict:
        return judge(self.events, number)

    def undecided(self) -> Undecided:
        """What the judge says that it still needs."""
        try:
            verdict = self.judged()
        except Undecided as thin:
            return thin
        raise AssertionError(f"decided: {verdict}")

    def shuffled(self, order: Callable[[list[Event]], list[Event]]) -> Tale:
        """The same tale with its events in another order; numbered anew."""
        self.events = [replace(e, seq=i) for i, e in enumerate(order(self.events), 1)]
        return self


def names(verdict: Verdict, severity: str = "error") -> set[str]:
    """The names of the findings of one severity."""
    return {finding.name for finding in verdict.findings if finding.severity == severity}
