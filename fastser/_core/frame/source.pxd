"""The rows of any producer of Arrow data, batch after batch."""

from fastser._core.arrow.abi cimport ArrowArrayStream
from fastser._core.frame.rows_in cimport RowBatch, RowSchema


cdef class RowSource:
    cdef ArrowArrayStream stream
    cdef RowSchema schema
    cdef RowBatch only               # of a producer of one array, until it is read
    cdef bint reading

    cdef void end(self) noexcept

    # New reference: the next batch that has rows, or None at the end.
    cdef RowBatch next_batch(self)


# Whether there are Arrow capsules to be had from an object.
cdef bint exports_rows(object producer)

# New reference: of the rows in the struct column of that name or, where `column` is None, the rows wherever they are.
cdef RowSource open_rows(object producer, object column)

# New reference: the batch of the one row that a producer has.
cdef RowBatch only_row(object producer)
