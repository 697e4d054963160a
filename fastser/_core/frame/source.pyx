"""The rows of any producer of Arrow data, batch after batch."""

cimport cython
from libc.string cimport memset

from fastser import errors
from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema
from fastser._core.arrow.capsules cimport stream_next, stream_schema, take_schema_and_array, take_stream
from fastser._core.frame.rows_in cimport RowBatch, row_batch, row_schema


cdef bint exports_rows(object producer):
    return hasattr(producer, "__arrow_c_stream__") or hasattr(producer, "__arrow_c_array__")


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class RowSource:
    """One stream, or one array, moved out of a producer's capsules and released when this object dies."""

    def __dealloc__(self):
        self.end()

    cdef void end(self) noexcept:
        if self.stream.release != NULL:
            self.stream.release(&self.stream)
            self.stream.release = NULL

    cdef RowBatch next_batch(self):
        cdef bint more
        cdef ArrowArray array
        cdef RowBatch batch = self.only
        self.only = None
        if batch is not None and batch.length:
            return batch
        if self.reading:
            raise errors.rows_in_use()
        while self.stream.release != NULL:
            try:
                self.reading = True   # while the producer works, others run
                more = stream_next(&self.stream, &array)
                batch = row_batch(&array, &self.schema) if more else None
            except:
                self.end()
                raise
            finally:
                self.reading = False
            if not more:
                self.end()
            elif batch.length:
                return batch
        return None


cdef RowSource open_rows(object producer, object column):
    cdef RowSource self = RowSource.__new__(RowSource)
    cdef ArrowSchema schema
    cdef ArrowArray array
    memset(&array, 0, sizeof(ArrowArray))
    # Streams first: an object with both may have several chunks, which only a stream hands out.
    if hasattr(producer, "__arrow_c_stream__"):
        take_stream(producer.__arrow_c_stream__(), &self.stream)
        stream_schema(&self.stream, &schema)
    else:
        take_schema_and_array(producer.__arrow_c_array__(), &schema, &array)
    try:
        row_schema(&schema, column, &self.schema)
        if array.release != NULL:
            self.only = row_batch(&array, &self.schema)
    finally:
        if array.release != NULL:
            array.release(&array)
        schema.release(&schema)
    return self


cdef RowBatch only_row(object producer):
    cdef RowSource source = open_rows(producer, None)
    cdef RowBatch batch = source.next_batch()
    if batch is None:
        raise errors.not_one_row("none")
    if batch.length != 1 or source.next_batch() is not None:
        raise errors.not_one_row("more" if batch.length == 1 else str(batch.length))
    return batch
