"""The type that values of several types have in common, where no value changes: what pyarrow takes together goes together here."""

from libc.stdint cimport INT32_MIN, INT64_MAX, INT64_MIN, int32_t, int64_t
from libc.string cimport memcpy

from fastser._core.c.buffer cimport Buffer
from fastser._core.tables.kernels cimport fastser_to_64
from fastser._core.tables.nodes cimport (
    arena, leaf, Node, NODE_DATE, NODE_DECIMAL, NODE_DURATION, NODE_FIXED, NODE_FLOAT, NODE_INT, NODE_LONG_DECIMAL,
    NODE_LONG_DURATION, NODE_TIMESTAMP, Nodes, Place, refuse, Span, spend,
)
from fastser._core.tables.pieces cimport Piece, piece_count, source_of, target_of, without_nulls

from fastser import errors as _errors

import numpy as _numpy

cdef enum:
    # What a column may hold, as bits.
    SOME_INT = 1
    SOME_SIGNED = 2           # of NumPy, less than 64 bits
    SOME_UNSIGNED = 4
    SOME_FLOAT = 8
    SOME_SHORT_FLOAT = 16     # of NumPy
    SOME_DECIMAL = 32
    SOME_TIMESTAMP = 64       # without a zone, in microseconds
    SOME_DURATION = 128
    SOME_DATE = 256
    SOME_OTHER = 512

    SOME_FIXED_INT = 6
    SOME_NUMBER = 31


cdef int some_of(const Node* node) noexcept:
    """Which bit a node is; NumPy's microseconds and days are the same as Python's."""
    if node.kind == NODE_INT:
        return SOME_INT
    if node.kind == NODE_FLOAT:
        return SOME_FLOAT
    if node.kind == NODE_DECIMAL or node.kind == NODE_LONG_DECIMAL:
        return SOME_DECIMAL
    if node.kind == NODE_TIMESTAMP and node.zone == NULL:
        return SOME_TIMESTAMP
    if node.kind == NODE_DURATION or node.kind == NODE_LONG_DURATION:
        return SOME_DURATION
    if node.kind == NODE_DATE:
        return SOME_DATE
    if node.kind != NODE_FIXED:
        return SOME_OTHER
    if node.format[0] == b"t":
        if node.format[1] == b"s" and node.format[2] == b"u":
            return SOME_TIMESTAMP
        if node.format[1] == b"D" and node.format[2] == b"u":
            return SOME_DURATION
        return SOME_DATE if node.format[1] == b"d" else SOME_OTHER
    if node.format[0] == b"e" or node.format[0] == b"f":
        return SOME_SHORT_FLOAT
    if node.format[0] == b"L":
        return SOME_OTHER
    return SOME_SIGNED if node.format[0] in b"csi" else SOME_UNSIGNED


cdef int64_t int_at(const Node* node, int64_t i) noexcept:
    """Of an int, or of NumPy's numbers and times."""
    cdef int64_t value
    fastser_to_64(node.width)(<const char*> node.data, 1, NULL, i, NULL, 0, <char*> &value)
    if node.kind == NODE_FIXED and node.width < 8 and some_of(node) == SOME_UNSIGNED:
        value &= (<int64_t> 1 << 8 * node.width) - 1    # it was read as one with a sign
    return value


cdef int renew(Nodes self, Piece* piece, int kind, int width, const char* format, Place* place) except -1:
    """Have a piece be of a new node that holds its items alone, without those that are no time."""
    cdef const Node* node = piece.node
    cdef Node* made
    cdef char* out
    cdef int64_t* dst
    cdef Py_ssize_t i, count = 0
    cdef int64_t at, value
    cdef int32_t short_value
    cdef double number
    cdef object floats = None
    cdef bytes text
    without_nulls(self, piece, place)
    spend(self, 3 * piece.count, place)
    out = <char*> arena(self, piece.count * (sizeof(Span) if kind == NODE_LONG_DECIMAL else width) + 1)
    dst = <int64_t*> arena(self, piece.count * sizeof(int64_t) + 1)
    if kind == NODE_FLOAT:
        spend(self, node.n, place)
        floats = _numpy.frombuffer((<const char*> node.data)[:node.n * node.width], "e" if node.width == 2 else "f").astype("d").tolist()
    for i in range(piece.count):
        at = source_of(piece, i)
        dst[count] = target_of(piece, i)
        if kind == NODE_FLOAT:
            number = floats[at]
            memcpy(out + count * 8, &number, 8)
            count += 1
            continue
        value = int_at(node, at)
        if node.kind == NODE_FIXED and node.constant and value == (INT32_MIN if node.width == 4 else INT64_MIN):
            continue
        if kind == NODE_LONG_DECIMAL:
            text = b"%d" % value
            self.kept.append(text)
            (<Span*> out)[count].data = text
            (<Span*> out)[count].size = len(text)
        elif width == 8:
            memcpy(out + count * 8, &value, 8)
        else:
            # The lowest bytes come first, as in all of a frame.
            short_value = <int32_t> value
            memcpy(out + count * width, &short_value, width)
        count += 1
    made = leaf(self, kind, node.tag, count, out, width)
    made.made = 1
    made.format = format
    piece.node = made
    piece.count = count
    piece.src = NULL
    piece.src_from = 0
    piece.dst = dst
    return 0


cdef int widen(Nodes self, Buffer* pieces, Place* place) except -1:
    cdef Piece* piece = <Piece*> pieces.data
    cdef Py_ssize_t k
    cdef int some = 0, one, width = 1, kind
    cdef const char* format = NULL
    for k in range(piece_count(pieces)):
        one = some_of(piece[k].node)
        some |= one
        if one & SOME_FIXED_INT and piece[k].node.width >= width:
            width = piece[k].node.width
            format = piece[k].node.format
    if some & ~SOME_NUMBER:
        if some not in (SOME_INT | SOME_DECIMAL, SOME_TIMESTAMP, SOME_DURATION, SOME_DATE):
            return 0
    elif not some & (SOME_INT | SOME_FLOAT | SOME_SHORT_FLOAT) and some & SOME_FIXED_INT == SOME_FIXED_INT:
        return 0    # NumPy's ints with a sign beside those without, which have no type of NumPy in common with 64 bits
    for k in range(piece_count(pieces)):
        one = some_of(piece[k].node)
        if some == SOME_INT | SOME_DECIMAL:
            if one == SOME_INT:
                renew(self, &piece[k], NODE_LONG_DECIMAL, 0, NULL, place)
        elif one & SOME_FIXED_INT:
            if some == SOME_SIGNED or some == SOME_UNSIGNED:
                renew(self, &piece[k], NODE_FIXED, width, format, place)
            else:
                renew(self, &piece[k], NODE_INT, 8, NULL, place)
        elif one == SOME_SHORT_FLOAT:
            renew(self, &piece[k], NODE_FLOAT, 8, NULL, place)
        elif piece[k].node.kind == NODE_FIXED:
            kind = NODE_TIMESTAMP if one == SOME_TIMESTAMP else NODE_DURATION if one == SOME_DURATION else NODE_DATE
            renew(self, &piece[k], kind, 4 if kind == NODE_DATE else 8, NULL, place)
    return 0


cdef bint to_nanoseconds(Nodes self, const Buffer* pieces, Place* place) except -1:
    cdef Piece* piece = <Piece*> pieces.data
    cdef Py_ssize_t k, i
    cdef Node* node
    cdef int64_t* out
    cdef int64_t value
    cdef bint some = False
    for k in range(piece_count(pieces)):
        some = some or piece[k].node.format != NULL
    if not some:
        return False
    for k in range(piece_count(pieces)):
        if piece[k].node.format != NULL:
            continue
        without_nulls(self, &piece[k], place)
        spend(self, piece[k].count, place)
        out = <int64_t*> arena(self, piece[k].count * sizeof(int64_t) + 1)
        for i in range(piece[k].count):
            value = int_at(piece[k].node, source_of(&piece[k], i))
            if not -(INT64_MAX // 1000) <= value <= INT64_MAX // 1000:
                refuse(place, _errors.TOO_FAR_FOR_NANOSECONDS)
            out[i] = value * 1000
        # Where they went they go, from a node of their own.
        node = leaf(self, piece[k].node.kind, piece[k].node.tag, piece[k].count, out, 8)
        node.made = 1
        node.zone = piece[k].node.zone
        piece[k].node = node
        piece[k].src = NULL
        piece[k].src_from = 0
    return True
