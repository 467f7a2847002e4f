"""The firmware of a run: the user's files or the shipped recipes, and what is derived from them.

Images are made on demand and kept by content, so that a second run reads them from disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import FirmwareError, UsageError
from pytest_blynk_ota.firmware import derive, recipe
from pytest_blynk_ota.firmware.bugs import NEVER_IN_OLD
from pytest_blynk_ota.firmware.image import Image, parse
from pytest_blynk_ota.rig import shipped
from pytest_blynk_ota.rig.profiles import DEFAULT, Profile
from pytest_blynk_ota.rig.words import near

CACHE_FORMAT = 4
"""Raised when the same recipe gives other bytes, so that stale images are not found."""


class Kitchen:
    """Makes images from recipes; the user's own ``firmware_fixtures`` come first."""

    def __init__(self, root: Path, cache: Path) -> None:
        self._folders = [root / "firmware_fixtures", shipped.folder("firmware_fixtures")]
        self._cache = cache

    def make(self, name: str, chip: str, **changes: Any) -> bytes:
        """The image of a recipe for a chip.

        Raises:
            FirmwareError: there is no such recipe, or it is wrong.
        """
        path = self._find(name)
        text = path.read_text(encoding="utf-8")
        key = hashlib.sha256(
            json.dumps([CACHE_FORMAT, text, chip, changes], sort_keys=True).encode()
        ).hexdigest()
        stored = self._cache / f"{key[:32]}.bin"
        if stored.is_file():
            return stored.read_bytes()
        data = recipe.make(recipe.loads(text, path.name), chip, **changes)
        with contextlib.suppress(OSError):  # a folder that cannot be written costs time, no more
            self._cache.mkdir(parents=True, exist_ok=True)
            half = stored.with_suffix(f".{os.getpid()}.part")
            half.write_bytes(data)
            half.replace(stored)
        return data

    def _find(self, name: str) -> Path:
        for folder in self._folders:
            path = folder / f"{name}.toml"
            if path.is_file():
                return path
        known = sorted({path.stem for folder in self._folders for path in folder.glob("*.toml")})
        raise FirmwareError(
            f"no firmware recipe {name!r}; known are {', '.join(known)}{near(name, known)}"
        )


def read_image(path: Path, option: str) -> Image:
    """Read a user's firmware file.

    Raises:
        FirmwareError: it is missing, or no ESP application image; names the option and the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FirmwareError(f"{option} {path}: {error.strerror}") from error
    image = parse(data, f"{option} {path}")
    if image.problems:
        raise FirmwareError(f"{option} {path}: {'; '.join(image.problems)}")
    return image


Change = Callable[[bytes, str], bytes]
"""Makes another image of the bytes of one; it is told its name, for messages."""


def next_version(version: str) -> str:
    """A higher version of the same length, for a tag has no room to grow: 1.2.9 → 1.3.0.

    Raises:
        FirmwareError: there is none: no number in it, or nines alone.
    """
    digits = [at for at, letter in enumerate(version) if letter.isdecimal()]
    letters = list(version)
    for at in reversed(digits):
        if letters[at] != "9":
            letters[at] = str(int(letters[at]) + 1)
            return "".join(letters)
        letters[at] = "0"
    raise FirmwareError(f"no higher version of the length of {version!r}; give --new as well")


def earlier_version(version: str) -> str:
    """A lower version of the same length: 1.3.0 → 1.2.9.

    Raises:
        FirmwareError: there is none: no number in it, or zeros alone.
    """
    digits = [at for at, letter in enumerate(version) if letter.isdecimal()]
    letters = list(version)
    for at in reversed(digits):
        if letters[at] != "0":
            letters[at] = str(int(letters[at]) - 1)
            return "".join(letters)
        letters[at] = "9"
    raise FirmwareError(f"no lower version of the length of {version!r}")


def refuse_equal(old: Image, new: Image, words: tuple[str, str] = ("--old", "--new")) -> None:
    """Raises UsageError if nothing that a device reports could tell the two apart."""
    if old.sha256 == new.sha256:
        raise UsageError(
            f"{words[0]} and {words[1]} are the same binary "
            f"(sha256 {old.sha256[:12]}…): an update could not be seen"
        )
    if (old.version, old.build) == (new.version, new.build):
        raise UsageError(
            f"{words[0]} and {words[1]} both are version {old.version} built {old.build}: "
            f"an update could not be seen; raise the version, or give {words[0]} alone"
        )


class Firmware:
    """The images of a test, for one board: ``old``, ``new``, and everything made from them.

    Attributes:
        chip: name of the board's chip.
        profile: how the firmware of this board behaves.
        old: the image that the baseline runs.
        new: the image that is shipped by default.
        is_fixture: whether the images are ours and carry a behaviour; only such can be told to
            misbehave. Images with a plain user's code can still be damaged and restamped.
    """

    def __init__(
        self,
        kitchen: Kitchen,
        chip: str,
        *,
        old: Path | None = None,
        new: Path | None = None,
        profile: Profile = DEFAULT,
        bugs: Sequence[str] = (),
    ) -> None:
        self._kitchen = kitchen
        self.profile = profile
        self._bugs = tuple(bugs)
        self._built_with: Mapping[str, Any] = {"bugs": self._bugs} if bugs else {}
        self._change: Change | None = None
        self.chip = chip
        self.old = read_image(old, "--old") if old else self.recipe("old")
        if new:
            self.new = read_image(new, "--new")
        elif old:
            self.new = self.restamped(self.old, next_version(self.old.version or ""))
        else:
            self.new = self.recipe("new")
        for option, image in (("--old", self.old), ("--new", self.new)):
            if image.chip != chip:
                raise FirmwareError(
                    f"{option} is an image for {image.chip}, the board is an {chip}"
                )
        refuse_equal(self.old, self.new)
        self._pristine = (self.old, self.new)

    def __repr__(self) -> str:
        return f"<firmware {self.old.version} -> {self.new.version} for {self.chip}>"

    @property
    def is_fixture(self) -> bool:
        """Whether both images carry a behaviour segment."""
        return self.old.behaviour is not None and self.new.behaviour is not None

    def recipe(self, name: str, **changes: Any) -> Image:
        """An image made from ``firmware_fixtures/NAME.toml`` for this board."""
        ways = {"log": self.profile.log, "profile": self.profile.fixture}
        image = parse(self._kitchen.make(name, self.chip, **{**ways, **changes}), name)
        return self._fitted(image, name, old=name == "old")

    def build_with(self, behaviour: Mapping[str, Any], change: Change | None = None) -> None:
        """Compile this into Old, New and all that is made from recipes from now on.

        Args:
            behaviour: keys of a behaviour: ``settings``, or whom to trust; of fixture images.
            change: what is to be done to the bytes of an image of that name, after that.

        Raises:
            FirmwareError: it cannot be.
        """
        behaviour = {**behaviour, "bugs": self._bugs} if self._bugs else behaviour
        if behaviour != self._built_with or change is not None or self._change is not None:
            self._built_with, self._change = dict(behaviour), change
            old, new = self._pristine
            self.old = self._fitted(old, "--old", old=True)
            self.new = self._fitted(new, "--new")

    def _fitted(self, image: Image, name: str, *, old: bool = False) -> Image:
        if self._built_with:
            image = self._built(image, old=old)
        return image if self._change is None else parse(self._change(image.data, name), name)

    def _built(self, image: Image, *, old: bool = False) -> Image:
        built = dict(self._built_with)
        if old and self._bugs:
            built["bugs"] = tuple(one for one in self._bugs if one not in NEVER_IN_OLD)
        return self.behaving(image, **built)

    def read(self, path: str | Path) -> Image:
        """An image from a file of your own. Raises FirmwareError."""
        return read_image(Path(path), "firmware.read:")

    def bootloader(self, *, rollback: bool = True, anti_rollback: bool = False) -> bytes:
        """A second-stage bootloader image for this board, with rollback on or off; or one that
        refuses images below the secure version in the eFuses, too."""
        rollback = rollback and "Z48" not in self._bugs  # that bug is the bootloader's
        name = "bootloader" if rollback else "bootloader-no-rollback"
        name = "bootloader-anti-rollback" if rollback and anti_rollback else name
        return self._kitchen.make(name, self.chip, log=self.profile.log)

    @property
    def factory(self) -> Image:
        """What ``baseline(factory=True)`` has in the factory partition: Old, an earlier version."""
        return self.restamped(self.old, earlier_version(self.old.version or ""))

    def restamped(self, image: Image, version: str) -> Image:
        """The same image under another version."""
        return parse(derive.restamped(image.data, version), f"restamped {version}")

    def bad_hash(self, image: Image | None = None) -> Image:
        """The image with its appended SHA-256 wrong: the bootloader's last check refuses it."""
        return self._derived(image, derive.bad_hash, "bad hash")

    def bad_checksum(self, image: Image | None = None) -> Image:
        """The image with its checksum byte wrong."""
        return self._derived(image, derive.bad_checksum, "bad checksum")

    def wrong_chip(self, image: Image | None = None) -> Image:
        """The image with another chip in its header."""
        return self._derived(image, derive.wrong_chip, "wrong chip")

    def cut(self, image: Image | None = None, *, keep: int | None = None) -> Image:
        """The image cut after ``keep`` bytes (half of it by default)."""
        source = image or self.new
        size = len(source.data) // 2 if keep is None else keep
        return parse(derive.cut(source.data, size), "cut")

    def padded(self, size: int, image: Image | None = None, *, fill: int = 0xFF) -> Image:
        """The same firmware in a file of ``size`` bytes, with ``fill`` behind it."""
        return parse(derive.padded((image or self.new).data, size, fill), f"padded to {size}")

    def retyped(self, fw_type: str, image: Image | None = None) -> Image:
        """The image for another template, whose name is as long as its own."""
        return parse(derive.retyped((image or self.new).data, fw_type), f"retyped {fw_type}")

    def for_revision(self, least: int, image: Image | None = None) -> Image:
        """The image for chips of a revision from ``least`` on, in hundredths as 300 for v3.0."""
        return parse(derive.for_revision((image or self.new).data, least), f"revision {least}")

    def for_flash(self, size: str, image: Image | None = None) -> Image:
        """The image with a flash of another size in its header, as ``2MB``."""
        return parse(derive.for_flash((image or self.new).data, size), f"for {size} of flash")

    def without_description(self, image: Image | None = None) -> Image:
        """The image with a wrong magic word in its application description."""
        return self._derived(image, derive.without_description, "without description")

    def wrong_segment(self, image: Image | None = None) -> Image:
        """The image with a first segment that ends far behind the file."""
        return self._derived(image, derive.wrong_segment, "wrong segment")

    def too_many_segments(self, image: Image | None = None) -> Image:
        """The image with a header that counts one segment more than a loader takes."""
        return self._derived(image, derive.too_many_segments, "too many segments")

    def crashes_at_start(self, image: Image | None = None) -> Image:
        """The image with an illegal instruction at its entry."""
        return self._derived(image, derive.crash_at_start, "crashes at start")

    def crashes_before_login(self, image: Image | None = None) -> Image:
        """A fixture image that panics once the network is up, and confirms only after a login."""
        return self.behaving(image, confirm="login", crash={"when": "before_login", "how": "panic"})

    def behaving(self, image: Image | None = None, **changes: Any) -> Image:
        """A fixture image with other behaviour; see ``docs/reference/firmware-recipes.md``.

        Raises:
            FirmwareError: the image is not one of ours, or a change is unknown.
        """
        source = image or self.new
        return parse(derive.with_behaviour(source.data, **changes), "behaving otherwise")

    def _derived(self, image: Image | None, how: Any, name: str) -> Image:
        return parse(how((image or self.new).data), name)
