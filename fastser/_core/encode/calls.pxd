from cpython.object cimport PyObject

from fastser._core.classes.plans cimport ClassPlan
from fastser._core.encode.state cimport Encoder


# One object by what its reducer returns.  Without a plan it is a tuple, frozenset or frozendict (remade).
cdef int encode_call(Encoder* e, PyObject* o, ClassPlan plan) except -1

# n items, each by what its reducer returns; numbers that they have already are taken back.
cdef int encode_each(Encoder* e, PyObject** items, Py_ssize_t n, bint numbered) except -1

# What the hook of an object made of it, or its reducer, for None, as a `fallback.Reduced`: for who looks at the parts of the message between
# two walks.
cdef object ask_once(Encoder* e, object obj, object hook)

# One object that neither a name nor a reducer of its own tells: by those of cloudpickle.  `name` is what its reducer returned, `refusal`
# what it raised.
cdef int encode_by_value(Encoder* e, PyObject* o, object name, object refusal) except -1

# In a tree, one object with its identity kept.
cdef int encode_tracked(Encoder* e, PyObject* o) except -1

# The leading ones of k objects of one class whose reducers return alike; how many were written, 0 for none.
cdef Py_ssize_t encode_calls(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, ClassPlan plan) except -1

# k objects by what their hook makes of them; how many were written, 0 for none.
cdef Py_ssize_t encode_hooked(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, object hook) except -1
