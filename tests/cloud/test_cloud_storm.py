"""Whatever comes: the cloud stays, and nobody else feels it."""

from __future__ import annotations

import pytest
from fuzz_storm import storm

FRAMES = 100_000


@pytest.mark.asyncio
async def test_a_hundred_thousand_good_and_bad_frames_are_felt_by_nobody_else():
    sent = await storm(FRAMES, seed=1)
    assert sum(sent.values()) >= FRAMES
    assert all(sent.values())
