"""Arrays that hold text, of a frame that may be anybody's."""

from cpython.object cimport PyObject

from fastser._core.decode.state cimport Decoder

# Refuse an array, borrowed, with what is no character.
cdef int check_array(Decoder* d, PyObject* array) except -1
