from cpython.object cimport PyObject

from fastser._core.encoder cimport Encoder


# "cloudpickle", "pickle" or None.
cdef object mode_of(Encoder* e)

# Where in the message an object lies, for an error.
cdef object path_of(Encoder* e, PyObject* o)

# The next number, for an object that holds no others.
cdef int number_one(Encoder* e, PyObject* o) except -1

# n objects, numbered already, each pickled as a whole.
cdef int encode_units(Encoder* e, PyObject** items, Py_ssize_t n) except -1

# One object, which is numbered here.
cdef int encode_unit(Encoder* e, PyObject* o) except -1

# An ArrowData.
cdef int encode_arrow(Encoder* e, PyObject* o) except -1

# What a PickleBuffer holds.
cdef int encode_memory(Encoder* e, PyObject* o) except -1
