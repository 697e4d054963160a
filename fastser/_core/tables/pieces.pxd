"""What a column of a table is made of: items of nodes, and where in the column they go."""

from libc.stdint cimport int64_t, uint8_t

from fastser._core.c.buffer cimport Buffer, buffer_append
from fastser._core.tables.nodes cimport Node, Nodes, Place, Span


cdef struct Piece:
    Node* node
    Py_ssize_t count
    const int64_t* src        # which items of the node; NULL: those from src_from on
    Py_ssize_t src_from
    const int64_t* dst        # where they go; NULL: from dst_from on
    Py_ssize_t dst_from
    const uint8_t* valid      # a bit for each item of the node, 0 where it is None; NULL: none is


cdef struct Field:
    # One field of a struct.
    Span name
    unsigned long long hash
    Buffer pieces             # of Piece


cdef struct Fields:
    Buffer fields             # of Field
    Buffer slots              # of int64_t: a hash table of 1 + their indices


# Append the parts of a piece that are values, without what only structures them and without those that are None.
cdef int flatten(Nodes self, const Piece* piece, Buffer* out, Place* place) except -1

# The piece without what is None.
cdef int without_nulls(Nodes self, Piece* piece, Place* place) except -1

# Where the contents of a NODE_LIST's or NODE_DICT's items begin: n + 1 positions.
cdef const int64_t* starts_of(Nodes self, Node* node) except NULL

# The pieces of the fields of structs, by name, in the order in which the names come.
cdef int gather_fields(Nodes self, const Piece* piece, Fields* fields, Place* place) except -1

cdef void fields_release(Fields* fields) noexcept


cdef inline int append_piece(Buffer* pieces, const Piece* piece) except -1:
    if buffer_append(pieces, piece, sizeof(Piece)) < 0:
        raise MemoryError()
    return 0


cdef inline Py_ssize_t piece_count(const Buffer* pieces) noexcept nogil:
    return <Py_ssize_t> (pieces.size // sizeof(Piece))


cdef inline int64_t source_of(const Piece* piece, Py_ssize_t i) noexcept nogil:
    return piece.src[i] if piece.src != NULL else piece.src_from + i


cdef inline int64_t target_of(const Piece* piece, Py_ssize_t i) noexcept nogil:
    return piece.dst[i] if piece.dst != NULL else piece.dst_from + i
