"""Packed memory: one object as a frame, or as columns and the bodies that they refer to."""

from cpython.object cimport PyObject

from fastser._core.format.columns cimport Body, Columns, Lent, View


cdef class Packed:
    cdef object __weakref__
    cdef bytes head            # header and columns, as in the frame, without what is lent and the padding before the bodies
    cdef Lent* lent            # lent_count; each at a place in `head`
    cdef Py_ssize_t lent_count
    cdef Py_ssize_t head_size  # with what is lent
    cdef bytes whole           # that in one piece, once somebody asked; None before
    cdef Body* bodies          # body_count; `owner` is borrowed from `owners`
    cdef Py_ssize_t body_count
    cdef tuple owners          # a tuple, because the collector cannot empty one while `bodies` points into it
    cdef Py_ssize_t total


# New reference.  Steals the owners of columns.bodies and of what is lent, also on error, and leaves these empty.
cdef object packed_new(Columns* columns, int flags)

# New reference: the elements of a body that is to be gathered.
cdef bytes gathered(const Body* body)

# New reference: the frame in one bytes object.  The owners of columns.bodies stay the caller's.
cdef object frame_to_bytes(Columns* columns, int flags)

# Borrow the columns and bodies of `self`; valid while it lives, and the caller's to end by
# view_release(view, NULL), also on error.  view.bodies[i].owner is borrowed: what the body's memory
# belongs to (a bytes body that was packed whole is its owner's very bytes).
cdef int packed_view(Packed self, View* view) except -1

# New reference: the DecodeError for a status of frame/layout.pxd (MemoryError for FRAME_MEMORY).
cdef object frame_error(int status, const char* data, Py_ssize_t size)
