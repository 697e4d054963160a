"""Arrow structs made of a description and buffers, as ArrowData.from_parts takes them."""

from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema
from fastser._core.arrow.place cimport Place
from fastser._core.c.arena cimport Arena


cdef struct Span:
    # Memory of a buffer: borrowed.
    const char* data
    Py_ssize_t size


# Fill `out`, a zeroed struct, from a schema node.  Its texts point into the node's objects, which the caller keeps.  `seen`
# holds the tuples that a tree may have only once: without it a short description could unfold to a long one.
cdef int build_schema(Arena* arena, object node, ArrowSchema* out, set seen, int depth, const Place* place) except -1

# Fill `out`, a zeroed struct, from an array node of a checked schema.  Buffers that are not aligned to their items are
# copied, once each: spans[i] then is the copy, which `copies` keeps.  What it needs to be an array is checked, nothing else.
cdef int build_array(
    Arena* arena, object node, const ArrowSchema* schema, Span* spans, Py_ssize_t span_count, list copies,
    ArrowArray* out, set seen, const Place* place) except -1
