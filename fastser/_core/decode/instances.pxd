"""Instances and named tuples on the way back."""

from cpython.object cimport PyObject

from fastser._core.decode.state cimport Decoder

cdef int rebuild_instances(Decoder* d, PyObject** out, Py_ssize_t n) except -1
cdef int rebuild_named_rows(Decoder* d, PyObject** out, Py_ssize_t n) except -1
