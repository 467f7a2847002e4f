"""Shared by the stock suite and by the project's own tests."""

pytest_plugins = ["pytester"]
