"""What backs the items of a frame: no short frame can ask for a long list."""

from libc.string cimport memset

from fastser._core.c.buffer cimport buffer_extend
from fastser._core.encode.scalars cimport room
from fastser._core.encode.state cimport Encoder
from fastser._core.frame.layout cimport Layout, frame_layout


cdef inline int back_items(Encoder* e) except -1:
    """At least one bit an item, so that no reader makes more than a frame's bytes can back."""
    cdef Py_ssize_t missing
    cdef Layout layout
    while e.claimed > 8 * <Py_ssize_t> e.columns.tags.size:
        frame_layout(&e.columns, e.flags, &layout)
        missing = (e.claimed - 8 * layout.total + 7) >> 3
        if missing <= 0:
            break
        # Padding elsewhere in the frame may take up some of what is added.
        memset(room(buffer_extend(&e.columns.bits, missing)), 0, missing)
    return 0
