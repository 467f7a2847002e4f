"""The serial loader of a chip in download mode, as esptool speaks with it."""
