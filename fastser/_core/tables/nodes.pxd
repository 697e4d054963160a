"""The runs of a frame as a tree of nodes that point into it: no item of them is made."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastser._core.c.arena cimport Arena, arena_new
from fastser._core.c.buffer cimport Buffer
from fastser._core.decode.state cimport Decoder


cdef enum:
    # Values, the commonest last.
    NODE_NULL = 0
    NODE_TRUTH = 1            # n times the same bool, `constant`
    NODE_BITS = 2             # a bitmap
    NODE_BYTES_OF_BOOL = 3    # a byte each, as NumPy has them
    NODE_INT = 4              # of `width` bytes; 0: tags of small ints
    NODE_FLOAT = 5
    NODE_FIXED = 6            # elements of `width` bytes and an Arrow `format`; `constant`: the lowest number is no time
    NODE_TEXT = 7             # offsets of `width` bytes at `data`, into `base`
    NODE_BINARY = 8           # the same
    NODE_DECIMAL = 9          # the same
    NODE_LONG_TEXT = 10       # of Span
    NODE_LONG_BINARY = 11
    NODE_UUID = 12
    NODE_DATE = 13
    NODE_TIME = 14
    NODE_DURATION = 15        # `format`: not NULL where they are nanoseconds
    NODE_LONG_DURATION = 16   # days, seconds, microseconds, n each
    NODE_TIMESTAMP = 17       # `zone`, `constant`: fold; `made`: in UTC already; `format` as of NODE_DURATION
    NODE_LIST = 18            # lengths of `width` bytes at `data`, or `constant`; one child
    NODE_ROWS = 19            # a child for each position; `constant`: they are lists
    NODE_STRUCT = 20          # a child for each of `names`
    NODE_DICT = 21            # lengths as NODE_LIST; children: keys and values

    NODE_UNSIGNED = 22        # of 8 bytes, `made`
    NODE_LONG_DECIMAL = 23    # of Span

    # Structure.
    NODE_CONCAT = 30          # children one after the other; `starts`: of each, and the end
    NODE_GROUPS = 31          # group numbers at `data`, a bitmap where they are two
    NODE_TAKE = 32            # indices of `width` bytes at `data`, into the child
    NODE_NULLABLE = 33        # a bitmap; the child

    AT_KEY = 0                # of Place
    AT_ITEM = 1
    AT_POSITION = 2


cdef struct Span:
    const char* data
    Py_ssize_t size


cdef struct Node:
    int kind
    int tag                   # what it was read from
    int width
    int done                  # what lies in it was read
    int made                  # `data` is not the frame's own; of NumPy's elements, the bytes of each of those, which are at `base`
    Py_ssize_t n
    const void* data
    const char* base
    uint64_t constant
    const char* format
    PyObject* zone            # borrowed from Nodes.kept, as dtypes are
    Node** children
    Py_ssize_t count
    Span* names
    int64_t* starts           # made when they are needed: of lists, of parts; ranks within groups


cdef struct Place:
    # Where a column lies, for messages.
    Place* up
    int kind                  # AT_...
    Span name                 # of a key
    Py_ssize_t position


# The node of n calls, or of n arrays of a class of its own, whose tag was read.
cdef class Nodes

ctypedef Node* (*read_calls)(Nodes self, int tag, Py_ssize_t n, Place* place) except NULL


cdef class Nodes:
    cdef Decoder* d           # while the call lasts
    cdef Arena memory
    cdef Buffer ranges        # of Range: what was numbered
    cdef list kept
    cdef int64_t room         # how many more values may be made of the frame's
    cdef read_calls walk_calls    # what reads TAG_CALL and TAG_ARRAYS_OF, which needs read_node itself


# The node of items(n), borrowed from `self`.
cdef Node* read_node(Nodes self, Py_ssize_t n, Place* place) except NULL

# What nodes are made of.  Borrowed from `self`; a numbered one is `done` once what lies in it was read.
cdef Node* new_node(Nodes self, int kind, int tag, Py_ssize_t n) except NULL
cdef Node** new_children(Nodes self, Node* node, Py_ssize_t count) except NULL
cdef Node* leaf(Nodes self, int kind, int tag, Py_ssize_t n, const void* data, int width=*) except NULL
cdef Node* numbered(Nodes self, Node* node) except NULL
cdef Node* concatenated(Nodes self, int tag, Node** parts, Py_ssize_t count, Py_ssize_t n) except NULL
cdef Py_ssize_t open_lengths(Nodes self, Node* node) except -1
cdef Node* parent(Nodes self, int kind, int tag, Py_ssize_t n, Node* child) except NULL

# New reference: what a class of the frame is, where it is imported already; None where it is not.
cdef object imported(object cls)

# The zone that a frame holds, which is none that only Python code makes.
cdef int check_zone(Place* place, object zone) except -1

# Nothing but the end of the tags may follow.
cdef int check_end(Nodes self) except -1

# $[*].key, for messages.
cdef object path_of_place(Place* place)

# Raise that Arrow cannot express what lies there.
cdef int refuse(Place* place, object reason) except -1

# Count values that are made, before memory is taken for them.
cdef int spend(Nodes self, int64_t count, Place* place) except -1


cdef inline void* arena(Nodes self, size_t size) except NULL:
    """``size`` bytes that live as long as ``self`` does, zeros."""
    return arena_new(&self.memory, size, 1)


cdef inline int64_t unsigned_at(const void* data, int width, Py_ssize_t i) noexcept nogil:
    if width == 1:
        return (<const uint8_t*> data)[i]
    if width == 2:
        return (<const uint16_t*> data)[i]
    if width == 4:
        return (<const uint32_t*> data)[i]
    return (<const int64_t*> data)[i]


cdef inline int64_t length_at(const Node* node, Py_ssize_t i) noexcept nogil:
    """Of an item of NODE_LIST or NODE_DICT."""
    if node.data == NULL:
        return <int64_t> node.constant
    return unsigned_at(node.data, node.width, i)


cdef inline bint bit_at(const uint8_t* bits, Py_ssize_t i) noexcept nogil:
    return bits[i >> 3] >> (i & 7) & 1


cdef inline const char* bytes_at(const Node* node, Py_ssize_t i, Py_ssize_t* size) noexcept nogil:
    """Of an item of text, binary or decimal."""
    cdef int64_t start
    if node.kind == NODE_LONG_TEXT or node.kind == NODE_LONG_BINARY or node.kind == NODE_LONG_DECIMAL:
        size[0] = (<const Span*> node.data)[i].size
        return (<const Span*> node.data)[i].data
    if node.width == 8:
        start = (<const int64_t*> node.data)[i]
        size[0] = <Py_ssize_t> ((<const int64_t*> node.data)[i + 1] - start)
    else:
        start = (<const uint32_t*> node.data)[i]
        size[0] = <Py_ssize_t> ((<const uint32_t*> node.data)[i + 1] - start)
    return node.base + start
