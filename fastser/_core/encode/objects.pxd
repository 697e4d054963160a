from cpython.object cimport PyObject

from fastser._core.encode.state cimport Encoder


# Whether packing an object is known to run Python code, so that there is no use in trying without.
cdef bint runs_code(PyObject* o) noexcept

# One object of a type that is not native.
cdef int encode_foreign(Encoder* e, PyObject* o) except -1

# Of n items the first k, all of one type that is not native and met for the first time: how many were written as one run, or 0.
cdef Py_ssize_t encode_foreign_run(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n) except -1

# A tuple, frozenset or frozendict that leads back to itself through what is hashed or called.
cdef int encode_as_call(Encoder* e, PyObject* o) except -1
