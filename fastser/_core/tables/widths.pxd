"""Columns whose values are of several types that have one in common."""

from fastser._core.c.buffer cimport Buffer
from fastser._core.tables.nodes cimport Nodes, Place

# Have these pieces be of the type that holds all their values, where there is one: NumPy's scalars beside Python's, ints beside Decimals.
cdef int widen(Nodes self, Buffer* pieces, Place* place) except -1

# Whether some of these times are nanoseconds; then all are.
cdef bint to_nanoseconds(Nodes self, const Buffer* pieces, Place* place) except -1
