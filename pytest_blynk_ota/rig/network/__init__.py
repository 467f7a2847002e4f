"""Faults below HTTP: the link, the access point and the names of a rig."""
