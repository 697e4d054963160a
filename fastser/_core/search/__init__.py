"""Looking through objects without packing them, for errors and for explain."""
