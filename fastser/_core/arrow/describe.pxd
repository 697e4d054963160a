"""Arrow structs described as plain tuples, and their buffers lent as objects."""

from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema
from fastser._core.arrow.place cimport Place


cdef class ArrowBuffer:
    cdef const char* data
    cdef Py_ssize_t size
    cdef object owner            # keeps `data`


cdef class Apart:
    # What one description is being made of.
    cdef object owner            # of the structs
    cdef list buffers
    cdef dict shared             # (address, size) -> number: buffers of dictionaries, which chunks have in common
    cdef bint in_dictionary


# New references: the nodes of a checked schema, and of a checked array of it.
cdef tuple describe_schema(const ArrowSchema* schema, const Place* place)
cdef tuple describe_array(Apart apart, const ArrowSchema* schema, const ArrowArray* array, const Place* place)
