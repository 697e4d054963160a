"""What can be wrong with a frame, said as errors: apart from the walk, which has no use for cold code."""

from libc.stdint cimport uint64_t

from fastser._core.decode.state cimport Decoder

from fastser import errors as _errors


cdef int bad(Decoder* d, object expected, object found) except -1:
    raise _errors.bad_frame(expected, found, f"tag {d.at - d.view.tags}")


cdef int short_column(Decoder* d, object name, Py_ssize_t wanted, Py_ssize_t left) except -1:
    return bad(d, f"{wanted} more items in column {name}", left)


cdef int unbacked(Decoder* d, uint64_t count) except -1:
    raise _errors.unbacked_items(count, d.budget, f"tag {d.at - d.view.tags}")


cdef int too_deep(Decoder* d, bint stack) except -1:
    raise _errors.depth_exceeded(None, d.max_depth, decoding=True, stack=stack)
