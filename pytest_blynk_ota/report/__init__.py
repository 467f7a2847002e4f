"""Evidence made readable: one page that needs nothing else, and a table in Markdown.

Reads stored evidence only: no rig, no socket, no clock. ``source`` reads folders, ``model`` makes
views of them, ``html`` and ``markdown`` write them down.
"""
