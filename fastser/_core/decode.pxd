"""The walk over one frame."""

from cpython.object cimport PyObject

from fastser._core.decoder cimport Decoder

# New reference: the object, and nothing left over.
cdef PyObject* decode_root(Decoder* d) except NULL

# Raise what decode_root left, as an error of the frame's where it is one of a constructor's.
cdef int word_error(Decoder* d) except -1
