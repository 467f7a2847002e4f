"""The options and markers that pytest is told of. Each start of pytest reads it: no imports."""

from __future__ import annotations

OPTIONS = {
    "rig": (
        "NAME|PATH|auto|PORT",
        "the rig to test on: rigs/NAME.toml, or a file; auto: the one board that is plugged in; "
        "PORT: the board there, as /dev/ttyUSB0 (default: virtual)",
    ),
    "board": ("NAME", "the only board of the rig to use"),
    "boards": (
        "all|chips|NAME,...",
        "run each test on every board of the rig, on one board of each chip, or on these "
        "(default: on any free one)",
    ),
    "board_wait": (
        "SECONDS",
        "how long to wait for a board that another run holds (default: 0; workers of one run "
        "always wait for each other)",
    ),
    "scenarios": (
        "ID,...",
        "only the tests of these scenarios: an id as D22a, all parts of one as D22, or a family "
        "as D",
    ),
    "old": ("PATH", "the firmware that the boards start from"),
    "new": ("PATH", "the firmware that is shipped (default: Old with a higher version)"),
    "elf": (
        "PATH",
        "the firmware's ELF file, or a folder of them, to read crashes with (default: the .elf "
        "beside --old and --new)",
    ),
    "evidence": (
        "DIR",
        "where the evidence goes; an earlier run in it is replaced "
        "(default: .blynk-ota/runs/TIME-RIG)",
    ),
    "ota_seed": ("N", "what tests leave to chance comes out as in the run that named this number"),
    "campaign": (
        "N|Nmin|Nh",
        "how many plans a campaign of random trouble runs, or for how long (default: 10)",
    ),
    "plan": ("FILE", "the one plan that a campaign is to run: what an earlier one has found"),
    "backup": (
        "auto|always",
        "whose flash is saved to .blynk-ota/backup before it is first written: auto, of every "
        "board but virtual ones; always, of those, too",
    ),
    "ota_live": (
        "auto|line|plain|off",
        "how far each board is: a line for each at the bottom of a terminal, or plain lines; "
        "auto: the first, or with -v the second where there is no terminal",
    ),
}
DEFAULT_RIG = "virtual"
MARKERS = (
    "finding(name, ...): error findings that this test expects; any other fails it",
    "requires(need, ...): skip where the rig or the firmware lacks one of power, rollback, "
    "fixture-firmware, https, anti-rollback, network, ap, link, netem, dns",
    "baseline(rollback=True, slot=0, factory=False): what the baseline of this test differs in",
    "scenario(id, ...): the scenarios of a catalogue that this test is, as D22a",
    "smoke: the few tests that say soonest whether updates work at all",
    "nightly: takes more than two device minutes",
    "soak: takes hours",
)
NOT_AGAIN = (
    "evidence",
    "backup",
    "board_wait",
    "ota_seed",
    "ota_live",
    "scenarios",
    "campaign",
    "plan",
)
"""Options that do not decide what a test comes to, or not always."""


def flag_of(name: str) -> str:
    """An option as it is typed."""
    return "--" + name.replace("_", "-")
