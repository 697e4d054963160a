"""Rows of Arrow columns, as Packed and pack_many export them, read back through the Arrow C data interface."""

from libc.stdint cimport int64_t, uint8_t

from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema
from fastser._core.format.columns cimport View
from fastser._core.format.tags cimport COLUMN_COUNT
from fastser._core.frame.rows_out cimport ROW_CHILDREN, ROW_HEADER


cdef struct RowSchema:
    # Where rows are in the arrays of a schema, and how their columns lie.
    int64_t top_children
    int64_t outer                    # the child that is the struct of rows; -1: the rows are the top itself
    int64_t children                 # of the struct of rows; 1, of one of frames; 0, of frames themselves
    bint frames                      # rows are frames, the items of buffers
    int64_t positions[ROW_CHILDREN]
    char header_formats[ROW_HEADER]  # of integers, as those of columns are
    uint8_t lists[COLUMN_COUNT]
    uint8_t items[COLUMN_COUNT]
    char formats[COLUMN_COUNT]


cdef struct ListColumn:
    const void* offsets
    const void* sizes                # of list views
    int layout
    int64_t base                     # the first row's place in offsets
    const uint8_t* validity          # NULL: no nulls
    int item_layout
    ArrowArray* items
    const uint8_t* item_validity
    int64_t content_size             # of text and binaries that are no views: the last offset of all


cdef class RowBatch:
    cdef ArrowArray array
    cdef RowSchema schema
    cdef readonly int64_t length
    cdef const uint8_t* validity     # of the top
    cdef int64_t start               # of the first row, in the struct of rows or of frames
    cdef const uint8_t* row_validity
    cdef const void* headers[ROW_HEADER]
    cdef const uint8_t* header_validity[ROW_HEADER]
    cdef int64_t header_start[ROW_HEADER]            # of the first row, in both
    cdef ListColumn columns[COLUMN_COUNT]


cdef class ArrowRow:
    cdef RowBatch batch
    cdef list copies                 # what could not be used where it lies


# Find the rows in a schema: in its column of that name or, where `column` is None, in the top itself or its only column.  A
# column is a struct of rows, or binaries that are frames.  The schema stays the caller's.
cdef int row_schema(const ArrowSchema* schema, object column, RowSchema* out) except -1

# New reference.  Takes the array over, also on error.
cdef RowBatch row_batch(ArrowArray* array, const RowSchema* schema)

# New reference: what keeps the columns and bodies of row `index` alive; they are `view`'s, valid while it lives, and the
# caller's to end by view_release(view, NULL), also on error.  view.bodies[i].owner is borrowed: the new reference.
cdef ArrowRow row_view(RowBatch batch, int64_t index, View* view)

# New reference: what keeps the frame of row `index` alive, in a batch whose schema has frames.
cdef ArrowRow row_frame(RowBatch batch, int64_t index, const char** data, Py_ssize_t* size)
