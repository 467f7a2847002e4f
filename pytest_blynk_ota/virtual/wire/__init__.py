"""How a virtual board's serial port is reached from outside."""
