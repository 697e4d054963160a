"""The Arrow C data interface: any array or schema, checked, taken apart, built, lent. Nothing here knows what a frame is."""
