"""Bodies: large pieces of memory that the frame holds apart, or in `data` where they are short."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from fastser._core.c.capi cimport *
from fastser._core.c.refs cimport slots_new
from fastser._core.decode.errors cimport bad, short_column
from fastser._core.decode.identity cimport number, set_number
from fastser._core.decode.read cimport next_data, read_varint
from fastser._core.decode.state cimport Decoder, user_code_begins, user_code_ends
from fastser._core.format.tags cimport (
    BODY_BUFFER, BODY_COPY, BODY_INLINE, BODY_PADDED, BODY_SAME, TAG_BODY_BYTEARRAY, TAG_BODY_TEXT,
)
from fastser._core.values.text cimport fastser_all_ascii


cdef enum:
    GIL_KEPT_COPYING = 256 << 10    # bytes: below, other threads wait


cdef struct BodyRead:
    # A body, borrowed.
    const char* data
    Py_ssize_t size
    Py_ssize_t index          # which of buffers it is, -1 for none of them: it lies in `data`
    int copy                  # what is made of it may write to it


cdef inline int read_body(Decoder* d, Py_ssize_t wanted, BodyRead* piece, int other) except -1:
    """A body of ``wanted`` bytes, or of as many as there are where that is -1.

    ``other`` is the kind that is allowed beside those for all: BODY_SAME or BODY_COPY, or 0.
    """
    cdef uint64_t where = read_varint(d), given = 0
    piece.index = -1
    piece.copy = False
    if where == BODY_INLINE:
        piece.data = next_data(d, &piece.size)
        if wanted >= 0:
            if piece.size < wanted:
                return bad(d, f"{wanted} bytes of data", piece.size)
            piece.data += piece.size - wanted
            piece.size = wanted
        return 0
    if where == BODY_PADDED and wanted < 0:
        given = read_varint(d)
        piece.data = next_data(d, &piece.size)
        if given > <uint64_t> piece.size:
            return bad(d, f"at least {given} bytes of data", piece.size)
        piece.data += given
        piece.size -= <Py_ssize_t> given
        return 0
    if where == BODY_BUFFER or (where == BODY_COPY and other == BODY_COPY):
        if d.body >= d.view.body_count:
            return short_column(d, "buffers", 1, 0)
        given = d.body
        d.body += 1
        piece.copy = where == BODY_COPY or d.copies
    elif where == BODY_SAME and other == BODY_SAME:
        given = read_varint(d)
        if given >= <uint64_t> d.body:
            return bad(d, f"one of {d.body} buffers", given)
    else:
        return bad(d, "a kind of body", where)
    piece.index = <Py_ssize_t> given
    piece.data = d.view.bodies[given].data
    piece.size = d.view.bodies[given].size
    if wanted >= 0 and piece.size != wanted:
        return bad(d, f"a buffer of {wanted} bytes", piece.size)
    return 0


cdef inline void copy_out(Decoder* d, char* to, const char* data, Py_ssize_t size) noexcept:
    """The bytes of a body, each of which is read once."""
    if size < GIL_KEPT_COPYING or not d.exposed:
        memcpy(to, data, size)
        return
    user_code_begins(d)
    with nogil:
        memcpy(to, data, size)
    user_code_ends(d)


cdef inline int read_bodies(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    """Long texts, bytes or bytearrays."""
    cdef Py_ssize_t i, first
    cdef BodyRead piece
    cdef PyObject* t = fastser_str_type if tag == TAG_BODY_TEXT else fastser_bytes_type
    cdef PyObject* known
    if tag == TAG_BODY_BYTEARRAY:
        first = number(d, n)
        for i in range(n):
            read_body(d, -1, &piece, 0)
            out[i] = new_bytearray(piece.data, piece.size)
            set_number(d, first + i, out[i])
        return 0
    for i in range(n):
        read_body(d, -1, &piece, BODY_SAME)
        known = NULL
        if piece.index >= 0:
            if d.bodies == NULL:
                d.bodies = slots_new(d.view.body_count)
            known = d.bodies[piece.index]
            if known != NULL and fastser_type(known) != t:
                return bad(d, "a buffer of one type", "two")
        if known == NULL:
            if tag == TAG_BODY_TEXT:
                known = fastser_ascii(piece.data, piece.size) if fastser_all_ascii(piece.data, piece.size) \
                    else new_utf8(piece.data, piece.size, NULL)
            else:
                known = new_bytes(piece.data, piece.size)
            if piece.index >= 0:
                d.bodies[piece.index] = known
                fastser_incref(known)
        else:
            fastser_incref(known)
        out[i] = known
    return 0
