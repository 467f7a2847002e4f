"""Power cuts at every flash operation: the journal, replayed."""
