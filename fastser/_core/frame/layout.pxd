"""The frame: header, columns, bodies.  docs/format.md describes it in words.

Everything is little-endian, and so is every platform that CPython's wheels are built for.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from fastser._core.c.buffer cimport Buffer
from fastser._core.c.copy cimport fastser_copy_short
from fastser._core.format.columns cimport (
    Body, Columns, columns_bodies, columns_body_count, data_size, Lent, text_size, View, view_clear,
)
from fastser._core.format.tags cimport *
from fastser._core.values.text cimport write_with_lent


cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "fastser writes little-endian frames in place and needs a little-endian machine"
    #endif
    #define FASTSER_MAGIC "\\xf5\\x46\\x53\\x52"
    #define FASTSER_MAGIC_WORD 0x525346F5u
    /* How many of sixteen bits are set: pairs, then fours, eights and all of them. */
    static inline int fastser_popcount16(unsigned int bits) {
        bits -= bits >> 1 & 0x5555;
        bits = (bits & 0x3333) + (bits >> 2 & 0x3333);
        bits = (bits + (bits >> 4)) & 0x0F0F;
        return (int) ((bits + (bits >> 8)) & 0x1F);
    }
    #if defined(__GNUC__) || defined(__clang__)
    #define fastser_lowest_bit(bits) __builtin_ctz(bits)
    #else
    static inline int fastser_lowest_bit(unsigned int bits) {
        int at = 0;
        while (!(bits >> at & 1)) at++;
        return at;
    }
    #endif
    """
    const char* FASTSER_MAGIC
    const unsigned int FASTSER_MAGIC_WORD
    int fastser_popcount16(unsigned int bits) noexcept nogil
    int fastser_lowest_bit(unsigned int bits) noexcept nogil


cdef enum:
    HEADER_SIZE = 16

    FRAME_OK = 0
    FRAME_SHORT = 1       # shorter than a header
    FRAME_MAGIC = 2
    FRAME_VERSION = 3
    FRAME_FLAGS = 4
    FRAME_TRUNCATED = 5   # the header says more than there is
    FRAME_COLUMNS = 6     # the columns do not fit the length that the header says
    FRAME_MEMORY = 7


cdef struct Layout:
    unsigned int presence          # bit i: column i has items
    int flags
    Py_ssize_t columns_start       # a multiple of 8
    Py_ssize_t data_start          # of the bytes of `data`, a multiple of 16 where there are any
    Py_ssize_t head_size           # header and columns, without the padding before the bodies
    Py_ssize_t bodies_start        # a multiple of 64, or head_size where there are none
    Py_ssize_t total


cdef inline Py_ssize_t align_up(Py_ssize_t position, Py_ssize_t alignment) noexcept nogil:
    return (position + alignment - 1) & ~(alignment - 1)


cdef inline unsigned int _bit(size_t size, size_t empty, int column) noexcept nogil:
    return <unsigned int> (size != empty) << column


cdef inline void frame_layout(Columns* columns, int flags, Layout* out) noexcept nogil:
    cdef size_t offset_size = 8 if columns.large else 4
    cdef unsigned int presence = (
        _bit(columns.bodies.size, 0, COLUMN_BUFFERS) | _bit(columns.i64.size, 0, COLUMN_I64)
        | _bit(columns.f64.size, 0, COLUMN_F64) | _bit(columns.i32.size, 0, COLUMN_I32)
        | _bit(columns.text_offsets.size, offset_size, COLUMN_TEXT)
        | _bit(columns.data_offsets.size, offset_size, COLUMN_DATA)
        | _bit(columns.i16.size, 0, COLUMN_I16) | _bit(columns.i8.size, 0, COLUMN_I8)
        | _bit(columns.bits.size, 0, COLUMN_BITS) | _bit(columns.tags.size, 0, COLUMN_TAGS))
    cdef Py_ssize_t i, position = align_up(HEADER_SIZE + fastser_popcount16(presence) * offset_size, 8)
    out.presence = presence
    out.flags = flags | (FLAG_LARGE if columns.large else 0)
    out.columns_start = position
    position += (
        columns.i64.size + columns.f64.size + columns.i32.size + columns.i16.size + columns.i8.size
        + columns.bits.size + columns.tags.size + text_size(columns))
    if presence & (1 << COLUMN_TEXT):
        position += columns.text_offsets.size
    position += columns_body_count(columns) * 8
    if presence & (1 << COLUMN_DATA):
        position = align_up(position + <Py_ssize_t> columns.data_offsets.size, DATA_ALIGNMENT)
    out.data_start = position
    position += data_size(columns)
    out.head_size = position
    out.bodies_start = position
    if presence & (1 << COLUMN_BUFFERS):
        position = align_up(position, BODY_ALIGNMENT)
        out.bodies_start = position
        for i in range(columns_body_count(columns)):
            position = align_up(position + <Py_ssize_t> columns_bodies(columns)[i].size, BODY_ALIGNMENT)
    out.total = position


cdef inline char* _put_count(char* to, uint64_t count, int large) noexcept nogil:
    cdef uint32_t narrow = <uint32_t> count
    if large:
        memcpy(to, &count, 8)
        return to + 8
    memcpy(to, &narrow, 4)
    return to + 4


cdef inline char* _put(char* to, Buffer* source) noexcept nogil:
    fastser_copy_short(to, source.data, source.size)
    return to + source.size


cdef inline char* _write_columns(Columns* columns, Layout* layout, char* frame) noexcept nogil:
    """Write the header and all columns but the content of text and data; their end."""
    cdef unsigned int presence = layout.presence
    cdef int large = columns.large
    cdef size_t offset_shift = 3 if large else 2
    cdef Py_ssize_t i
    cdef char* counts = frame + HEADER_SIZE
    cdef char* to = frame + layout.columns_start
    cdef uint64_t start = (
        <uint64_t> FASTSER_MAGIC_WORD | <uint64_t> FORMAT_VERSION << 32 | <uint64_t> layout.flags << 40
        | <uint64_t> presence << 48)
    cdef uint64_t total = layout.total
    memcpy(frame, &start, 8)
    memcpy(frame + 8, &total, 8)
    if presence & (1 << COLUMN_BUFFERS):
        counts = _put_count(counts, columns_body_count(columns), large)
        for i in range(columns_body_count(columns)):
            memcpy(to, &columns_bodies(columns)[i].size, 8)
            to += 8
    if presence & (1 << COLUMN_I64):
        counts = _put_count(counts, columns.i64.size >> 3, large)
        to = _put(to, &columns.i64)
    if presence & (1 << COLUMN_F64):
        counts = _put_count(counts, columns.f64.size >> 3, large)
        to = _put(to, &columns.f64)
    if presence & (1 << COLUMN_TEXT):
        to = _put(to, &columns.text_offsets)
    if presence & (1 << COLUMN_DATA):
        to = _put(to, &columns.data_offsets)
    if presence & (1 << COLUMN_I32):
        counts = _put_count(counts, columns.i32.size >> 2, large)
        to = _put(to, &columns.i32)
    if presence & (1 << COLUMN_TEXT):
        counts = _put_count(counts, (columns.text_offsets.size >> offset_shift) - 1, large)
    if presence & (1 << COLUMN_DATA):
        counts = _put_count(counts, (columns.data_offsets.size >> offset_shift) - 1, large)
    if presence & (1 << COLUMN_I16):
        counts = _put_count(counts, columns.i16.size >> 1, large)
        to = _put(to, &columns.i16)
    if presence & (1 << COLUMN_I8):
        counts = _put_count(counts, columns.i8.size, large)
        to = _put(to, &columns.i8)
    if presence & (1 << COLUMN_BITS):
        counts = _put_count(counts, columns.bits.size, large)
        to = _put(to, &columns.bits)
    if presence & (1 << COLUMN_TAGS):
        counts = _put_count(counts, columns.tags.size, large)
        to = _put(to, &columns.tags)
    if counts < frame + layout.columns_start:
        memset(counts, 0, frame + layout.columns_start - counts)
    return to


cdef inline char* _put_content(char* to, Buffer* own, Buffer* lent) noexcept nogil:
    if lent.size == 0:
        return _put(to, own)
    return write_with_lent(to, own.data, 0, own.size, <const Lent*> lent.data, <Py_ssize_t> (lent.size // sizeof(Lent)))


cdef inline void frame_write_head(Columns* columns, Layout* layout, char* frame) noexcept nogil:
    """Write header and columns: layout.head_size bytes, every one of them."""
    cdef char* to = _write_columns(columns, layout, frame)
    if layout.presence & (1 << COLUMN_TEXT):
        to = _put_content(to, &columns.text, &columns.text_lent)
    if layout.presence & (1 << COLUMN_DATA):
        memset(to, 0, frame + layout.data_start - to)
        _put_content(frame + layout.data_start, &columns.data, &columns.data_lent)


cdef inline Py_ssize_t frame_write_own(Columns* columns, Layout* layout, char* out) noexcept nogil:
    """The same without what is lent; how many bytes come before the content of text."""
    cdef char* to = _write_columns(columns, layout, out)
    cdef Py_ssize_t padding, before = to - out
    if layout.presence & (1 << COLUMN_TEXT):
        to = _put(to, &columns.text)
    if layout.presence & (1 << COLUMN_DATA):
        padding = layout.data_start - (to - out) - <Py_ssize_t> columns.text_lent_size
        memset(to, 0, padding)
        _put(to + padding, &columns.data)
    return before


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


cdef inline int _parse_aligned(
    const char* data, Py_ssize_t size, Py_ssize_t apart, View* view, Py_ssize_t* head_size,
) noexcept nogil:
    cdef uint64_t total = 0, count, wide
    cdef Py_ssize_t counts[COLUMN_COUNT]
    cdef uint32_t narrow
    cdef uint16_t presence
    cdef unsigned int remaining
    cdef Py_ssize_t i, start, position, limit, offset_size
    cdef int large, status
    view_clear(view)
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
    remaining = presence
    while remaining:
        i = fastser_lowest_bit(remaining)
        remaining &= remaining - 1
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
        counts[i] = <Py_ssize_t> count
    start = position = align_up(position, 8)
    # What lies beyond the frame is found out below, before anything there is read.
    if presence & (1 << COLUMN_BUFFERS):
        view.body_count = counts[COLUMN_BUFFERS]
        position += view.body_count * 8
    if presence & (1 << COLUMN_I64):
        view.i64_count = counts[COLUMN_I64]
        view.i64 = <const int64_t*> (data + position)
        position += view.i64_count * 8
    if presence & (1 << COLUMN_F64):
        view.f64_count = counts[COLUMN_F64]
        view.f64 = <const double*> (data + position)
        position += view.f64_count * 8
    if presence & (1 << COLUMN_TEXT):
        view.text_count = counts[COLUMN_TEXT]
        view.text_offsets = <const void*> (data + position)
        position += (view.text_count + 1) * offset_size
    if presence & (1 << COLUMN_DATA):
        view.data_count = counts[COLUMN_DATA]
        view.data_offsets = <const void*> (data + position)
        position += (view.data_count + 1) * offset_size
    if presence & (1 << COLUMN_I32):
        view.i32_count = counts[COLUMN_I32]
        view.i32 = <const int32_t*> (data + position)
        position += view.i32_count * 4
    if presence & (1 << COLUMN_I16):
        view.i16_count = counts[COLUMN_I16]
        view.i16 = <const int16_t*> (data + position)
        position += view.i16_count * 2
    if presence & (1 << COLUMN_I8):
        view.i8_count = counts[COLUMN_I8]
        view.i8 = <const int8_t*> (data + position)
        position += view.i8_count
    if presence & (1 << COLUMN_BITS):
        view.bits_count = counts[COLUMN_BITS]
        view.bits = <const uint8_t*> (data + position)
        position += view.bits_count
    if presence & (1 << COLUMN_TAGS):
        view.tag_count = counts[COLUMN_TAGS]
        view.tags = <const uint8_t*> (data + position)
        position += view.tag_count
    if position > limit:
        return FRAME_COLUMNS
    if presence & (1 << COLUMN_TEXT):
        view.text = <const char*> (data + position)
        view.text_size = _offset_at(<const char*> view.text_offsets, large, view.text_count)
        if view.text_size < 0 or view.text_size > limit - position:
            return FRAME_COLUMNS
        position += view.text_size
    if presence & (1 << COLUMN_DATA):
        position = align_up(position, DATA_ALIGNMENT)
        view.data = <const char*> (data + position)
        view.data_size = _offset_at(<const char*> view.data_offsets, large, view.data_count)
        if position > limit or view.data_size < 0 or view.data_size > limit - position:
            return FRAME_COLUMNS
        position += view.data_size
    head_size[0] = position
    if view.body_count:
        view.bodies = <Body*> malloc(view.body_count * sizeof(Body))
        if view.bodies == NULL:
            return FRAME_MEMORY
        for i in range(view.body_count):
            memcpy(&wide, data + start + i * 8, 8)
            if wide > total:
                return FRAME_COLUMNS
            view.bodies[i].data = NULL
            view.bodies[i].size = wide
            view.bodies[i].owner = NULL
            view.bodies[i].gather = 0
    return FRAME_OK


cdef inline int frame_parse_head(
    const char* data, Py_ssize_t size, Py_ssize_t apart, View* view, char** copied, Py_ssize_t* head_size,
) noexcept nogil:
    """Point ``view`` into the header and columns at ``data``; view.bodies gets sizes, not addresses.

    ``apart`` is how much of the frame may lie elsewhere, beyond the ``size`` bytes at ``data``.
    ``copied`` receives a malloc'ed copy of the head when ``data`` is not aligned to 8 bytes, else
    NULL.  It and view.bodies are the caller's to free, on every status.
    """
    cdef int status = _parse_aligned(data, size, apart, view, head_size)
    copied[0] = NULL
    if status == FRAME_OK and <size_t> data & 7:
        copied[0] = <char*> malloc(head_size[0])
        if copied[0] == NULL:
            return FRAME_MEMORY
        memcpy(copied[0], data, head_size[0])
        free(view.bodies)
        # Of the copy nothing lies beyond the head, whatever happens to the original meanwhile.
        apart += size - head_size[0]
        status = _parse_aligned(copied[0], head_size[0], apart, view, head_size)
    return status


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
