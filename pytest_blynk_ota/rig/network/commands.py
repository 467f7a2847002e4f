"""The ``tc`` and ``ip`` command lines that shape a rig's own traffic, and those that undo it. Pure.

::

    htb b1e:  (root; what no filter names goes straight through)
     ├── class b1e:10, filters on the rig's ports ── leaf: netem, or a queue
     ├── class b1e:11 …

One root serves all runs on a host: each has two classes of its own, one for each direction, with
filters of the same priority. HTB and u32 are all that a rate or a partition takes; netem does the
rest. What boards send to another interface than loopback comes in by it, where nothing can be
queued: it is sent through an ``ifb`` device first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.rig.network.shape import DOWN, UP, Shape

Command = tuple[str, ...]

ROOT = "b1e:"
"""The handle of our root: how it is told from somebody else's. The kernel's own begin at 8000."""
NOBODYS = "0:"
"""The handle of a queueing discipline that the kernel made by itself, and makes again."""
INGRESS = "ffff:"

PARTITION = Shape(loss=1)

FIRST_MINOR = 0x10
SEATS = 64
"""Runs that may shape one interface at a time."""
FIRST_LEAF = 0x1E00

ALL_S = 1_000_000
"""Microseconds in a second."""
UNLIMITED = ("rate", "32gbit", "burst", "1mb", "cburst", "1mb")
QUANTUM_BYTES = 65536
"""What HTB hands out in a turn: the largest packet of loopback."""
BURST_BYTES = 1600
"""What a rate lets through at once: one frame."""
QUEUE_PACKETS = 1000
"""As many as the kernel's own queue keeps: netem's default limit."""

TCP, UDP = 6, 17
"""Protocol numbers of IP."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The rig's own traffic: what comes from, or goes to, these ports of its address.

    Attributes:
        tcp, udp: ports that nobody else uses.
        calls: TCP ports that other runs may use, too, each with the address of a board of ours.
    """

    address: str
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    calls: tuple[tuple[int, str], ...] = ()

    @property
    def each(self) -> Sequence[tuple[int, int, str]]:
        """Protocol, port, and the board that it is about; "": every one."""
        return [
            *((TCP, port, "") for port in self.tcp),
            *((UDP, port, "") for port in self.udp),
            *((TCP, port, board) for port, board in self.calls),
        ]

    def beyond(self, known: Ports) -> Ports:
        """Those that are not known yet."""
        return Ports(
            self.address,
            tuple(port for port in self.tcp if port not in known.tcp),
            tuple(port for port in self.udp if port not in known.udp),
            tuple(one for one in self.calls if one not in known.calls),
        )


@dataclass(frozen=True, slots=True)
class Lane:
    """One direction of one run on one interface.

    Attributes:
        interface: where boards are.
        direction: down or up.
        seat: the number of the run on this host.
        ifb: the device through which packets come in; "" on loopback, where all go out.
    """

    interface: str
    direction: str
    seat: int
    ifb: str = ""

    @property
    def device(self) -> str:
        """Where its class is."""
        return self.ifb if self.direction == UP and self.ifb else self.interface

    @property
    def redirects(self) -> bool:
        """Whether packets have to be sent through another device first."""
        return self.device != self.interface

    @property
    def minor(self) -> int:
        """The number of its class, and the priority of its filters."""
        return FIRST_MINOR + 2 * self.seat + (self.direction == UP)

    @property
    def flow(self) -> str:
        """The name of its class."""
        return f"{ROOT}{self.minor:x}"


def ifb_of(index: int) -> str:
    """The name of our ifb device of an interface with that number."""
    return f"b1e-ifb{index}"


# ---- what all runs share


def show(device: str) -> Command:
    """Ask for the queueing disciplines of a device, as JSON."""
    return ("tc", "-json", "qdisc", "show", "dev", device)


def root_of(qdiscs: Iterable[Mapping[str, Any]]) -> str:
    """The handle of a device's root."""
    return next((str(one.get("handle", NOBODYS)) for one in qdiscs if one.get("root")), NOBODYS)


def in_use(qdiscs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a class of our root has a leaf still."""
    return any(str(one.get("parent", "")).startswith(ROOT) for one in qdiscs)


def has_ingress(qdiscs: Iterable[Mapping[str, Any]]) -> bool:
    """Whether what comes in passes filters already."""
    return any(one.get("kind") in ("ingress", "clsact") for one in qdiscs)


def add_root(device: str) -> Command:
    """Put our root in place of the kernel's."""
    return ("tc", "qdisc", "add", "dev", device, "root", "handle", ROOT, "htb", "default", "0")


def delete_root(device: str) -> Command:
    """Take our root away; the kernel puts its own in its place."""
    return ("tc", "qdisc", "del", "dev", device, "root", "handle", ROOT)


def add_ifb(interface: str, ifb: str) -> Sequence[Command]:
    """Make the device through which packets come in, and the hook that sends them there."""
    return [
        ("ip", "link", "add", "name", ifb, "type", "ifb"),
        ("ip", "link", "set", "dev", ifb, "up"),
        ("tc", "qdisc", "add", "dev", interface, "handle", INGRESS, "ingress"),
    ]


def delete_ifb(interface: str, ifb: str) -> Sequence[Command]:
    """Undo :func:`add_ifb`."""
    return [
        ("tc", "qdisc", "del", "dev", interface, "ingress"),
        ("ip", "link", "del", "dev", ifb),
    ]


# ---- one lane


def begin(lane: Lane, shape: Shape, ports: Ports, speed: float) -> list[Command]:
    """Make its class, fill it, and only then send packets there."""
    return [
        ("tc", "class", "add", *_class(lane, shape, speed)),
        leaf(lane, shape, speed, 0),
        *cover(lane, ports),
    ]


def change(lane: Lane, shape: Shape, speed: float, turn: int) -> list[Command]:
    """Fill it with something else. What waited in the old leaf is lost.

    In between nothing comes through: a leaf that is merely changed keeps what the new words do not
    name, and two netems of which one duplicates may not stand side by side for a moment either.

    Args:
        turn: how often it was changed before.
    """
    return [
        leaf(lane, PARTITION, speed, 2 * turn - 1),
        ("tc", "class", "change", *_class(lane, shape, speed)),
        leaf(lane, shape, speed, 2 * turn),
    ]


def end(lane: Lane) -> list[Command]:
    """Send no more packets there, and take it away. Each may fail: it may be gone already."""
    delete = ("tc", "filter", "del", "dev")
    priority = ("pref", str(lane.minor))
    back = [(*delete, lane.interface, "parent", INGRESS, *priority)] if lane.redirects else []
    return [
        *back,
        (*delete, lane.device, "parent", ROOT, *priority),
        ("tc", "class", "del", "dev", lane.device, "classid", lane.flow),
    ]


def cover(lane: Lane, ports: Ports) -> list[Command]:
    """Send the packets of these ports there."""
    found: list[Command] = []
    for protocol, port, board in ports.each:
        match = _match(lane, ports.address, protocol, port, board)
        found.append((*match(lane.device, ROOT), "flowid", lane.flow))
        if lane.redirects:
            redirect = ("action", "mirred", "egress", "redirect", "dev", lane.device)
            found.append((*match(lane.interface, INGRESS), *redirect))
    return found


def _match(
    lane: Lane, address: str, protocol: int, port: int, board: str
) -> Callable[[str, str], Command]:
    """The beginning of a filter, for any device and parent."""
    ip, bits, kind = ("ip6", 128, "ipv6") if ":" in address else ("ip", 32, "ip")
    host, door, peer = ("dst", "dport", "src") if lane.direction == UP else ("src", "sport", "dst")
    rows = [("protocol", f"{protocol} 0xff"), (host, f"{address}/{bits}"), (door, f"{port} 0xffff")]
    rows += [(peer, f"{board}/{bits}")] if board else []
    matches = [word for key, value in rows for word in ("match", ip, key, *value.split())]

    def on(device: str, parent: str) -> Command:
        head = ("tc", "filter", "add", "dev", device, "parent", parent)
        return (*head, "protocol", kind, "pref", str(lane.minor), "u32", *matches)

    return on


def _class(lane: Lane, shape: Shape, speed: float) -> Command:
    where = ("dev", lane.device, "parent", ROOT, "classid", lane.flow, "htb")
    quantum = ("quantum", str(QUANTUM_BYTES))
    if shape.rate is None:
        return (*where, *UNLIMITED, *quantum)
    rate = f"{max(1, round(shape.rate * speed * 8))}bit"
    burst = str(BURST_BYTES)
    return (*where, "rate", rate, "burst", burst, "cburst", burst, *quantum)


def leaf(lane: Lane, shape: Shape, speed: float, turn: int) -> Command:
    """What becomes of the packets of a lane."""
    handle = f"{FIRST_LEAF + 2 * lane.minor + turn % 2:x}:"
    head = ("tc", "qdisc", "replace", "dev", lane.device, "parent", lane.flow, "handle", handle)
    if shape.is_partition:
        return (*head, "pfifo", "limit", "0")
    if not shape.needs_netem:
        return (*head, "pfifo", "limit", str(QUEUE_PACKETS))
    return (*head, "netem", "limit", str(QUEUE_PACKETS), *netem(shape, speed))


def netem(shape: Shape, speed: float) -> Command:
    """The words of netem (tc-netem(8)), in seconds of the host."""
    rows: list[tuple[str, ...]] = []
    if shape.delay:
        jitter = (_us(shape.jitter, speed),) if shape.jitter else ()
        rows.append(("delay", _us(shape.delay, speed), *jitter))
    for name in ("loss", "reorder", "duplicate", "corrupt"):
        part = getattr(shape, name)
        if part:
            rows.append((name, f"{part * 100:.6g}%"))
    return tuple(word for row in rows for word in row)


def _us(device_s: float, speed: float) -> str:
    return f"{round(device_s / speed * ALL_S)}us"


def lanes(interface: str, seat: int, ifb: str) -> Mapping[str, Lane]:
    """Both of a run."""
    return {one: Lane(interface, one, seat, ifb) for one in (DOWN, UP)}
