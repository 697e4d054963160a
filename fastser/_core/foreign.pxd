from cpython.object cimport PyObject

from fastser._core.encoder cimport Encoder


# Pickle n objects of types that are not native, numbered already.
cdef int encode_foreign(Encoder* e, PyObject** items, Py_ssize_t n) except -1
