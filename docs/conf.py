"""Sphinx configuration: Markdown through MyST, no links to other hosts' scripts or fonts."""

project = "pytest-blynk-ota"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
