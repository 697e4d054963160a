"""Whole frames, one behind the other in the one column of a batch."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t

from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema
from fastser._core.arrow.build cimport Span
from fastser._core.arrow.data cimport ArrowData, arrow_data_build
from fastser._core.arrow.lend cimport Loan, export as export_copy, lend_of, loan_end
from fastser._core.c.buffer cimport buffer_append, buffer_release
from fastser._core.format.columns cimport Columns
from fastser._core.frame.block cimport Block
from fastser._core.frame.packed cimport frame_to_bytes

cdef enum:
    SMALL_MAX = 0x7fffffff


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class FrameBlock(Block):
    """Grows by a frame at a time, until it is exported."""

    def __dealloc__(self):
        buffer_release(&self.offsets)
        buffer_release(&self.content)

    cdef bint append(self, Columns* columns, int flags) except -1:
        cdef bytes frame = frame_to_bytes(columns, flags)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
        if not self.large and self.nbytes + size > SMALL_MAX:
            return False
        if buffer_append(&self.content, PyBytes_AS_STRING(frame), size) < 0:
            raise MemoryError()
        self.nbytes += size
        _push(self)
        self.rows += 1
        return True

    cdef int export(self, ArrowArray* out) except -1:
        cdef Span spans[2]
        cdef ArrowData data
        cdef Loan* loan
        spans[0].data, spans[0].size = self.offsets.data, self.offsets.size
        spans[1].data, spans[1].size = self.content.data, self.content.size
        frames = (self.rows, 0, 0, (0, 1, 2), (), None)
        data = arrow_data_build(("array", _schema(self.large), ((self.rows, 0, 0, (0,), (frames,), None),)), spans, 2, self, False)
        loan = lend_of(data)
        try:
            if export_copy(data.arrays, loan, out) < 0:
                raise MemoryError()
        finally:
            loan_end(loan)
        return 0


cdef FrameBlock new_frame_block(bint large):
    cdef FrameBlock self = FrameBlock.__new__(FrameBlock)
    self.large = large
    _push(self)
    return self


cdef int export_frame_schema(bint large, ArrowSchema* out) except -1:
    cdef ArrowData data = arrow_data_build(("schema", _schema(large), ()), NULL, 0, None, False)
    cdef Loan* loan = lend_of(data)
    try:
        if export_copy(&data.schema, loan, out) < 0:
            raise MemoryError()
    finally:
        loan_end(loan)
    return 0


cdef tuple _schema(bint large):
    return ("+s", "", None, 0, (("Z" if large else "z", "frame", None, 0, (), None),), None)


cdef int _push(FrameBlock self) except -1:
    cdef int32_t narrow = <int32_t> self.nbytes
    cdef int64_t wide = self.nbytes
    if buffer_append(&self.offsets, &wide if self.large else <void*> &narrow, 8 if self.large else 4) < 0:
        raise MemoryError()
    return 0
