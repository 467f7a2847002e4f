"""What an operation begins with, worked out from its arguments and the evidence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_blynk_ota.air import AirRules
from pytest_blynk_ota.cloud.faults import CloudFault
from pytest_blynk_ota.delivery.faults import Fault, flat
from pytest_blynk_ota.delivery.slowness import slowness_s
from pytest_blynk_ota.errors import RigError, UsageError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.rig.profiles import Profile
from pytest_blynk_ota.verdict import Judge
from pytest_blynk_ota.verdict.sightings import WRITES

DOWNLOAD_LIMIT = 3
"""Blynk.Air's default: three downloads in 24 hours (device-shipment-statuses documentation)."""

SLOW_LINK_BYTES_PER_S = 10_000
"""A healthy download may be this slow before the default deadline cuts it."""


def judged_at_the_end(events: Sequence[Event], results: Sequence[Result]) -> list[Result]:
    """The same results in the light of all that was seen since: what came late is a finding."""
    final: list[Result] = []
    if not results:
        return final
    judge = Judge(events)  # reads all of them: once, not for each result
    for result in results:
        try:
            verdict = judge(result.number)
        except RigError:  # the rack failed since; what was judged before it stands
            verdict = result.verdict
        final.append(replace(result, verdict=verdict))
    return final


def otadata_known(events: Sequence[Event], board: str) -> list[str] | None:
    """otadata as last restored or read back; None where something has changed it since."""
    for event in reversed(events):
        if event.board != board:
            continue
        match (event.source, event.kind):
            case ("ota", "restored"):
                return list(event.data["otadata"])
            case ("flash", "read"):
                # The reset after the read boots: an image on trial is given up, a new one begins.
                steady = event.data["running"] == event.data["would_boot"]
                return list(event.data["otadata"]) if steady else None
            case ("delivery", "request"):
                return None
            case ("test", "action") if event.data.get("what") in WRITES:
                return None
    return None


def written_since(events: Sequence[Event], board: str) -> list[Sequence[int]]:
    """Offset and size of all that the test wrote into the flash since that was last known: since
    a restore, or an operation that has ended."""
    found: list[Sequence[int]] = []
    for event in reversed(events):
        if event.board != board:
            continue
        if event.source == "ota" and event.kind in ("restored", "watch_ended"):
            break
        if event.kind == "action" and event.data.get("what") in WRITES:
            found += event.data["spans"]
    return found


def check_arguments(
    image: object,
    faults: object,
    limit: object,
    timeout: object,
    https: object = None,
    expires: object = None,
) -> None:
    """Raises UsageError for an argument of another kind than ``ship`` and ``offer`` take."""
    if image is not None and not isinstance(image, Image):
        raise UsageError(
            f"ship() and offer() take an image: firmware.new, firmware.recipe(NAME), "
            f"firmware.read(PATH) or one derived from these; got {image!r}"
        )
    kinds = (Fault, CloudFault)
    if not isinstance(faults, list | tuple) or any(
        not isinstance(one, kinds) for one in flat(faults)
    ):
        raise UsageError(
            f"faults is a list such as [faults.stall(after='50%')]; got {faults!r}; "
            f"faults.parse(text) reads the text form"
        )
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UsageError(f"download_limit is a whole number of at least 1, got {limit!r}")
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise UsageError(f"timeout is device seconds above 0, got {timeout!r}")
    if https is not None and not isinstance(https, bool):
        raise UsageError(f"https is True, False or None, got {https!r}")
    if expires is not None and not (isinstance(expires, int | float) and expires > 0):
        raise UsageError(f"expires is device seconds above 0, got {expires!r}")


def with_limit(rules: AirRules | None, limit: int) -> AirRules:
    """The rules of a shipment, with the limit that was given beside them.

    Raises:
        UsageError: the rules are none, or name another limit.
    """
    check_arguments(None, (), limit, None)
    if rules is None:
        return AirRules(download_limit=limit)
    if not isinstance(rules, AirRules):
        raise UsageError(f"rules is an AirRules, as AirRules(window='night'); got {rules!r}")
    if limit == DOWNLOAD_LIMIT:  # not given, or the default of both
        return rules
    if rules.download_limit not in (limit, DOWNLOAD_LIMIT):
        raise UsageError(
            f"download_limit is {limit}, and rules say download_limit={rules.download_limit}: "
            f"give it once"
        )
    return replace(rules, download_limit=limit)


def facts(image: Image) -> dict[str, Any]:
    """What an image declares, as it stands in the evidence."""
    desc = image.app_desc
    return {
        "version": image.version,
        "build": image.build,
        "fw_type": image.fw_type,
        "library": image.tag.pairs.get("blynk") if image.tag else None,
        "project": desc.project if desc else None,
        "app_version": desc.version if desc else None,
        "elf_sha256": image.elf_sha256,
        "sha256": image.sha256,
        "md5": image.md5,
        "size": len(image.data),
    }


def planned(fault: Fault, board: str) -> dict[str, Any]:
    """What the judge has to know of a fault of the download: which attempts on this board it may be
    due in (null: any), and whether each of them must see it."""
    when = fault.when
    attempts = when.attempts or (tuple(range(1, when.first + 1)) if when.first else None)
    mine = when.boards is None or board in when.boards
    return {
        "text": str(fault),
        "kind": fault.kind,
        "attempts": list(attempts) if attempts else None,
        "maybe": when.may,
        "sure": when.is_sure and when.every is None and mine,
    }


def default_deadline_s(
    profile: Profile, size: int, downloads: int, faults: Sequence[Fault] = (), late_s: float = 0.0
) -> float:
    """Device seconds in which every download may stall at its end and the device come back; what
    faults slow down takes longer, and ``late_s`` by what the network is like."""
    once = (
        profile.request_s
        + size / SLOW_LINK_BYTES_PER_S
        + slowness_s(faults, size)
        + late_s
        + profile.stall_s
        + profile.error_restart_s
        + profile.boot_s
        + profile.login_s
    )
    return downloads * once + profile.apply_s + profile.settle_s + profile.login_s
