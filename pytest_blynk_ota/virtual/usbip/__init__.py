"""A board as a USB device that the kernel of another host takes for a real one."""
