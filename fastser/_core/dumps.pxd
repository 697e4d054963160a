"""The columns of an object, in scratch that is used again."""

from fastser._core.encode.state cimport Encoder

# Columns and flags of an object, in `columns` and `flags`; the caller's until give_encoder.
cdef Encoder* encode_columns(object obj, bint track_refs, Py_ssize_t max_depth, object fallback, object hooks) except NULL

# `written`: the size of the frame that it was used for.
cdef void give_encoder(Encoder* e, Py_ssize_t written) noexcept
