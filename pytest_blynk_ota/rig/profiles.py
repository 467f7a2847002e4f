"""How long a firmware takes and what it protects itself with, in device seconds.

The judge takes all its times from here, through the evidence of the operation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

CONFIRMS = ("init", "login", "self_test", "never")
"""When a firmware may confirm itself."""
DIGESTS = ("x-md5", "x-sha256")
"""The headers in which Blynk's servers give a file's digest."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The ways of one firmware. All ``_s`` fields are device seconds.

    Attributes:
        name: the word that a rig file uses for it.
        request_s: from the offer to the GET.
        stall_s: its own limit for a download that brings no bytes.
        apply_s: from the whole file to the restart.
        error_restart_s: how long it stays in its error state before it restarts, or waits before
            it asks for the file again.
        boot_s: from reset to the first connection.
        login_s: how long it may be away before it counts as offline.
        self_test_s: how long its self-test runs after the login; 0 if it has none.
        settle_s: how long it must stay logged in to count as settled.
        loop: unexpected resets, or link drops, that make a loop.
        in_flight_stall_s: bytes unacknowledged for so long are a stall.
        rollback: whether its bootloader can go back.
        prints_progress: whether it prints how far its update is ("Flashing... 40%").
        log: which of the shipped fixture images stand for it, ``quiet`` or ``info``.
        fixture: whose ways these fixture images have (``profile`` of a behaviour).
        dials: the kind of the cloud's port that it speaks to, unless the rig file says another.
        nvs: whether it reads its network, cloud and token from NVS, as old Edgent keeps them.
        cloud_ports: the ports that its firmware dials, whatever it is told; a virtual rack's router
            forwards them to the rig's cloud.
        confirms: when an image tells the bootloader to keep it; ``init`` is before any code of
            the user's, so that only crashes before that are rolled back.
        tries: how often one boot asks for a file before it gives up.
        redirects: whether a download follows them.
        chunked: whether it takes a body without a length, in chunks.
        resumes: whether it asks for the rest of a file after a cut.
        digests: the headers that it holds the file against, small letters.
        digest_needed: whether it refuses a file that comes without them.
        known: error findings that this firmware is known for; they fail no test.
    """

    name: str
    request_s: float = 20.0
    stall_s: float = 30.0
    apply_s: float = 30.0
    error_restart_s: float = 10.0
    boot_s: float = 15.0
    login_s: float = 60.0
    self_test_s: float = 0.0
    settle_s: float = 10.0
    loop: int = 4
    in_flight_stall_s: float = 5.0
    rollback: bool = True
    prints_progress: bool = False
    log: str = "quiet"
    fixture: str = "edgent-old"
    dials: str = "tcp"
    nvs: bool = True
    cloud_ports: tuple[int, ...] = ()
    confirms: str = "init"
    tries: int = 1
    redirects: bool = False
    chunked: bool = False
    resumes: bool = False
    digests: tuple[str, ...] = ("x-md5",)
    digest_needed: bool = False
    known: tuple[str, ...] = ()

    def with_self_test(self, seconds: float) -> Profile:
        """The same with a self-test: settling takes 5 s longer (docs/explanation/verdict.md)."""
        return replace(self, self_test_s=seconds, settle_s=max(self.settle_s, seconds + 5))

    def to_data(self) -> dict[str, Any]:
        """As it stands in the evidence."""
        return asdict(self)


DEFAULT = Profile("default")

ANY_SERVER = ("certificate not checked", "certificate host not checked")
"""Known of blynk-library's firmware, whose TLS client for a download has no CA to look for."""

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        DEFAULT,
        # Old Edgent ESP32 over TLS: 2 s before the GET, about 30 s stall, 10 s in MODE_ERROR
        # (blynk-library 1.4.0, examples/Blynk.Edgent/Edgent_ESP32).
        Profile("edgent-old", known=ANY_SERVER),
        # The same, with a bootloader and an application that log at INFO.
        Profile("edgent-old-info", log="info", known=ANY_SERVER),
        # Over plain HTTP the stall rule is 300 empty reads of 5.1 s each: up to 25 minutes.
        Profile("edgent-old-http", stall_s=1530.0, known=ANY_SERVER),
        # New Edgent: 1 s before the disconnect, 30 s without a byte, 10 s in ERROR; fixed ports, of
        # which the first with TLS and the first without (Edgent-Arduino 0.9.0, src/: BlynkEdgent.h,
        # BlynkHttpOTA.h, BlynkNetMgrClients.h).
        Profile(
            "edgent-new",
            fixture="edgent-new",
            cloud_ports=(443, 80),
            prints_progress=True,
            digests=("x-sha256",),
            digest_needed=True,
        ),
        # A plain sketch downloads in its handler and goes on after a failure: no error state.
        # 30 s is the stall limit of the fixtures; over plain HTTP it is edgent-old-http's.
        Profile(
            "sketch",
            request_s=5.0,
            error_restart_s=0.0,
            fixture="sketch",
            nvs=False,
            digests=(),
            known=("digest not checked", *ANY_SERVER),
        ),
        # Blynk's MQTT sample for ESP-IDF: esp_https_ota(), no restart after a failure; ESP-IDF's
        # bootloader has rollback off unless it is asked for.
        Profile(
            "mqtt-idf",
            request_s=5.0,
            error_restart_s=0.0,
            rollback=False,
            log="info",
            fixture="mqtt-idf",
            dials="mqtt",
            nvs=False,
            redirects=True,
            chunked=True,
            digests=(),
            # It prints the URL with its token, and esp_https_ota() waits for ever for a byte and
            # looks at no header of a digest.
            known=("secret in the log", "hang", "digest not checked"),
        ),
        # Ours. It tries three times in one boot, 2 s and 4 s apart, and stays online after that. An
        # image on trial looks for its cloud for 10 minutes before it goes back: no shorter absence
        # is an end.
        Profile(
            "reference",
            request_s=5.0,
            login_s=660.0,
            log="info",
            prints_progress=True,
            fixture="reference",
            confirms="self_test",
            tries=3,
            redirects=True,
            chunked=True,
            resumes=True,
            digests=("x-md5", "x-sha256"),
        ),
    )
}
