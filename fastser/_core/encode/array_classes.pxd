from cpython.object cimport PyObject

from fastser._core.classes.plans cimport ClassPlan
from fastser._core.encode.state cimport Encoder


# An array of a subclass, met for the first time; False where its dtype is one that goes by the reducer.
cdef bint encode_array_of(Encoder* e, PyObject* o, ClassPlan plan) except -1

# Of n items the first k, all arrays of one subclass: how many were written as one run, or 0.
cdef Py_ssize_t encode_arrays_of(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, ClassPlan plan) except -1
