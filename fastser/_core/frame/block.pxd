"""Rows of packed objects, one behind the other in columns that a batch hands out."""

from libc.stdint cimport int64_t

from fastser._core.arrow.abi cimport ArrowArray
from fastser._core.c.buffer cimport Buffer
from fastser._core.format.columns cimport Columns
from fastser._core.format.tags cimport COLUMN_COUNT


cdef class Block:
    # What pack_many fills, whatever its layout.
    cdef bint large                  # offsets have 64 bits
    cdef Py_ssize_t rows
    cdef Py_ssize_t nbytes           # of all that the rows hold

    # Whether the object fits; else nothing happened.
    cdef bint append(self, Columns* columns, int flags) except -1

    # The rows as one struct array, in a zeroed struct; the block belongs to it from then on.
    cdef int export(self, ArrowArray* out) except -1


cdef class RowBlock(Block):
    # Takes references to the owners of bodies that are appended.
    cdef bint copied                 # bodies are copied, as binaries with 64-bit offsets, instead of referred to as views
    cdef Buffer versions
    cdef Buffer flags
    cdef Buffer list_offsets[COLUMN_COUNT]
    cdef Py_ssize_t items[COLUMN_COUNT]
    cdef Buffer values[COLUMN_COUNT]  # numbers, views, or the offsets of text and binaries
    cdef Buffer contents[COLUMN_COUNT]       # of text and binaries
    cdef Py_ssize_t bodies           # views that point to memory: where, and how much
    cdef Buffer body_data
    cdef Buffer body_sizes
    cdef list owners


# New reference: an empty block, with offsets of 64 bits where it is large.
cdef RowBlock new_block(bint large, bint copied)
