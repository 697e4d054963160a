"""Checks of every value of an Arrow buffer: each returns the position of the first that is wrong, or -1.

Loops without an exit, which compilers make wide, tell whether to look for it at all.  Buffers of typed items are aligned.
``validity`` may be NULL; its bits, as ``start``, count from the buffers' beginnings.
"""

from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memcmp, memcpy

from fastser._core.arrow.abi cimport BinaryView, VIEW_INLINE_MAX


ctypedef fused offset_t:
    int32_t
    int64_t

ctypedef fused index_t:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t

ctypedef fused run_end_t:
    int16_t
    int32_t
    int64_t


cdef inline bint is_valid(const uint8_t* validity, int64_t index) noexcept nogil:
    return validity == NULL or validity[index >> 3] >> (index & 7) & 1


cdef inline int64_t count_valid(const uint8_t* validity, int64_t start, int64_t count) noexcept nogil:
    cdef int64_t i, found = 0, end = start + count
    cdef uint64_t word
    while start < end and start & 7:
        found += validity[start >> 3] >> (start & 7) & 1
        start += 1
    while end - start >= 64:
        memcpy(&word, validity + (start >> 3), 8)
        word = word - (word >> 1 & 0x5555555555555555ULL)
        word = (word & 0x3333333333333333ULL) + (word >> 2 & 0x3333333333333333ULL)
        word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL
        found += <int64_t> (word * 0x0101010101010101ULL >> 56)
        start += 64
    for i in range(start, end):
        found += validity[i >> 3] >> (i & 7) & 1
    return found


cdef inline int64_t bad_offsets(const offset_t* offsets, int64_t start, int64_t count, int64_t limit) noexcept nogil:
    """Of ``count`` + 1 offsets from ``start`` on: they grow from 0 or more to ``limit`` or less."""
    cdef int64_t i
    cdef int falls = 0
    if offsets[start] < 0:
        return 0
    for i in range(start, start + count):
        falls |= offsets[i + 1] < offsets[i]
    if falls:
        for i in range(start, start + count):
            if offsets[i + 1] < offsets[i]:
                return i + 1 - start
    return count if offsets[start + count] > limit else -1


cdef inline int64_t bad_list_views(
    const offset_t* offsets, const offset_t* sizes, int64_t start, int64_t count, int64_t limit,
) noexcept nogil:
    cdef int64_t i
    for i in range(start, start + count):
        if offsets[i] < 0 or sizes[i] < 0 or offsets[i] > limit - sizes[i]:
            return i - start
    return -1


cdef inline int64_t bad_indices(
    const index_t* indices, const uint8_t* validity, int64_t start, int64_t count, int64_t limit,
) noexcept nogil:
    """Of those that are valid: each below ``limit``; what is negative is beyond every limit as an unsigned number."""
    cdef int64_t i
    cdef int beyond = 0
    for i in range(start, start + count):
        beyond |= <uint64_t> indices[i] >= <uint64_t> limit
    if beyond:
        for i in range(start, start + count):
            if <uint64_t> indices[i] >= <uint64_t> limit and is_valid(validity, i):
                return i - start
    return -1


cdef inline int64_t bad_run_ends(const run_end_t* ends, int64_t start, int64_t count) noexcept nogil:
    """They ascend from 1 or more."""
    cdef int64_t i
    if count and ends[start] < 1:
        return 0
    for i in range(start + 1, start + count):
        if ends[i] <= ends[i - 1]:
            return i - start
    return -1


cdef inline int64_t bad_type_ids(const int8_t* ids, const int8_t* child_of, int64_t start, int64_t count) noexcept nogil:
    cdef int64_t i
    for i in range(start, start + count):
        if ids[i] < 0 or child_of[ids[i]] < 0:
            return i - start
    return -1


cdef inline bint is_ascii(const uint8_t* data, int64_t size) noexcept nogil:
    cdef int64_t i
    cdef uint8_t bits = 0
    for i in range(size):
        bits |= data[i]
    return bits < 0x80


cdef inline const uint8_t* end_of_utf8(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """How far it is well-formed: ``end``, or where a sequence of bytes begins that is no character."""
    cdef uint64_t word
    cdef uint32_t c
    cdef int more, i
    while p < end:
        if end - p >= 8:
            memcpy(&word, p, 8)
            if not word & 0x8080808080808080ULL:
                p += 8
                continue
        c = p[0]
        if c < 0x80:
            p += 1
            continue
        if c < 0xC2 or c > 0xF4:
            return p
        more = 1 if c < 0xE0 else 2 if c < 0xF0 else 3
        if end - p <= more:
            return p
        c &= 0x3F >> more
        for i in range(1, more + 1):
            if p[i] & 0xC0 != 0x80:
                return p
            c = c << 6 | (p[i] & 0x3F)
        # Not in more bytes than needed, no surrogate, nothing beyond the last character.
        if (more == 2 and (c < 0x800 or 0xD800 <= c < 0xE000)) or (more == 3 and not 0x10000 <= c < 0x110000):
            return p
        p += more + 1
    return p


cdef inline int64_t bad_texts(
    const offset_t* offsets, const uint8_t* data, const uint8_t* validity, int64_t start, int64_t count,
) noexcept nogil:
    """Each valid item is UTF-8.  Where all bytes together are, only its ends can be wrong."""
    cdef const uint8_t* last = data + offsets[start + count]
    cdef const uint8_t* at = data + offsets[start]
    cdef const uint8_t* end
    cdef int64_t i
    cdef bint whole
    if is_ascii(at, last - at):
        return -1
    whole = end_of_utf8(at, last) == last
    for i in range(start, start + count):
        at = data + offsets[i]
        end = data + offsets[i + 1]
        if at == end or not is_valid(validity, i):
            continue
        if whole:
            if at[0] & 0xC0 == 0x80 or (end < last and end[0] & 0xC0 == 0x80):
                return i - start
        elif end_of_utf8(at, end) != end:
            return i - start
    return -1


cdef inline int64_t bad_views(
    const BinaryView* views, const void** data, const int64_t* sizes, int64_t n_data, const uint8_t* validity,
    int64_t start, int64_t count, bint is_text,
) noexcept nogil:
    """Each valid view lies within its buffer and has its prefix, or is padded with zeros; and is UTF-8."""
    cdef BinaryView view
    cdef const uint8_t* at
    cdef int64_t i
    cdef uint64_t first, rest, padding       # of the bytes that a view holds itself: four, and eight
    for i in range(start, start + count):
        if not is_valid(validity, i):
            continue
        view = views[i]
        if view.length < 0:
            return i - start
        if view.length <= VIEW_INLINE_MAX:
            at = <const uint8_t*> &views[i] + 4
            memcpy(&first, &views[i], 8)
            memcpy(&rest, &views[i].buffer_index, 8)
            first >>= 32
            if view.length < 4:
                padding = first >> 8 * view.length | rest
            else:
                padding = rest >> 8 * (view.length - 4) if view.length < VIEW_INLINE_MAX else 0
            if padding:
                return i - start
            if not (first | rest) & 0x8080808080808080ULL:
                continue
        else:
            if (not 0 <= view.buffer_index < n_data or view.offset < 0
                    or view.offset > sizes[view.buffer_index] - view.length):
                return i - start
            at = <const uint8_t*> data[view.buffer_index] + view.offset
            if memcmp(at, view.prefix, 4) != 0:
                return i - start
        if is_text and end_of_utf8(at, at + view.length) != at + view.length:
            return i - start
    return -1
