"""Random trouble, run after run: docs/how-to/campaigns.md."""

import pytest


@pytest.mark.soak
@pytest.mark.scenario("E14")
def test_no_trouble_leaves_a_device_that_cannot_be_updated(campaign):
    campaign.run()
