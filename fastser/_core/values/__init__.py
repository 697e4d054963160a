"""Kinds of values, both ways: integers, text, times, NumPy's arrays and dtypes."""
