"""What GitLab and Jenkins show of a test beside its failure: its story, and its files.

Both read ``[[ATTACHMENT|path]]`` out of a test's system-out. pytest writes that only where an
option asks for it, so here it is written for tests on the rig in any case. Both want the path as
seen from the folder that they check the project out to. GitLab takes the first path alone, and
none that has a bracket in it; Jenkins takes each that stands on a line of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

import pytest

from pytest_blynk_ota.runs import PREFIX

if TYPE_CHECKING:
    from _pytest.junitxml import LogXML

ATTACHED = ("serial.log", "verdict.json", "http.jsonl", "flash.json", "events.jsonl")
"""The first is what GitLab offers."""
CHECKOUTS = ("CI_PROJECT_DIR", "WORKSPACE")
"""Where GitLab and Jenkins say which folder they checked out to."""
OUTPUT_LOGGED = ("system-out", "out-err", "all")
"""Values of pytest's junit_logging with which it writes a system-out itself."""
NAME = "blynk-ota-junit"
CAPTURED = "Captured stdout blynk-ota"
"""pytest takes sections of this kind into it."""


class Junit:
    """A pytest plugin of the process that writes the XML file.

    Args:
        xml: pytest's own, which writes it.
        environ: of the process.
        folder: that paths are seen from where no build server names another.
    """

    def __init__(self, xml: LogXML, environ: Mapping[str, str], folder: Path) -> None:
        self._xml = xml
        named = (environ[name] for name in CHECKOUTS if environ.get(name))
        self._checkout = Path(next(named, folder))
        self._stories: dict[tuple[str, Any], str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Iterator[None]:
        """Add to a test's last report, before the XML of the test is closed."""
        key = report.nodeid, getattr(report, "node", None)
        if report.failed:
            self._stories[key] = "".join(
                f"{title}\n{text}\n\n"
                for title, text in report.sections
                if not title.startswith("Captured ")
            )
        evidence = dict(report.user_properties).get(PREFIX + "evidence")
        if report.when != "teardown" or evidence is None:
            return (yield)
        text = self._stories.pop(key, "") + "".join(self._attachments(Path(str(evidence))))
        if self._xml.logging in OUTPUT_LOGGED:
            section = (CAPTURED, text)
            report.sections.append(section)
            try:
                return (yield)
            finally:
                report.sections.remove(section)  # the terminal has no use for it
        self._add(report, text)
        return (yield)

    def _attachments(self, evidence: Path) -> Iterator[str]:
        for name in ATTACHED:
            if (evidence / name).is_file():
                yield f"[[ATTACHMENT|{seen_from(self._checkout, evidence / name)}]]\n"

    def _add(self, report: pytest.TestReport, text: str) -> None:
        from _pytest.junitxml import bin_xml_escape

        tag = Element("system-out")
        tag.text = bin_xml_escape(text)
        self._xml.node_reporter(report).append(tag)


def seen_from(folder: Path, path: Path) -> str:
    """The path within a folder; whole, if it is not in it."""
    relative = os.path.relpath(path.absolute(), folder.absolute())
    return str(path.absolute()) if relative.startswith("..") else relative


def attach(config: pytest.Config, environ: Mapping[str, str]) -> None:
    """Have the XML file say more, if one is written and does not yet."""
    from _pytest.junitxml import xml_key

    xml = config.stash.get(xml_key, None)
    if xml is not None and not config.pluginmanager.has_plugin(NAME):
        plugin = Junit(xml, environ, config.invocation_params.dir)
        config.pluginmanager.register(plugin, NAME)
