"""Learning a firmware's ways: a good update, then one bad thing at a time."""

OUT = "BLYNK_OTA_LEARNED"
"""The environment variable that names the file to write what was learned to."""
