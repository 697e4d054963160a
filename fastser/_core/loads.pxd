"""The options of a call, and the object of one Arrow row."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from fastser._core.frame.rows_in cimport RowBatch


cdef enum:
    WRITABLE_BY_RULE = 0
    WRITABLE_ALL = 1
    WRITABLE_NOTHING = 2


cdef struct Options:
    int writable              # WRITABLE_...
    bint safe
    PyObject* allow           # an Allowed; borrowed, as the others
    Py_ssize_t max_depth
    PyObject* hooks           # a dict of names to hooks
    PyObject* inspect         # of Decoder
    PyObject* allowed         # of Decoder


# New reference: an Allowed for options.allow, a dict for options.hooks, of what users pass.
cdef object allowed_of(object allow, bint safe)
cdef dict hooks_of(object hooks)

# WRITABLE_... of what users pass.
cdef int writable_of(object writable) except -1

# Those of one walk; both objects are borrowed.
cdef Options options_of(int writable, bint safe, Py_ssize_t max_depth, object allow, dict hooks) noexcept

cdef object decode_row(RowBatch batch, int64_t index, Options* options)
