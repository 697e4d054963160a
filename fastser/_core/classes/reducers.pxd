"""What the reducers of objects return, taken apart."""

from cpython.object cimport PyObject


cdef class Reduced:
    cdef int parts                # PART_...
    cdef object call
    cdef tuple arguments          # the first `skipped` of them are not meant
    cdef Py_ssize_t skipped
    cdef object state
    cdef list items, keys, values
    cdef object setter
    cdef object whole             # what was taken apart
    cdef bint lenient             # what is called with the arguments takes such as are incomplete still
    cdef bint lenient_setter      # and the setter a state


# Ask an object for its parts: a Reduced, or a str, the name that it is found by.  Raises what its reducer does, and
# PicklingError for what no reducer may return.
cdef object reduce(PyObject* o)

# The same of what a reducer returned.
cdef object apart(object obj, object reduced)

# What a tuple, frozenset or frozendict would return that is made again from a list (a dict) of its items.
cdef Reduced remade(PyObject* o)
