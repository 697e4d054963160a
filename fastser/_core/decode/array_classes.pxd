from cpython.object cimport PyObject

from fastser._core.decode.state cimport Decoder

cdef int rebuild_arrays_of(Decoder* d, PyObject** out, Py_ssize_t n) except -1
