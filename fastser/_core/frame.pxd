"""The frame: header, columns, bodies.  docs/format.md describes it in words.

Everything is little-endian, and so is every platform that CPython's wheels are built for.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastser._core.columns cimport Body, Buffer, Columns, View, columns_bodies, columns_body_count
from fastser._core.tags cimport *


cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "fastser writes little-endian frames in place and needs a little-endian machine"
    #endif
    #define FASTSER_MAGIC "\\xf5\\x46\\x53\\x52"
    """
    const char* FASTSER_MAGIC


cdef enum:
    HEADER_SIZE = 16
    PART_COUNT = 12       # the columns, text and data with their offsets apart

    FRAME_OK = 0
    FRAME_SHORT = 1       # shorter than a header
    FRAME_MAGIC = 2
    FRAME_VERSION = 3
    FRAME_FLAGS = 4
    FRAME_TRUNCATED = 5   # the header says more than there is
    FRAME_COLUMNS = 6     # the columns do not fit the length that the header says
    FRAME_MEMORY = 7


cdef struct Layout:
    uint64_t counts[COLUMN_COUNT]
    Py_ssize_t positions[PART_COUNT]   # of each part from the start of the frame
    Py_ssize_t head_size               # header and columns, without the padding before the bodies
    Py_ssize_t bodies_start            # a multiple of 64, or head_size where there are none
    Py_ssize_t total
    int flags


cdef inline Py_ssize_t align_up(Py_ssize_t position, Py_ssize_t alignment) noexcept nogil:
    return (position + alignment - 1) & ~(alignment - 1)


cdef inline void frame_layout(Columns* columns, int flags, Layout* out) noexcept nogil:
    cdef int shift = 3 if columns.large else 2
    cdef Py_ssize_t offset_size = 1 << shift
    cdef Py_ssize_t position = HEADER_SIZE
    cdef Py_ssize_t present = 0
    cdef Py_ssize_t i, body_count = columns_body_count(columns)
    cdef uint64_t* counts = out.counts
    counts[COLUMN_BUFFERS] = body_count
    counts[COLUMN_I64] = columns.i64.size >> 3
    counts[COLUMN_F64] = columns.f64.size >> 3
    counts[COLUMN_I32] = columns.i32.size >> 2
    counts[COLUMN_TEXT] = (columns.text_offsets.size >> shift) - 1
    counts[COLUMN_DATA] = (columns.data_offsets.size >> shift) - 1
    counts[COLUMN_I16] = columns.i16.size >> 1
    counts[COLUMN_I8] = columns.i8.size
    counts[COLUMN_BITS] = columns.bits.size
    counts[COLUMN_TAGS] = columns.tags.size
    for i in range(COLUMN_COUNT):
        present += counts[i] != 0
    position = align_up(position + present * offset_size, 8)
    out.flags = flags | (FLAG_LARGE if columns.large else 0)
    out.positions[0] = position
    position += body_count * 8
    out.positions[1] = position
    position += columns.i64.size
    out.positions[2] = position
    position += columns.f64.size
    out.positions[3] = position
    if counts[COLUMN_TEXT]:
        position += columns.text_offsets.size
    out.positions[4] = position
    if counts[COLUMN_DATA]:
        position += columns.data_offsets.size
    out.positions[5] = position
    position += columns.i32.size
    out.positions[6] = position
    position += columns.i16.size
    out.positions[7] = position
    position += columns.i8.size
    out.positions[8] = position
    position += columns.bits.size
    out.positions[9] = position
    position += columns.tags.size
    out.positions[10] = position
    position += columns.text.size
    if counts[COLUMN_DATA]:
        position = align_up(position, DATA_ALIGNMENT)
    out.positions[11] = position
    position += columns.data.size
    out.head_size = position
    out.bodies_start = position
    if body_count:
        position = align_up(position, BODY_ALIGNMENT)
        out.bodies_start = position
        for i in range(body_count):
            position = align_up(position + <Py_ssize_t> columns_bodies(columns)[i].size, BODY_ALIGNMENT)
    out.total = position


cdef inline void _put(char* frame, Py_ssize_t position, Buffer* source) noexcept nogil:
    if source.size:
        memcpy(frame + position, source.data, source.size)


cdef inline void frame_write_head(Columns* columns, Layout* layout, char* frame) noexcept nogil:
    """Write header and columns: layout.head_size bytes, every one of them."""
    cdef Py_ssize_t i, position = HEADER_SIZE
    cdef uint16_t presence = 0
    cdef uint64_t total = layout.total
    cdef uint64_t count
    cdef uint32_t narrow
    memcpy(frame, FASTSER_MAGIC, 4)
    (<uint8_t*> frame)[4] = FORMAT_VERSION
    (<uint8_t*> frame)[5] = <uint8_t> layout.flags
    for i in range(COLUMN_COUNT):
        count = layout.counts[i]
        if count:
            presence |= <uint16_t> (1 << i)
            if columns.large:
                memcpy(frame + position, &count, 8)
                position += 8
            else:
                narrow = <uint32_t> count
                memcpy(frame + position, &narrow, 4)
                position += 4
    memcpy(frame + 6, &presence, 2)
    memcpy(frame + 8, &total, 8)
    if position < layout.positions[0]:
        memset(frame + position, 0, layout.positions[0] - position)
    for i in range(<Py_ssize_t> layout.counts[COLUMN_BUFFERS]):
        memcpy(frame + layout.positions[0] + i * 8, &columns_bodies(columns)[i].size, 8)
    _put(frame, layout.positions[1], &columns.i64)
    _put(frame, layout.positions[2], &columns.f64)
    if layout.counts[COLUMN_TEXT]:
        _put(frame, layout.positions[3], &columns.text_offsets)
    if layout.counts[COLUMN_DATA]:
        _put(frame, layout.positions[4], &columns.data_offsets)
    _put(frame, layout.positions[5], &columns.i32)
    _put(frame, layout.positions[6], &columns.i16)
    _put(frame, layout.positions[7], &columns.i8)
    _put(frame, layout.positions[8], &columns.bits)
    _put(frame, layout.positions[9], &columns.tags)
    _put(frame, layout.positions[10], &columns.text)
    position = layout.positions[10] + <Py_ssize_t> columns.text.size
    if position < layout.positions[11]:
        memset(frame + position, 0, layout.positions[11] - position)
    _put(frame, layout.positions[11], &columns.data)


cdef inline Py_ssize_t _offset_at(const char* offsets, int large, Py_ssize_t index) noexcept nogil:
    """Read one offset at any alignment."""
    cdef int64_t wide
    cdef int32_t narrow
    if large:
        memcpy(&wide, offsets + index * 8, 8)
        return wide
    memcpy(&narrow, offsets + index * 4, 4)
    return narrow


cdef inline int frame_check_start(const char* data, Py_ssize_t size, uint64_t* total) noexcept nogil:
    """Look at the first HEADER_SIZE bytes alone and tell how long the frame is."""
    if size < HEADER_SIZE:
        return FRAME_MAGIC if size and memcmp(data, FASTSER_MAGIC, size if size < 4 else 4) != 0 else FRAME_SHORT
    if memcmp(data, FASTSER_MAGIC, 4) != 0:
        return FRAME_MAGIC
    if (<const uint8_t*> data)[4] != FORMAT_VERSION:
        return FRAME_VERSION
    if (<const uint8_t*> data)[5] & ~FLAGS_KNOWN:
        return FRAME_FLAGS
    memcpy(total, data + 8, 8)
    return FRAME_OK


cdef inline int frame_parse_head(
    const char* data, Py_ssize_t size, Py_ssize_t apart, View* view, char** copied, Py_ssize_t* head_size,
) noexcept nogil:
    """Point ``view`` into the header and columns at ``data``; view.bodies gets sizes, not addresses.

    ``apart`` is how much of the frame may lie elsewhere, beyond the ``size`` bytes at ``data``.
    ``copied`` receives a malloc'ed copy of the head when ``data`` is not aligned to 8 bytes, else
    NULL.  It and view.bodies are the caller's to free, on every status.
    """
    cdef uint64_t total = 0, count, wide
    cdef uint64_t counts[COLUMN_COUNT]
    cdef uint32_t narrow
    cdef uint16_t presence
    cdef Py_ssize_t positions[PART_COUNT]
    cdef Py_ssize_t i, position, limit, offset_size
    cdef const char* base = data
    cdef int large, status
    memset(view, 0, sizeof(View))
    copied[0] = NULL
    status = frame_check_start(data, size, &total)
    if status != FRAME_OK:
        return status
    if total > <uint64_t> size + <uint64_t> apart:
        return FRAME_TRUNCATED
    view.flags = (<const uint8_t*> data)[5]
    view.frame_size = <Py_ssize_t> total
    limit = view.frame_size if view.frame_size < size else size
    large = view.flags & FLAG_LARGE
    view.text_large = view.data_large = large
    offset_size = 8 if large else 4
    memcpy(&presence, data + 6, 2)
    if presence >> COLUMN_COUNT:
        return FRAME_COLUMNS
    position = HEADER_SIZE
    for i in range(COLUMN_COUNT):
        count = 0
        if presence & (1 << i):
            if position + offset_size > limit:
                return FRAME_COLUMNS
            if large:
                memcpy(&count, data + position, 8)
            else:
                memcpy(&narrow, data + position, 4)
                count = narrow
            position += offset_size
            # Every item of a column has at least a byte, so no product below overflows.
            if count == 0 or count > <uint64_t> limit:
                return FRAME_COLUMNS
        counts[i] = count
    position = align_up(position, 8)
    positions[0] = position
    position += <Py_ssize_t> counts[COLUMN_BUFFERS] * 8
    positions[1] = position
    position += <Py_ssize_t> counts[COLUMN_I64] * 8
    positions[2] = position
    position += <Py_ssize_t> counts[COLUMN_F64] * 8
    positions[3] = position
    if counts[COLUMN_TEXT]:
        position += (<Py_ssize_t> counts[COLUMN_TEXT] + 1) * offset_size
    positions[4] = position
    if counts[COLUMN_DATA]:
        position += (<Py_ssize_t> counts[COLUMN_DATA] + 1) * offset_size
    positions[5] = position
    position += <Py_ssize_t> counts[COLUMN_I32] * 4
    positions[6] = position
    position += <Py_ssize_t> counts[COLUMN_I16] * 2
    positions[7] = position
    position += <Py_ssize_t> counts[COLUMN_I8]
    positions[8] = position
    position += <Py_ssize_t> counts[COLUMN_BITS]
    positions[9] = position
    position += <Py_ssize_t> counts[COLUMN_TAGS]
    positions[10] = position
    if position > limit:
        return FRAME_COLUMNS
    if counts[COLUMN_TEXT]:
        view.text_size = _offset_at(data + positions[3], large, <Py_ssize_t> counts[COLUMN_TEXT])
        if view.text_size < 0 or view.text_size > limit - position:
            return FRAME_COLUMNS
        position += view.text_size
    if counts[COLUMN_DATA]:
        position = align_up(position, DATA_ALIGNMENT)
        view.data_size = _offset_at(data + positions[4], large, <Py_ssize_t> counts[COLUMN_DATA])
        if position > limit or view.data_size < 0 or view.data_size > limit - position:
            return FRAME_COLUMNS
        positions[11] = position
        position += view.data_size
    else:
        positions[11] = position
    head_size[0] = position
    if (<size_t> data) & 7:
        copied[0] = <char*> malloc(position)
        if copied[0] == NULL:
            return FRAME_MEMORY
        memcpy(copied[0], data, position)
        base = copied[0]
    view.i64 = <const int64_t*> (base + positions[1])
    view.f64 = <const double*> (base + positions[2])
    view.text_offsets = base + positions[3]
    view.data_offsets = base + positions[4]
    view.i32 = <const int32_t*> (base + positions[5])
    view.i16 = <const int16_t*> (base + positions[6])
    view.i8 = <const int8_t*> (base + positions[7])
    view.bits = <const uint8_t*> (base + positions[8])
    view.tags = <const uint8_t*> (base + positions[9])
    view.text = base + positions[10]
    view.data = base + positions[11]
    view.i64_count = <Py_ssize_t> counts[COLUMN_I64]
    view.f64_count = <Py_ssize_t> counts[COLUMN_F64]
    view.text_count = <Py_ssize_t> counts[COLUMN_TEXT]
    view.data_count = <Py_ssize_t> counts[COLUMN_DATA]
    view.i32_count = <Py_ssize_t> counts[COLUMN_I32]
    view.i16_count = <Py_ssize_t> counts[COLUMN_I16]
    view.i8_count = <Py_ssize_t> counts[COLUMN_I8]
    view.bits_count = <Py_ssize_t> counts[COLUMN_BITS]
    view.tag_count = <Py_ssize_t> counts[COLUMN_TAGS]
    view.body_count = <Py_ssize_t> counts[COLUMN_BUFFERS]
    if view.body_count:
        view.bodies = <Body*> malloc(view.body_count * sizeof(Body))
        if view.bodies == NULL:
            return FRAME_MEMORY
        for i in range(view.body_count):
            memcpy(&wide, base + positions[0] + i * 8, 8)
            if wide > total:
                return FRAME_COLUMNS
            view.bodies[i].data = NULL
            view.bodies[i].size = wide
            view.bodies[i].owner = NULL
            view.bodies[i].gather = 0
    return FRAME_OK


cdef inline int frame_parse(
    const char* data, Py_ssize_t size, View* view, char** copied,
) noexcept nogil:
    """frame_parse_head, and the bodies that follow the head in one piece of memory."""
    cdef Py_ssize_t i, position = 0
    cdef int status = frame_parse_head(data, size, 0, view, copied, &position)
    if status != FRAME_OK:
        return status
    if view.body_count:
        position = align_up(position, BODY_ALIGNMENT)
        for i in range(view.body_count):
            if position > view.frame_size or view.bodies[i].size > <uint64_t> (view.frame_size - position):
                return FRAME_COLUMNS
            view.bodies[i].data = data + position
            position = align_up(position + <Py_ssize_t> view.bodies[i].size, BODY_ALIGNMENT)
    if position != view.frame_size:
        return FRAME_COLUMNS
    return FRAME_OK


cdef inline void view_release(View* view, char* copied) noexcept nogil:
    if view.bodies != NULL:
        free(view.bodies)
        view.bodies = NULL
    if copied != NULL:
        free(copied)
