"""A network interface on which a rig's own traffic can be held back: runs ``tc`` and ``ip``.

Several runs may shape one interface at a time. Each has a seat, which is a lease, so that what a
killed run has left is found and undone by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from filelock import FileLock, Timeout

from pytest_blynk_ota.errors import LeaseHeld, NetworkFailed, Unavailable
from pytest_blynk_ota.rig.across import LOOPBACK
from pytest_blynk_ota.rig.lease import Lease, left_behind, lock_folder, make_shared
from pytest_blynk_ota.rig.network import commands as tc
from pytest_blynk_ota.rig.network.commands import Command, Lane, Ports
from pytest_blynk_ota.rig.network.reasons import reason
from pytest_blynk_ota.rig.network.shape import DOWN, Shape

COMMAND_TIMEOUT_S = 10.0
"""Wall seconds: tc takes milliseconds, over ssh a second."""
TURN_TIMEOUT_S = 30.0
"""Wall seconds until the other runs of this host have changed what they had to."""
SBIN = os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
"""Where tc is, and where a user's PATH does not always lead."""

PROBES = {False: Shape(rate=1_000_000), True: Shape(delay=0.001)}
"""What is tried to know whether a link can be shaped: without netem, and with it."""

Run = Callable[[Sequence[str]], tuple[int, str, str]]
"""Runs a command line: its exit code, what it said, and what it complained of."""


def execute(line: Sequence[str]) -> tuple[int, str, str]:
    """Run a command line on this host."""
    environment = os.environ | {"PATH": os.environ.get("PATH", "") + SBIN, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            line,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", f"{line[0]}: {getattr(error, 'strerror', None) or error}"
    return done.returncode, done.stdout, done.stderr


class Link:
    """One run's hand at one interface.

    Args:
        interface: its name.
        speed: device seconds in a wall second.
        prefix: what stands before ``tc`` and ``ip``, as ``("sudo", "-n")`` or ``("ssh", "ap")``.
        run: runs the commands.
    """

    def __init__(
        self,
        interface: str,
        speed: float,
        prefix: Sequence[str] = (),
        run: Run = execute,
    ) -> None:
        self.interface = interface
        self._speed = speed
        self._prefix = tuple(prefix)
        self._run = run
        self._seat: tuple[int, Lease] | None = None
        self._turns: dict[Lane, int] = {}
        self._covered: dict[Lane, Ports] = {}
        self._known: dict[tuple[bool, str], str | None] = {}

    def __repr__(self) -> str:
        return f"<link {self.interface}>"

    def lack(self, *, netem: bool, direction: str = DOWN) -> str | None:
        """Why packets that way cannot be held back here; None: they can. Tried once, on nobody.

        Args:
            netem: whether more than a rate or a partition is wanted.
            direction: down or up.
        """
        if (netem, direction) not in self._known:
            probe = Link(self.interface, self._speed, self._prefix, self._run)
            try:
                probe.shape({direction: PROBES[netem]}, Ports("127.0.0.1"))
                probe.shape({}, Ports("127.0.0.1"))
            except (Unavailable, NetworkFailed) as error:
                self._known[netem, direction] = str(error)
            else:
                self._known[netem, direction] = None
        return self._known[netem, direction]

    def shape(self, wanted: Mapping[str, Shape], ports: Ports) -> None:
        """Make each direction so, and leave those that are not named as the kernel has them.

        Raises:
            Unavailable: it cannot be done here, says why; nothing is changed.
            NetworkFailed: it went wrong; what was begun has been undone as far as that works.
        """
        if not wanted and not self._turns:
            return
        with self._alone():
            lanes = self._lanes() if wanted else {lane.direction: lane for lane in self._turns}
            try:
                for direction, lane in lanes.items():
                    self._make(lane, wanted.get(direction), ports)
            except BaseException:
                self._end_all()
                raise
            if not wanted:
                self._end_all()

    def _make(self, lane: Lane, shape: Shape | None, ports: Ports) -> None:
        if shape is None:
            self._end(lane)
        elif lane in self._turns:
            self._turns[lane] += 1
            self._do_all(tc.change(lane, shape, self._speed, self._turns[lane]))
        else:
            self._root(lane)
            self._turns[lane], self._covered[lane] = 0, ports
            self._do_all(tc.begin(lane, shape, ports, self._speed))

    def cover(self, ports: Ports) -> None:
        """Hold back these ports, too, if any are. Raises NetworkFailed."""
        if not any(ports.beyond(covered).each for covered in self._covered.values()):
            return
        with self._alone():
            for lane, covered in self._covered.items():
                self._do_all(tc.cover(lane, ports.beyond(covered)))
                self._covered[lane] = ports

    # ---- seats: whose classes are whose

    def _lanes(self) -> Mapping[str, Lane]:
        ifb = "" if self.interface == LOOPBACK else tc.ifb_of(self._index())
        if self._seat is None:
            seat, lease = self._free_seat()
            try:
                if lease.left_by:
                    self._sweep(seat)
            except BaseException:
                lease.close(done=False)  # what was left is there still
                raise
            self._seat = seat, lease
        return tc.lanes(self.interface, self._seat[0], ifb)

    def _free_seat(self) -> tuple[int, Lease]:
        for seat in range(tc.SEATS):
            with contextlib.suppress(LeaseHeld):
                return seat, self._lease(seat)
        raise Unavailable(f"{tc.SEATS} runs hold back packets of interface {self.interface}")

    def _lease(self, seat: int) -> Lease:
        return Lease(f"link {seat}", self._seat_name(seat))

    def _seat_name(self, seat: int) -> str:
        return "\0".join(["link", self.interface, str(seat), *self._prefix])

    def leftovers(self) -> list[str]:
        """Undo what runs have left that were killed; says whose it was, for each.

        Raises:
            NetworkFailed: it is there still; what undoes it is said.
        """
        marked = [one for one in range(tc.SEATS) if left_behind(self._seat_name(one))]
        found: list[str] = []
        with self._alone() if marked else contextlib.nullcontext():
            for seat in marked:
                with contextlib.suppress(LeaseHeld):
                    lease = self._lease(seat)
                    still = self._sweep(seat)
                    lease.close(done=not still)
                    if still:
                        raise NetworkFailed(
                            f"{lease.left_by} was killed and has left packets held back; it takes "
                            f"root to undo that: {' '.join(tc.delete_root(still))}"
                        )
                    found.append(lease.left_by)
        return [one for one in found if one]

    def _sweep(self, seat: int) -> str:
        """Take away what may be there of a seat; the device on which some is still, or ""."""
        ifb = "" if self.interface == LOOPBACK else tc.ifb_of(self._index())
        lanes = tc.lanes(self.interface, seat, ifb).values()
        for lane in lanes:
            self._end(lane)
        return next((lane.device for lane in lanes if self._is_there(lane)), "")

    def _is_there(self, lane: Lane) -> bool:
        _, qdiscs, _ = self._try(tc.show(lane.device))
        return any(one.get("parent") == lane.flow for one in _rows(qdiscs))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One run of this host at a time changes the interface."""
        make_shared(lock_folder())
        lock = FileLock(lock_folder() / f"link-{self.interface}.lock", mode=0o666)
        try:
            lock.acquire(timeout=TURN_TIMEOUT_S)
        except Timeout as error:
            raise NetworkFailed(
                f"interface {self.interface}: another run has been changing it for "
                f"{TURN_TIMEOUT_S:g} s"
            ) from error
        try:
            yield
        finally:
            lock.release()

    # ---- what all runs share

    def _root(self, lane: Lane) -> None:
        """Our root on the lane's device, made by whoever is first."""
        if lane.redirects and not self._exists(lane.device):
            if tc.has_ingress(self._qdiscs(lane.interface)):
                raise Unavailable(
                    f"interface {lane.interface} has filters for what comes in already (tc filter "
                    f"show dev {lane.interface} ingress), and ours would break them"
                )
            self._do_all(tc.add_ifb(lane.interface, lane.device))
        root = tc.root_of(self._qdiscs(lane.device))
        if root == tc.NOBODYS:
            self._do(tc.add_root(lane.device))
        elif root != tc.ROOT:
            raise Unavailable(
                f"interface {lane.device} has a queueing discipline of somebody's, {root}, which "
                f"ours would replace (tc qdisc show dev {lane.device})"
            )

    def _end(self, lane: Lane) -> None:
        """Take a lane away, and what all share if it was the last."""
        for command in tc.end(lane):
            self._try(command)
        self._turns.pop(lane, None)
        self._covered.pop(lane, None)
        code, qdiscs, _ = self._try(tc.show(lane.device))
        if code or tc.root_of(_rows(qdiscs)) != tc.ROOT or tc.in_use(_rows(qdiscs)):
            return
        self._do(tc.delete_root(lane.device))
        if lane.redirects:
            self._do_all(tc.delete_ifb(lane.interface, lane.device))

    def _end_all(self) -> None:
        """Take all of this run's away, and give the seat back."""
        for lane in list(self._turns):
            self._end(lane)
        if self._seat is not None:
            self._seat[1].close()
            self._seat = None

    def _index(self) -> int:
        rows = _rows(self._do(("ip", "-json", "link", "show", "dev", self.interface)))
        return int(next((one["ifindex"] for one in rows if "ifindex" in one), 0))

    def _exists(self, device: str) -> bool:
        return self._try(("ip", "link", "show", "dev", device))[0] == 0

    def _qdiscs(self, device: str) -> Sequence[Mapping[str, Any]]:
        return _rows(self._do(tc.show(device)))

    # ---- commands

    def _do_all(self, lines: Sequence[Command]) -> None:
        for line in lines:
            self._do(line)

    def _do(self, command: Command) -> str:
        code, said, complaint = self._try(command)
        if code == 0:
            return said
        if why := reason(command, complaint or said):
            raise Unavailable(why)
        raise NetworkFailed(
            f"{' '.join(command)!r} ended with {code}: {(complaint or said).strip()[-300:]}"
        )

    def _try(self, command: Command) -> tuple[int, str, str]:
        return self._run([*self._prefix, *command])


def _rows(text: str) -> Sequence[Mapping[str, Any]]:
    """The rows of JSON that a command printed; none, if it printed something else."""
    with contextlib.suppress(ValueError):
        rows = json.loads(text or "[]")
        if isinstance(rows, list):
            return [one for one in rows if isinstance(one, dict)]
    return []
