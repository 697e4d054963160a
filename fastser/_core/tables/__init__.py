"""The columns of packed objects as tables of Arrow, without an object for each value."""
