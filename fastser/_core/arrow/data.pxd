"""Arrow data of any type: taken from a producer, or made of a description and buffers; handed to consumers."""

from cpython.object cimport PyObject

from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema
from fastser._core.arrow.build cimport Span
from fastser._core.c.arena cimport Arena


cdef class ArrowData:
    # Constant once it is made: exported streams read the structs without the GIL.
    cdef object __weakref__
    cdef readonly str kind
    cdef bint produced           # the structs are a producer's, to be released; else the arena's
    cdef ArrowSchema schema
    cdef ArrowArray* arrays      # `count`, malloc'ed
    cdef Py_ssize_t count
    cdef Arena arena
    cdef object description      # the schema's texts point into it
    cdef object owner            # keeps the memory of the buffers
    cdef list copies             # of buffers that were not aligned


# New reference.  `spans` are borrowed and may be changed; `owner` keeps their memory.
cdef ArrowData arrow_data_build(object description, Span* spans, Py_ssize_t count, object owner, bint full)

# New reference: (description, list of ArrowBuffer), as take_apart returns it.
cdef tuple arrow_data_take_apart(ArrowData self)
