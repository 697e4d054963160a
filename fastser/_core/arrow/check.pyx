"""What makes an Arrow schema and its arrays well-formed."""

from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memcpy, strcmp

from fastser import errors
from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema, BinaryView
from fastser._core.arrow.layout cimport (
    ANY_NUMBER, ARROW_MAX_DEPTH, has_validity, item_size, Layout, LAYOUT_BINARY, LAYOUT_BITS, LAYOUT_DENSE,
    LAYOUT_FIXED, LAYOUT_FIXED_LIST, LAYOUT_LIST, LAYOUT_LIST_VIEW, LAYOUT_NULL, layout_parse, LAYOUT_RUN_END,
    LAYOUT_SPARSE, LAYOUT_STRUCT, LAYOUT_VIEW, union_children,
)
from fastser._core.arrow.place cimport Place, place_child, place_dictionary, place_text
from fastser._core.arrow.values cimport (
    bad_indices, bad_list_views, bad_offsets, bad_run_ends, bad_texts, bad_type_ids, bad_views, count_valid,
)
from fastser._core.c.libraries cimport fastser_is_of


cdef enum:
    # Beyond what any memory holds; sums of a few do not overflow.
    ABSURD_BITS = 56
    # What no buffer backs (nulls, items of no bytes, runs) is harmless to have, but not to show item by item.
    UNBACKED_MAX = 0x7fffffff


cdef int _bad(object expected, object found, const Place* place) except -1:
    raise errors.bad_arrow(expected, found, place_text(place))


cdef object _shown(const char* text):
    return "NULL" if text == NULL else repr((<bytes> text).decode("utf-8", "replace"))


# --- schemas ---------------------------------------------------------------------------------------------------------


cdef int64_t metadata_size(const char* metadata, int64_t limit, const Place* place) except -1:
    cdef int32_t count, length
    cdef int64_t i, at = 4
    if limit >= 0 and limit < at:
        return _bad("metadata that begins with a count", f"{limit} bytes", place)
    memcpy(&count, metadata, 4)
    if count < 0:
        return _bad("a number of metadata entries", count, place)
    for i in range(2 * <int64_t> count):  # no-cython-lint: only counted
        if limit >= 0 and limit - at < 4:
            return _bad(f"{count} metadata entries", f"the end of its {limit} bytes", place)
        memcpy(&length, metadata + at, 4)
        at += 4
        if length < 0 or (limit >= 0 and limit - at < length):
            return _bad("the length of a metadata entry", length, place)
        at += length
    if limit >= 0 and at != limit:
        return _bad(f"{at} bytes of metadata", limit, place)
    return at


cdef int check_schema(const ArrowSchema* schema, int depth, const Place* place) except -1:
    cdef Layout layout
    cdef Place below
    cdef const ArrowSchema* child
    cdef int64_t i
    if depth > ARROW_MAX_DEPTH:
        raise errors.arrow_too_deep(ARROW_MAX_DEPTH)
    if schema.release == NULL:
        return _bad("a schema", "one that was released or moved away", place)
    if schema.format == NULL or layout_parse(schema.format, &layout) < 0:
        return _bad("a format of the Arrow C data interface", _shown(schema.format), place)
    if layout.n_children != ANY_NUMBER and schema.n_children != layout.n_children:
        return _bad(f"{layout.n_children} children for the format {_shown(schema.format)}", schema.n_children, place)
    if schema.n_children < 0 or schema.n_children >> ABSURD_BITS - 16:
        return _bad("a number of children", schema.n_children, place)
    if schema.n_children and schema.children == NULL:
        return _bad("pointers to children", "NULL", place)
    for i in range(schema.n_children):
        child = schema.children[i]
        below = place_child(place, i, child.name if child != NULL and layout.kind == LAYOUT_STRUCT else NULL)
        if child == NULL:
            return _bad("a child", "NULL", &below)
        check_schema(child, depth + 1, &below)
    if layout.is_map and (strcmp(schema.children[0].format, "+s") != 0 or schema.children[0].n_children != 2):
        below = place_child(place, 0, NULL)
        return _bad(
            "format '+s' with 2 children, the entries of a map",
            f"{_shown(schema.children[0].format)} with {schema.children[0].n_children}", &below)
    if layout.kind == LAYOUT_RUN_END:
        below = place_child(place, 0, NULL)
        layout_parse(schema.children[0].format, &layout)
        if not layout.is_run_end or schema.children[0].dictionary != NULL:
            return _bad("format 's', 'i' or 'l', the ends of runs", _shown(schema.children[0].format), &below)
    if schema.dictionary != NULL:
        if not layout.is_integer:
            return _bad("the format of an integer, an index of the dictionary", _shown(schema.format), place)
        below = place_dictionary(place)
        check_schema(schema.dictionary, depth + 1, &below)
    if schema.metadata != NULL:
        metadata_size(schema.metadata, -1, place)
    return 0


cdef int check_values(const ArrowSchema* schema, const Place* place) except -1:
    cdef Layout layout
    cdef Place below
    cdef int64_t i
    if schema.format[0] == c'w':
        layout_parse(schema.format, &layout)
        # Polars has no dtype for bytes of a fixed size.
        if layout.size == sizeof(void*) and fastser_is_of(<const void*> schema.release, "polars"):
            raise errors.only_addresses(place_text(place))
    for i in range(schema.n_children):
        below = place_child(place, i, schema.children[i].name if schema.format[1] == c's' else NULL)
        check_values(schema.children[i], &below)
    if schema.dictionary != NULL:
        below = place_dictionary(place)
        check_values(schema.dictionary, &below)
    return 0


# --- arrays ----------------------------------------------------------------------------------------------------------


cdef int64_t offset_at(const void* offsets, int width, int64_t index) noexcept nogil:
    cdef int64_t wide
    cdef int32_t narrow
    if width == 8:
        memcpy(&wide, <const char*> offsets + index * 8, 8)
        return wide
    memcpy(&narrow, <const char*> offsets + index * 4, 4)
    return narrow


cdef int64_t run_end_at(const ArrowSchema* schema, const ArrowArray* run_ends, int64_t index) noexcept nogil:
    cdef int16_t narrow
    if schema.format[0] == c's':
        memcpy(&narrow, <const char*> run_ends.buffers[1] + index * 2, 2)
        return narrow
    return offset_at(run_ends.buffers[1], 8 if schema.format[0] == c'l' else 4, index)


cdef int _check_counts(const Layout* layout, const ArrowSchema* schema, const ArrowArray* array, const Place* place) except -1:
    """Sane numbers, and as many pointers as the format has."""
    cdef int64_t n_buffers = array.n_buffers
    if array.release == NULL:
        return _bad("an array", "one that was released or moved away", place)
    if array.length < 0 or array.offset < 0 or array.length >> ABSURD_BITS or array.offset >> ABSURD_BITS:
        return _bad("a length and an offset", f"length {array.length}, offset {array.offset}", place)
    if not -1 <= array.null_count <= array.length:
        return _bad(f"a number of nulls among {array.length} items", array.null_count, place)
    if layout.kind == LAYOUT_VIEW:
        if not layout.n_buffers <= n_buffers <= 0x7fffffff:
            return _bad(f"{layout.n_buffers} buffers or more", n_buffers, place)
    elif n_buffers != layout.n_buffers and not (layout.kind == LAYOUT_NULL and n_buffers == 1):   # Polars has an empty bitmap there
        return _bad(f"{layout.n_buffers} buffers for the format {_shown(schema.format)}", n_buffers, place)
    if n_buffers and array.buffers == NULL:
        return _bad("pointers to buffers", "NULL", place)
    if array.n_children != schema.n_children:
        return _bad(f"{schema.n_children} children, as in the schema", array.n_children, place)
    if array.n_children and array.children == NULL:
        return _bad("pointers to children", "NULL", place)
    if (array.dictionary == NULL) != (schema.dictionary == NULL):
        return _bad("a dictionary" if array.dictionary == NULL else "no dictionary, as in the schema",
                    "none" if array.dictionary == NULL else "one", place)
    return 0


cdef int _check_sizes(const Layout* layout, const ArrowArray* array, const Place* place) except -1:
    """Each buffer holds offset + length items."""
    cdef const int64_t* sizes = <const int64_t*> array.private_data
    cdef int64_t total = array.offset + array.length
    cdef int64_t i, items, size
    if array.null_count > 0 and layout.kind >= LAYOUT_SPARSE:
        return _bad("no nulls where there is no bitmap for them", array.null_count, place)
    for i in range(array.n_buffers):
        size = item_size(layout, i)
        if layout.kind == LAYOUT_BITS or (i == 0 and has_validity(layout)):
            if (i or array.buffers[0] != NULL) and sizes[i] < (total + 7) >> 3:
                return _bad(f"{total} bits in buffer {i}", f"{sizes[i]} bytes", place)
        elif size:
            items = total
            if i == 1 and total and (layout.kind == LAYOUT_LIST or layout.kind == LAYOUT_BINARY):
                items += 1   # a last offset
            if items > sizes[i] // size:
                return _bad(f"{items} items of {size} bytes in buffer {i}", f"{sizes[i]} bytes", place)
    return 0


cdef int _check_pointers(const Layout* layout, const ArrowArray* array, const Place* place) except -1:
    cdef int64_t i, size
    if has_validity(layout) and array.null_count > 0 and array.buffers[0] == NULL:
        return _bad(f"a validity bitmap for {array.null_count} nulls", "NULL", place)
    if layout.kind == LAYOUT_VIEW and array.n_buffers > 3:
        if array.buffers[array.n_buffers - 1] == NULL:
            return _bad("the sizes of buffers", "NULL", place)
        for i in range(array.n_buffers - 3):
            size = offset_at(array.buffers[array.n_buffers - 1], 8, i)
            if size < 0 or (size and array.buffers[2 + i] == NULL):
                return _bad(f"a buffer {2 + i} of {size} bytes", "NULL" if size >= 0 else "a negative size", place)
    if array.length == 0:
        return 0
    for i in range(1 if has_validity(layout) else 0, array.n_buffers):
        if array.buffers[i] == NULL and (layout.kind == LAYOUT_BITS or (item_size(layout, i) and i < 3)):
            return _bad(f"a buffer {i}", "NULL", place)
    return 0


cdef int _check_ends(const Layout* layout, const ArrowArray* array, int64_t limit, bint exact, const Place* place) except -1:
    """The first and the last of the offsets are in order, and within ``limit`` where that is known."""
    cdef int64_t first, last
    if array.length == 0:
        return 0
    first = offset_at(array.buffers[1], layout.width, array.offset)
    last = offset_at(array.buffers[1], layout.width, array.offset + array.length)
    if first < 0 or last < first or last >> ABSURD_BITS or (exact and last > limit):
        return _bad(f"offsets within {limit} items" if exact else "offsets that grow", f"{first} to {last}", place)
    if layout.kind == LAYOUT_BINARY and last > first and array.buffers[2] == NULL:
        return _bad(f"a buffer 2 of {last} bytes", "NULL", place)
    return 0


cdef int _check_child(const Layout* layout, const ArrowArray* array, int64_t index, const Place* place) except -1:
    """A child is as long as its parent asks for."""
    cdef int64_t total = array.offset + array.length
    cdef int64_t length = array.children[index].length
    if layout.kind == LAYOUT_FIXED_LIST:
        if array.length and layout.size and total > length // layout.size:
            return _bad(f"a child of {total} times {layout.size} items", length, place)
    elif (layout.kind == LAYOUT_STRUCT or layout.kind == LAYOUT_SPARSE) and length < total and array.length:
        return _bad(f"a child of {total} items", length, place)
    return 0


cdef bint _has_nulls(const ArrowArray* array) noexcept nogil:
    return array.buffers[0] != NULL and count_valid(
        <const uint8_t*> array.buffers[0], array.offset, array.length) < array.length


cdef int _check_runs(const ArrowSchema* schema, const ArrowArray* array, const Place* place) except -1:
    """The ends of runs are no nulls, there is a value for each, and the last covers the array."""
    cdef const ArrowArray* ends = array.children[0]
    cdef Place below = place_child(place, 0, NULL)
    cdef int64_t last
    if ends.null_count and _has_nulls(ends):
        return _bad("ends of runs without nulls", "nulls", &below)
    if array.children[1].length < ends.length:
        below = place_child(place, 1, NULL)
        return _bad(f"{ends.length} values, one for each run", array.children[1].length, &below)
    if array.length == 0:
        return 0
    if ends.length == 0:
        return _bad(f"runs that cover {array.length} items", "none", &below)
    last = run_end_at(schema.children[0], ends, ends.offset + ends.length - 1)
    if last < array.offset + array.length:
        return _bad(f"runs that cover {array.offset + array.length} items", last, &below)
    return 0


cdef int check_array(
    const ArrowSchema* schema, const ArrowArray* array, bint sizes_known, bint every_value, const Place* place,
) except -1:
    cdef Layout layout
    cdef Place below
    cdef int64_t i
    layout_parse(schema.format, &layout)
    _check_counts(&layout, schema, array, place)
    if sizes_known:
        _check_sizes(&layout, array, place)
    _check_pointers(&layout, array, place)
    for i in range(array.n_children):
        below = place_child(place, i, schema.children[i].name if layout.kind == LAYOUT_STRUCT else NULL)
        if array.children[i] == NULL:
            return _bad("a child", "NULL", &below)
        check_array(schema.children[i], array.children[i], sizes_known, every_value, &below)
        _check_child(&layout, array, i, &below)
    if schema.dictionary != NULL:
        below = place_dictionary(place)
        check_array(schema.dictionary, array.dictionary, sizes_known, every_value, &below)
    if layout.kind == LAYOUT_LIST:
        _check_ends(&layout, array, array.children[0].length, True, place)
    elif layout.kind == LAYOUT_BINARY:
        _check_ends(&layout, array, (<const int64_t*> array.private_data)[2] if sizes_known else 0, sizes_known, place)
    elif layout.kind == LAYOUT_RUN_END:
        _check_runs(schema, array, place)
    if every_value:
        _check_values(&layout, schema, array, place)
    return 0


# --- every value -----------------------------------------------------------------------------------------------------


cdef int64_t _bad_indices(const ArrowSchema* schema, const ArrowArray* array) noexcept nogil:
    cdef const void* data = array.buffers[1]
    cdef const uint8_t* validity = <const uint8_t*> array.buffers[0]
    cdef int64_t start = array.offset, count = array.length, limit = array.dictionary.length
    cdef char kind = schema.format[0]
    if kind == c'c':
        return bad_indices(<const int8_t*> data, validity, start, count, limit)
    if kind == c'C':
        return bad_indices(<const uint8_t*> data, validity, start, count, limit)
    if kind == c's':
        return bad_indices(<const int16_t*> data, validity, start, count, limit)
    if kind == c'S':
        return bad_indices(<const uint16_t*> data, validity, start, count, limit)
    if kind == c'i':
        return bad_indices(<const int32_t*> data, validity, start, count, limit)
    if kind == c'I':
        return bad_indices(<const uint32_t*> data, validity, start, count, limit)
    if kind == c'l':
        return bad_indices(<const int64_t*> data, validity, start, count, limit)
    return bad_indices(<const uint64_t*> data, validity, start, count, limit)


cdef int64_t _bad_dense(const ArrowArray* array, const int8_t* child_of) noexcept nogil:
    """The offsets of each child grow, and stay within it."""
    cdef int32_t seen[128]
    cdef const int8_t* ids = <const int8_t*> array.buffers[0]
    cdef const int32_t* offsets = <const int32_t*> array.buffers[1]
    cdef int64_t i
    cdef int8_t child
    for i in range(array.n_children):
        seen[i] = 0
    for i in range(array.offset, array.offset + array.length):
        child = child_of[ids[i]]
        if offsets[i] < seen[child] or offsets[i] >= array.children[child].length:
            return i - array.offset
        seen[child] = offsets[i]
    return -1


cdef int _report(int64_t at, object expected, const Place* place) except -1:
    return 0 if at < 0 else _bad(expected, f"another at position {at}", place)


cdef int _check_map(const ArrowSchema* schema, const ArrowArray* entries, const Place* place) except -1:
    cdef Layout layout
    cdef Place below = place_child(place, 0, NULL)
    cdef Place key = place_child(&below, 0, NULL)
    if _has_nulls(entries):
        return _bad("entries of a map without nulls", "nulls", &below)
    layout_parse(schema.children[0].format, &layout)
    if layout.kind == LAYOUT_NULL and entries.length or has_validity(&layout) and _has_nulls(entries.children[0]):
        return _bad("keys of a map without nulls", "nulls", &key)
    return 0


cdef int _check_values(const Layout* layout, const ArrowSchema* schema, const ArrowArray* array, const Place* place) except -1:
    cdef const uint8_t* validity = NULL
    cdef int8_t child_of[128]
    cdef int64_t start = array.offset, count = array.length, limit, at = -1, nulls
    cdef Place below
    if array.length + array.offset > UNBACKED_MAX and (
            layout.kind == LAYOUT_NULL or layout.kind == LAYOUT_RUN_END or (layout.size == 0 and layout.kind == LAYOUT_FIXED)
            or ((layout.kind == LAYOUT_STRUCT or (layout.kind == LAYOUT_FIXED_LIST and layout.size == 0))
                and array.buffers[0] == NULL)):
        return _bad(f"at most {<int64_t> UNBACKED_MAX} items that no buffer backs", array.length + array.offset, place)
    if has_validity(layout) and array.buffers[0] != NULL:
        validity = <const uint8_t*> array.buffers[0]
        if array.null_count >= 0:
            with nogil:
                nulls = count - count_valid(validity, start, count)
            if nulls != array.null_count:
                return _bad(f"{nulls} nulls, as in the validity bitmap", array.null_count, place)
    if count == 0:
        return 0
    if schema.dictionary != NULL:
        with nogil:
            at = _bad_indices(schema, array)
        return _report(at, f"indices of a dictionary of {array.dictionary.length} items", place)
    if layout.kind == LAYOUT_LIST or layout.kind == LAYOUT_BINARY:
        limit = (array.children[0].length if layout.kind == LAYOUT_LIST else (<const int64_t*> array.private_data)[2])
        with nogil:
            if layout.width == 8:
                at = bad_offsets(<const int64_t*> array.buffers[1], start, count, limit)
            else:
                at = bad_offsets(<const int32_t*> array.buffers[1], start, count, limit)
        _report(at, f"offsets that grow up to {limit}", place)
        if layout.is_text:
            with nogil:
                if layout.width == 8:
                    at = bad_texts(
                        <const int64_t*> array.buffers[1], <const uint8_t*> array.buffers[2], validity, start, count)
                else:
                    at = bad_texts(
                        <const int32_t*> array.buffers[1], <const uint8_t*> array.buffers[2], validity, start, count)
            return _report(at, "UTF-8", place)
        return _check_map(schema.children[0], array.children[0], place) if layout.is_map else 0
    if layout.kind == LAYOUT_VIEW:
        with nogil:
            at = bad_views(
                <const BinaryView*> array.buffers[1], array.buffers + 2, <const int64_t*> array.buffers[array.n_buffers - 1],
                array.n_buffers - 3, validity, start, count, layout.is_text)
        return _report(at, f"views within their buffers{', and UTF-8' if layout.is_text else ''}", place)
    if layout.kind == LAYOUT_LIST_VIEW:
        limit = array.children[0].length
        with nogil:
            if layout.width == 8:
                at = bad_list_views(
                    <const int64_t*> array.buffers[1], <const int64_t*> array.buffers[2], start, count, limit)
            else:
                at = bad_list_views(
                    <const int32_t*> array.buffers[1], <const int32_t*> array.buffers[2], start, count, limit)
        return _report(at, f"views within {limit} items", place)
    if layout.kind == LAYOUT_SPARSE or layout.kind == LAYOUT_DENSE:
        union_children(schema.format, child_of)
        with nogil:
            at = bad_type_ids(<const int8_t*> array.buffers[0], child_of, start, count)
        _report(at, f"type ids of the format {_shown(schema.format)}", place)
        if layout.kind == LAYOUT_DENSE:
            with nogil:
                at = _bad_dense(array, child_of)
            _report(at, "offsets that grow within each child", place)
    elif layout.kind == LAYOUT_RUN_END:
        below = place_child(place, 0, NULL)
        start = array.children[0].offset
        count = array.children[0].length
        with nogil:
            if schema.children[0].format[0] == c's':
                at = bad_run_ends(<const int16_t*> array.children[0].buffers[1], start, count)
            elif schema.children[0].format[0] == c'i':
                at = bad_run_ends(<const int32_t*> array.children[0].buffers[1], start, count)
            else:
                at = bad_run_ends(<const int64_t*> array.children[0].buffers[1], start, count)
        return _report(at, "ends of runs that ascend from 1", &below)
    return 0
