"""loads_many: the objects of a table, one for each row."""

cimport cython
from libc.stdint cimport int64_t

from fastser import errors
from fastser._core.frame.rows_in cimport RowBatch
from fastser._core.frame.source cimport RowSource, exports_rows, open_rows
from fastser._core.loads cimport Options, allowed_of, decode_row, hooks_of, options_of, writable_of


@cython.final
@cython.auto_pickle(False)
cdef class RowObjects:
    """Loads the next row when it is asked for the next object; holds one batch at a time."""

    cdef object producers            # an iterator over those still to be opened
    cdef object column
    cdef RowSource source
    cdef RowBatch batch
    cdef int64_t index               # of the next row, in batch
    cdef int64_t row                 # of the next row, over all batches
    cdef int writable                # WRITABLE_...
    cdef bint safe
    cdef Py_ssize_t max_depth
    cdef object allow
    cdef dict hooks

    def __iter__(self):
        return self

    def __next__(self):
        cdef RowBatch batch = self.batch
        cdef int64_t index, row
        cdef Options options
        if batch is None or self.index == batch.length:
            batch = self.next_batch()
        index = self.index
        row = self.row
        # First, since loading may run code that asks for the next object; and what fails is left behind.
        self.index += 1
        self.row += 1
        options = options_of(self.writable, self.safe, self.max_depth, self.allow, self.hooks)
        try:
            return decode_row(batch, index, &options)
        except errors.FastserError as error:
            raise errors.in_row(error, row) from error.__cause__

    cdef RowBatch next_batch(self):
        cdef RowBatch batch
        self.batch = None
        while True:
            if self.source is not None:
                try:
                    batch = self.source.next_batch()
                except errors.FastserError as error:
                    raise errors.in_row(error, self.row) from error.__cause__
                if batch is not None:
                    self.index = 0
                    self.batch = batch
                    return batch
                self.source = None
            producer = next(self.producers)
            if not exports_rows(producer):
                raise errors.not_rows(producer)
            self.source = open_rows(producer, self.column)


def loads_many(table, *, column=None, writable=None, bint safe=False, allow=(), Py_ssize_t max_depth=1000, hooks=None):
    """Rebuild the objects of a table that has one in each row, as `pack_many` makes it.

    Rows are trusted as frames are, see `loads`.

    Parameters
    ----------
    table : producer of Arrow data, or iterable of them
        Whatever has ``__arrow_c_stream__`` or ``__arrow_c_array__``: a table, a record batch, a reader, a data frame, a query's
        result. It is read batch after batch, as objects are asked for.
    column : str, optional
        The column that holds the rows: a struct of the twelve columns, or binaries that are frames. By default, the twelve
        columns of packed objects are looked for in the table itself: by their names, or by their positions where there are no
        other columns; or in its only column.
    writable, safe, allow, max_depth
        As for `loads`.
    hooks : Hooks, optional
        Those of a Serializer. By default, those of the process.

    Returns
    -------
    iterator
        Of the objects, in the order of the rows. Arrays that are views are read-only, and keep the batch alive. An error is that of
        one row, and names it; the iterator goes on with the next one. Where a whole batch is malformed, it ends.

    Raises
    ------
    DecodeError, UnsafeDataError, DepthError
        As `loads` does: at once for the table's columns, when its turn comes for a row.
    TypeError
        ``table`` is no producer of Arrow data.

    Examples
    --------
    >>> import fastser
    >>> rows = fastser.pack_many([{"a": 1}, "text"])
    >>> for obj in fastser.loads_many(rows):
    ...     print(obj)
    {'a': 1}
    text
    """
    cdef RowObjects self = RowObjects.__new__(RowObjects)
    self.column = column
    self.writable = writable_of(writable)
    self.safe = safe
    self.max_depth = max_depth
    self.allow = allowed_of(allow, safe)
    self.hooks = hooks_of(hooks)
    if exports_rows(table):
        self.producers = iter(())
        self.source = open_rows(table, column)
    elif hasattr(type(table), "__iter__") and not isinstance(table, (dict, str, bytes, bytearray, memoryview)):
        self.producers = iter(table)
    else:
        raise errors.not_rows(table)
    return self
