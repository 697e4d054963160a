"""Other packages' classes: one file for each package, imported when the first object of one of its classes is packed or read.

A file's ``HOOKS`` are like those that users register. Their names are in frames, so that they never change.
"""
