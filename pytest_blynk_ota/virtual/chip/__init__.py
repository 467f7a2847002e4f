"""The hardware of a virtual board: chip, flash, reset circuit, clock, power."""
