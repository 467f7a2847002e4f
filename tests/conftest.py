"""Shared by all tests of the project."""

from hypothesis import settings

# Other tests run beside ours: how long one example took says nothing about the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
