from cpython.object cimport PyObject

from fastser._core.decoder cimport Decoder

cdef int rebuild_arrays_of(Decoder* d, PyObject** out, Py_ssize_t n) except -1
