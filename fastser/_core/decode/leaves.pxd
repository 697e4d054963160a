"""Runs of what its class makes again when it is called."""

from cpython.object cimport PyObject

from fastser._core.decode.state cimport Decoder

cdef int rebuild_zones(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1     # UTC, and those with a name
cdef int rebuild_decimals(Decoder* d, PyObject** out, Py_ssize_t n) except -1
cdef int rebuild_uuids(Decoder* d, PyObject** out, Py_ssize_t n) except -1
