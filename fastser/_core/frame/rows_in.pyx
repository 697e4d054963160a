"""Rows of Arrow columns, as Packed and pack_many export them, read back through the Arrow C data interface.

Between export and import rows may have been in Parquet, in another process or in a data frame: lists,
text and binaries come back in other layouts, integers in other widths, nullable, at any offset, under other names,
among other columns.  Or each row is a whole frame, an item of one binary column.
What the interface lets a consumer check is checked here: for all rows of a batch what is the same for them, and
for each row what is its own.  Whether the columns make an object is the decoder's to find out.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.stdint cimport INT8_MAX, INT8_MIN, INT16_MAX, INT16_MIN, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, UINT8_MAX
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memset, strcmp

from fastser import errors
from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema, BinaryView, VIEW_INLINE_MAX
from fastser._core.format.columns cimport Body, View, view_clear
from fastser._core.format.tags cimport *
from fastser._core.frame.rows_out cimport (
    fastser_item_formats, fastser_row_names, fastser_zeros, ROW_CHILDREN, ROW_HEADER, VIEW_CUT,
)


# Where errors are, in the order of a row's children.
cdef tuple PLACES = ("version", "flags", "column buffers", "column i64", "column f64", "column i32", "column text",
                     "column data", "column i16", "column i8", "column bits", "column tags")
cdef str TOP = "its start"
cdef str FRAME = "column frame"

cdef enum:
    # A frame's header, lengths and padding, which a row does without, can only be this large.
    FRAME_OVERHEAD = 16 + 8 * COLUMN_COUNT + DATA_ALIGNMENT + BODY_ALIGNMENT

    # How lists lie, in bits.
    LIST_WIDE = 1             # offsets and sizes of 64 bits
    LIST_VIEW = 2

    # How items lie.
    NUMBERS = 0
    SMALL = 1
    LARGE = 2
    VIEWS = 3
    NOTHING = 4               # of the null type, as engines call lists that are all empty


cdef struct Items:
    # The items of a list column that belong to one row: `count` from `start` on, an index that counts the array's offset.
    ListColumn* column
    int64_t start
    int64_t count


cdef bint _absurd(int64_t number) noexcept:
    """Negative, or beyond what any memory holds; sums of a few others do not overflow."""
    return number >> 56 != 0


cdef object _text(const char* format):
    return "nothing" if format == NULL else repr((<bytes> format).decode("utf-8", "replace"))


# --- the schema ---------------------------------------------------------------------------------------------------------


cdef int _check_schema(const ArrowSchema* schema, str place) except -1:
    cdef int64_t i
    if schema.format == NULL:
        raise errors.bad_row("a format", "none", place)
    if schema.dictionary != NULL:
        raise errors.bad_row("a plain array", "one with a dictionary", place)
    if schema.n_children < 0:
        raise errors.bad_row("a number of children", schema.n_children, place)
    if schema.n_children and schema.children == NULL:
        raise errors.bad_row("pointers to children", "NULL", place)
    for i in range(schema.n_children):
        if schema.children[i] == NULL:
            raise errors.bad_row("pointers to children", "NULL", place)
    return 0


cdef bint _is_struct(const ArrowSchema* schema) noexcept:
    return schema.format != NULL and strcmp(schema.format, "+s") == 0


cdef int64_t _named(const ArrowSchema* schema, const char* name, int64_t* count) noexcept:
    """The last child of that name, -1 for none; how many there are."""
    cdef int64_t i, found = -1
    count[0] = 0
    for i in range(schema.n_children):
        if schema.children[i].name != NULL and strcmp(schema.children[i].name, name) == 0:
            found = i
            count[0] += 1
    return found


cdef bint _columns_named(const ArrowSchema* schema, int64_t* positions) noexcept:
    """Whether all columns of a row are there under their names."""
    cdef int64_t i, count = 0
    for i in range(ROW_CHILDREN):
        positions[i] = _named(schema, fastser_row_names[i], &count)
        if count != 1:
            return False
    return True


cdef list _names(const ArrowSchema* schema):
    cdef int64_t i
    return ["" if schema.children[i].name == NULL else (<bytes> schema.children[i].name).decode("utf-8", "replace")
            for i in range(schema.n_children)]


cdef uint8_t _list_layout(const ArrowSchema* schema, str place) except 255:
    if strcmp(schema.format, "+l") == 0:
        return 0
    if strcmp(schema.format, "+L") == 0:
        return LIST_WIDE
    if strcmp(schema.format, "+vl") == 0:
        return LIST_VIEW
    if strcmp(schema.format, "+vL") == 0:
        return LIST_VIEW | LIST_WIDE
    raise errors.bad_row("a list ('+l', '+L', '+vl' or '+vL')", _text(schema.format), place)


cdef bint _is_integer(const char* format) noexcept:
    return format[0] in b"cCsSiIlL" and format[0] != 0 and format[1] == 0


cdef int _string_layout(const char* format) noexcept:
    """Of text or binaries, which engines make of each other; -1 for anything else."""
    if strcmp(format, "u") == 0 or strcmp(format, "z") == 0:
        return SMALL
    if strcmp(format, "U") == 0 or strcmp(format, "Z") == 0:
        return LARGE
    if strcmp(format, "vu") == 0 or strcmp(format, "vz") == 0:
        return VIEWS
    return -1


cdef uint8_t _item_layout(const ArrowSchema* schema, int column, str place) except 255:
    cdef const char* own = fastser_item_formats[0][column]
    cdef int layout
    if strcmp(schema.format, "n") == 0:
        return NOTHING
    if column == COLUMN_BUFFERS or column == COLUMN_TEXT or column == COLUMN_DATA:
        layout = _string_layout(schema.format)
        if layout < 0:
            raise errors.bad_row("items of text or binaries ('u', 'U', 'vu', 'z', 'Z' or 'vz')", _text(schema.format), place)
        return <uint8_t> layout
    if strcmp(schema.format, own) == 0:
        return NUMBERS
    if _is_integer(own) and _is_integer(schema.format):
        return NUMBERS
    raise errors.bad_row(f"items of format {_text(own)}{' or other integers' if _is_integer(own) else ''}", _text(schema.format), place)


cdef bint _is_frames(const ArrowSchema* schema, RowSchema* out) noexcept:
    """Whether rows are frames, each an item of this column or of the only one within it."""
    cdef int layout = -1 if schema.format == NULL or schema.dictionary != NULL else _string_layout(schema.format)
    out.frames = layout >= 0
    if layout >= 0:
        out.items[COLUMN_BUFFERS] = <uint8_t> layout
        out.children = 0
    return out.frames


cdef bint _is_struct_of_frames(const ArrowSchema* schema) noexcept:
    cdef RowSchema ignored
    cdef int64_t count = 0
    return _is_struct(schema) and schema.n_children == 1 and _named(schema, "frame", &count) == 0 and _is_frames(schema.children[0], &ignored)


cdef list _objects_in(const ArrowSchema* schema):
    """The columns that may hold rows, since they are structs of their columns, or are called as pack_many calls frames."""
    cdef RowSchema ignored
    cdef int64_t i
    cdef list names = _names(schema)
    cdef list found = []
    for i in range(schema.n_children):
        _check_schema(schema.children[i], f"column {names[i]}")
        if (_is_struct(schema.children[i]) and _columns_named(schema.children[i], ignored.positions)) \
                or (names[i] == "frame" and _is_frames(schema.children[i], &ignored)) or _is_struct_of_frames(schema.children[i]):
            found.append(names[i])
    return found


cdef int row_schema(const ArrowSchema* schema, object column, RowSchema* out) except -1:
    cdef const ArrowSchema* child
    cdef const ArrowSchema* top = schema
    cdef int64_t i, count = 0
    cdef bytes name
    _check_schema(schema, TOP)
    out.top_children = schema.n_children
    out.outer = -1
    if column is None and _is_frames(schema, out):
        return 0
    if not _is_struct(schema):
        raise errors.bad_row("format '+s' (a struct), or binaries that are frames", _text(schema.format), TOP)
    if column is not None:
        if not isinstance(column, str):
            raise errors.bad_option("column", "the name of a column or None", column)
        name = (<str> column).encode("utf-8", "surrogatepass")
        out.outer = _named(schema, name, &count)
        if count != 1:
            raise errors.no_row_column(column, _names(schema), _objects_in(schema))
    elif schema.n_children == 1 and (_is_struct(schema.children[0]) or _is_frames(schema.children[0], out)):
        out.outer = 0
    if out.outer >= 0:
        schema = schema.children[out.outer]
        if _is_frames(schema, out):
            return 0
        _check_schema(schema, TOP if column is None else f"column {column}")
        if not _is_struct(schema):
            raise errors.bad_row("format '+s' (a struct), or binaries that are frames", _text(schema.format), f"column {column}")
        if schema.n_children == 1 and _is_frames(schema.children[0], out):
            out.children = 1
            return 0
    out.children = schema.n_children
    if not _columns_named(schema, out.positions):
        if schema.n_children != ROW_CHILDREN:
            raise errors.no_row_columns(_names(schema), _objects_in(schema) if schema == top else [])
        for i in range(ROW_CHILDREN):
            out.positions[i] = i
    for i in range(ROW_CHILDREN):
        child = schema.children[out.positions[i]]
        place = <str> PLACES[i]
        _check_schema(child, place)
        if i < ROW_HEADER:
            if not _is_integer(child.format):
                raise errors.bad_row("format 'C' (uint8) or another integer", _text(child.format), place)
            out.header_formats[i] = child.format[0]
            continue
        out.lists[i - ROW_HEADER] = _list_layout(child, place)
        if child.n_children != 1:
            raise errors.bad_row("1 child", child.n_children, place)
        _check_schema(child.children[0], place)
        out.items[i - ROW_HEADER] = _item_layout(child.children[0], i - ROW_HEADER, place)
        out.formats[i - ROW_HEADER] = child.children[0].format[0]
    return 0


# --- a batch ------------------------------------------------------------------------------------------------------------


cdef int _check(const ArrowArray* array, int64_t n_children, str place) except -1:
    """What holds for any array of a row: sane numbers, children that are there, no dictionary."""
    cdef int64_t i
    if array.release == NULL:
        raise errors.bad_row("an array", "one that was released or moved away", place)
    if array.dictionary != NULL:
        raise errors.bad_row("a plain array", "one with a dictionary", place)
    if _absurd(array.length) or _absurd(array.offset):
        raise errors.bad_row("a length and an offset", f"length {array.length}, offset {array.offset}", place)
    if array.n_children != n_children:
        raise errors.bad_row(f"{n_children} children, as in the schema", array.n_children, place)
    if n_children and array.children == NULL:
        raise errors.bad_row("pointers to children", "NULL", place)
    for i in range(n_children):
        if array.children[i] == NULL:
            raise errors.bad_row("pointers to children", "NULL", place)
    return 0


cdef int _check_buffers(const ArrowArray* array, int64_t n_buffers, str place) except -1:
    if array.n_buffers != n_buffers or array.buffers == NULL:
        raise errors.bad_row(f"{n_buffers} buffers", array.n_buffers if array.buffers != NULL else "NULL", place)
    return 0


cdef const uint8_t* _validity(const ArrowArray* array) noexcept:
    if array.null_count == 0:
        return NULL
    return <const uint8_t*> array.buffers[0]


cdef const void* _buffer(const ArrowArray* array, int64_t index, bint needed, str place) except? NULL:
    if needed and array.buffers[index] == NULL:
        raise errors.bad_row(f"a buffer {index}", "NULL", place)
    return array.buffers[index]


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class RowBatch:
    """Rows of one array, which is released when this object dies."""

    def __dealloc__(self):
        if self.array.release != NULL:
            self.array.release(&self.array)


cdef RowBatch row_batch(ArrowArray* array, const RowSchema* schema):
    cdef RowBatch self = None
    cdef ArrowArray* rows
    cdef ArrowArray* child
    cdef int64_t start, i
    try:
        self = RowBatch.__new__(RowBatch)
    except:
        array.release(array)
        raise
    self.array = array[0]
    array.release = NULL
    self.schema = schema[0]
    rows = &self.array
    _check(rows, schema.top_children, TOP)
    self.length = rows.length
    start = rows.offset
    if not schema.frames or schema.outer >= 0:
        _check_buffers(rows, 1, TOP)
    if schema.outer >= 0:
        self.validity = _validity(rows)
        rows = _child(rows, schema.outer, schema.children, &start, self.length, FRAME if schema.frames and not schema.children else TOP)
        if not schema.frames or schema.children:
            _check_buffers(rows, 1, TOP)
    self.start = start
    if schema.frames:
        if schema.outer >= 0 and schema.children:
            self.row_validity = _validity(rows)
            rows = _child(rows, 0, 0, &start, self.length, FRAME)
        if self.length:
            self.columns[COLUMN_BUFFERS].base = start
            _open_items(&self.columns[COLUMN_BUFFERS], rows, schema.items[COLUMN_BUFFERS], FRAME)
        return self
    self.row_validity = _validity(rows)
    if self.length == 0:
        return self   # buffers may be missing
    for i in range(ROW_CHILDREN):
        child = rows.children[schema.positions[i]]
        place = <str> PLACES[i]
        _check(child, i >= ROW_HEADER, place)
        if child.length < start + self.length:
            raise errors.bad_row(f"{start + self.length} items or more", child.length, place)
        if i < ROW_HEADER:
            _check_buffers(child, 2, place)
            self.header_validity[i] = _validity(child)
            self.header_start[i] = child.offset + start
            self.headers[i] = _buffer(child, 1, True, place)
        else:
            _open_column(&self.columns[i - ROW_HEADER], child, schema.lists[i - ROW_HEADER],
                         schema.items[i - ROW_HEADER], start, place)
    return self


cdef ArrowArray* _child(ArrowArray* array, int64_t index, int64_t n_children, int64_t* start, int64_t length, str place) except NULL:
    """A child that has ``length`` items from ``start`` on, which then counts the child's offset."""
    cdef ArrowArray* child = array.children[index]
    _check(child, n_children, place)
    if child.length < start[0] + length:
        raise errors.bad_row(f"{start[0] + length} items or more", child.length, place)
    start[0] += child.offset
    return child


cdef int _open_column(ListColumn* column, ArrowArray* array, int layout, int item_layout, int64_t start, str place) except -1:
    cdef ArrowArray* items = array.children[0]
    _check_buffers(array, 3 if layout & LIST_VIEW else 2, place)
    _check(items, 0, place)
    column.offsets = _buffer(array, 1, True, place)
    column.sizes = _buffer(array, 2, True, place) if layout & LIST_VIEW else NULL
    column.layout = layout
    column.base = array.offset + start
    column.validity = _validity(array)
    return _open_items(column, items, item_layout, place)


cdef int _open_items(ListColumn* column, ArrowArray* items, int item_layout, str place) except -1:
    column.item_layout = item_layout
    column.items = items
    column.item_validity = NULL
    if item_layout == NOTHING:
        return 0
    if items.n_buffers < 1 or items.buffers == NULL:
        raise errors.bad_row("buffers", "none", place)
    column.item_validity = _validity(items)
    if item_layout != VIEWS:
        _check_buffers(items, 2 if item_layout == NUMBERS else 3, place)
    elif items.n_buffers < 3:
        raise errors.bad_row("3 buffers or more", items.n_buffers, place)
    else:
        _buffer(items, items.n_buffers - 1, items.n_buffers > 3, place)
    if item_layout == SMALL or item_layout == LARGE:
        column.content_size = 0
        if items.length:
            column.content_size = _offset(_buffer(items, 1, True, place), item_layout == LARGE, items.offset + items.length)
    return 0


# --- a row --------------------------------------------------------------------------------------------------------------


@cython.final
@cython.no_gc
@cython.freelist(32)
@cython.auto_pickle(False)
cdef class ArrowRow:
    """Keeps the memory of one row alive, for the arrays that lie on it."""


cdef int _check_valid(const uint8_t* validity, int64_t start, int64_t count, str place) except -1:
    """No nulls among ``count`` items from ``start`` on."""
    cdef int64_t i
    for i in range(start, start + count):
        if not validity[i >> 3] >> (i & 7) & 1:
            raise errors.bad_row("no null", f"one at position {i - start}", place)
    return 0


cdef inline int64_t _offset(const void* offsets, bint wide, int64_t index) noexcept:
    """Read an offset at any alignment."""
    cdef int64_t long_
    cdef int32_t short_
    if wide:
        memcpy(&long_, <const char*> offsets + index * 8, 8)
        return long_
    memcpy(&short_, <const char*> offsets + index * 4, 4)
    return short_


cdef char* _new_copy(ArrowRow self, const void* source, Py_ssize_t size) except NULL:
    """``size`` bytes that live as long as the row does, copied from ``source`` unless that is NULL."""
    cdef bytes copy = PyBytes_FromStringAndSize(<const char*> source, size)
    if self.copies is None:
        self.copies = []
    self.copies.append(copy)
    return PyBytes_AS_STRING(copy)


cdef inline int _row_items(RowBatch batch, int64_t index, int column_index, Items* items) except -1:
    cdef ListColumn* column = &batch.columns[column_index]
    cdef int64_t at = column.base + index
    cdef bint wide = column.layout & LIST_WIDE
    cdef int64_t start = _offset(column.offsets, wide, at)
    cdef int64_t count
    if column.layout & LIST_VIEW:
        count = _offset(column.sizes, wide, at)
    else:
        count = _offset(column.offsets, wide, at + 1) - start
    if column.validity != NULL:
        _check_valid(column.validity, at, 1, <str> PLACES[ROW_HEADER + column_index])
    if start < 0 or count < 0 or start > column.items.length or count > column.items.length - start:
        raise errors.bad_row(f"offsets within {column.items.length} items", f"{count} from {start} on",
                             <str> PLACES[ROW_HEADER + column_index])
    items.column = column
    items.start = column.items.offset + start
    items.count = count
    if column.item_layout == NOTHING and count:
        raise errors.bad_row("no null", "one at position 0", <str> PLACES[ROW_HEADER + column_index])
    if column.item_validity != NULL:
        _check_valid(column.item_validity, items.start, count, <str> PLACES[ROW_HEADER + column_index])
    return 0


cdef object _integer(const void* data, char format, int64_t index, int64_t* out):
    """An integer of any width and sign, at any alignment, as 64 bits; those that these do not hold are returned."""
    cdef const char* at = <const char*> data
    cdef uint64_t wide
    cdef int32_t i
    cdef uint32_t I
    cdef int16_t s
    cdef uint16_t S
    if format == c'c':
        out[0] = (<const int8_t*> at)[index]
    elif format == c'C':
        out[0] = (<const uint8_t*> at)[index]
    elif format == c's':
        memcpy(&s, at + index * 2, 2)
        out[0] = s
    elif format == c'S':
        memcpy(&S, at + index * 2, 2)
        out[0] = S
    elif format == c'i':
        memcpy(&i, at + index * 4, 4)
        out[0] = i
    elif format == c'I':
        memcpy(&I, at + index * 4, 4)
        out[0] = I
    else:
        memcpy(&wide, at + index * 8, 8)
        if format == c'L' and wide > <uint64_t> INT64_MAX:
            return wide
        out[0] = <int64_t> wide
    return None


cdef int _width(char format) noexcept:
    return 1 if format in b"cC" else 2 if format in b"sS" else 4 if format in b"iI" else 8


cdef const void* _fitted(ArrowRow self, const void* data, char format, int64_t start, int64_t count, int column) except NULL:
    """Integers of another width or sign, as their column has them; each of them fits, or the first that does not is an error."""
    cdef char own = fastser_item_formats[0][column][0]
    cdef int width = _width(own)
    cdef int64_t low = INT64_MIN if own == c'l' else INT32_MIN if own == c'i' else INT16_MIN if own == c's' else INT8_MIN if own == c'c' else 0
    cdef int64_t high = INT64_MAX if own == c'l' else INT32_MAX if own == c'i' else INT16_MAX if own == c's' else INT8_MAX if own == c'c' else UINT8_MAX
    cdef char* out = _new_copy(self, NULL, count * width)
    cdef int64_t i, value = 0
    for i in range(count):
        beyond = _integer(data, format, start + i, &value)
        if beyond is not None or value < low or value > high:
            raise errors.bad_row(f"a number from {low} to {high}", value if beyond is None else beyond,
                                 f"{PLACES[ROW_HEADER + column]}, position {i}")
        # The low bytes; all machines that are supported have them first.
        memcpy(out + i * width, &value, width)
    return out


cdef uint8_t _header(RowBatch batch, int64_t index, int i) except? 0:
    cdef int64_t value = 0
    cdef object beyond = _integer(batch.headers[i], batch.schema.header_formats[i], batch.header_start[i] + index, &value)
    if beyond is not None or not 0 <= value <= UINT8_MAX:
        raise errors.bad_row("a number from 0 to 255", value if beyond is None else beyond, <str> PLACES[i])
    return <uint8_t> value


cdef inline const void* _numbers(ArrowRow self, int64_t index, int column, int width, Py_ssize_t* count) except? NULL:
    cdef Items items
    cdef const char* data
    cdef char format = self.batch.schema.formats[column]
    _row_items(self.batch, index, column, &items)
    count[0] = items.count
    if items.count == 0:
        return NULL
    data = <const char*> items.column.items.buffers[1]
    if data == NULL:
        raise errors.bad_row("a buffer 1", "NULL", <str> PLACES[ROW_HEADER + column])
    if format != fastser_item_formats[0][column][0]:
        return _fitted(self, data, format, items.start, items.count, column)
    data += items.start * width
    if <size_t> data % width:
        return _new_copy(self, data, items.count * width)
    return data


cdef const char* _view_data(Items* items, int64_t index, int64_t* size, str place) except NULL:
    """The bytes of an item of a binary view array, of those that belong to the row."""
    cdef const ArrowArray* array = items.column.items
    cdef const char* at = <const char*> _buffer(array, 1, True, place) + (items.start + index) * sizeof(BinaryView)
    cdef int64_t buffer_count = array.n_buffers - 3
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
    limit = _offset(array.buffers[buffer_count + 2], True, view.buffer_index)
    if view.offset < 0 or view.offset > limit - view.length or array.buffers[2 + view.buffer_index] == NULL:
        raise errors.bad_row(
            f"a view within a buffer of {limit} bytes", f"{view.length} at {view.offset}", f"{place}, position {index}")
    return <const char*> array.buffers[2 + view.buffer_index] + view.offset


cdef int _strings(
    ArrowRow self, int64_t index, int column,
    const void** offsets_out, const char** data_out, Py_ssize_t* count, Py_ssize_t* start, Py_ssize_t* end, int* is_large,
) except -1:
    """Point to offsets and data; laid out anew where the row has views."""
    cdef Items items
    cdef str place = <str> PLACES[ROW_HEADER + column]
    cdef const ArrowArray* array
    cdef const void* offsets
    cdef const char* data
    cdef char* out
    cdef int64_t* fresh
    cdef int64_t i, first, last, length, total = 0
    cdef int width
    _row_items(self.batch, index, column, &items)
    count[0] = items.count
    if items.count == 0:
        return 0
    array = items.column.items
    if items.column.item_layout == VIEWS:
        for i in range(items.count):
            _view_data(&items, i, &length, place)
            total += length
        fresh = <int64_t*> _new_copy(self, NULL, (items.count + 1) * 8 + total)
        out = <char*> (fresh + items.count + 1)
        total = 0
        for i in range(items.count):
            data = _view_data(&items, i, &length, place)
            fresh[i] = total
            memcpy(out + total, data, length)
            total += length
        fresh[items.count] = total
        is_large[0] = 1
        offsets_out[0] = fresh
        data_out[0] = out
        start[0] = 0
        end[0] = total
        return 0
    is_large[0] = items.column.item_layout == LARGE
    width = 8 if is_large[0] else 4
    offsets = <const char*> _buffer(array, 1, True, place) + items.start * width
    first = _offset(offsets, is_large[0], 0)
    last = _offset(offsets, is_large[0], items.count)
    if first < 0 or last < first or last > items.column.content_size:
        raise errors.bad_row(f"offsets that grow to {items.column.content_size}", f"{first} first, {last} last", place)
    data = <const char*> _buffer(array, 2, last > first, place)
    if <size_t> offsets % width:
        offsets = _new_copy(self, offsets, (items.count + 1) * width)
    offsets_out[0] = offsets
    data_out[0] = <const char*> fastser_zeros if data == NULL else data
    start[0] = first
    end[0] = last
    return 0
cdef const char* _piece(Items* items, int64_t index, int64_t* length, str place) except NULL:
    """The bytes of an item of `buffers`."""
    cdef const ArrowArray* array = items.column.items
    cdef bint wide = items.column.item_layout == LARGE
    cdef const void* offsets
    cdef const char* data
    cdef int64_t start, end
    if items.column.item_layout == VIEWS:
        return _view_data(items, index, length, place)
    offsets = _buffer(array, 1, True, place)
    data = <const char*> array.buffers[2]
    start = _offset(offsets, wide, items.start + index)
    end = _offset(offsets, wide, items.start + index + 1)
    if start < 0 or end < start or end > items.column.content_size or (data == NULL and end > start):
        raise errors.bad_row(f"offsets that grow to {items.column.content_size}", f"{start} to {end}", f"{place}, position {index}")
    length[0] = end - start
    return <const char*> fastser_zeros if data == NULL else data + start


cdef int _bodies(ArrowRow self, int64_t index, View* view) except -1:
    """Join the pieces of bodies: one of VIEW_CUT bytes or more goes on in the next."""
    cdef Items items
    cdef str place = <str> PLACES[ROW_HEADER + COLUMN_BUFFERS]
    cdef const char* piece
    cdef bint adjacent
    cdef int64_t i = 0, first, j, length, total
    cdef Body* body
    cdef char* out
    _row_items(self.batch, index, COLUMN_BUFFERS, &items)
    if items.count == 0:
        return 0
    view.bodies = <Body*> malloc(items.count * sizeof(Body))
    if view.bodies == NULL:
        raise MemoryError()
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
            piece = _piece(&items, i, &length, place)
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
                piece = _piece(&items, j, &length, place)
                memcpy(out, piece, length)
                out += length
        body.size = total
        view.body_count += 1
    return 0


cdef ArrowRow row_frame(RowBatch batch, int64_t index, const char** data, Py_ssize_t* size):
    cdef ArrowRow self = ArrowRow.__new__(ArrowRow)
    cdef Items items
    cdef int64_t length = 0
    self.batch = batch
    if batch.validity != NULL:
        _check_valid(batch.validity, batch.array.offset + index, 1, TOP)
    if batch.row_validity != NULL:
        _check_valid(batch.row_validity, batch.start + index, 1, TOP)
    items.column = &batch.columns[COLUMN_BUFFERS]
    items.start = items.column.base + index
    items.count = 1
    if items.column.item_validity != NULL:
        _check_valid(items.column.item_validity, items.start, 1, FRAME)
    data[0] = _piece(&items, 0, &length, FRAME)
    size[0] = length
    return self


cdef ArrowRow row_view(RowBatch batch, int64_t index, View* view):
    cdef ArrowRow self = ArrowRow.__new__(ArrowRow)
    cdef uint8_t version
    cdef Py_ssize_t i, data_start = 0
    self.batch = batch
    view_clear(view)
    if batch.validity != NULL:
        _check_valid(batch.validity, batch.array.offset + index, 1, TOP)
    if batch.row_validity != NULL:
        _check_valid(batch.row_validity, batch.start + index, 1, TOP)
    for i in range(ROW_HEADER):
        if batch.header_validity[i] != NULL:
            _check_valid(batch.header_validity[i], batch.header_start[i] + index, 1, <str> PLACES[i])
    version = _header(batch, index, 0)
    if version != FORMAT_VERSION:
        raise errors.wrong_version(version, FORMAT_VERSION)
    view.flags = _header(batch, index, 1)
    if view.flags & ~FLAGS_KNOWN:
        raise errors.bad_row(f"no flags but {<int> FLAGS_KNOWN:#x}", hex(view.flags), "flags")
    view.i64 = <const int64_t*> _numbers(self, index, COLUMN_I64, 8, &view.i64_count)
    view.f64 = <const double*> _numbers(self, index, COLUMN_F64, 8, &view.f64_count)
    view.i32 = <const int32_t*> _numbers(self, index, COLUMN_I32, 4, &view.i32_count)
    view.i16 = <const int16_t*> _numbers(self, index, COLUMN_I16, 2, &view.i16_count)
    view.i8 = <const int8_t*> _numbers(self, index, COLUMN_I8, 1, &view.i8_count)
    view.bits = <const uint8_t*> _numbers(self, index, COLUMN_BITS, 1, &view.bits_count)
    view.tags = <const uint8_t*> _numbers(self, index, COLUMN_TAGS, 1, &view.tag_count)
    _strings(self, index, COLUMN_TEXT, &view.text_offsets, &view.text, &view.text_count, &view.text_start, &view.text_size,
             &view.text_large)
    _strings(self, index, COLUMN_DATA, &view.data_offsets, &view.data, &view.data_count, &data_start, &view.data_size,
             &view.data_large)
    _bodies(self, index, view)
    view.frame_size = (
        FRAME_OVERHEAD + view.i64_count * 8 + view.f64_count * 8 + view.i32_count * 4 + view.i16_count * 2
        + view.i8_count + view.bits_count + view.tag_count + view.text_size - view.text_start + view.data_size - data_start
        + (view.text_count + view.data_count + 2) * (8 if view.flags & FLAG_LARGE else 4))
    for i in range(view.body_count):
        view.frame_size += 8 + ((<Py_ssize_t> view.bodies[i].size + BODY_ALIGNMENT - 1) & -BODY_ALIGNMENT)
    return self
