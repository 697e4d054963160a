from cpython.object cimport PyObject

from fastser._core.encode.state cimport Encoder


# "cloudpickle", "pickle" or None.
cdef object mode_of(Encoder* e)

# An object by module and name (asked of fallback, or the name that its reducer told); False, and nothing is written, where it is found by
# none and may go by value.
cdef bint encode_reference(Encoder* e, PyObject* o, object name) except -1

# A class or something else to call: its number in the message, or a new one and the value.
cdef int write_callable(Encoder* e, PyObject* callable) except -1
