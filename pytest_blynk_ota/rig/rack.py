"""The rig of a session: its boards, its servers, and who closes what."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_blynk_ota.board.board import Board
from pytest_blynk_ota.board.console import Reading
from pytest_blynk_ota.board.metric_patterns import own_metric
from pytest_blynk_ota.board.patterns import ADDRESS
from pytest_blynk_ota.cloud.doors import KINDS
from pytest_blynk_ota.cloud.server import OTHER_LOOPBACK, CloudServer
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.errors import (
    Quarantined,
    RigError,
    Unavailable,
    UsageError,
)
from pytest_blynk_ota.evidence.redact import MIN_SECRET_CHARS, Redactor
from pytest_blynk_ota.evidence.timeline import Recorder
from pytest_blynk_ota.rig.across import ways_to_provision
from pytest_blynk_ota.rig.address import address_of
from pytest_blynk_ota.rig.background import Background
from pytest_blynk_ota.rig.backup import FOLDER, Backups, Doorkeeper, Permit
from pytest_blynk_ota.rig.cloud_ports import dials
from pytest_blynk_ota.rig.config import (
    BoardSection,
    RigConfig,
    owns_of,
)
from pytest_blynk_ota.rig.control import RackControl
from pytest_blynk_ota.rig.core_dumps import keep
from pytest_blynk_ota.rig.dialling import Dialling
from pytest_blynk_ota.rig.elves import Elves
from pytest_blynk_ota.rig.extensions import Provisioning, Settings
from pytest_blynk_ota.rig.foreign import (
    Caller,
    Told,
    provisioning_of,
)
from pytest_blynk_ota.rig.lease import Lease, state_of
from pytest_blynk_ota.rig.network.commands import Ports
from pytest_blynk_ota.rig.network.name_service import CLOUD, NameService
from pytest_blynk_ota.rig.network.network import Network
from pytest_blynk_ota.rig.network.parts import access_point_of, link_of, names_of
from pytest_blynk_ota.rig.outlets import driven, options_of, outlet_of
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.power import HttpOutlet, Outlet, Power
from pytest_blynk_ota.rig.provision import OURS
from pytest_blynk_ota.rig.provision.console import typed
from pytest_blynk_ota.rig.quarantine import Ward
from pytest_blynk_ota.rig.secret import LEARN, peek, secret, secrets_among
from pytest_blynk_ota.rig.servers import Servers
from pytest_blynk_ota.rig.turns import Turns
from pytest_blynk_ota.rig.virtual_rack import VirtualRack

if TYPE_CHECKING:
    from pytest_blynk_ota.cloud.device import Stranger
    from pytest_blynk_ota.firmware.image import Image
    from pytest_blynk_ota.rig.shelf import Firmware

VIRTUAL_WIFI = "virtual-lab:virtual-passphrase"
"""The network that virtual boards join: ``ssid:passphrase``; they accept any."""

CHECK_S = 0.25
"""Wall seconds after which the rack's health is looked at again, whatever is awaited."""
MIN_TIMEOUT_S = 0.25
"""No scaled time-out is shorter than this, in wall seconds."""


def known_host(config: RigConfig) -> str:
    """The host of the cloud as boards dial it, where the rig file says it; "" if it is found out
    when the rig opens."""
    if config.network is not None and config.network.domain is not None:
        return f"{CLOUD}.{config.network.domain}"
    return "" if config.rig.advertise == "auto" else config.rig.advertise


class Rig:
    """What ``--rig`` stands for: boards are opened when a test first asks for them.

    Args:
        config: the checked rig file.
        path: where it stands.
        run: the evidence folder of the run; the virtual rack's complaints go there too.
        recorder: where everything seen goes.
        redactor: learns each secret before it is used.
        elves: the ELF files of each board's firmware.
        wait_s: wall seconds that a board which others hold is waited for.
        process: pid of the process that is to be asked for a board of this run; this one's if None.
        permit: what the user allows us to do with boards; to write to virtual ones if None.
    """

    def __init__(
        self,
        config: RigConfig,
        path: Path,
        *,
        run: Path,
        recorder: Recorder,
        redactor: Redactor,
        elves: Mapping[str, Elves] | None = None,
        wait_s: float = 0.0,
        process: int | None = None,
        permit: Permit | None = None,
    ) -> None:
        self.config = config
        self._process = process or os.getpid()
        self._wards: dict[str, Ward] = {}
        self.name = config.rig.name
        self.speed = config.rig.speed
        self.recorder = recorder
        self._redactor = redactor
        self._elves = elves or {}
        self._permit = permit or Permit(Backups(FOLDER))
        self._path = path
        self._run = run
        self._places: dict[str, Place] = {}
        self._made_up: dict[str, str] = {}
        self._learned: dict[str, str] = {}
        self._virtual: VirtualRack | None = None
        self._servers = Servers(
            config, recorder, self._process, self._look_at_consoles, self._has_opened, self._begun
        )
        self._turns = Turns(recorder, self._process, wait_s, self.check, self._open)
        self._said: dict[str, str] = {}
        """Addresses that boards have named in their logs."""
        self._learn_all()

    def _learn_all(self) -> None:
        """Learn each secret that the rig file names, of boards that this run leaves alone too: they
        may come to the cloud all the same."""
        for section in self.config.board:
            if section.token and section.token != LEARN:
                self._learn(peek(section.token), section)
            if section.provision is not None and "ssid" in section.provision.gives:
                self._learn_wifi(peek(section.provision.wifi))
            for key, own in owns_of(section):
                for name, value in secrets_among(own.options).items():
                    self._learn_option(peek(value), f"{key}.{name} of {section.name}")

    def _learn(self, token: str, section: BoardSection) -> None:
        if len(token) >= MIN_SECRET_CHARS:  # a shorter one is no token: the cloud says so
            self._redactor.learn(token, f"token of {section.name}")

    def _learn_wifi(self, wifi: str) -> None:
        passphrase = wifi.partition(":")[2]
        if len(passphrase) >= MIN_SECRET_CHARS:  # WPA wants eight, and a router may not
            for form in {passphrase, typed(passphrase)}:  # a console echoes what is typed
                self._redactor.learn(form, "Wi-Fi passphrase")

    def __repr__(self) -> str:
        names = ", ".join(board.name for board in self.config.board)
        return f"<rig {self.name}: {names}>"

    @property
    def background(self) -> Background:
        """The event loop that the servers live on."""
        return self._servers.background

    @property
    def cloud(self) -> CloudServer:
        """The local Blynk server, started on first use."""
        return self._servers.cloud

    @property
    def delivery(self) -> DeliveryServer:
        """The firmware server, started on first use."""
        return self._servers.delivery

    @cached_property
    def network(self) -> Network:
        """A hand at the link, the access point and the names."""
        return Network(
            self.recorder,
            self.speed,
            link=link_of(self.config),
            access_point=access_point_of(self.config, self.recorder, self._hand, self._in_use),
            names=names_of(self.config, self._names),
            ports=self._ports,
        )

    def _look_at_consoles(self) -> None:
        """What boards have printed and nobody has read yet came before what is recorded now."""
        for place in tuple(self._places.values()):
            place.board.console.notice()

    def _begun(self) -> None:
        """The servers have begun."""
        self.network.leftovers()

    def _has_opened(self) -> None:
        """A server has opened a port: what is held back of the others is of it, too."""
        if "network" in self.__dict__:
            self.network.cover()

    def _ports(self) -> Ports:
        """The rig's own traffic: what goes to and from its servers."""
        fixed = {port for ports in self.config.cloud.ports.values() for port in ports}
        doors = {*self.cloud.ports, *self.delivery.ports} - fixed
        names = [self._names().port] if self._servers.has_names else []
        boards = self._addresses() if fixed else []
        calls = [(port, board) for port in sorted(fixed) for board in boards]
        return Ports(self.delivery.address[0], tuple(sorted(doors)), tuple(names), tuple(calls))

    def _addresses(self) -> list[str]:
        """Where the boards in use call from. Raises Unavailable."""
        found = []
        for place in self._places.values():
            address = self._address_of(place.config)
            if not address:
                raise Unavailable(
                    f"other runs may use the fixed ports of cloud.ports, too, and what board "
                    f"{place.name} sends there is not told from what theirs send: it has not "
                    f"printed its address, so the rig file has to name it (address)"
                )
            found.append(address)
        return found

    def calls_from(self, place: Place) -> str:
        """The address that a board calls from; "" if that is not known."""
        return self._address_of(place.config)

    def _address_of(self, section: BoardSection) -> str:
        """Where a board calls from; "" if that is not known."""
        if section.is_virtual and self._virtual is not None:
            return self._virtual.ports[section.name].address
        return section.address or self._said.get(section.name, "")

    def _names(self) -> NameService:
        """The rig's names, and the server that answers for them."""
        known, service = self._servers.has_names, self._servers.names
        if self._virtual is not None and not known:
            self._virtual.control.furnish(resolvers=service.resolvers)
        return service

    def _hand(self) -> RackControl:
        if self._virtual is None:
            raise RigError(f"rig {self.name}: its virtual boards have not been started yet")
        return self._virtual.control

    def _in_use(self) -> list[str]:
        """Whose other boards of this rig are in use: they have the same access point."""
        held: list[str] = []
        for section in self.config.board:
            if section.name not in self._places and not section.is_virtual:
                state = state_of(self._turns.leased_as(section))
                if state.held:
                    held.append(f"board {section.name} ({section.port}) is held by {state}")
        return held

    @property
    def address(self) -> str:
        """The address that the boards reach this host at."""
        return address_of(self.config)

    def place(
        self,
        name: str | None = None,
        *,
        among: Sequence[str] | None = None,
        even_refused: bool = False,
    ) -> Place:
        """The named board, or the first one that nobody holds; it has power.

        Args:
            name: of one board.
            among: names of the boards to choose from, where none is named; any if None.
            even_refused: whether it may be one in quarantine.

        Raises:
            ConfigError: there is no such board.
            LeaseHeld: it, or every one, is held by somebody else, and is not given back in time.
            Quarantined: it, or every one, has failed so often that nobody gets it.
            PortGone: its port does not open.
            OutletUnreachable: a test left it without power, and it does not come back.
            RigError: the virtual rack has ended, so that none of its ports leads anywhere.
        """
        self.check()
        names = [name] if name else among or [board.name for board in self.config.board]
        sections: Sequence[BoardSection] = [self.config.pick(one) for one in names]
        if not even_refused:
            sections = self._out_of_quarantine(sections)
        for section in sections:
            if section.name in self._places:
                place = self._places[section.name]
                if place.power:
                    place.power.ensure()
                return place
        return self._turns.first_of(sections)

    def _out_of_quarantine(self, sections: Sequence[BoardSection]) -> Sequence[BoardSection]:
        wedged = {one.name: found for one in sections if (found := self.ward(one).look())}
        left = [one for one in sections if not (one.name in wedged and wedged[one.name].is_refused)]
        if not left:
            raise Quarantined("; ".join(str(found) for found in wedged.values()))
        return left

    def give_way(self) -> None:
        """Between two tests: hand boards over that another worker of this run waits for."""
        wanted = self._turns.wanted()
        for name, place in list(self._places.items()):
            if place.lease is not None and self._turns.leased_as(place.config) in wanted:
                del self._places[name]
                place.close()

    def ward(self, section: BoardSection) -> Ward:
        """What is held against a board."""
        if section.name not in self._wards:
            port = None if section.is_virtual else self._turns.leased_as(section)
            self._wards[section.name] = Ward(section.name, port)
        return self._wards[section.name]

    def _open(self, section: BoardSection) -> Place:
        virtual = section.is_virtual
        port = "" if virtual else self._turns.leased_as(section)
        lease = None if virtual else Lease(section.name, port, run=self._process)
        try:
            url, outlet = self._wires(section)
            board = Board(
                section.name,
                section.chip,
                url,
                self.recorder,
                baud=section.baud,
                speed=self.speed,
                press=self._buttons(section),
                reading=self._reading(section),
                flash_baud=section.loader_baud,
                admission=Doorkeeper(self._permit, section.name, url, self.recorder),
            )
            place = self._furnish(section, board, outlet, lease)
            self._forward(place)
            board.open()
        except BaseException:
            if lease:
                lease.close()
            raise
        self._places[section.name] = place
        return place

    def _reading(self, section: BoardSection) -> Reading:
        """What is made of a board's log beyond the table."""
        own = {**self.config.metrics, **section.metrics}
        rows = [own_metric(name, one.regex, one.unit) for name, one in own.items()]
        elves = self._elves.get(section.name)
        decode = elves.decode if elves else None
        if section.is_virtual or not self.config.cloud.ports:
            return Reading(rows, decode, self._keep_core_dump)
        return Reading([*rows, ADDRESS], decode, self._keep_core_dump, self._lives_at)

    def _lives_at(self, board: str, address: str) -> None:
        """A board says where it calls from: it matters at ports that others use, too."""
        self._said[board] = address
        self._servers.lives_at(board, address)

    def _keep_core_dump(self, board: str, content: bytes) -> dict[str, Any]:
        return keep(content, self._redactor, self.recorder)

    def _wires(self, section: BoardSection) -> tuple[str, Outlet | None]:
        """Where the board's port and its outlet are."""
        if section.is_virtual:
            if self._virtual is None:
                names = [board.name for board in self.config.board if board.is_virtual]
                worker = os.environ.get("PYTEST_XDIST_WORKER", "")  # each has a rack of its own
                log = self._run / f"virtual-rack{worker and '-'}{worker}.log"
                self._virtual = VirtualRack(self._path, names, log, self.recorder)
            port = self._virtual.ports[section.name]
            if section.power and section.power.own:
                learn, clean = self._redactor.learn, self._redactor.text
                own = section.power.own
                return port.url, driven(section, self.name, own, learn, clean, port.outlet)
            return port.url, HttpOutlet(port.outlet) if section.power else None
        return section.port, outlet_of(
            section, self.name, self._redactor.learn, self._redactor.text
        )

    def _power(self, section: BoardSection, board: Board, outlet: Outlet) -> Power:
        """A board's power. Only the virtual rack is believed that it is off: a host that is busy
        may read late what its boards have said."""
        own = section.power is not None and section.power.own
        heard = None if section.is_virtual and not own else board.console.heard
        return Power(section.name, outlet, self.recorder, self.speed, heard)

    def _provisioning(self, section: BoardSection) -> Told | None:
        """The way by which a board learns its settings, if it has one."""
        if section.provision is None:
            return None
        own = section.provision.own
        where = f"{own.where}, board {section.name}, provision.kind {own.name!r}"
        caller = Caller(where, RigError, self._redactor.text)
        options = options_of(section, self.name, "provision", own, self._redactor.learn)
        return Told(provisioning_of(own, options, caller), caller)

    def _learn_option(self, value: str, name: str) -> None:
        if len(value) >= MIN_SECRET_CHARS:
            self._redactor.learn(value, name)

    def _buttons(self, section: BoardSection) -> Callable[[bool], None] | None:
        """EN and IO0 of a virtual board whose wire has no lines; the rack presses them."""
        if self._virtual is None or section.virtual is None or section.virtual.wire == "rfc2217":
            return None
        control, path = self._virtual.control, f"/{section.name}/reset"

        def press(download: bool) -> None:
            with contextlib.suppress(UsageError):  # of a board without power it does nothing
                control.request("POST", path, {"download": download})

        return press

    def _furnish(
        self, section: BoardSection, board: Board, outlet: Outlet | None, lease: Lease | None
    ) -> Place:
        where = f"rig {self.name}, board {section.name}"
        gives = section.provision.gives if section.provision is not None else ()
        token = ""
        if section.token == LEARN:
            token = self._learned.get(section.name, "")
        elif section.token:
            token = secret(section.token, f"{where}, token")
        elif "token" in gives:
            token = self._made_up_for(section)
        else:
            ways = [way for way in ways_to_provision(section) if "token" in OURS[way].gives]
            other = f', or provision = {{ kind = "{ways[0]}" }}' if ways else ""
            raise UsageError(
                f"{where}: it has neither a token nor a way to provision one; expected "
                f'token = "env:NAME"{other}'
            )
        self._learn(token, section)
        wifi = VIRTUAL_WIFI if section.is_virtual else ""
        if section.provision is not None and "ssid" in gives and not section.is_virtual:
            wifi = secret(section.provision.wifi, f"{where}, provision.wifi")
        ssid, _, passphrase = wifi.partition(":")
        self._learn_wifi(wifi)
        if token:
            self.cloud.add_device(section.name, token)
        self.background.call(self._introduced(section, token))
        power = self._power(section, board, outlet) if outlet else None
        return Place(
            section,
            board,
            power,
            self.network,
            section.profile,
            token,
            ssid,
            passphrase,
            lease,
            told=self._provisioning(section),
        )

    def _made_up_for(self, section: BoardSection) -> str:
        return self._made_up.setdefault(section.name, secrets.token_hex(16))

    def strangers(self, since: float) -> Sequence[Stranger]:
        """Devices that came to the cloud with tokens of none of this rig's boards.

        Args:
            since: monotonic host seconds.
        """
        boards = [one.token for one in self.config.board if one.token and one.token != LEARN]
        ours = {peek(token) for token in boards} | {*self._learned.values()}
        return [one for one in self.cloud.strangers(since) if one.token not in ours]

    def adopt(self, place: Place, token: str) -> None:
        """A board's token is known from now on.

        Raises:
            UsageError: it is another board's.
        """
        self._learn(token, place.config)
        self.cloud.add_device(place.name, token)
        self.background.call(self._introduced(place.config, token))
        place.token = self._learned[place.name] = token

    async def _introduced(self, section: BoardSection, token: str) -> None:
        """Tell the porters of fixed ports whose calls are ours."""
        address = self._address_of(section)
        addresses = [address] if address else []
        names = [self._servers.name_of(CLOUD)] if self._servers.go_by_names else []
        await self._servers.fixed.knows(token=token, addresses=addresses, names=names)

    def settings(self, place: Place) -> Settings:
        """What a board has to know to come to this rig's cloud."""
        host, port = self._cloud_of(place)
        ca = self.cloud.authority.ca_pem if KINDS[dials(place.config)].tls else ""
        return Settings(host, port, place.token, place.ssid, place.passphrase, ca)

    def fit(self, place: Place, firmware: Firmware, *, https: bool = False) -> None:
        """Have Old, New and what is made from recipes know this rig, as its board's way has it.

        Args:
            https: whether fixture images are to trust the firmware server in any case.

        Raises:
            FirmwareError: an image cannot be made so.
        """
        built = self.built_with(place, https=https) if firmware.is_fixture else {}
        change = None
        if place.told is not None and place.told.changes_images:
            change = partial(place.told.image, self.settings(place))
        firmware.build_with(built, change)

    def _cloud_of(self, place: Place) -> tuple[str, int]:
        """What a board dials to come to the cloud: a name, where the rig goes by names."""
        host, port = self.cloud.address_of(dials(place.config))
        return (self._servers.name_of(CLOUD) if self._servers.go_by_names else host), port

    def built_with(self, place: Place, *, https: bool = False) -> dict[str, Any]:
        """What has to stand in a fixture image for a board: keys of its behaviour.

        Args:
            https: whether it is to trust the firmware server, whatever it speaks to the cloud.
        """
        built: dict[str, Any] = {}
        way = place.told.way if place.told is not None else Provisioning()
        if way.built_in:
            mine = self.settings(place)
            if not place.token:  # it has one, which is to be learned
                mine = replace(mine, token=self._made_up_for(place.config))
            built["settings"] = {key: getattr(mine, key) for key in way.built_in}
        if KINDS[dials(place.config)].tls:
            built |= {"tls": True, "ca": "" if "ca" in way.gives else self.cloud.authority.ca_pem}
        elif https:
            built["ca"] = self.cloud.authority.ca_pem
        return built

    def dialling(self, place: Place, image: Image | None) -> Dialling:
        """What is known of the way from a board to the cloud.

        Args:
            image: what it runs, if that is known.
        """
        kind, mine = dials(place.config), self.settings(place)
        way = place.config.provision
        return Dialling(
            host=mine.host,
            port=mine.port,
            kind=kind,
            gives=way.gives if way is not None else (),
            open_ports=self.cloud.ports_of(kind),
            fixture=place.profile.fixture,
            forwarded=place.config.is_virtual,
            https=self.config.delivery.https,
            image=image,
            authority=self.cloud.authority,
        )

    def timeout(self, device_s: float) -> float:
        """Wall seconds of a time-out given in device seconds."""
        return max(device_s / self.speed, MIN_TIMEOUT_S)

    def _forward(self, place: Place) -> None:
        """Have the router of a virtual rack know the rig's names, and a firmware's fixed ports."""
        if self._servers.go_by_names or self._servers.has_names:
            resolvers = self._names().resolvers
            if self._virtual:
                self._virtual.control.furnish(resolvers=resolvers)
        if self._virtual and place.profile.cloud_ports:
            host, port = self._cloud_of(place)
            rows = {
                f"{name}:{one}": f"{name}:{port}"
                for name in (host, OTHER_LOOPBACK)  # to which a fault of the cloud sends devices
                for one in place.profile.cloud_ports
            }
            self._virtual.control.furnish(rows)

    def mend(self) -> None:
        """Undo what an earlier test has left of changes to a virtual rack's network.

        Raises:
            RigError: the rack does not answer.
        """
        if "network" in self.__dict__:
            self.network.mend()
        if self._virtual:
            self._virtual.control.mend()

    def settle(self) -> None:
        """Let a crash that a board is in the middle of come on record."""
        for place in self._places.values():
            place.board.console.settle()

    def check(self) -> None:
        """Raises RigError if a part of the rack has died."""
        if self._virtual:
            self._virtual.check()
        self._servers.fixed.check()

    def catch_up(self) -> None:
        """Give the servers and the virtual boards a turn: what was due has happened after it.

        Raises:
            RigError: a part of the rack does not answer.
        """
        if self._virtual:
            self._virtual.answer()
        self._servers.catch_up()

    @property
    def virtual(self) -> VirtualRack | None:
        """The process that plays the virtual boards, if one was started."""
        return self._virtual

    def close(self) -> None:
        """Close every port, server and process, whatever fails on the way. Safe to call twice."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            if "network" in self.__dict__:
                self.network.mend()

    def _close(self) -> None:
        places, self._places = self._places, {}
        virtual, self._virtual = self._virtual, None
        with contextlib.ExitStack() as stack:
            if virtual:
                stack.callback(virtual.stop)
            stack.callback(self._servers.stop)
            for place in places.values():
                stack.callback(place.close)
