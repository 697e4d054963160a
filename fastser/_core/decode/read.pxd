"""Reading with checks: what comes next in each column, or the error that it is not there."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastser._core.c.stack cimport fastser_stack_short
from fastser._core.decode.errors cimport bad, short_column, too_deep, unbacked
from fastser._core.decode.state cimport Decoder
from fastser._core.format.columns cimport view_offset
from fastser._core.format.tags cimport LENGTHS_CONSTANT


cdef inline int descend(Decoder* d) except -1:
    d.depth += 1
    if d.depth > d.max_depth:
        return too_deep(d, False)
    if fastser_stack_short(d.stack_limit):
        return too_deep(d, True)
    return 0


cdef inline int claim(Decoder* d, Py_ssize_t n) except -1:
    if n > d.budget:
        return unbacked(d, n)
    d.budget -= n
    return 0


cdef inline int read_byte(Decoder* d) except -1:
    if d.at >= d.end:
        return bad(d, "a tag", "the end of the tags")
    d.at += 1
    return (d.at - 1)[0]


cdef inline uint64_t read_varint(Decoder* d) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef uint8_t byte
    while True:
        if d.at >= d.end:
            bad(d, "an operand", "the end of the tags")
        byte = d.at[0]
        d.at += 1
        value |= <uint64_t> (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
        if shift > 63:
            bad(d, "an operand of at most 10 bytes", "a longer one")


cdef inline Py_ssize_t read_count(Decoder* d) except -1:
    """A number of items, backed by the frame."""
    cdef uint64_t count = read_varint(d)
    if count > <uint64_t> d.budget:
        unbacked(d, count)
    return <Py_ssize_t> count


cdef inline int read_unsigned(Decoder* d, uint64_t* out, Py_ssize_t n) except -1:
    """n lengths or indices, as write_unsigned wrote them."""
    cdef Py_ssize_t i
    cdef uint64_t kind = read_varint(d)
    if n == 1:
        out[0] = kind
    elif kind == 1:
        bytes_ = <const uint8_t*> take_i8(d, n)
        for i in range(n):
            out[i] = bytes_[i]
    elif kind == 2:
        halves = <const uint16_t*> take_i16(d, n)
        for i in range(n):
            out[i] = halves[i]
    elif kind == 4:
        words = <const uint32_t*> take_i32(d, n)
        for i in range(n):
            out[i] = words[i]
    elif kind == 8:
        longs = <const uint64_t*> take_i64(d, n)
        for i in range(n):
            out[i] = longs[i]
    elif kind == LENGTHS_CONSTANT:
        kind = read_varint(d)
        if kind == 0:
            bad(d, "a constant length of at least 1", 0)
        for i in range(n):
            out[i] = kind
    else:
        bad(d, "an item size of 1, 2, 4 or 8", kind)
    return 0


cdef inline Py_ssize_t read_lengths(Decoder* d, uint64_t* lengths, Py_ssize_t n) except -1:
    """The lengths of n containers; their sum, which the frame backs."""
    cdef Py_ssize_t i
    cdef uint64_t total = 0
    read_unsigned(d, lengths, n)
    for i in range(n):
        if lengths[i] > <uint64_t> d.budget:
            unbacked(d, lengths[i])
        total += lengths[i]
        if total > <uint64_t> d.budget:
            unbacked(d, total)
    return <Py_ssize_t> total


cdef inline const int64_t* take_i64(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.i64_count - d.i64:
        short_column(d, "i64", n, d.view.i64_count - d.i64)
    d.i64 += n
    return d.view.i64 + (d.i64 - n)


cdef inline const int32_t* take_i32(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.i32_count - d.i32:
        short_column(d, "i32", n, d.view.i32_count - d.i32)
    d.i32 += n
    return d.view.i32 + (d.i32 - n)


cdef inline const int16_t* take_i16(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.i16_count - d.i16:
        short_column(d, "i16", n, d.view.i16_count - d.i16)
    d.i16 += n
    return d.view.i16 + (d.i16 - n)


cdef inline const int8_t* take_i8(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.i8_count - d.i8:
        short_column(d, "i8", n, d.view.i8_count - d.i8)
    d.i8 += n
    return d.view.i8 + (d.i8 - n)


cdef inline const double* take_f64(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.f64_count - d.f64:
        short_column(d, "f64", n, d.view.f64_count - d.f64)
    d.f64 += n
    return d.view.f64 + (d.f64 - n)


cdef inline const uint8_t* take_bits(Decoder* d, Py_ssize_t n) except NULL:
    """A bitmap of n bits."""
    cdef Py_ssize_t size = (n + 7) >> 3
    if size > d.view.bits_count - d.bits:
        short_column(d, "bits", size, d.view.bits_count - d.bits)
    d.bits += size
    return d.view.bits + (d.bits - size)


cdef inline const char* next_text(Decoder* d, Py_ssize_t index, Py_ssize_t* size) except NULL:
    """Item ``index`` of text, borrowed."""
    cdef Py_ssize_t start, stop
    if index >= d.view.text_count:
        short_column(d, "text", 1, 0)
    start = view_offset(d.view.text_offsets, d.view.text_large, index)
    stop = view_offset(d.view.text_offsets, d.view.text_large, index + 1)
    if start < d.view.text_start or stop < start or stop > d.view.text_size:
        bad(d, "rising offsets in column text", (start, stop))
    size[0] = stop - start
    return d.view.text + start


cdef inline const char* next_data(Decoder* d, Py_ssize_t* size) except NULL:
    """The next item of data, borrowed."""
    cdef Py_ssize_t start, stop
    if d.data >= d.view.data_count:
        short_column(d, "data", 1, 0)
    start = view_offset(d.view.data_offsets, d.view.data_large, d.data)
    stop = view_offset(d.view.data_offsets, d.view.data_large, d.data + 1)
    if start < 0 or stop < start or stop > d.view.data_size:
        bad(d, "rising offsets in column data", (start, stop))
    d.data += 1
    size[0] = stop - start
    return d.view.data + start
