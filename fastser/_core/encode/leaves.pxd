from cpython.object cimport PyObject

from fastser._core.encode.state cimport Encoder


# Each writes n items that a single run can hold (leaf_prefix of encode/runs.pxd); all but encode_leaves
# take items that are numbered already.
cdef int encode_leaves(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1
cdef int encode_bytearrays(Encoder* e, PyObject** items, Py_ssize_t n) except -1
cdef int encode_timezones(Encoder* e, PyObject** items, Py_ssize_t n) except -1
cdef int encode_zoneinfos(Encoder* e, PyObject** items, Py_ssize_t n) except -1
