"""Runs on disk, and their pages."""

import chromium
import pytest
from report_runs import Folder

from pytest_blynk_ota.report import html, write


@pytest.fixture
def run(tmp_path):
    """An empty run."""
    return Folder(tmp_path / "runs" / "20261126T020000-lab1")


@pytest.fixture
def page():
    """Builds the views of runs."""
    return lambda *folders, **more: write.read([one.path for one in folders], **more)


@pytest.fixture
def text(page):
    """Builds the HTML of runs."""
    return lambda *folders, **more: html.render(page(*folders, **more))


@pytest.fixture(scope="session")
def _chromium():
    path = chromium.found()
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    browser = chromium.Chromium(path)
    yield browser
    browser.close()


@pytest.fixture
def browser(_chromium):
    """A headless Chromium; a script error or a request of any page fails the test."""
    _chromium.media()
    yield _chromium
    assert _chromium.troubles() == []
