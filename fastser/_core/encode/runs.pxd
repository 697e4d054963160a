"""Runs: how far items go that one tag can hold, and which of them belong together."""

from cpython.datetime cimport PyDateTime_DATE_GET_FOLD, PyDateTime_TIME_GET_FOLD
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastser._core.c.buffer cimport append_varint, buffer_extend, buffer_release
from fastser._core.c.capi cimport *
from fastser._core.c.memo cimport address_slot
from fastser._core.encode.scalars cimport fastser_datetime_zone, fastser_time_zone, room, timedelta_is_long
from fastser._core.encode.state cimport Encoder, SCRATCH_KEPT
from fastser._core.format.tags cimport *
from fastser._core.values.arrays cimport arrays_alike, fastser_array_type, fastser_dtype_code, fastser_scalar_descr
from fastser._core.values.kinds cimport datetime_type, is_native_scalar, time_type, timedelta_type, uuid_type
from fastser._core.values.text cimport text_is_body


cdef enum:
    RUN_MIN = 16          # a shorter run that does not reach the end is not worth its own tag
    DISTINCT_SMALLEST = 6  # log2 of the first capacity


cdef inline bint is_worth_it(Py_ssize_t k, Py_ssize_t n) noexcept:
    return k == n or k >= RUN_MIN


cdef inline bint rest_is_nullable(PyObject** items, Py_ssize_t n, PyObject* t, PyObject* hole) noexcept:
    """Whether nothing but the hole and values of t follows: one nullable run holds that better than two."""
    cdef Py_ssize_t i
    for i in range(n):
        if items[i] != hole and fastser_type(items[i]) != t:
            return False
    return True


cdef inline PyObject* uuid_safety(PyObject* o) except NULL:
    """Borrowed: the SafeUUID member, which the class or the instance holds."""
    cdef object safety = getattr(<object> o, "is_safe", None)
    return <PyObject*> safety


cdef inline bint scalar_is_plain(PyObject* o) except -1:
    """Whether a scalar's dtype needs no description."""
    cdef PyObject* descr = fastser_scalar_descr(o)
    cdef int code = fastser_dtype_code(descr)
    fastser_decref(descr)
    return code != 0


cdef inline Py_ssize_t leaf_prefix(PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """How many leading items, all of exact type t, one run can hold."""
    cdef Py_ssize_t i = 1
    cdef PyObject* zone
    cdef int fold
    if t == fastser_bytes_type:
        if fastser_bytes_size(items[0]) >= BYTES_BODY_MIN:
            return 1
        while i < n and fastser_bytes_size(items[i]) < BYTES_BODY_MIN:
            i += 1
        return i
    if t == datetime_type:
        zone = fastser_datetime_zone(items[0])
        fold = PyDateTime_DATE_GET_FOLD(<object> items[0])
        while i < n and fastser_datetime_zone(items[i]) == zone and PyDateTime_DATE_GET_FOLD(<object> items[i]) == fold:
            i += 1
        return i
    if t == time_type:
        zone = fastser_time_zone(items[0])
        fold = PyDateTime_TIME_GET_FOLD(<object> items[0])
        while i < n and fastser_time_zone(items[i]) == zone and PyDateTime_TIME_GET_FOLD(<object> items[i]) == fold:
            i += 1
        return i
    if t == timedelta_type:
        fold = timedelta_is_long(items[0])
        while i < n and timedelta_is_long(items[i]) == fold:
            i += 1
        return i
    if t == uuid_type:
        zone = uuid_safety(items[0])
        while i < n and uuid_safety(items[i]) == zone:
            i += 1
        return i
    if t == fastser_array_type:
        while i < n and arrays_alike(items[0], items[i]):
            i += 1
        return i
    if t == fastser_bytearray_type:
        if PyByteArray_GET_SIZE(items[0]) >= BYTES_BODY_MIN:
            return 1
        while i < n and PyByteArray_GET_SIZE(items[i]) < BYTES_BODY_MIN:
            i += 1
        return i
    if t == fastser_str_type:
        return 1 if text_is_body(items[0]) else n
    if is_native_scalar(t):
        return n if scalar_is_plain(items[0]) else 1
    return n


cdef inline bint repeats(Encoder* e, PyObject** items, Py_ssize_t n) noexcept:
    """Whether a look at a few items suggests that the same objects come again and again."""
    cdef Py_ssize_t i, step, shared = 0
    if not e.track or n < RUN_MIN:
        return False
    step = n >> 3
    for i in range(8):
        shared += fastser_refcount(items[i * step]) > 1
    return shared >= 4


cdef inline uint32_t* distinct_table(Encoder* e, PyObject** distinct, Py_ssize_t m, int bits) except NULL:
    """A table of 2 ** bits places for the m distinct items so far: 0 where it is free, else 1 + their position."""
    cdef size_t i, at, mask = (<size_t> 1 << bits) - 1
    cdef uint32_t* table
    e.distinct.size = 0
    table = <uint32_t*> room(buffer_extend(&e.distinct, (mask + 1) * sizeof(uint32_t)))
    memset(table, 0, (mask + 1) * sizeof(uint32_t))
    for i in range(<size_t> m):
        at = address_slot(distinct[i], bits)
        while table[at]:
            at = (at + 1) & mask
        table[at] = <uint32_t> (i + 1)
    return table


cdef inline Py_ssize_t distinct_items(
    Encoder* e, PyObject** items, Py_ssize_t k, PyObject** distinct, uint32_t* indices,
) except -1:
    """The distinct ones of k items and an index for each; how many are distinct, 0 where that does not pay.

    The table holds positions, not items: what is looked up again and again stays in the processor's caches.
    """
    cdef Py_ssize_t i, m = 0, check = 1024
    cdef int bits = DISTINCT_SMALLEST
    cdef size_t at
    cdef uint32_t* table
    if <uint64_t> k > <uint64_t> 0xFFFFFFFF:
        return 0
    i = 0
    while i < k and items[i] == items[0]:
        i += 1
    if i == k:    # a column of one sentinel, say
        distinct[0] = items[0]
        memset(indices, 0, k * sizeof(uint32_t))
        return 1
    table = distinct_table(e, distinct, 0, bits)
    for i in range(k):
        if i == check:
            # Few repeats among so many: distinct objects that something else refers to as well.
            if m > i - (i >> 7):
                break
            check *= 8
        at = address_slot(items[i], bits)
        while table[at] and distinct[table[at] - 1] != items[i]:
            at = (at + 1) & ((<size_t> 1 << bits) - 1)
        if not table[at]:
            distinct[m] = items[i]
            m += 1
            table[at] = <uint32_t> m
            if <size_t> m * 2 > <size_t> 1 << bits:
                indices[i] = <uint32_t> (m - 1)
                bits += 2
                table = distinct_table(e, distinct, m, bits)
                continue
        indices[i] = table[at] - 1
    else:
        i = k
    if e.distinct.capacity > SCRATCH_KEPT:
        buffer_release(&e.distinct)
    if i < k or m + (m >> 1) > k:
        return 0
    return m


cdef inline Py_ssize_t type_groups(PyObject** items, Py_ssize_t n, uint8_t* index, PyObject** types) noexcept:
    """Group items by type, eight of them at most; the number of groups, 0 for more."""
    cdef uint8_t slots[64]     # where a type is likely to be in `types`: random types must not be guessed at
    cdef Py_ssize_t i, g, count = 0
    cdef PyObject* t
    memset(slots, 0, sizeof(slots))
    types[0] = NULL
    for i in range(n):
        t = fastser_type(items[i])
        g = slots[(<size_t> t >> 5) & 63]
        if types[g] != t:
            g = 0
            while g < count and types[g] != t:
                g += 1
            if g == count:
                if count == 8:
                    return 0
                types[count] = t
                count += 1
            slots[(<size_t> t >> 5) & 63] = <uint8_t> g
        index[i] = <uint8_t> g
    return count


cdef inline int group_items(
    Encoder* e, PyObject** items, Py_ssize_t n, Py_ssize_t count, const uint8_t* index,
    PyObject** grouped, Py_ssize_t* ends,
) except -1:
    """Write which of ``count`` groups each item is in, and sort the items by it; where each group ends."""
    cdef Py_ssize_t i, g
    cdef uint8_t* bits
    memset(ends, 0, (count + 1) * sizeof(Py_ssize_t))
    for i in range(n):
        ends[index[i] + 1] += 1
    for g in range(1, count + 1):
        ends[g] += ends[g - 1]
    if count == 2:
        bits = <uint8_t*> room(buffer_extend(&e.columns.bits, (n + 7) >> 3))
        memset(bits, 0, (n + 7) >> 3)
        for i in range(n):
            bits[i >> 3] |= <uint8_t> (index[i] << (i & 7))
    else:
        memcpy(room(buffer_extend(&e.columns.i8, n)), index, n)
    for i in range(n):
        grouped[ends[index[i]]] = items[i]
        ends[index[i]] += 1
    return 0
