"""Rows of Arrow columns, as Packed exports them, read back through the Arrow C data interface.

Between export and import a row may have been in Parquet, in another process or in a data frame: lists,
text and binaries come back in other layouts, nullable, at any offset, under other names.  What the
interface lets a consumer check is checked here; whether the columns make an object is the decoder's to find out.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memset, strcmp

from fastser import errors
from fastser._core.abi cimport ArrowArray, ArrowSchema
from fastser._core.arrow_out cimport ROW_CHILDREN, ROW_HEADER, VIEW_CUT, VIEW_INLINE_MAX, BinaryView, fastser_zeros
from fastser._core.capsules cimport take_schema_and_array
from fastser._core.columns cimport Body, View
from fastser._core.tags cimport *


# Where errors are, in the order of the columns.
cdef tuple PLACES = ("column buffers", "column i64", "column f64", "column i32", "column text", "column data",
                     "column i16", "column i8", "column bits", "column tags")

cdef enum:
    # A frame's header, lengths and padding, which a row does without, can only be this large.
    FRAME_OVERHEAD = 16 + 8 * COLUMN_COUNT + DATA_ALIGNMENT + BODY_ALIGNMENT


cdef struct Items:
    # The items of a list column that belong to the row: `count` from `start` on, in all of array.
    ArrowArray* array
    const char* format
    int64_t start
    int64_t count


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class ArrowRow:
    """One row, moved out of the capsules of a producer: released when this object dies.

    Parameters
    ----------
    producer : object
        Has ``__arrow_c_array__``, and gives a struct array of length 1.
    """

    def __cinit__(self, producer):
        self.copies = []
        take_schema_and_array(producer.__arrow_c_array__(), &self.schema, &self.array)

    def __dealloc__(self):
        if self.array.release != NULL:
            self.array.release(&self.array)
        if self.schema.release != NULL:
            self.schema.release(&self.schema)


cdef bint _absurd(int64_t number) noexcept:
    """Negative, or beyond what any memory holds; sums of a few others do not overflow."""
    return number >> 56 != 0


cdef object _text(const char* format):
    return "nothing" if format == NULL else repr((<bytes> format).decode("utf-8", "replace"))


cdef int _check(const ArrowSchema* schema, const ArrowArray* array, int64_t n_children, str place) except -1:
    """What holds for any array of a row: sane numbers, children that are there, no dictionary."""
    cdef int64_t i
    if schema.format == NULL:
        raise errors.bad_row("a format", "none", place)
    if schema.dictionary != NULL or array.dictionary != NULL:
        raise errors.bad_row("a plain array", "one with a dictionary", place)
    if array.release == NULL:
        raise errors.bad_row("an array", "one that was released or moved away", place)
    if _absurd(array.length) or _absurd(array.offset):
        raise errors.bad_row("a length and an offset", f"length {array.length}, offset {array.offset}", place)
    if schema.n_children != n_children or array.n_children != n_children:
        raise errors.bad_row(
            f"{n_children} children", f"{schema.n_children} in the schema, {array.n_children} in the array", place)
    if n_children and (schema.children == NULL or array.children == NULL):
        raise errors.bad_row("pointers to children", "NULL", place)
    for i in range(n_children):
        if schema.children[i] == NULL or array.children[i] == NULL:
            raise errors.bad_row("pointers to children", "NULL", place)
    return 0


cdef int _check_buffers(const ArrowArray* array, int64_t n_buffers, str place) except -1:
    if array.n_buffers != n_buffers or array.buffers == NULL:
        raise errors.bad_row(f"{n_buffers} buffers", array.n_buffers if array.buffers != NULL else "NULL", place)
    return 0


cdef int _check_valid(const ArrowArray* array, int64_t start, int64_t count, str place) except -1:
    """No nulls among ``count`` items from ``start`` on, an index that counts the array's own offset."""
    cdef const uint8_t* validity = <const uint8_t*> array.buffers[0]
    cdef int64_t i
    if array.null_count == 0 or validity == NULL:
        return 0
    for i in range(start, start + count):
        if not validity[i >> 3] >> (i & 7) & 1:
            raise errors.bad_row("no null", f"one at position {i - start}", place)
    return 0


cdef const void* _buffer(const ArrowArray* array, int64_t index, bint needed, str place) except? NULL:
    if needed and array.buffers[index] == NULL:
        raise errors.bad_row(f"a buffer {index}", "NULL", place)
    return array.buffers[index]


cdef int64_t _offset(const void* offsets, bint large, int64_t index) noexcept:
    """Read an offset at any alignment."""
    cdef int64_t wide
    cdef int32_t narrow
    if large:
        memcpy(&wide, <const char*> offsets + index * 8, 8)
        return wide
    memcpy(&narrow, <const char*> offsets + index * 4, 4)
    return narrow


cdef char* _new_copy(ArrowRow self, const void* source, Py_ssize_t size) except NULL:
    """``size`` bytes that live as long as the row does, copied from ``source`` unless that is NULL."""
    cdef bytes copy = PyBytes_FromStringAndSize(<const char*> source, size)
    self.copies.append(copy)
    return PyBytes_AS_STRING(copy)


cdef uint8_t _header_value(ArrowRow self, int index, str place) except? 255:
    cdef ArrowSchema* schema = self.schema.children[index]
    cdef ArrowArray* array = self.array.children[index]
    cdef int64_t at = self.array.offset + array.offset
    _check(schema, array, 0, place)
    if strcmp(schema.format, "C") != 0:
        raise errors.bad_row("format 'C' (uint8)", _text(schema.format), place)
    _check_buffers(array, 2, place)
    if array.length <= self.array.offset:
        raise errors.bad_row(f"more than {self.array.offset} items", array.length, place)
    _check_valid(array, at, 1, place)
    return (<const uint8_t*> _buffer(array, 1, True, place))[at]


cdef int _list_items(ArrowRow self, int column, Items* items) except -1:
    cdef str place = PLACES[column]
    cdef ArrowSchema* schema = self.schema.children[ROW_HEADER + column]
    cdef ArrowArray* array = self.array.children[ROW_HEADER + column]
    cdef int64_t at = self.array.offset + array.offset
    cdef const void* offsets
    cdef int64_t start, end
    cdef bint large
    _check(schema, array, 1, place)
    large = strcmp(schema.format, "+L") == 0
    if not large and strcmp(schema.format, "+l") != 0:
        raise errors.bad_row("format '+l' or '+L' (a list)", _text(schema.format), place)
    _check_buffers(array, 2, place)
    if array.length <= self.array.offset:
        raise errors.bad_row(f"more than {self.array.offset} items", array.length, place)
    _check_valid(array, at, 1, place)
    offsets = _buffer(array, 1, True, place)
    start = _offset(offsets, large, at)
    end = _offset(offsets, large, at + 1)
    items.array = array.children[0]
    items.format = schema.children[0].format
    _check(schema.children[0], items.array, 0, place)
    if start < 0 or end < start or end > items.array.length:
        raise errors.bad_row(f"offsets within {items.array.length} items", f"{start} to {end}", place)
    items.start = items.array.offset + start
    items.count = end - start
    if items.array.n_buffers < 1 or items.array.buffers == NULL:
        raise errors.bad_row("buffers", "none", place)
    _check_valid(items.array, items.start, items.count, place)
    return 0


cdef const void* _numbers(ArrowRow self, int column, const char* format, int width, Py_ssize_t* count) except? NULL:
    cdef Items items
    cdef const char* data
    cdef str place = PLACES[column]
    _list_items(self, column, &items)
    if strcmp(items.format, format) != 0:
        raise errors.bad_row(f"items of format {_text(format)}", _text(items.format), place)
    _check_buffers(items.array, 2, place)
    data = <const char*> _buffer(items.array, 1, items.count > 0, place)
    count[0] = items.count
    if items.count == 0:
        return NULL
    data += items.start * width
    if <size_t> data % width:
        return _new_copy(self, data, items.count * width)
    return data


cdef const BinaryView* _views(Items* items, str place) except? NULL:
    if items.array.n_buffers < 3:
        raise errors.bad_row("3 buffers or more", items.array.n_buffers, place)
    _buffer(items.array, items.array.n_buffers - 1, items.array.n_buffers > 3, place)
    return <const BinaryView*> _buffer(items.array, 1, items.count > 0, place)


cdef const char* _view_data(Items* items, const BinaryView* views, int64_t index, int64_t* size, str place) except NULL:
    """The bytes of the item at ``index``, of those that belong to the row."""
    cdef const char* at = <const char*> (views + items.start + index)
    cdef int64_t buffer_count = items.array.n_buffers - 3
    cdef int64_t limit
    cdef BinaryView view
    memcpy(&view, at, sizeof(BinaryView))
    size[0] = view.length
    if view.length < 0:
        raise errors.bad_row("a length", view.length, f"{place}, position {index}")
    if view.length <= VIEW_INLINE_MAX:
        return at + 4
    if not 0 <= view.buffer_index < buffer_count:
        raise errors.bad_row(f"one of {buffer_count} buffers", view.buffer_index, f"{place}, position {index}")
    limit = _offset(items.array.buffers[buffer_count + 2], True, view.buffer_index)
    if view.offset < 0 or view.offset > limit - view.length or items.array.buffers[2 + view.buffer_index] == NULL:
        raise errors.bad_row(
            f"a view within a buffer of {limit} bytes", f"{view.length} at {view.offset}", f"{place}, position {index}")
    return <const char*> items.array.buffers[2 + view.buffer_index] + view.offset


cdef int _strings(
    ArrowRow self, int column, const char* small, const char* large, const char* viewed,
    const void** offsets_out, const char** data_out, Py_ssize_t* count, Py_ssize_t* size, int* is_large,
) except -1:
    """Point to plain offsets, the first of them 0, and data; laid out anew where the row has them otherwise."""
    cdef Items items
    cdef str place = PLACES[column]
    cdef const BinaryView* views
    cdef const void* offsets
    cdef const char* data
    cdef char* out
    cdef int64_t* fresh
    cdef int64_t i, first, length, total = 0
    cdef int width
    _list_items(self, column, &items)
    count[0] = items.count
    if strcmp(items.format, viewed) == 0:
        views = _views(&items, place)
        if items.count == 0:
            return 0
        fresh = <int64_t*> _new_copy(self, NULL, (items.count + 1) * 8)
        fresh[0] = 0
        for i in range(items.count):
            _view_data(&items, views, i, &length, place)
            total += length
            fresh[i + 1] = total
        out = _new_copy(self, NULL, total)
        for i in range(items.count):
            data = _view_data(&items, views, i, &length, place)
            memcpy(out + fresh[i], data, length)
        is_large[0] = 1
        offsets_out[0] = fresh
        data_out[0] = out
        size[0] = total
        return 0
    if strcmp(items.format, small) == 0:
        is_large[0] = 0
    elif strcmp(items.format, large) == 0:
        is_large[0] = 1
    else:
        raise errors.bad_row(
            f"items of format {_text(small)}, {_text(large)} or {_text(viewed)}", _text(items.format), place)
    _check_buffers(items.array, 3, place)
    if items.count == 0:
        return 0
    width = 8 if is_large[0] else 4
    offsets = <const char*> _buffer(items.array, 1, True, place) + items.start * width
    first = _offset(offsets, is_large[0], 0)
    total = _offset(offsets, is_large[0], items.count) - first
    if _absurd(first) or _absurd(total):
        raise errors.bad_row("offsets that grow", f"{first} first, {total} later", place)
    data = <const char*> _buffer(items.array, 2, total > 0, place)
    if first or <size_t> offsets % width:
        fresh = <int64_t*> _new_copy(self, NULL, (items.count + 1) * 8)
        for i in range(items.count + 1):
            fresh[i] = _offset(offsets, is_large[0], i) - first
        is_large[0] = 1
        offsets = fresh
    offsets_out[0] = offsets
    data_out[0] = <const char*> fastser_zeros if data == NULL else data + first
    size[0] = total
    return 0


cdef int _bodies(ArrowRow self, View* view) except -1:
    """Join the pieces of bodies: one of VIEW_CUT bytes or more goes on in the next."""
    cdef Items items
    cdef str place = PLACES[COLUMN_BUFFERS]
    cdef const BinaryView* views = NULL
    cdef const void* offsets = NULL
    cdef const char* data = NULL
    cdef const char* piece
    cdef bint large = False, adjacent
    cdef int64_t i, first, j, length, total
    cdef Body* body
    cdef char* out
    _list_items(self, COLUMN_BUFFERS, &items)
    if strcmp(items.format, "vz") == 0:
        views = _views(&items, place)
    else:
        large = strcmp(items.format, "Z") == 0
        if not large and strcmp(items.format, "z") != 0:
            raise errors.bad_row("items of format 'vz', 'z' or 'Z' (binaries)", _text(items.format), place)
        _check_buffers(items.array, 3, place)
        offsets = _buffer(items.array, 1, items.count > 0, place)
        data = <const char*> items.array.buffers[2]
    if items.count == 0:
        return 0
    view.bodies = <Body*> malloc(items.count * sizeof(Body))
    if view.bodies == NULL:
        raise MemoryError()
    i = 0
    while i < items.count:
        body = &view.bodies[view.body_count]
        memset(body, 0, sizeof(Body))
        body.owner = <PyObject*> self
        first = i
        total = 0
        adjacent = True
        while True:
            if i == items.count:
                raise errors.bad_row("the next piece of a buffer", "the end", place)
            piece = _piece(&items, views, offsets, data, large, i, &length, place)
            if i == first:
                body.data = piece
            elif length and body.data + total != piece:
                adjacent = False
            total += length
            i += 1
            if length < VIEW_CUT:
                break
        if not adjacent:
            out = _new_copy(self, NULL, total)
            body.data = out
            for j in range(first, i):
                piece = _piece(&items, views, offsets, data, large, j, &length, place)
                memcpy(out, piece, length)
                out += length
        body.size = total
        view.body_count += 1
    return 0


cdef const char* _piece(
    Items* items, const BinaryView* views, const void* offsets, const char* data, bint large, int64_t index,
    int64_t* length, str place,
) except NULL:
    cdef int64_t start, end
    if views != NULL:
        return _view_data(items, views, index, length, place)
    start = _offset(offsets, large, items.start + index)
    end = _offset(offsets, large, items.start + index + 1)
    if start < 0 or end < start or _absurd(end) or (data == NULL and end > start):
        raise errors.bad_row("offsets that grow", f"{start} to {end}", f"{place}, position {index}")
    length[0] = end - start
    return <const char*> fastser_zeros if data == NULL else data + start


cdef int arrow_row_view(ArrowRow self, View* view) except -1:
    cdef uint8_t version
    cdef Py_ssize_t i
    memset(view, 0, sizeof(View))
    _check(&self.schema, &self.array, ROW_CHILDREN, "its start")
    if strcmp(self.schema.format, "+s") != 0:
        raise errors.bad_row("format '+s' (a struct)", _text(self.schema.format), "its start")
    _check_buffers(&self.array, 1, "its start")
    if self.array.length != 1:
        raise errors.bad_row("one row", f"{self.array.length}", "its start")
    _check_valid(&self.array, self.array.offset, 1, "its start")
    version = _header_value(self, 0, "version")
    if version != FORMAT_VERSION:
        raise errors.wrong_version(version, FORMAT_VERSION)
    view.flags = _header_value(self, 1, "flags")
    if view.flags & ~FLAGS_KNOWN:
        raise errors.bad_row(f"no flags but {<int> FLAGS_KNOWN:#x}", hex(view.flags), "flags")
    view.i64 = <const int64_t*> _numbers(self, COLUMN_I64, "l", 8, &view.i64_count)
    view.f64 = <const double*> _numbers(self, COLUMN_F64, "g", 8, &view.f64_count)
    view.i32 = <const int32_t*> _numbers(self, COLUMN_I32, "i", 4, &view.i32_count)
    view.i16 = <const int16_t*> _numbers(self, COLUMN_I16, "s", 2, &view.i16_count)
    view.i8 = <const int8_t*> _numbers(self, COLUMN_I8, "c", 1, &view.i8_count)
    view.bits = <const uint8_t*> _numbers(self, COLUMN_BITS, "C", 1, &view.bits_count)
    view.tags = <const uint8_t*> _numbers(self, COLUMN_TAGS, "C", 1, &view.tag_count)
    _strings(self, COLUMN_TEXT, "u", "U", "vu", &view.text_offsets, &view.text, &view.text_count, &view.text_size,
             &view.text_large)
    _strings(self, COLUMN_DATA, "z", "Z", "vz", &view.data_offsets, &view.data, &view.data_count, &view.data_size,
             &view.data_large)
    _bodies(self, view)
    view.frame_size = (
        FRAME_OVERHEAD + view.i64_count * 8 + view.f64_count * 8 + view.i32_count * 4 + view.i16_count * 2
        + view.i8_count + view.bits_count + view.tag_count + view.text_size + view.data_size
        + (view.text_count + view.data_count + 2) * (8 if view.flags & FLAG_LARGE else 4))
    for i in range(view.body_count):
        view.frame_size += 8 + ((<Py_ssize_t> view.bodies[i].size + BODY_ALIGNMENT - 1) & -BODY_ALIGNMENT)
    return 0
