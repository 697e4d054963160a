"""Integers: runs in the narrowest column that holds them, both ways."""

from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastser._core.c.buffer cimport buffer_extend, buffer_reserve
from fastser._core.c.capi cimport fastser_as_int64, fastser_int_type, fastser_prefetch, fastser_type
from fastser._core.format.columns cimport Columns
from fastser._core.format.tags cimport *


cdef inline int int_append(Columns* columns, int64_t value) noexcept nogil:
    """Append one integer to the narrowest column; its tag, or -1 when memory is short."""
    if -128 <= value <= 127:
        if buffer_reserve(&columns.i8, 1) < 0:
            return -1
        columns.i8.data[columns.i8.size] = <char> value
        columns.i8.size += 1
        return TAG_INT8
    if -32768 <= value <= 32767:
        if buffer_reserve(&columns.i16, 2) < 0:
            return -1
        (<int16_t*> (columns.i16.data + columns.i16.size))[0] = <int16_t> value
        columns.i16.size += 2
        return TAG_INT16
    if -2147483648 <= value <= 2147483647:
        if buffer_reserve(&columns.i32, 4) < 0:
            return -1
        (<int32_t*> (columns.i32.data + columns.i32.size))[0] = <int32_t> value
        columns.i32.size += 4
        return TAG_INT32
    if buffer_reserve(&columns.i64, 8) < 0:
        return -1
    (<int64_t*> (columns.i64.data + columns.i64.size))[0] = value
    columns.i64.size += 8
    return TAG_INT64


cdef inline int int_narrow(Columns* columns, Py_ssize_t n, uint64_t spread) noexcept nogil:
    """Move the n integers that lie beyond the end of i64 to the narrowest column that holds them.

    ``spread`` is the union of their magnitudes' bits (v ^ (v >> 63)).  Returns the tag, or -1.
    """
    cdef int64_t* source = <int64_t*> (columns.i64.data + columns.i64.size)
    cdef int8_t* to8
    cdef int16_t* to16
    cdef int32_t* to32
    cdef Py_ssize_t i
    if spread < 0x80:
        to8 = <int8_t*> buffer_extend(&columns.i8, n)
        if to8 == NULL:
            return -1
        for i in range(n):
            to8[i] = <int8_t> source[i]
        return TAG_INT8
    if spread < 0x8000:
        to16 = <int16_t*> buffer_extend(&columns.i16, n * 2)
        if to16 == NULL:
            return -1
        for i in range(n):
            to16[i] = <int16_t> source[i]
        return TAG_INT16
    if spread < <uint64_t> 0x80000000:
        to32 = <int32_t*> buffer_extend(&columns.i32, n * 4)
        if to32 == NULL:
            return -1
        for i in range(n):
            to32[i] = <int32_t> source[i]
        return TAG_INT32
    columns.i64.size += n * 8
    return TAG_INT64


cdef inline Py_ssize_t int_run(Columns* columns, PyObject** items, Py_ssize_t n, int* tag) noexcept nogil:
    """Write the leading ints that fit 64 bits; how many they are, or -1 when memory is short."""
    cdef Py_ssize_t i
    cdef uint64_t spread = 0
    cdef int64_t value
    cdef int64_t* out
    if buffer_reserve(&columns.i64, n * 8) < 0:
        return -1
    out = <int64_t*> (columns.i64.data + columns.i64.size)
    for i in range(n):
        # The members of a set lie in no order in memory.
        if i + 16 < n:
            fastser_prefetch(items[i + 16])
        if fastser_type(items[i]) != fastser_int_type or not fastser_as_int64(items[i], &value):
            break
        out[i] = value
        spread |= <uint64_t> (value ^ (value >> 63))
    else:
        i = n
    if i:
        tag[0] = int_narrow(columns, i, spread)
        if tag[0] < 0:
            return -1
    return i


ctypedef fused Unsigned:
    uint32_t
    uint64_t


cdef inline int unsigned_run(Columns* columns, const Unsigned* values, Py_ssize_t n, uint64_t largest) noexcept nogil:
    """Write lengths or indices as unsigned integers; the size of one in bytes, or -1."""
    cdef uint8_t* to8
    cdef uint16_t* to16
    cdef uint32_t* to32
    cdef uint64_t* to64
    cdef Py_ssize_t i
    if largest < 0x100:
        to8 = <uint8_t*> buffer_extend(&columns.i8, n)
        if to8 == NULL:
            return -1
        for i in range(n):
            to8[i] = <uint8_t> values[i]
        return 1
    if largest < 0x10000:
        to16 = <uint16_t*> buffer_extend(&columns.i16, n * 2)
        if to16 == NULL:
            return -1
        for i in range(n):
            to16[i] = <uint16_t> values[i]
        return 2
    if largest >> 32 == 0:
        to32 = <uint32_t*> buffer_extend(&columns.i32, n * 4)
        if to32 == NULL:
            return -1
        for i in range(n):
            to32[i] = <uint32_t> values[i]
        return 4
    to64 = <uint64_t*> buffer_extend(&columns.i64, n * 8)
    if to64 == NULL:
        return -1
    for i in range(n):
        to64[i] = values[i]
    return 8
