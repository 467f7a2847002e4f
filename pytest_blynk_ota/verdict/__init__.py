"""What happened in an operation: one place decides, over what independent witnesses saw.

=============  =====================================================================
decide         ``judge``: the outcome, or who is to be asked next
outcome        the words of a verdict
past           how much of what came before an operation counts
sightings      what each witness saw, as records
story          boots, cloud sessions, downloads; which resets were expected
images_seen    which image ran in each boot
rows           the thirteen outcomes in order
rig_faults     when there is no outcome
findings       what else is worth knowing
metrics        what was measured
crash_told     a crash in one sentence
crashed        which firmware crashed
watch          when nothing that could change the outcome is still to come
=============  =====================================================================
"""

from pytest_blynk_ota.verdict.decide import Judge, judge
from pytest_blynk_ota.verdict.flash_seen import FlashSeen
from pytest_blynk_ota.verdict.outcome import (
    NEW_RUNS,
    Download,
    Finding,
    Metric,
    Outcome,
    Reason,
    Severity,
    Verdict,
)

__all__ = [
    "NEW_RUNS",
    "Download",
    "Finding",
    "FlashSeen",
    "Judge",
    "Metric",
    "Outcome",
    "Reason",
    "Severity",
    "Verdict",
    "judge",
]
