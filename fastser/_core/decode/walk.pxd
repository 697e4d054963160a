"""The walk over one frame."""

from cpython.object cimport PyObject

from fastser._core.decode.state cimport Decoder

# New reference: the object, and nothing left over.
cdef PyObject* decode_root(Decoder* d) except NULL

# New reference: one value.
cdef PyObject* decode_value(Decoder* d) except NULL

# Fill n empty slots with new references.
cdef int decode_items(Decoder* d, PyObject** out, Py_ssize_t n) except -1

# Borrowed from the table of plain dtypes, or from d.dtypes.
cdef PyObject* read_dtype(Decoder* d) except NULL

# Raise what decode_root left, as an error of the frame's where it is one of a constructor's.
cdef int word_error(Decoder* d) except -1
