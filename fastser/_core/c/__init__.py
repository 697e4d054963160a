"""C's and CPython's: memory, hash tables, the calls that differ between versions. Nothing here knows what a frame is."""
