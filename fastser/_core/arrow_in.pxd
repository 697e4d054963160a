"""Rows of Arrow columns, as Packed exports them, read back through the Arrow C data interface."""

from fastser._core.abi cimport ArrowArray, ArrowSchema
from fastser._core.columns cimport View


cdef class ArrowRow:
    cdef object __weakref__
    cdef ArrowSchema schema
    cdef ArrowArray array
    cdef list copies           # what could not be used where it lies


# Borrow the columns and bodies of `self`; valid while it lives, and the caller's to end by
# view_release(view, NULL), also on error.  view.bodies[i].owner is `self`, borrowed.
cdef int arrow_row_view(ArrowRow self, View* view) except -1
