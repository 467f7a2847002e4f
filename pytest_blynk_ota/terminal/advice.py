"""What to do about an error of the rack, by its class. Data only."""

from __future__ import annotations

from collections.abc import Mapping

ADVICE: Mapping[str, str] = {
    "PortGone": "is the board plugged in, and does another program hold its port?",
    "LoaderSilent": "does the port belong to this board, and do EN and IO0 reach it? try "
    "esptool --port PORT chip-id",
    "FlashFailed": "a shorter cable or a lower baud in the rig file; if it stays, another board",
    "OutletUnreachable": "run the outlet's command from the rig file by hand",
    "NetworkFailed": "run the command of [network] in the rig file by hand",
    "LeaseHeld": "wait until the other run ends (--board-wait=600 waits up to ten minutes), ask it "
    "to end (blynk-ota rig free BOARD), or use another board: --board",
    "Quarantined": "find out why it does not answer; blynk-ota rig doctor tries it again, and lets "
    "it out if it works",
    "DeadlinePassed": "look into serial.log of its evidence: what came instead is there",
    "OldNotSettled": "does Old start and log in by itself? serial.log of its evidence says how far "
    "it came; check Wi-Fi, and the address that boards reach this host at",
    "FaultNotReached": "the update took another way than the fault needs: look into http.jsonl of "
    "its evidence",
    "Undecided": "a witness is missing: a profile that knows what this firmware prints, or a board "
    "whose flash can be read",
}
"""What helps in most cases; the message itself names the board, the port, the other process."""
ANY = "the rack's part that the message names; then run the test again"


def advice(error: str) -> str:
    """What to do about an error of the rack; words that fit any for one that is not known."""
    return ADVICE.get(error, ANY)
