"""From reset to the application: mask ROM, second-stage bootloader, their logs."""
