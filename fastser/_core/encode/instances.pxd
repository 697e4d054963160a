from cpython.object cimport PyObject

from fastser._core.classes.plans cimport ClassPlan
from fastser._core.encode.state cimport Encoder


# One instance by its fields; False where they are unusual, and nothing is written.
cdef bint encode_instance(Encoder* e, PyObject* o, ClassPlan plan) except -1

# The leading ones of k instances of one class that have the same fields; how many were written, 0 for none.
cdef Py_ssize_t encode_instance_run(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, ClassPlan plan) except -1

# k named tuples of one class; how many were written, 0 for none.
cdef Py_ssize_t encode_row_run(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, ClassPlan plan) except -1
