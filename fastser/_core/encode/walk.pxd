from cpython.object cimport PyObject

from fastser._core.encode.state cimport Encoder


# Write `root` to the columns, whose offsets have 64 bits where `large` is set.  What the walk stopped
# for short of the end is in e.stopped.
cdef int walk(Encoder* e, PyObject* root, int large) except -1
