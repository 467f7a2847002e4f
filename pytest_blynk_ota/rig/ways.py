"""The profile of a board, as a rig file says it: a name, or a table of what differs from one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.rig.extensions import PROFILES as GROUP
from pytest_blynk_ota.rig.extensions import installed_table
from pytest_blynk_ota.rig.profiles import CONFIRMS, DIGESTS, PROFILES, Profile
from pytest_blynk_ota.rig.words import near

WHAT = "profile"


@dataclass(frozen=True, slots=True)
class _Rule:
    words: str
    fits: Callable[[Any], bool]


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e9  # type: ignore[operator]


def _is_list_of(known: tuple[str, ...] | None) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, list)
        and all(isinstance(one, str) and (known is None or one in known) for one in value)
    )


SECONDS = _Rule("device seconds, 0 or more", _is_seconds)
COUNT = _Rule("a whole number above 0", lambda value: type(value) is int and value > 0)
FLAG = _Rule("true or false", lambda value: isinstance(value, bool))
RULES: Mapping[str, _Rule] = {
    "request_s": SECONDS,
    "stall_s": SECONDS,
    "apply_s": SECONDS,
    "error_restart_s": SECONDS,
    "boot_s": SECONDS,
    "login_s": SECONDS,
    "self_test_s": SECONDS,
    "settle_s": SECONDS,
    "in_flight_stall_s": SECONDS,
    "loop": COUNT,
    "rollback": FLAG,
    "prints_progress": FLAG,
    "confirms": _Rule(" or ".join(f'"{one}"' for one in CONFIRMS), lambda one: one in CONFIRMS),
    "tries": COUNT,
    "redirects": FLAG,
    "chunked": FLAG,
    "resumes": FLAG,
    "digests": _Rule(f"a list of {' and '.join(DIGESTS)}", _is_list_of(DIGESTS)),
    "digest_needed": FLAG,
    "known": _Rule("a list of findings", _is_list_of(None)),
}
"""What a board's profile may say otherwise than the one that it is based on."""


def profile_of(said: object) -> Profile:
    """The profile that a rig file names, or describes: ``{ base = "edgent-new", stall_s = 12 }``.

    Raises:
        ConfigError: there is no such profile, or the table has mistakes; all of them.
    """
    if isinstance(said, Profile):
        return said
    if isinstance(said, str):
        return _known(said)
    if not isinstance(said, Mapping):
        raise ConfigError(WHAT, [f"expected the name of a profile, or a table, got {said!r}"])
    values = dict(said)
    base = _known(str(values.pop("base", "default")))
    name = values.pop("name", f"{base.name}, changed" if values else base.name)
    if problems := [*_mistakes(name, values)]:
        raise ConfigError(WHAT, problems)
    changes: dict[str, Any] = {
        key: tuple(one) if isinstance(one, list) else one for key, one in values.items()
    }
    made = replace(base, name=name, **changes)
    if problems := [*_contradictions(made, values)]:
        raise ConfigError(WHAT, problems)
    return made


def _known(name: str) -> Profile:
    if name in PROFILES:
        return PROFILES[name]
    try:
        table = installed_table(GROUP, WHAT, name)
    except ValueError as error:
        raise ConfigError(WHAT, [str(error)]) from None
    if table is not None:
        if table.get("base") not in {None, *PROFILES}:  # so that none can be based on itself
            raise ConfigError(WHAT, [f"{name!r} of a package: expected a base of ours"])
        return profile_of({"name": name, **table})
    known = ", ".join(sorted(PROFILES))
    raise ConfigError(
        WHAT, [f"expected a firmware profile ({known}), got {name!r}{near(name, PROFILES)}"]
    )


def _mistakes(name: object, values: Mapping[str, object]) -> Iterator[str]:
    if not isinstance(name, str) or not name:
        yield f"name: expected a name, got {name!r}"
    elif values and name in PROFILES:
        yield f"name: {name!r} is a profile of ours; expected a name of its own"
    for key, value in values.items():
        if key not in RULES:
            yield f"{key}: unknown key{near(key, [*RULES, 'base', 'name'])}"
        elif not RULES[key].fits(value):
            yield f"{key}: expected {RULES[key].words}, got {value!r}"


def _contradictions(made: Profile, values: Mapping[str, object]) -> Iterator[str]:
    """What a firmware cannot both be. Only what the table itself says is looked at."""
    if made.digest_needed and not made.digests:
        yield "digest_needed: a digest cannot be needed where digests is empty"
    if made.self_test_s and made.confirms != "self_test" and "confirms" in values:
        yield (
            "self_test_s: a self-test confirms the image; "
            f'expected confirms = "self_test", got "{made.confirms}"'
        )
    if "settle_s" in values and made.settle_s < made.self_test_s + 5 and made.self_test_s:
        yield (
            f"settle_s: {made.settle_s:g} ends before the self-test and 5 s are over; "
            f"expected at least {made.self_test_s + 5:g}"
        )
    if made.loop < 2:
        yield "loop: one reset is no loop; expected 2 or more"
