"""The bugs that can be planted in the reference firmware, to prove that a suite finds them.

Each stands for one that field firmware really had. A fixture image carries their ids in its
behaviour (``bugs``); the virtual board then does it wrong in that one way. ``caught_by`` names the
scenarios of the stock suite that have to fail with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """One way to do an update wrong.

    Attributes:
        id: as ``Z7``.
        what: what the firmware does wrong.
        caught_by: ids of the scenarios that find it, the likeliest first.
        shows: a regular expression; what a failure says that is due to this bug.
    """

    id: str
    what: str
    caught_by: tuple[str, ...]
    shows: str = ""


def bug(id: str, what: str, caught_by: str, shows: str = "") -> Bug:
    return Bug(id, what, tuple(caught_by.split()), shows)


NOT_THERE = "UPGRADED, got (STALLED|DOWNLOAD_FAILED|DOWNLOAD_LIMIT_REACHED)"
"""Said where a download should have come through."""

BUGS: Mapping[str, Bug] = {
    one.id: one
    for one in (
        bug("Z1", "takes the first pause as the end", "D23 D22", r"UPGRADED, got STALLED"),
        bug(
            "Z2",
            "bytes written never compared with Content-Length",
            "D12",
            r"DOWNLOAD_FAILED, got UPGRADED",
        ),
        bug("Z3", "any status taken as firmware", "D1 D6", r"DOWNLOAD_FAILED, got UPGRADED"),
        bug(
            "Z4",
            'no Content-Length = done: otadata untouched, logs "successful"',
            "B23 D8",
            r"false success",
        ),
        bug(
            "Z5",
            "calls end(true): short data accepted",
            "D12 D20",
            r"DOWNLOAD_FAILED, got UPGRADED",
        ),
        bug(
            "Z6",
            "MD5 check skipped when the header is upper case",
            "D15",
            r"REJECTED, got UPGRADED",
        ),
        bug(
            "Z7",
            "compares only the first 16 characters of the MD5",
            "D15",
            r"REJECTED, got UPGRADED",
        ),
        bug(
            "Z8",
            "no timeout on a stall",
            "D22 D24",
            r"hang: download of \S+ is open without a byte",
        ),
        bug(
            "Z9",
            "timeout restarts at every byte, no overall limit",
            "D25",
            r"a drip is taken for ever",
        ),
        bug(
            "Z10",
            "timeout too short: a healthy slow link fails",
            "D23 D26",
            r"UPGRADED, got (STALLED|DOWNLOAD_FAILED)",
        ),
        bug("Z11", 'closed socket read as "no data"', "D20", r"a close was read as no data"),
        bug("Z12", 'first byte late = "wrong magic"', "D49", r"wrong magic byte"),
        bug("Z13", "retries for ever, no back-off", "D5 D1", r"asked for without an end"),
        bug(
            "Z14",
            "after one failure takes no further try or offer",
            "D4",
            r"UPGRADED, got DOWNLOAD_FAILED",
        ),
        bug("Z15", '"Already running" at the second try in one boot', "D4 H9", r"Already running"),
        bug(
            "Z16",
            "retry writes on from the old offset without Range",
            "D32 D37",
            r"upgrade failed: \d+ of \d+ bytes",
        ),
        bug(
            "Z17",
            "200 to a Range request taken as the rest of the file",
            "D37",
            r"upgrade failed: (status 416|\d+ of \d+ bytes)",
        ),
        bug("Z18", "redirect loop never ends", "D34", r"after \d{3,} redirects"),
        bug("Z19", "any TLS certificate accepted", "D43", r"DOWNLOAD_FAILED, got UPGRADED"),
        bug(
            "Z20",
            "auth token sent to the redirect target",
            "D35",
            r"headers for the first host alone were sent",
        ),
        bug(
            "Z21",
            "crash (null client) on refused connection or DNS failure",
            "D40 D42",
            r"crash: Load",
        ),
        bug(
            "Z22",
            "buffer overflow on a long header or URL",
            "D18 C16",
            r"crash: heap trouble \(Bad head",
        ),
        bug(
            "Z23",
            "HTTP client leaked at each failed try",
            "E7",
            r"crash: heap trouble \(0x00001000\)",
        ),
        bug("Z24", "task or timer leaked per try: the 17th in one boot fails", "E7", r"no timer"),
        bug("Z25", "last partial 4 KB block not flushed", "H3", r"UPGRADED, got RE(VERT|JECT)ED"),
        bug(
            "Z26",
            "last block lost only when size % 4096 = 0",
            "H3",
            r"UPGRADED, got RE(VERT|JECT)ED",
        ),
        bug(
            "Z27",
            "last sector not erased: old bits AND new bits",
            "H6 H3",
            r"UPGRADED, got REJECTED|image failed verification",
        ),
        bug("Z28", "FF blocks skipped without erasing", "H5", r"UPGRADED, got RE(VERT|JECT)ED"),
        bug(
            "Z29",
            "erases before checking the size, or writes past the slot",
            "I8",
            r"a slot was erased for a file that does not fit",
        ),
        bug("Z30", "writes to the running slot", "H1 P3", r"crash: Illegal ?[Ii]nstruction"),
        bug("Z31", "always picks ota_0", "H2", r"UPGRADED, got REJECTED"),
        bug(
            "Z32",
            "boots by partition label, not by the free slot",
            "H2 E10",
            r"UPGRADED, got (DOWNLOAD_LIMIT_REACHED|REJECTED)",
        ),
        bug("Z33", "image not verified before the switch", "I5 I6", r"false success"),
        bug("Z34", "chip id not checked", "I1", r"false success"),
        bug("Z35", "checks magic only, not the hash", "I6 D29", r"false success"),
        bug(
            "Z36",
            "erases both otadata sectors before writing",
            "P6",
            r"no entry of otadata is left",
        ),
        bug("Z37", "otadata entry of the running slot overwritten", "B25", r"\[0, 1\]"),
        bug(
            "Z38",
            "switches slot before the last bytes are written",
            "P4 P5",
            r"otadata chose \w+, which cannot be started",
        ),
        bug("Z39", "restarts before otadata is written", "B23", r"UPGRADED, got REJECTED"),
        bug(
            "Z40", "boots old, reports new (version from NVS)", "B23", r"UPGRADED, got MISREPORTED"
        ),
        bug("Z41", "reports new before the reboot", "H10 P3", r"MISREPORTED"),
        bug("Z42", "never reports the version", "C12 H10", r"UPGRADED, got NOT_REPORTED"),
        bug("Z43", "reports a constant", "H10 I12", r"UPGRADED, got MISREPORTED"),
        bug(
            "Z44",
            "confirms at the first line of setup",
            "B1 B11",
            r"REVERTED, got BOOT_LOOP|ROLLED_BACK, got UPGRADED",
        ),
        bug(
            "Z45",
            "never confirms: next power cycle reverts",
            "H11",
            r"a report of version \S+ never came|confirmation not seen",
        ),
        bug("Z46", "confirms on Wi-Fi, not on cloud login", "B12", r"REVERTED, got OFFLINE"),
        bug("Z47", "self-test always true", "B11", r"ROLLED_BACK, got UPGRADED"),
        bug("Z48", "rollback compiled out of the bootloader", "B1", r"REVERTED, got BOOT_LOOP"),
        bug(
            "Z49",
            "after a rollback takes the same version again, for ever",
            "B24 C13",
            r"REJECTED, got ROLLED_BACK",
        ),
        bug(
            "Z50", "rollback leaves the config in the new format", "T3", r"ROLLED_BACK, got OFFLINE"
        ),
        bug("Z51", "NVS, Wi-Fi or token wiped", "T1", r"UPGRADED, got OFFLINE"),
        bug("Z52", "second trigger starts a second OTA task", "C1 C2", r"expected \['complete'\]"),
        bug(
            "Z53",
            "trigger in the first second after login ignored",
            "C4",
            r"UPGRADED, got NOT_STARTED|never came",
        ),
        bug(
            "Z54",
            "OTA in the Blynk callback: heartbeat dies, watchdog bites",
            "D26 C18",
            "crash: [Tt]ask watchdog|" + NOT_THERE,
        ),
        bug("Z55", "feeds the watchdog in a stuck loop", "D22 B7", r"STALLED, got OFFLINE"),
        bug("Z56", "stays in config mode after a rejected token", "C9", r"UPGRADED, got OFFLINE"),
        bug(
            "Z57",
            "goes to sleep in the download",
            "D26",
            "unexpected reset|" + NOT_THERE,
        ),
        bug("Z58", "unreachable cloud for seconds = bad image", "C6 E2", r"UPGRADED, got REVERTED"),
        bug(
            "Z59",
            "same-version loop: download, reboot, download",
            "I14 C15",
            r"download 3 \(o\d+\): complete",
        ),
        bug("Z60", "lower secure version accepted", "I16", r"REJECTED, got|false success"),
        bug(
            "Z61",
            "updates blocked for ever after one brownout",
            "P17",
            r"UPGRADED, got DOWNLOAD_FAILED",
        ),
        bug("Z62", 'prints "OK" before the work is done', "B23", r"false success"),
    )
}

NEVER_IN_OLD = frozenset({"Z42"})
"""Bugs with which a board cannot be known to run Old: no test could begin."""
