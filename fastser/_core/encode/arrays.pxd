from cpython.object cimport PyObject

from fastser._core.encode.state cimport Encoder


# n alike arrays, numbered already.
cdef int encode_arrays(Encoder* e, PyObject** items, Py_ssize_t n) except -1

# n NumPy scalars of one dtype.
cdef int encode_scalars(Encoder* e, PyObject** items, Py_ssize_t n) except -1

# Whether n dtypes are such that a description brings them back; and such dtypes as values.
cdef bint describe_all(PyObject** items, Py_ssize_t n) except -1
cdef int encode_dtypes(Encoder* e, PyObject** items, Py_ssize_t n) except -1

# Whether one of n small arrays, numbered last, lies on memory that another of the message lies on.
# If not, remember where they lie.
cdef bint arrays_overlap(Encoder* e, PyObject** items, Py_ssize_t n) except -1
