"""Bodies: large pieces of memory that the frame holds apart, or in `data` where they are short."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastser._core.capi cimport *
from fastser._core.cursors cimport next_data, read_varint
from fastser._core.decoder cimport Decoder
from fastser._core.faults cimport bad, short_column
from fastser._core.references cimport number, set_number
from fastser._core.slots cimport slots_new
from fastser._core.tags cimport BODY_BUFFER, BODY_INLINE, BODY_PADDED, BODY_SAME, TAG_BODY_BYTEARRAY, TAG_BODY_TEXT
from fastser._core.text cimport fastser_all_ascii


cdef inline const char* read_body(
    Decoder* d, Py_ssize_t wanted, Py_ssize_t* size, Py_ssize_t* index, bint may_be_same,
) except? NULL:
    """The bytes of a body, borrowed; ``wanted`` of them, or as many as there are where it is -1.

    ``index`` tells which of buffers it is, -1 for none of them.
    """
    cdef uint64_t where = read_varint(d), number = 0
    cdef const char* data
    index[0] = -1
    if where == BODY_INLINE:
        data = next_data(d, size)
        if wanted >= 0:
            if size[0] < wanted:
                bad(d, f"{wanted} bytes of data", size[0])
            data += size[0] - wanted
            size[0] = wanted
        return data
    if where == BODY_PADDED and wanted < 0:
        number = read_varint(d)
        data = next_data(d, size)
        if number > <uint64_t> size[0]:
            bad(d, f"at least {number} bytes of data", size[0])
        size[0] -= <Py_ssize_t> number
        return data + number
    if where == BODY_BUFFER:
        if d.body >= d.view.body_count:
            short_column(d, "buffers", 1, 0)
        number = d.body
        d.body += 1
    elif where == BODY_SAME and may_be_same:
        number = read_varint(d)
        if number >= <uint64_t> d.body:
            bad(d, f"one of {d.body} buffers", number)
    else:
        bad(d, "a kind of body", where)
    index[0] = <Py_ssize_t> number
    size[0] = d.view.bodies[number].size
    if wanted >= 0 and size[0] != wanted:
        bad(d, f"a buffer of {wanted} bytes", size[0])
    return d.view.bodies[number].data


cdef inline int read_bodies(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    """Long texts, bytes or bytearrays."""
    cdef Py_ssize_t i, size = 0, index = 0, first
    cdef const char* data
    cdef PyObject* t = fastser_str_type if tag == TAG_BODY_TEXT else fastser_bytes_type
    cdef PyObject* known
    if tag == TAG_BODY_BYTEARRAY:
        first = number(d, n)
        for i in range(n):
            data = read_body(d, -1, &size, &index, False)
            out[i] = new_bytearray(data, size)
            set_number(d, first + i, out[i])
        return 0
    for i in range(n):
        data = read_body(d, -1, &size, &index, True)
        known = NULL
        if index >= 0:
            if d.bodies == NULL:
                d.bodies = slots_new(d.view.body_count)
            known = d.bodies[index]
            if known != NULL and fastser_type(known) != t:
                return bad(d, "a buffer of one type", "two")
        if known == NULL:
            if tag == TAG_BODY_TEXT:
                known = fastser_ascii(data, size) if fastser_all_ascii(data, size) else new_utf8(data, size, NULL)
            else:
                known = new_bytes(data, size)
            if index >= 0:
                d.bodies[index] = known
                fastser_incref(known)
        else:
            fastser_incref(known)
        out[i] = known
    return 0
