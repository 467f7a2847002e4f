"""A policy, and the command that decides by it."""

import pytest
from click.testing import CliRunner
from gate_runs import NEW, POLICY

from pytest_blynk_ota.cli import app


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def gate(policy):
    """Run the command; its result."""

    def run(*words, rules=policy, binary=NEW):
        named = ["--binary", binary] if binary else []
        given = ["gate", *map(str, words), "--policy", str(rules), *named]
        return CliRunner().invoke(app, given)

    return run
