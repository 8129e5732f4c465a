"""Definitions: written to the log, and read back at a start."""
