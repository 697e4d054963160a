"""Table columns: the pieces of one are laid out as an Arrow array."""

from libc.stdint cimport int64_t

from fastser._core.c.buffer cimport Buffer
from fastser._core.tables.nodes cimport Nodes, Place


cdef class Table:
    cdef Nodes nodes
    cdef list buffers         # objects with the buffer protocol
    cdef dict borrowed        # (address, size) of the frame's own to their numbers
    cdef bint exact
    cdef bint nan_is_null     # among values of another type

# New reference: the schema node and the array node of n items, as ArrowData takes them.
cdef tuple make_column(Table self, Buffer* given, Py_ssize_t n, object name, Place* place, int level)
