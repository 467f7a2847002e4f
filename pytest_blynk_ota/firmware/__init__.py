"""Images, tags, partition tables, otadata and boot rules: bytes in, objects out, no I/O."""
