"""from_arrow: tables as records, from the columns of Arrow arrays to those of a frame, without an object for each value."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport INT64_MAX, INT64_MIN, int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema, BinaryView, VIEW_INLINE_MAX
from fastser._core.arrow.check cimport offset_at, run_end_at
from fastser._core.arrow.data cimport ArrowData
from fastser._core.arrow.kernels cimport (
    fastser_copy_bits, fastser_decimal_text, fastser_ends_32_32, fastser_ends_32_64, fastser_ends_64_32,
    fastser_ends_64_64, fastser_fill, fastser_fill_doubles, fastser_fill_intervals, fastser_fill_times,
    FASTSER_TIMES_FINE, FASTSER_TIMES_MONTHS, FASTSER_TIMES_OK,
)
from fastser._core.arrow.layout cimport (
    has_validity, Layout, LAYOUT_BINARY, LAYOUT_BITS, LAYOUT_DENSE, LAYOUT_FIXED, LAYOUT_FIXED_LIST, LAYOUT_LIST_VIEW,
    LAYOUT_NULL, layout_parse, LAYOUT_RUN_END, LAYOUT_SPARSE, LAYOUT_STRUCT, LAYOUT_VIEW, union_children,
)
from fastser._core.arrow.values cimport count_valid, is_valid
from fastser._core.c.arena cimport Arena, arena_free, arena_new
from fastser._core.c.buffer cimport Buffer, buffer_append, buffer_extend, buffer_release, buffer_reserve
from fastser._core.c.copy cimport fastser_copy_short
from fastser._core.encode.identity cimport write_lengths, write_unsigned
from fastser._core.encode.padding cimport back_items
from fastser._core.encode.scalars cimport room
from fastser._core.encode.state cimport (
    Encoder, encoder_begin, encoder_clear, encoder_free, encoder_new, stop, STOP_LARGE, text_failed, write_tag,
    write_varint,
)
from fastser._core.format.tags cimport *
from fastser._core.frame.packed cimport packed_new
from fastser._core.tables.nodes cimport AT_ITEM, AT_KEY, Place, path_of_place
from fastser._core.tables.zones cimport clock_of, zone_of
from fastser._core.values.ints cimport int_narrow
from fastser._core.values.text cimport end_item
from fastser._core.values.times cimport DAY_FIRST, DAY_LAST, FASTSER_DAY_MICROSECONDS

from fastser import errors as _errors
from fastser._core.arrow.data import ArrowData as _ArrowData

cdef object _utc = zone_of("UTC")


cdef enum:
    SHORT = 0x7FFFFFFF
    MAX_SCALE = 1000
    DAY_MILLISECONDS = 86400000


cdef struct Segment:
    # A part of a column.
    const ArrowArray* array
    int64_t start             # in the array's buffers
    int64_t count


cdef class Source:
    """What one call reads and writes."""
    cdef Encoder* e
    cdef Arena memory

    def __dealloc__(self):
        arena_free(&self.memory)


cdef struct Column:
    const ArrowSchema* schema
    Segment* segments
    Py_ssize_t count          # of segments
    int64_t n                 # of items
    const uint8_t* valid      # a bit for each item; NULL: no nulls


cdef int refuse(const ArrowSchema* schema, Place* place, object reason) except -1:
    raise _errors.cannot_pack(path_of_place(place), _errors.arrow_type((<bytes> schema.format).decode("utf-8", "replace")), reason)


cdef void* take(Source s, size_t count, size_t size) except NULL:
    return arena_new(&s.memory, count, size)


# --- segments -----------------------------------------------------------------------------------------------------------


cdef int add_segment(Buffer* segments, const ArrowArray* array, int64_t index, int64_t count) except -1:
    """Items of an array from ``index`` on, counted from its offset; those that follow the last ones make them longer."""
    cdef Segment segment
    cdef Segment* last
    segment.array = array
    segment.start = array.offset + index
    segment.count = count
    if count == 0:
        return 0
    if segments.size:
        last = <Segment*> (segments.data + segments.size) - 1
        if last.array == array and last.start + last.count == segment.start:
            last.count += count
            return 0
    if buffer_append(segments, &segment, sizeof(Segment)) < 0:
        raise MemoryError()
    return 0


cdef int write_segments(
    Source s, const ArrowSchema* schema, const Buffer* segments, int64_t n, const uint8_t* valid, Place* place,
) except -1:
    cdef Column column
    column.schema = schema
    column.segments = <Segment*> segments.data
    column.count = segments.size // sizeof(Segment)
    column.n = n
    column.valid = valid
    return write_column(s, &column, place)


cdef const uint8_t* validity(Source s, const Column* column, const Layout* layout) except? NULL:
    """A bit for each item, of those that are valid in their arrays and wherever they lie; NULL where all are."""
    cdef uint8_t* bits
    cdef const ArrowArray* array
    cdef Py_ssize_t k, i, size = (column.n + 7) >> 3
    cdef int64_t at = 0
    cdef bint some = False
    if has_validity(layout):
        for k in range(column.count):
            array = column.segments[k].array
            some = some or (array.buffers[0] != NULL and array.null_count != 0)
    if not some:
        return column.valid
    bits = <uint8_t*> take(s, size + 1, 1)
    for k in range(column.count):
        array = column.segments[k].array
        if array.buffers[0] != NULL:
            fastser_copy_bits(bits, at, <const uint8_t*> array.buffers[0], column.segments[k].start, column.segments[k].count)
        else:
            for i in range(at, at + column.segments[k].count):
                bits[i >> 3] |= <uint8_t> (1 << (i & 7))
        at += column.segments[k].count
    if column.valid != NULL:
        for i in range(size):
            bits[i] &= column.valid[i]
    return bits


# --- columns ------------------------------------------------------------------------------------------------------------


cdef int write_column(Source s, Column* column, Place* place) except -1:
    """items(n)."""
    cdef Encoder* e = s.e
    cdef Layout layout
    cdef int64_t nulls = 0, n = column.n
    if n == 0:
        return 0
    e.claimed += n
    layout_parse(column.schema.format, &layout)
    column.valid = validity(s, column, &layout)
    if column.valid != NULL:
        nulls = n - count_valid(column.valid, 0, n)
        if nulls == 0:
            column.valid = NULL
    if layout.kind == LAYOUT_NULL or nulls == n:
        return write_tag(e, TAG_NONE)
    if nulls:
        e.claimed += n
        write_tag(e, TAG_NULLABLE)
        memcpy(room(buffer_extend(&e.columns.bits, (n + 7) >> 3)), column.valid, (n + 7) >> 3)
    if column.schema.dictionary != NULL:
        return write_dictionary(s, column, &layout, place)
    if layout.kind == LAYOUT_BITS:
        return write_bools(s, column)
    if layout.kind == LAYOUT_FIXED:
        return write_fixed(s, column, &layout, place)
    if layout.kind == LAYOUT_BINARY or layout.kind == LAYOUT_VIEW:
        write_tag(e, TAG_TEXT if layout.is_text else TAG_BYTES)
        return write_bytes(s, column, &layout, &e.columns.text_offsets if layout.is_text else &e.columns.data_offsets,
                           &e.columns.text if layout.is_text else &e.columns.data)
    if layout.kind == LAYOUT_STRUCT:
        return write_records(s, column, place)
    if layout.kind == LAYOUT_RUN_END:
        return write_runs(s, column, place)
    if layout.kind == LAYOUT_SPARSE or layout.kind == LAYOUT_DENSE:
        return write_union(s, column, &layout, place)
    return write_lists(s, column, &layout, place)


cdef bytes extension_name(const ArrowSchema* schema):
    cdef const char* at = schema.metadata
    cdef int32_t count = 0, size, i
    cdef bytes key, value
    if at == NULL:
        return None
    memcpy(&count, at, 4)
    at += 4
    for i in range(count):  # no-cython-lint: only counted
        memcpy(&size, at, 4)
        key = at[4:4 + size]
        at += 4 + size
        memcpy(&size, at, 4)
        value = at[4:4 + size]
        at += 4 + size
        if key == b"ARROW:extension:name":
            return value
    return None


cdef int write_fixed(Source s, Column* column, const Layout* layout, Place* place) except -1:
    cdef const char* format = column.schema.format
    cdef bytes extension = extension_name(column.schema)
    if format[0] == c'd':
        return write_decimals(s, column, layout, place)
    if format[0] == c't':
        return write_times(s, column, layout, place)
    if format[0] == c'w':
        return write_binaries(s, column, layout, extension == b"arrow.uuid" and layout.size == 16)
    if format[0] == c'e' or format[0] == c'f' or format[0] == c'g':
        return write_doubles(s, column, layout)
    if extension == b"arrow.bool8" and format[0] == c'c':
        return write_bools(s, column)
    return write_ints(s, column, layout)


cdef inline const char* values_at(const Segment* segment, int64_t size) noexcept nogil:
    return <const char*> segment.array.buffers[1] + segment.start * size


cdef int write_ints(Source s, Column* column, const Layout* layout) except -1:
    """In the narrowest column that holds them."""
    cdef Encoder* e = s.e
    cdef Py_ssize_t k, at = 0
    cdef uint64_t spread = 0
    cdef int64_t* out
    cdef Segment* segment
    cdef char format = column.schema.format[0]
    cdef int tag
    # Beyond the end of i64, until they are known to stay there.
    if buffer_reserve(&e.columns.i64, column.n * 8) < 0:
        raise MemoryError()
    out = <int64_t*> (e.columns.i64.data + e.columns.i64.size)
    with nogil:
        for k in range(column.count):
            segment = &column.segments[k]
            spread |= fastser_fill(format, values_at(segment, layout.size), segment.count, column.valid, at, out + at)
            at += segment.count
        if format == c'L':
            for k in range(column.n):
                if out[k] < 0:
                    break
            else:
                k = column.n
    if format == c'L' and k < column.n:
        return write_big_ints(e, out, column.n)
    tag = int_narrow(&e.columns, column.n, spread)
    if tag < 0:
        raise MemoryError()
    return write_tag(e, tag)


cdef int write_big_ints(Encoder* e, const int64_t* values, int64_t n) except -1:
    """Unsigned numbers of which some have 64 bits."""
    cdef int64_t i
    write_tag(e, TAG_BIG_INT)
    for i in range(n):
        memcpy(room(buffer_extend(&e.columns.data, 9)), values + i, 8)
        e.columns.data.data[e.columns.data.size - 1] = 0
        close_item(e, &e.columns.data_offsets, &e.columns.data)
    return 0


cdef int write_doubles(Source s, Column* column, const Layout* layout) except -1:
    cdef double* out = <double*> room(buffer_extend(&s.e.columns.f64, column.n * 8))
    cdef Py_ssize_t k, at = 0
    cdef Segment* segment
    cdef char format = column.schema.format[0]
    write_tag(s.e, TAG_FLOAT)
    with nogil:
        for k in range(column.count):
            segment = &column.segments[k]
            fastser_fill_doubles(format, values_at(segment, layout.size), segment.count, column.valid, at, out + at)
            at += segment.count
    return 0


cdef int write_bools(Source s, Column* column) except -1:
    cdef Py_ssize_t k, i, at = 0, size = (column.n + 7) >> 3
    cdef uint8_t* bits = <uint8_t*> room(buffer_extend(&s.e.columns.bits, size))
    cdef Segment* segment
    cdef const char* values
    write_tag(s.e, TAG_BOOLS)
    memset(bits, 0, size)
    for k in range(column.count):
        segment = &column.segments[k]
        if column.schema.format[0] == c'b':
            fastser_copy_bits(bits, at, <const uint8_t*> segment.array.buffers[1], segment.start, segment.count)
        else:
            values = values_at(segment, 1)
            for i in range(segment.count):
                bits[at + i >> 3] |= <uint8_t> ((values[i] != 0) << (at + i & 7))
        at += segment.count
    if column.valid != NULL:
        for i in range(size):
            bits[i] &= column.valid[i]
    return 0


# --- times --------------------------------------------------------------------------------------------------------------


cdef int write_times(Source s, Column* column, const Layout* layout, Place* place) except -1:
    cdef Encoder* e = s.e
    cdef const char* format = column.schema.format
    cdef char unit = format[2]
    cdef int64_t low, high, factor, divisor = 1
    cdef int64_t* out
    cdef int32_t* days
    cdef Py_ssize_t k, at = 0
    cdef int status
    cdef bint date = format[1] == c'd'
    cdef Segment* segment
    cdef object zone = None
    if format[1] == c'i':
        return write_intervals(s, column, layout, place)
    factor = 1000000 if unit == c's' else 1000 if unit == c'm' else 1
    if date:
        low, high = DAY_FIRST, DAY_LAST
        factor, divisor = 1, DAY_MILLISECONDS if unit == c'm' else 1
    elif format[1] == c't':
        low, high = 0, FASTSER_DAY_MICROSECONDS - 1
    elif format[1] == c's':
        low, high = DAY_FIRST * FASTSER_DAY_MICROSECONDS, (DAY_LAST + 1) * FASTSER_DAY_MICROSECONDS - 1
        if format[4]:
            zone = find_zone(column.schema, place)
    else:
        low, high = INT64_MIN, INT64_MAX
    if unit == c'n':
        divisor = 1000
    # Dates have 32 bits: what lies beyond the end of i64 is scratch.
    if buffer_reserve(&e.columns.i64, column.n * 8) < 0:
        raise MemoryError()
    out = <int64_t*> (e.columns.i64.data + e.columns.i64.size)
    for k in range(column.count):
        segment = &column.segments[k]
        status = fastser_fill_times(values_at(segment, layout.size), <int> layout.size, segment.count, column.valid, at, factor, divisor,
                                    date, low, high, out + at)
        if status != FASTSER_TIMES_OK:
            return refuse(column.schema, place, _errors.TOO_FINE if status == FASTSER_TIMES_FINE else _errors.TOO_FAR)
        at += segment.count
    if date:
        write_tag(e, TAG_DATE)
        days = <int32_t*> room(buffer_extend(&e.columns.i32, column.n * 4))
        for at in range(column.n):
            days[at] = <int32_t> out[at]
        return 0
    if zone is not None:
        return write_zoned(s, column, zone, out, place)
    e.columns.i64.size += column.n * 8
    return write_tag(e, TAG_DATETIME if format[1] == c's' else TAG_TIME if format[1] == c't' else TAG_TIMEDELTA)


cdef int write_intervals(Source s, Column* column, const Layout* layout, Place* place) except -1:
    cdef Encoder* e = s.e
    cdef int64_t* out
    cdef Py_ssize_t k, at = 0
    cdef int status
    cdef Segment* segment
    if column.schema.format[2] == c'M':
        return refuse(column.schema, place, _errors.OF_MONTHS)
    out = <int64_t*> room(buffer_extend(&e.columns.i64, column.n * 8))
    for k in range(column.count):
        segment = &column.segments[k]
        status = fastser_fill_intervals(values_at(segment, layout.size), <int> layout.size, segment.count, column.valid, at, out + at)
        if status != FASTSER_TIMES_OK:
            return refuse(column.schema, place, _errors.OF_MONTHS if status == FASTSER_TIMES_MONTHS else
                          _errors.TOO_FINE if status == FASTSER_TIMES_FINE else _errors.TOO_FAR)
        at += segment.count
    return write_tag(e, TAG_TIMEDELTA)


cdef object find_zone(const ArrowSchema* schema, Place* place):
    name = (<bytes> schema.format)[4:].decode("utf-8", "replace")
    try:
        return zone_of(name)
    except Exception as error:
        raise _errors.cannot_pack(
            path_of_place(place), _errors.arrow_type((<bytes> schema.format).decode("utf-8", "replace")), error) from error


cdef int write_zone(Encoder* e, object zone) except -1:
    """items(1)."""
    cdef bytes key
    cdef int64_t offset
    e.claimed += 1
    if zone is _utc:
        return write_tag(e, TAG_UTC)
    if not hasattr(zone, "key"):
        e.claimed += 2
        write_tag(e, TAG_TIMEZONE)
        write_tag(e, TAG_TIMEDELTA)
        offset = clock_of(zone, 0)[0]
        memcpy(room(buffer_extend(&e.columns.i64, 8)), &offset, 8)
        return write_tag(e, TAG_NONE)
    e.flags |= FLAG_FOREIGN
    write_tag(e, TAG_ZONEINFO)
    key = zone.key.encode()
    memcpy(room(buffer_extend(&e.columns.text, len(key))), PyBytes_AS_STRING(key), len(key))
    return close_item(e, &e.columns.text_offsets, &e.columns.text)


cdef int write_zoned(Source s, Column* column, object zone, int64_t* values, Place* place) except -1:
    """Instants as the clocks of their zone show them; those that come twice in a year are a group of their own."""
    cdef Encoder* e = s.e
    cdef int64_t hour = 0, next_hour, shift = 0
    cdef dict hours = {}
    cdef uint8_t* folds
    cdef int64_t* clocks = <int64_t*> take(s, column.n, 8)
    cdef Py_ssize_t i, g, folded = 0
    cdef int fold = 0
    cdef bint known = False
    folds = <uint8_t*> take(s, column.n + 7 >> 3, 1)
    try:
        for i in range(column.n):
            if column.valid != NULL and not is_valid(column.valid, i):
                continue
            next_hour = values[i] // 3600000000 - (values[i] % 3600000000 < 0)
            if not known or next_hour != hour:
                hour = next_hour
                found = hours.get(hour)
                if found is None:
                    first, last = clock_of(zone, hour * 3600000000), clock_of(zone, hour * 3600000000 + 3599999999)
                    found = hours[hour] = (first, first == last)
                (shift, fold), known = found
            if not known:
                shift, fold = clock_of(zone, values[i])
            clocks[i] = values[i] + shift
            folds[i >> 3] |= <uint8_t> (fold << (i & 7))
            folded += fold
    except OverflowError:
        return refuse(column.schema, place, _errors.TOO_FAR)
    if folded == 0 or folded == column.n:
        write_clocks(e, zone, folded > 0)
        memcpy(room(buffer_extend(&e.columns.i64, column.n * 8)), clocks, column.n * 8)
        return 0
    write_tag(e, TAG_GROUPS)
    write_varint(e, 2)
    memcpy(room(buffer_extend(&e.columns.bits, column.n + 7 >> 3)), folds, column.n + 7 >> 3)
    for g in range(2):
        write_varint(e, folded if g else column.n - folded)
        e.claimed += folded if g else column.n - folded
        write_clocks(e, zone, g)
        for i in range(column.n):
            if is_valid(folds, i) == g:
                memcpy(room(buffer_extend(&e.columns.i64, 8)), clocks + i, 8)
    return 0


cdef int write_clocks(Encoder* e, object zone, int fold) except -1:
    write_tag(e, TAG_DATETIME_ZONED)
    write_varint(e, fold)
    return write_zone(e, zone)


# --- text, bytes, decimals ----------------------------------------------------------------------------------------------


cdef int close_item(Encoder* e, Buffer* offsets, Buffer* content) except -1:
    if end_item(offsets, content.size, e.columns.large) != 1:
        return text_failed(e)
    return 0


cdef int write_bytes(Source s, Column* column, const Layout* layout, Buffer* offsets, Buffer* content) except -1:
    cdef Encoder* e = s.e
    cdef Py_ssize_t k, i, at = 0
    cdef Segment* segment
    cdef const char* data
    cdef int64_t start, size
    for k in range(column.count):
        segment = &column.segments[k]
        if layout.kind == LAYOUT_BINARY and column.valid == NULL:
            append_slice(e, segment, layout.width, offsets, content)
            continue
        for i in range(segment.count):
            if column.valid == NULL or is_valid(column.valid, at + i):
                if layout.kind == LAYOUT_VIEW:
                    data = view_at(segment.array, segment.start + i, &size)
                else:
                    start = offset_at(segment.array.buffers[1], layout.width, segment.start + i)
                    size = offset_at(segment.array.buffers[1], layout.width, segment.start + i + 1) - start
                    data = <const char*> segment.array.buffers[2] + start
                fastser_copy_short(room(buffer_extend(content, size)), data, size)
            close_item(e, offsets, content)
        at += segment.count
    return 0


cdef const char* view_at(const ArrowArray* array, int64_t index, int64_t* size) noexcept nogil:
    cdef const BinaryView* view = <const BinaryView*> array.buffers[1] + index
    size[0] = view.length
    if view.length <= VIEW_INLINE_MAX:
        return <const char*> view + 4
    return <const char*> array.buffers[2 + view.buffer_index] + view.offset


cdef int append_slice(Encoder* e, const Segment* segment, int width, Buffer* offsets, Buffer* content) except -1:
    """A segment without nulls, all at once."""
    cdef const void* source = <const char*> segment.array.buffers[1] + segment.start * width
    cdef int64_t first = offset_at(source, width, 0), last = offset_at(source, width, segment.count)
    cdef int64_t base = content.size
    cdef char* out
    memcpy(room(buffer_extend(content, last - first)), <const char*> segment.array.buffers[2] + first, last - first)
    if not e.columns.large and content.size > <size_t> SHORT:
        return text_failed(e)
    out = room(buffer_extend(offsets, segment.count * (8 if e.columns.large else 4)))
    with nogil:
        if width == 4:
            if e.columns.large:
                fastser_ends_32_64(<const int32_t*> source, segment.count, base, <int64_t*> out)
            else:
                fastser_ends_32_32(<const int32_t*> source, segment.count, base, <int32_t*> out)
        elif e.columns.large:
            fastser_ends_64_64(<const int64_t*> source, segment.count, base, <int64_t*> out)
        else:
            fastser_ends_64_32(<const int64_t*> source, segment.count, base, <int32_t*> out)
    return 0


cdef int write_binaries(Source s, Column* column, const Layout* layout, bint uuids) except -1:
    """Items of one width."""
    cdef Encoder* e = s.e
    cdef Buffer* content = &e.columns.data
    cdef Py_ssize_t k, i, at = 0
    cdef Segment* segment
    cdef char* out
    write_tag(e, TAG_UUID if uuids else TAG_BYTES)
    if uuids:
        write_varint(e, 0)
    for k in range(column.count):
        segment = &column.segments[k]
        for i in range(segment.count):
            out = room(buffer_extend(content, layout.size))
            if column.valid == NULL or is_valid(column.valid, at + i):
                memcpy(out, values_at(segment, layout.size) + i * layout.size, layout.size)
            else:
                memset(out, 0, layout.size)
            if not uuids:
                close_item(e, &e.columns.data_offsets, content)
        at += segment.count
    return close_item(e, &e.columns.data_offsets, content) if uuids else 0


cdef int write_decimals(Source s, Column* column, const Layout* layout, Place* place) except -1:
    cdef Encoder* e = s.e
    cdef object declared = int((<bytes> column.schema.format).split(b",")[1])  # the format was checked
    cdef Py_ssize_t k, i, at = 0
    cdef Segment* segment
    cdef char text[MAX_SCALE + 200]
    cdef int size
    if not -MAX_SCALE <= declared <= MAX_SCALE:
        return refuse(column.schema, place, f"expected a scale of at most {<int> MAX_SCALE}")
    cdef int scale = declared
    write_tag(e, TAG_DECIMAL)
    for k in range(column.count):
        segment = &column.segments[k]
        for i in range(segment.count):
            if column.valid == NULL or is_valid(column.valid, at + i):
                size = fastser_decimal_text(values_at(segment, layout.size) + i * layout.size, <int> layout.size, scale, text)
            else:
                size = 1
                text[0] = c'0'
            memcpy(room(buffer_extend(&e.columns.text, size)), text, size)
            close_item(e, &e.columns.text_offsets, &e.columns.text)
        at += segment.count
    return 0


# --- nested -------------------------------------------------------------------------------------------------------------


cdef int write_records(Source s, Column* column, Place* place) except -1:
    cdef Encoder* e = s.e
    cdef const ArrowSchema* schema = column.schema
    cdef Py_ssize_t j, width = schema.n_children
    cdef uint64_t* lengths
    cdef set names = set()
    cdef bytes name
    cdef Place below
    if width == 0:
        write_tag(e, TAG_DICT)
        lengths = <uint64_t*> take(s, column.n, 8)
        return write_lengths(e, lengths, column.n, 0)
    if width > MAX_SHAPE_KEYS:
        return refuse(schema, place, f"expected at most {<int> MAX_SHAPE_KEYS} fields, found {width}")
    write_tag(e, TAG_RECORDS)
    write_varint(e, 0)
    write_varint(e, width)
    for j in range(width):
        name = schema.children[j].name if schema.children[j].name != NULL else b""
        if name in names:
            return refuse(schema, place, f"two fields have the name {name.decode('utf-8', 'replace')!r}, and a dict has but one")
        names.add(name)
        memcpy(room(buffer_extend(&e.columns.text, len(name))), PyBytes_AS_STRING(name), len(name))
        close_item(e, &e.columns.text_offsets, &e.columns.text)
    for j in range(width):
        name = schema.children[j].name if schema.children[j].name != NULL else b""
        below.up = place
        below.kind = AT_KEY
        below.name.data = PyBytes_AS_STRING(name)
        below.name.size = len(name)
        write_child(s, column, j, &below)
    return 0


cdef int write_child(Source s, const Column* column, Py_ssize_t j, Place* place) except -1:
    """The child of a struct, at the same places."""
    cdef Buffer segments
    cdef Py_ssize_t k
    segments.data = NULL
    segments.size = segments.capacity = 0
    try:
        for k in range(column.count):
            add_segment(&segments, column.segments[k].array.children[j], column.segments[k].start, column.segments[k].count)
        return write_segments(s, column.schema.children[j], &segments, column.n, column.valid, place)
    finally:
        buffer_release(&segments)


cdef int write_lists(Source s, Column* column, const Layout* layout, Place* place) except -1:
    """Lists of any layout; maps are lists of pairs."""
    cdef Encoder* e = s.e
    cdef uint64_t* lengths = <uint64_t*> take(s, column.n, 8)
    cdef uint64_t largest = 0
    cdef int64_t start, size, total = 0, at = 0, i
    cdef Py_ssize_t k
    cdef const ArrowArray* array
    cdef Buffer segments
    cdef Place below
    cdef Column pairs
    below.up = place
    below.kind = AT_ITEM
    segments.data = NULL
    segments.size = segments.capacity = 0
    try:
        for k in range(column.count):
            array = column.segments[k].array
            for i in range(column.segments[k].start, column.segments[k].start + column.segments[k].count):
                if column.valid == NULL or is_valid(column.valid, at):
                    if layout.kind == LAYOUT_FIXED_LIST:
                        start, size = i * layout.size, layout.size
                    else:
                        start = offset_at(array.buffers[1], layout.width, i)
                        if layout.kind == LAYOUT_LIST_VIEW:
                            size = offset_at(array.buffers[2], layout.width, i)
                        else:
                            size = offset_at(array.buffers[1], layout.width, i + 1) - start
                    add_segment(&segments, array.children[0], start, size)
                    lengths[at] = size
                    total += size
                    largest = max(largest, <uint64_t> size)
                at += 1
        write_tag(e, TAG_LIST)
        write_lengths(e, lengths, column.n, largest)
        if not layout.is_map:
            return write_segments(s, column.schema.children[0], &segments, total, NULL, &below)
        if total == 0:
            return 0
        pairs.schema = column.schema.children[0]
        pairs.segments = <Segment*> segments.data
        pairs.count = segments.size // sizeof(Segment)
        pairs.n = total
        pairs.valid = NULL
        e.claimed += total
        write_tag(e, TAG_TUPLE_ROWS)
        write_varint(e, 2)
        write_child(s, &pairs, 0, &below)
        return write_child(s, &pairs, 1, &below)
    finally:
        buffer_release(&segments)


# --- indices ------------------------------------------------------------------------------------------------------------


cdef int64_t index_at(const void* indices, char format, int64_t i) noexcept nogil:
    if format == c'c' or format == c'C':
        return (<const uint8_t*> indices)[i]    # never negative
    if format == c's' or format == c'S':
        return (<const uint16_t*> indices)[i]
    if format == c'i' or format == c'I':
        return (<const uint32_t*> indices)[i]
    return (<const int64_t*> indices)[i]


cdef int write_indexed(
    Source s, const ArrowSchema* schema, const Buffer* distinct, int64_t m, const uint64_t* indices, int64_t n, Place* place,
) except -1:
    write_tag(s.e, TAG_INDEXED)
    write_varint(s.e, m)
    write_segments(s, schema, distinct, m, NULL, place)
    return write_unsigned(s.e, indices, n, m) if m > 1 else 0


cdef bint same_array(const ArrowArray* a, const ArrowArray* b) noexcept:
    """Whether two dictionaries are one, which a stream brings with each of its chunks."""
    cdef int64_t i
    if a.length != b.length or a.offset != b.offset or a.n_buffers != b.n_buffers or a.n_children or b.n_children:
        return False
    for i in range(a.n_buffers):
        if a.buffers[i] != b.buffers[i]:
            return False
    return True


cdef int write_dictionary(Source s, Column* column, const Layout* layout, Place* place) except -1:
    """The entries that are used, and an index for each item."""
    cdef uint64_t* indices = <uint64_t*> take(s, column.n, 8)
    cdef int64_t* places = NULL
    cdef int64_t m = 0, at = 0, i, index
    cdef Py_ssize_t k
    cdef char format = column.schema.format[0]
    cdef const ArrowArray* entries = NULL
    cdef Segment* segment
    cdef Buffer distinct
    distinct.data = NULL
    distinct.size = distinct.capacity = 0
    try:
        for k in range(column.count):
            segment = &column.segments[k]
            if entries == NULL or not same_array(entries, segment.array.dictionary):
                entries = segment.array.dictionary
                places = <int64_t*> take(s, entries.length, 8)
            for i in range(segment.count):
                if column.valid == NULL or is_valid(column.valid, at):
                    index = index_at(segment.array.buffers[1], format, segment.start + i)
                    if places[index] == 0:
                        add_segment(&distinct, entries, index, 1)
                        m += 1
                        places[index] = m
                    indices[at] = places[index] - 1
                at += 1
        return write_indexed(s, column.schema.dictionary, &distinct, m, indices, column.n, place)
    finally:
        buffer_release(&distinct)


cdef int write_runs(Source s, Column* column, Place* place) except -1:
    """Run-end encoded: the values, and an index for each item."""
    cdef uint64_t* indices = <uint64_t*> take(s, column.n, 8)
    cdef int64_t m = 0, at = 0, i, low, high, middle
    cdef Py_ssize_t k
    cdef const ArrowSchema* ends = column.schema.children[0]
    cdef const ArrowArray* array
    cdef Segment* segment
    cdef Buffer distinct
    distinct.data = NULL
    distinct.size = distinct.capacity = 0
    try:
        for k in range(column.count):
            segment = &column.segments[k]
            array = segment.array
            low, high = 0, array.children[0].length
            while low < high:
                middle = (low + high) >> 1
                if run_end_at(ends, array.children[0], middle) <= segment.start:
                    low = middle + 1
                else:
                    high = middle
            add_segment(&distinct, array.children[1], low, 1)
            m += 1
            for i in range(segment.start, segment.start + segment.count):
                if run_end_at(ends, array.children[0], low) <= i:
                    low += 1
                    add_segment(&distinct, array.children[1], low, 1)
                    m += 1
                indices[at] = m - 1
                at += 1
        return write_indexed(s, column.schema.children[1], &distinct, m, indices, column.n, place)
    finally:
        buffer_release(&distinct)


cdef int write_union(Source s, Column* column, const Layout* layout, Place* place) except -1:
    """A group for each of the types that come."""
    cdef Encoder* e = s.e
    cdef int8_t child_of[128]
    cdef int64_t counts[128]
    cdef int64_t i, at = 0, index
    cdef int child, groups = 0, width = union_children(column.schema.format, child_of)
    cdef uint8_t group_of[128]
    cdef uint8_t* found = <uint8_t*> take(s, column.n, 1)
    cdef uint8_t** valid = <uint8_t**> take(s, width + 1, sizeof(uint8_t*))
    cdef uint8_t* bits
    cdef Buffer* segments = <Buffer*> take(s, width + 1, sizeof(Buffer))
    cdef Py_ssize_t k
    cdef Segment* segment
    memset(counts, 0, sizeof(counts))
    try:
        for k in range(column.count):
            segment = &column.segments[k]
            for i in range(segment.start, segment.start + segment.count):
                child = child_of[(<const int8_t*> segment.array.buffers[0])[i]]
                index = (<const int32_t*> segment.array.buffers[1])[i] if layout.kind == LAYOUT_DENSE else i
                if column.valid != NULL:
                    if valid[child] == NULL:
                        valid[child] = <uint8_t*> take(s, column.n + 7 >> 3, 1)
                    valid[child][counts[child] >> 3] |= <uint8_t> (is_valid(column.valid, at) << (counts[child] & 7))
                add_segment(&segments[child], segment.array.children[child], index, 1)
                counts[child] += 1
                found[at] = <uint8_t> child
                at += 1
        for child in range(width):
            group_of[child] = <uint8_t> groups
            groups += counts[child] > 0
        if groups > 1:
            write_tag(e, TAG_GROUPS)
            write_varint(e, groups)
            bits = <uint8_t*> room(buffer_extend(&e.columns.bits if groups == 2 else &e.columns.i8, column.n + 7 >> 3 if groups == 2 else column.n))
            memset(bits, 0, column.n + 7 >> 3 if groups == 2 else column.n)
            for i in range(column.n):
                if groups == 2:
                    bits[i >> 3] |= <uint8_t> (group_of[found[i]] << (i & 7))
                else:
                    bits[i] = group_of[found[i]]
        for child in range(width):
            if counts[child]:
                if groups > 1:
                    write_varint(e, counts[child])
                write_segments(s, column.schema.children[child], &segments[child], counts[child], valid[child], place)
        return 0
    finally:
        for child in range(width):
            buffer_release(&segments[child])


# --- the whole ----------------------------------------------------------------------------------------------------------


cdef int write_table(Source s, ArrowData data, bint large) except -1:
    cdef Encoder* e = s.e
    cdef Column column
    cdef Place items
    cdef Py_ssize_t k
    if encoder_begin(e, large) < 0:
        raise MemoryError()
    items.up = NULL
    items.kind = AT_ITEM
    column.schema = &data.schema
    column.segments = <Segment*> take(s, data.count, sizeof(Segment))
    column.count = data.count
    column.valid = NULL
    column.n = 0
    for k in range(data.count):
        column.segments[k].array = &data.arrays[k]
        column.segments[k].start = data.arrays[k].offset
        column.segments[k].count = data.arrays[k].length
        column.n += data.arrays[k].length
    write_tag(e, TAG_LIST)
    write_varint(e, column.n)
    write_column(s, &column, &items)
    if not large and (e.claimed > SHORT // 3 or e.columns.tags.size > <size_t> SHORT):
        return stop(e, STOP_LARGE)
    return 0


def from_arrow(producer):
    """Pack a table as a list of records, without a Python object for each of its values.

    What `loads` makes of it is what the table's own ``to_pylist`` gives: a list of dicts for a table, of values for any other array.

    Parameters
    ----------
    producer : object
        Has ``__arrow_c_stream__`` or ``__arrow_c_array__``: a table or an array of pyarrow, Polars, DuckDB, pandas ...

    Returns
    -------
    Packed

    Raises
    ------
    EncodeError
        A column has values that Python's types cannot hold, such as nanoseconds; the message tells its path and the reason.
    DecodeError
        The data is malformed.

    Examples
    --------
    >>> import fastser
    >>> table = fastser.to_arrow(fastser.dumps({"id": [1, 2], "name": ["Ada", None]}))
    >>> fastser.loads(fastser.from_arrow(table))
    [{'id': 1, 'name': 'Ada'}, {'id': 2, 'name': None}]
    """
    cdef Source s = Source()
    cdef ArrowData data = _ArrowData.from_producer(producer, kind="stream" if hasattr(producer, "__arrow_c_stream__") else "array")
    # Looked at as a stranger's would be: what follows trusts all of it.
    data = _ArrowData.from_parts(*data.take_apart(), full=True)
    s.e = encoder_new()
    if s.e == NULL:
        raise MemoryError()
    try:
        try:
            write_table(s, data, False)
        except StopIteration:
            write_table(s, data, True)
        back_items(s.e)
        return packed_new(&s.e.columns, s.e.flags)
    finally:
        encoder_clear(s.e)
        encoder_free(s.e)
        s.e = NULL
