"""Whole frames, one behind the other in the one column of a batch."""

from fastser._core.arrow.abi cimport ArrowSchema
from fastser._core.c.buffer cimport Buffer
from fastser._core.frame.block cimport Block


cdef class FrameBlock(Block):
    cdef Buffer offsets
    cdef Buffer content


# New reference: an empty block.
cdef FrameBlock new_frame_block(bint large)

# Fill `out`, a zeroed struct, with the schema of such batches.
cdef int export_frame_schema(bint large, ArrowSchema* out) except -1
