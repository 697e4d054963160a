from cpython.object cimport PyObject

from fastser._core.encode.state cimport Encoder


# Where in the message an object lies, for an error.
cdef object path_of(Encoder* e, PyObject* o)

# The next number, for an object that holds no others.
cdef int number_one(Encoder* e, PyObject* o) except -1

# An ArrowData.
cdef int encode_arrow(Encoder* e, PyObject* o) except -1

# What a PickleBuffer holds.
cdef int encode_memory(Encoder* e, PyObject* o) except -1
