"""One pytest session: its options checked, its rig, its evidence folder, its result."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pytest_blynk_ota import runs
from pytest_blynk_ota.beginning import judged_at_the_end
from pytest_blynk_ota.chance import Chance
from pytest_blynk_ota.cloud.doors import KINDS
from pytest_blynk_ota.cloud.tls import Authority
from pytest_blynk_ota.errors import EvidenceError, FirmwareError, LeaseHeld, UsageError
from pytest_blynk_ota.evidence.bundle import read_test
from pytest_blynk_ota.evidence.redact import MIN_SECRET_CHARS, Redactor
from pytest_blynk_ota.evidence.run import RUN_SCHEMA
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.evidence.writer import TestBundle
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.ota import Ota
from pytest_blynk_ota.restore import USUAL, Wanted
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.rig.backup import FOLDER, Backups, Permit
from pytest_blynk_ota.rig.cloud_ports import dials
from pytest_blynk_ota.rig.config import BoardSection, RigConfig, load, owns_of
from pytest_blynk_ota.rig.elves import Elves, beside, read_elf
from pytest_blynk_ota.rig.extensions import Extensions, Settings
from pytest_blynk_ota.rig.needs import lacking
from pytest_blynk_ota.rig.one_board import is_one_board, rig_of_one
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.provision import OURS
from pytest_blynk_ota.rig.rack import Rig, known_host
from pytest_blynk_ota.rig.secret import LEARN, revealed, secret, secrets_among
from pytest_blynk_ota.rig.shelf import Firmware, Kitchen, read_image
from pytest_blynk_ota.rig.shipped import find_rig
from pytest_blynk_ota.verdict.again import judge_again

PROVE = "PYTEST_BLYNK_OTA_PROVE"
"""Where this variable is set, each test's evidence is read back and judged again at its end."""
REHEARSED = Settings("h", 80, "0" * 32, "s", "passphrase")
"""The shortest that there are: firmware that does not take these takes none."""
BACKUP = ("auto", "always")
"""Whose flash is saved before it is first written: all but virtual boards', or every board's."""
TOOLS = ("pytest-blynk-ota", "pytest", "esptool", "pyserial", "aiohttp", "pytest-embedded")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line and the ini file asked for.

    Attributes:
        root: pytest's root folder.
        rig: name or path of the rig; ``auto`` or the name of a port for one made of that board.
        board: the only board to use; any if None.
        old, new: firmware files.
        elf: the ELF file of the firmware, or a folder of them.
        command: the command line of this run.
        worker: the worker of pytest-xdist that this is; None without.
        seed: of what tests leave to chance.
        wait_s: wall seconds that a board which others hold is waited for.
        extensions: what each ``conftest.py`` gives to rig files.
        yes: whether boards may be overwritten without a question.
        backup: of which boards the flash is saved first: ``auto`` or ``always``.
        ask: asks the user; None: nobody is there to answer.
    """

    root: Path
    rig: str
    board: str | None
    old: Path | None
    new: Path | None
    elf: Path | None = None
    command: Sequence[str] = ()
    worker: str | None = None
    seed: int = 0
    wait_s: float = 0.0
    extensions: Extensions = field(default_factory=Extensions)
    yes: bool = False
    backup: str = "auto"
    ask: Callable[[str], bool | None] | None = None

    def permit(self) -> Permit:
        """What the user allows us to do with boards. Raises UsageError."""
        if self.backup not in BACKUP:
            raise UsageError(f"--backup is one of {', '.join(BACKUP)}; got {self.backup!r}")
        backups = Backups(self.root / FOLDER)
        return Permit(backups, yes=self.yes, ask=self.ask, always=self.backup == "always")


class Session:
    """What the fixtures share. Reads and checks everything, touches no board.

    Args:
        options: what was asked for.
        run: makes the evidence folder of this run, when it is first needed.

    Raises:
        UsageError: the rig, the board or a firmware file is not as it must be.
    """

    def __init__(self, options: Options, run: Callable[[], Path]) -> None:
        self.options = options
        self._run = run
        self.made_rig = is_one_board(options.rig)
        self.path = (
            rig_of_one(options.rig, options.root, has_firmware=options.old is not None)
            if self.made_rig
            else find_rig(options.rig, options.root)
        )
        self.config: RigConfig = load(self.path, options.extensions)
        self.rig_file_sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        self.kitchen = Kitchen(options.root, options.root / ".blynk-ota" / "images")
        self._permit = options.permit()
        self.redactor = Redactor()
        self.recorder = Recorder(Timeline(redactor=self.redactor))
        self._rig: Rig | None = None
        self._firmware: dict[str, Firmware] = {}
        self.elves = {section.name: self._elves_of(section) for section in self.sections}
        for section in self.sections:
            self._check(section)

    def _elves_of(self, section: BoardSection) -> Elves:
        """The ELF files for a board: those given, and those that stand beside the binaries."""
        given = read_elf(self.options.elf, "--elf") if self.options.elf else []
        if section.elf:
            where = f"rig {self.config.rig.name}, board {section.name}, elf:"
            given += read_elf(Path(section.elf), where)
        return Elves([*given, *beside(self.options.old), *beside(self.options.new)])

    def wrong_elves(self) -> list[str]:
        """A sentence for each ELF file that is not of the firmware of this run."""
        rows = []
        for section in self.sections:
            firmware = self.firmware(section)
            rows += self.elves[section.name].misfits([firmware.old.app_desc, firmware.new.app_desc])
        return list(dict.fromkeys(rows))

    def _check(self, section: BoardSection) -> None:
        """What would only fail at the board: firmware for another chip, a missing secret."""
        self.firmware(section)
        where = f"rig {self.config.rig.name}, board {section.name}"
        if _compiles_in(section) and not self.firmware(section).is_fixture:
            raise UsageError(
                f'{where}, provision: "image" writes settings into images that were made from '
                f"recipes; the firmware given with --old or --new is none: build your settings "
                f'into it and say "none", with the token'
            )
        if section.token and section.token != LEARN:
            self._learn(secret(section.token, f"{where}, token"), f"token of {section.name}")
        needs_wifi = section.provision is not None and "ssid" in section.provision.gives
        if section.provision is not None and needs_wifi and not section.is_virtual:
            wifi = secret(section.provision.wifi, f"{where}, provision.wifi")
            self._learn(wifi.partition(":")[2], "Wi-Fi passphrase")
        for key, own in owns_of(section):
            for name, value in secrets_among(own.options).items():
                self._learn(secret(value, f"{where}, {key}.{name}"), f"{key}.{name}")

        self._rehearse(section, where)

    def _rehearse(self, section: BoardSection, where: str) -> None:
        """Firmware of the user's that a way of ours cannot change. Raises FirmwareError."""
        firmware = self.firmware(section)
        if section.provision is None or section.provision.kind not in OURS or firmware.is_fixture:
            return
        way = OURS[section.provision.kind](**revealed(section.provision.own.options, where))
        ca = Authority().ca_pem if KINDS[dials(section)].tls else ""
        settings = replace(REHEARSED, ca=ca, host=known_host(self.config) or REHEARSED.host)
        for name, image in (("--old", firmware.old), ("--new", firmware.new)):
            try:
                way.image(settings, image.data)
            except FirmwareError as error:
                kind = section.provision.kind
                raise FirmwareError(f"{where}, provision {kind!r}: {name}: {error}") from error

    def _learn(self, value: str, name: str) -> None:
        """Known before run.json is written: the command line may hold a secret."""
        if len(value) >= MIN_SECRET_CHARS:
            self.redactor.learn(value, name)

    @cached_property
    def sections(self) -> Sequence[BoardSection]:
        """The boards that tests may run on."""
        if self.options.board:
            return [self.config.pick(self.options.board)]
        if self.options.old or self.options.new:
            return self._that_fit()
        return self.config.board

    def boards(self, asked: str) -> Sequence[str]:
        """The boards that each test is to run on.

        Args:
            asked: ``all``, ``chips`` (one board of each) or names with commas between them.

        Raises:
            ConfigError: the rig has no such board.
        """
        if asked == "all":
            return [section.name for section in self.sections]
        if asked == "chips":
            return list({one.chip: one.name for one in reversed(self.sections)}.values())[::-1]
        return [self.config.pick(name.strip()).name for name in asked.split(",")]

    def _that_fit(self) -> Sequence[BoardSection]:
        """With a user's firmware: the boards of its chip; all of them if none has it."""
        path = self.options.old or self.options.new
        assert path is not None
        chip = read_image(path, "--old" if self.options.old else "--new").chip
        return [board for board in self.config.board if board.chip == chip] or self.config.board

    def firmware(self, section: BoardSection) -> Firmware:
        """Old and New for a board. Raises FirmwareError or UsageError."""
        if section.name not in self._firmware:
            self._firmware[section.name] = Firmware(
                self.kitchen,
                section.chip,
                old=self.options.old,
                new=self.options.new,
                profile=section.profile,
                bugs=section.bugs,
            )
        return self._firmware[section.name]

    @property
    def known_firmware(self) -> Mapping[str, Firmware]:
        """Old and New by board."""
        return self._firmware

    def begin(self) -> None:
        """Write run.json: from now on there is a run."""
        runs.begin(self._run(), self.redactor.clean(run_data(self)))

    def check(self) -> None:
        """Raises RigError if a part of the rack in use has died."""
        if self._rig is not None:
            self._rig.check()

    @property
    def rig(self) -> Rig:
        """The rig, opened on first use."""
        if self._rig is None:
            self._rig = Rig(
                self.config,
                self.path,
                run=self._run(),
                recorder=self.recorder,
                redactor=self.redactor,
                elves=self.elves,
                wait_s=self.options.wait_s,
                process=os.getppid() if self.options.worker else os.getpid(),
                permit=self._permit,
            )
        return self._rig

    def bundle(self, test_id: str) -> TestBundle:
        """Start the evidence of a test: from now on events go there."""
        run = self._run()
        worker, run_id = self.options.worker, runs.id_of(run)
        bundle = TestBundle(run, test_id, self.redactor, worker, run_id)
        self.recorder.switch(bundle.timeline)
        if self._rig is not None:
            self._rig.mend()
        return bundle

    def finish(self, bundle: TestBundle, results: Sequence[Result]) -> None:
        """End the evidence of a test."""
        if self._rig is not None:
            self._rig.settle()
        self.recorder.switch(Timeline(redactor=self.redactor))
        final = results
        try:
            final = judged_at_the_end(bundle.timeline.events(), results)
        finally:  # the evidence is written, whatever the judge stumbles over
            bundle.finish([{"operation": one.number, **one.verdict.to_json()} for one in final])
        if os.environ.get(PROVE):
            _prove(bundle)
        if self._rig is not None and self.options.worker is not None:
            self._rig.give_way()

    def place(self, name: str | None, needs: Collection[str] = ()) -> Place:
        """The board of a test: the named one, or the first free one that has what it needs.

        Where none has it, it is the first free one, for the test to say what that lacks.
        """
        place = self._place_with(name, needs)
        self.rig.fit(place, self.firmware(place.config), https="https" in needs)
        return place

    def _place_with(self, name: str | None, needs: Collection[str]) -> Place:
        place = self.rig.place(name, among=[section.name for section in self.sections])
        if name is not None or lacking(needs, place, self.firmware(place.config)) is None:
            return place
        for section in self.sections:
            with contextlib.suppress(LeaseHeld):
                other = self.rig.place(section.name)
                if lacking(needs, other, self.firmware(section)) is None:
                    return other
        return place

    def ota(
        self,
        place: Place,
        bundle: TestBundle,
        keep: Any,
        *,
        chance: Chance,
        wanted: Wanted = USUAL,
    ) -> Ota:
        """The ``ota`` fixture of a test; the baseline is not restored yet."""
        firmware = self.firmware(place.config)
        return Ota(self.rig, place, firmware, bundle.folder, keep, chance=chance, wanted=wanted)

    def close(self) -> None:
        """Close the rig."""
        if self._rig is not None:
            self._rig.close()
            self._rig = None


def _prove(bundle: TestBundle) -> None:
    """Raises EvidenceError if what was written is not read and judged as it was live."""
    stored = read_test(bundle.folder)
    live = [event.to_json() for event in bundle.timeline.events()]
    wrong = [str(mark) for mark in stored.marks]
    if live != [event.to_json() for event in stored.events]:
        wrong.append("the stored events are not those that were seen")
    for again in judge_again(stored.events, stored.verdicts, ended=stored.ended):
        if again.stored is not None and not again.same:
            wrong += again.differs.values() or [again.error]
    if wrong:
        raise EvidenceError(f"{bundle.folder}: judged otherwise than live: {'; '.join(wrong)}")


def _compiles_in(section: BoardSection) -> bool:
    return section.provision is not None and section.provision.kind == "image"


def tool_versions() -> dict[str, str]:
    """Versions of what took part."""
    found = {"python": platform.python_version()}
    for tool in TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            found[tool] = "not installed"
    return found


def run_data(session: Session) -> dict[str, Any]:
    """run.json at the start of a run; a run that is killed keeps it as it is."""
    return {
        "schema": RUN_SCHEMA,
        "rig": session.config.rig.name,
        "rig_kind": runs.UNKNOWN,  # until the boards have said it themselves
        "rig_file": str(session.path),
        "rig_file_sha256": session.rig_file_sha256,
        "firmware": {
            name: {
                "old": _identity(known.old, session.options.old),
                "new": _identity(known.new, session.options.new),
            }
            for name, known in session.known_firmware.items()
        },
        "tools": tool_versions(),
        "command": list(session.options.command),
        "seed": session.options.seed,
        "complete": False,
        "result": "incomplete",
        "counts": {},
    }


def _identity(image: Image, path: Path | None) -> dict[str, str | None]:
    """An image in run.json; without a path it was made from a recipe or from Old."""
    return {
        "path": str(path) if path else None,
        "version": image.version,
        "build": image.build,
        "sha256": image.sha256,
    }


def properties(firmware: Firmware, prefix: str) -> list[tuple[str, str]]:
    """What a test's report says of its firmware."""
    return [
        (f"{prefix}{name}_{what}", value or "")
        for name, image in (("old", firmware.old), ("new", firmware.new))
        for what, value in (("version", image.version), ("sha256", image.sha256))
    ]
