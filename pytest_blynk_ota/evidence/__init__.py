"""Evidence: the timeline of what was seen, its redaction, and the bundle on disk."""
