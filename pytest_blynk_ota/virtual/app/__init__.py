"""What applications do: one module for each part of a firmware."""
