from cpython.object cimport PyObject

from fastser._core.encoder cimport Encoder
from fastser._core.plans cimport ClassPlan


# One object by what its reducer returns.  Without a plan it is a tuple, frozenset or frozendict (remade).
cdef int encode_call(Encoder* e, PyObject* o, ClassPlan plan) except -1

# The leading ones of k objects of one class whose reducers return alike; how many were written, 0 for none.
cdef Py_ssize_t encode_calls(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, ClassPlan plan) except -1

# k objects by what their hook makes of them; how many were written, 0 for none.
cdef Py_ssize_t encode_hooked(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, object hook) except -1
