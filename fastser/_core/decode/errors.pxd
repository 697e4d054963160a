"""The errors of a walk over a frame: where it is, what was expected there and what was found."""

from libc.stdint cimport uint64_t

from fastser._core.decode.state cimport Decoder

# Each raises, always.
cdef int bad(Decoder* d, object expected, object found) except -1
cdef int short_column(Decoder* d, object name, Py_ssize_t wanted, Py_ssize_t left) except -1
cdef int unbacked(Decoder* d, uint64_t count) except -1      # more items than the frame's bytes back
cdef int too_deep(Decoder* d, bint stack) except -1


cdef inline int reraise() except -1:
    """Raise what a function left that was called without a look at the exception."""
    return -1
