"""Where rig files and firmware recipes are found: the user's own folder, then ours."""

from __future__ import annotations

from pathlib import Path

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.rig.words import near

PACKAGE = Path(__file__).resolve().parent.parent


def folder(kind: str) -> Path:
    """The shipped folder ``rigs`` or ``firmware_fixtures``, from a wheel or from a checkout."""
    inside = PACKAGE / "_shipped" / kind
    return inside if inside.is_dir() else PACKAGE.parent / kind


def find_rig(name: str, root: Path) -> Path:
    """The rig file for ``--rig``: a path, or a name in ``rigs/`` of the root or of the package.

    Raises:
        ConfigError: there is none; names the known ones.
    """
    if name.endswith(".toml") or "/" in name:
        tried = [Path.cwd() / name, root / name]  # an absolute path stays as it is
        for path in tried:
            if path.is_file():
                return path
        raise ConfigError(f"rig {name!r}", [f"there is no file {tried[0]}"])
    folders = [root / "rigs", folder("rigs")]
    for place in folders:
        path = place / f"{name}.toml"
        if path.is_file():
            return path
    known = sorted({path.stem for place in folders for path in place.glob("*.toml")})
    raise ConfigError(
        f"rig {name!r}",
        [
            f"there is no such rig; known are {', '.join(known)}{near(name, known)} "
            f"(looked in {folders[0]} and in the package)"
        ],
    )
