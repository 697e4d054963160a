"""Packed objects at rest: as one frame of bytes, as a Packed, as rows of Arrow columns; written and read."""
