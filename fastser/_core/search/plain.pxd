from cpython.object cimport PyObject

from fastser._core.c.memo cimport Memo


# What the reducers and hooks of objects returned in a call of the encoder.
cdef class Answers:
    cdef Memo* asked              # the encoder's; NULL once it has the path
    cdef list found

    # A Reduced, the payload of a hook in a tuple, a name, a refusal, NotImplemented; None where nobody was asked.
    cdef object of(self, PyObject* o)
