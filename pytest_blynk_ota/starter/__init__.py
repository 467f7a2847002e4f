"""The first tests of a project: what ``blynk-ota init`` copies and ``blynk-ota demo`` runs."""

from pathlib import Path

TESTS = Path(__file__).with_name("test_updates.py")
