"""Arrow structs described as plain tuples, and their buffers lent as objects.

An array is often a slice of larger buffers: by its offset, by offsets that do not begin at 0, by a parent that uses
a part of its child.  What is lent is only what is used.  Where that needs other offsets, these are written anew; values are
never copied but bits that do not begin with a byte, and the data of views that use less than half of it.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from fastser import errors
from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema, BinaryView, VIEW_INLINE_MAX
from fastser._core.arrow.check cimport metadata_size, offset_at, run_end_at
from fastser._core.arrow.layout cimport (
    has_validity, Layout, LAYOUT_BINARY, LAYOUT_BITS, LAYOUT_DENSE, LAYOUT_FIXED, LAYOUT_FIXED_LIST, LAYOUT_LIST,
    LAYOUT_LIST_VIEW, LAYOUT_NULL, layout_parse, LAYOUT_RUN_END, LAYOUT_SPARSE, LAYOUT_STRUCT, LAYOUT_VIEW,
    union_children,
)
from fastser._core.arrow.place cimport Place, place_child, place_dictionary, place_text
from fastser._core.arrow.values cimport is_valid


cdef int _bad(object expected, object found, const Place* place) except -1:
    raise errors.bad_arrow(expected, found, place_text(place))


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class ArrowBuffer:
    """A part of a buffer of Arrow data: bytes to read, which keep the data alive."""

    def __init__(self):
        raise errors.no_constructor("ArrowBuffer", "ArrowData.take_apart")

    def __len__(self):
        return self.size

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <void*> self.data, self.size, True, flags)
        Py_DECREF(None)   # Cython's own reference in buffer.obj, which was written over


@cython.final
@cython.auto_pickle(False)
cdef class Apart:
    """What one description is being made of."""


# --- schemas ---------------------------------------------------------------------------------------------------------


cdef str _text(const char* text, object expected, const Place* place):
    if text == NULL:
        return ""
    try:
        return (<bytes> text).decode("utf-8")
    except UnicodeDecodeError:
        _bad(f"{expected} in UTF-8", repr(<bytes> text), place)


cdef tuple describe_schema(const ArrowSchema* schema, const Place* place):
    cdef Place below
    cdef list children = []
    cdef int64_t i
    metadata = dictionary = None
    if schema.metadata != NULL:
        metadata = PyBytes_FromStringAndSize(schema.metadata, metadata_size(schema.metadata, -1, place))
    for i in range(schema.n_children):
        below = place_child(place, i, NULL)
        children.append(describe_schema(schema.children[i], &below))
    if schema.dictionary != NULL:
        below = place_dictionary(place)
        dictionary = describe_schema(schema.dictionary, &below)
    return (_text(schema.format, "a format", place), _text(schema.name, "a name", place), metadata, schema.flags,
            tuple(children), dictionary)


# --- buffers ---------------------------------------------------------------------------------------------------------


cdef Py_ssize_t _lend(Apart apart, const void* data, int64_t size, object owner) except -1:
    """The number of a buffer; 0 for one without bytes."""
    cdef ArrowBuffer buffer
    if size == 0 or data == NULL:
        return 0
    if apart.in_dictionary:
        key = (<size_t> data, size)
        number = apart.shared.get(key)
        if number is not None:
            return number
        apart.shared[key] = len(apart.buffers) + 1
    buffer = ArrowBuffer.__new__(ArrowBuffer)
    buffer.data = <const char*> data
    buffer.size = size
    buffer.owner = owner
    apart.buffers.append(buffer)
    return len(apart.buffers)


cdef Py_ssize_t _slice(Apart apart, const void* data, int64_t start, int64_t count, int64_t size) except -1:
    """``count`` items of ``size`` bytes from ``start`` on, where they lie."""
    if data == NULL:
        return 0
    return _lend(apart, <const char*> data + start * size, count * size, apart.owner)


cdef Py_ssize_t _lend_copy(Apart apart, bytes copy) except -1:
    return _lend(apart, PyBytes_AS_STRING(copy), len(copy), copy)


cdef Py_ssize_t _bits(Apart apart, const void* data, int64_t start, int64_t count) except -1:
    """``count`` bits, the first of which is the lowest of the first byte."""
    cdef const uint8_t* source = <const uint8_t*> data + (start >> 3)
    cdef Py_ssize_t size = (count + 7) >> 3
    cdef int64_t i, last = (start & 7) + count - 1
    cdef int shift = start & 7
    cdef uint8_t* out
    cdef bytes copy
    if shift == 0 or count == 0:
        return _lend(apart, source, size, apart.owner)
    copy = PyBytes_FromStringAndSize(NULL, size)
    out = <uint8_t*> PyBytes_AS_STRING(copy)
    for i in range(size):
        out[i] = source[i] >> shift
        if (i + 1) * 8 <= last:
            out[i] |= source[i + 1] << (8 - shift)
    return _lend_copy(apart, copy)


cdef void _write_offset(char* out, int width, int64_t index, int64_t value) noexcept nogil:
    if width == 8:
        (<int64_t*> out)[index] = value
    else:
        (<int32_t*> out)[index] = <int32_t> value


cdef Py_ssize_t _offsets(Apart apart, const void* offsets, int width, int64_t start, int64_t count, int64_t base) except -1:
    """``count`` offsets from ``start`` on, less ``base``."""
    cdef bytes copy
    cdef char* out
    cdef int64_t i
    if base == 0:
        return _slice(apart, offsets, start, count, width)
    copy = PyBytes_FromStringAndSize(NULL, count * width)
    out = PyBytes_AS_STRING(copy)
    with nogil:
        for i in range(count):
            _write_offset(out, width, i, offset_at(offsets, width, start + i) - base)
    return _lend_copy(apart, copy)


# --- arrays ----------------------------------------------------------------------------------------------------------


cdef tuple _view_buffers(Apart apart, const ArrowArray* array, Py_ssize_t validity, int64_t at, int64_t count, const Place* place):
    """Views and what they refer to; only what is used where that is less than half."""
    cdef const BinaryView* views = <const BinaryView*> array.buffers[1] + at
    cdef const uint8_t* valid = <const uint8_t*> array.buffers[0] if validity else NULL
    cdef const int64_t* sizes = <const int64_t*> array.buffers[array.n_buffers - 1]
    cdef int64_t n_data = array.n_buffers - 3
    cdef int64_t i, used = 0, held = 0, bad = -1
    cdef BinaryView view
    cdef BinaryView* fresh
    cdef char* out
    cdef bytes views_copy, copy
    with nogil:
        for i in range(n_data):
            held += sizes[i]
        for i in range(count):
            memcpy(&view, views + i, sizeof(BinaryView))
            if view.length > VIEW_INLINE_MAX and is_valid(valid, at + i):
                if not 0 <= view.buffer_index < n_data or view.offset < 0 or view.offset > sizes[view.buffer_index] - view.length:
                    bad = i
                    break
                used += view.length
    if bad >= 0:
        _bad("a view within its buffer", f"{view.length} bytes at {view.offset} of buffer {view.buffer_index}, "
             f"at position {bad}", place)
    if used * 2 >= held or used > 0x7fffffff:
        numbers = [validity, _slice(apart, array.buffers[1], at, count, sizeof(BinaryView))]
        for i in range(n_data):
            numbers.append(_lend(apart, array.buffers[2 + i], sizes[i], apart.owner))
        return tuple(numbers)
    views_copy = PyBytes_FromStringAndSize(NULL, count * sizeof(BinaryView))
    copy = PyBytes_FromStringAndSize(NULL, used)
    fresh = <BinaryView*> PyBytes_AS_STRING(views_copy)
    out = PyBytes_AS_STRING(copy)
    used = 0
    with nogil:
        for i in range(count):
            memcpy(&view, views + i, sizeof(BinaryView))
            if not is_valid(valid, at + i):
                memset(&view, 0, sizeof(BinaryView))
            elif view.length > VIEW_INLINE_MAX:
                memcpy(out + used, <const char*> array.buffers[2 + view.buffer_index] + view.offset, view.length)
                view.buffer_index = 0
                view.offset = <int32_t> used
                used += view.length
            fresh[i] = view
    buffers = (validity, _lend_copy(apart, views_copy))
    return buffers + (_lend_copy(apart, copy),) if used else buffers


cdef tuple _list_view(
    Apart apart, const ArrowSchema* schema, const ArrowArray* array, int width, Py_ssize_t validity, int64_t null_count,
    int64_t at, int64_t count, const Place* place,
):
    """The part of the child between the first item and the last that any valid view uses."""
    cdef const uint8_t* valid = <const uint8_t*> array.buffers[0] if validity else NULL
    cdef int64_t limit = array.children[0].length
    cdef int64_t i, offset, size, first = limit, last = 0, reach = 0, bad = -1
    cdef bint astray = False     # the view of a null that leads out of the child
    cdef bytes offsets, sizes
    cdef Place below = place_child(place, 0, NULL)
    with nogil:
        for i in range(at, at + count):
            offset = offset_at(array.buffers[1], width, i)
            size = offset_at(array.buffers[2], width, i)
            if size < 0 or offset < 0 or offset > limit - size:
                if is_valid(valid, i):
                    bad = i - at
                    break
                astray = True
            elif size == 0 or not is_valid(valid, i):
                reach = max(reach, offset + size)
            else:
                first = min(first, offset)
                last = max(last, offset + size)
    if bad >= 0:
        _bad(f"a view within {limit} items", f"{size} items at {offset}, at position {bad}", place)
    if first > last or first < last - first:
        first = 0   # little would be gained by new offsets
    if first == 0 and reach <= last and not astray:
        buffers = (validity, _slice(apart, array.buffers[1], at, count, width), _slice(apart, array.buffers[2], at, count, width))
    else:
        offsets = PyBytes_FromStringAndSize(NULL, count * width)
        sizes = PyBytes_FromStringAndSize(NULL, count * width)
        for i in range(count):
            offset = offset_at(array.buffers[1], width, at + i)
            size = offset_at(array.buffers[2], width, at + i)
            if size == 0 or not is_valid(valid, at + i):
                offset = first
                size = 0
            _write_offset(PyBytes_AS_STRING(offsets), width, i, offset - first)
            _write_offset(PyBytes_AS_STRING(sizes), width, i, size)
        buffers = (validity, _lend_copy(apart, offsets), _lend_copy(apart, sizes))
    child = _describe(apart, schema.children[0], array.children[0], first, last - first, &below)
    return (count, null_count, 0, buffers, (child,), None)


cdef tuple _dense_union(
    Apart apart, const ArrowSchema* schema, const ArrowArray* array, int64_t at, int64_t count, const Place* place,
):
    """Of each child the part between the first item and the last that is used; all of it where there can hardly be less."""
    cdef const int8_t* ids = <const int8_t*> array.buffers[0] + at
    cdef int64_t first[128]
    cdef int64_t last[128]
    cdef int8_t child_of[128]
    cdef int64_t i, offset, held = 0, bad = -1
    cdef int child = 0
    cdef bint moved = False
    cdef bytes offsets
    cdef Place below
    union_children(schema.format, child_of)
    for i in range(array.n_children):
        first[i] = 0
        last[i] = array.children[i].length
        held += last[i]
    if held > count:
        for i in range(array.n_children):
            first[i] = last[i]
            last[i] = 0
        with nogil:
            for i in range(count):
                child = child_of[ids[i]] if ids[i] >= 0 else -1
                offset = offset_at(array.buffers[1], 4, at + i)
                if child < 0 or not 0 <= offset < array.children[child].length:
                    bad = i
                    break
                if offset < first[child]:
                    first[child] = offset
                if offset >= last[child]:
                    last[child] = offset + 1
        if bad >= 0:
            _bad("a type id of the format, and an offset within its child", f"type id {ids[bad]}, offset {offset}, "
                 f"at position {bad}", place)
        for i in range(array.n_children):
            if last[i] == 0:
                first[i] = 0
            moved = moved or first[i] != 0
    children = []
    for i in range(array.n_children):
        below = place_child(place, i, NULL)
        children.append(_describe(apart, schema.children[i], array.children[i], first[i], last[i] - first[i], &below))
    ids_number = _slice(apart, array.buffers[0], at, count, 1)
    if moved:
        offsets = PyBytes_FromStringAndSize(NULL, count * 4)
        for i in range(count):
            _write_offset(
                PyBytes_AS_STRING(offsets), 4, i, offset_at(array.buffers[1], 4, at + i) - first[child_of[ids[i]]])
        buffers = (ids_number, _lend_copy(apart, offsets))
    else:
        buffers = (ids_number, _slice(apart, array.buffers[1], at, count, 4))
    return (count, 0, 0, buffers, tuple(children), None)


cdef int64_t _run_of(const ArrowSchema* schema, const ArrowArray* ends, int64_t index) noexcept nogil:
    """The run that ``index`` lies in: the first that ends behind it."""
    cdef int64_t low = 0, high = ends.length, middle
    while low < high:
        middle = (low + high) >> 1
        if run_end_at(schema, ends, ends.offset + middle) > index:
            high = middle
        else:
            low = middle + 1
    return low


cdef tuple _run_ends(
    Apart apart, const ArrowSchema* schema, const ArrowArray* array, int64_t at, int64_t count, const Place* place,
):
    """The runs that the items lie in."""
    cdef const ArrowArray* ends = array.children[0]
    cdef int64_t first, runs = 0, i, end
    cdef int width = 2 if schema.children[0].format[0] == c's' else 4 if schema.children[0].format[0] == c'i' else 8
    cdef bytes copy
    cdef char* out
    cdef Place below = place_child(place, 1, NULL)
    first = _run_of(schema.children[0], ends, at)
    if count:
        runs = _run_of(schema.children[0], ends, at + count - 1) + 1 - first
    if runs < 0 or first + runs > ends.length:
        _bad("ends of runs that ascend", "others", place)
    if at == 0:
        number = _slice(apart, ends.buffers[1], ends.offset, runs, width)
    else:
        copy = PyBytes_FromStringAndSize(NULL, runs * width)
        out = PyBytes_AS_STRING(copy)
        for i in range(runs):
            end = min(run_end_at(schema.children[0], ends, ends.offset + first + i) - at, count)
            if width == 2:
                (<int16_t*> out)[i] = <int16_t> end
            else:
                _write_offset(out, width, i, end)
        number = _lend_copy(apart, copy)
    values = _describe(apart, schema.children[1], array.children[1], first, runs, &below)
    return (count, 0, 0, (), ((runs, 0, 0, (0, number), (), None), values), None)


cdef tuple _describe(
    Apart apart, const ArrowSchema* schema, const ArrowArray* array, int64_t start, int64_t count, const Place* place,
):
    """The node of ``count`` items of ``array`` from ``start`` on."""
    cdef Layout layout
    cdef Place below
    cdef int64_t at = array.offset + start, null_count = 0, first = 0, last = 0, i
    cdef int64_t rest = 0        # a bitmap's offset within its first byte, where that is simply the array's
    cdef Py_ssize_t validity = 0
    cdef bint outer
    layout_parse(schema.format, &layout)
    if layout.kind == LAYOUT_NULL:
        return (count, count, 0, (), (), None)
    if layout.kind == LAYOUT_RUN_END:
        return _run_ends(apart, schema, array, at, count, place)
    if layout.kind == LAYOUT_DENSE:
        return _dense_union(apart, schema, array, at, count, place)
    if layout.kind == LAYOUT_BITS and count:
        rest = at & 7
    if has_validity(&layout) and array.null_count and array.buffers[0] != NULL and count:
        if layout.kind == LAYOUT_FIXED:
            rest = at & 7
        validity = _bits(apart, array.buffers[0], at - rest, count + rest)
        null_count = array.null_count if count == array.length else -1
    if layout.kind == LAYOUT_BITS:
        return (count, null_count, rest, (validity, _bits(apart, array.buffers[1], at - rest, count + rest)), (), None)
    if layout.kind == LAYOUT_FIXED:
        dictionary = None
        if schema.dictionary != NULL:
            below = place_dictionary(place)
            outer = apart.in_dictionary
            apart.in_dictionary = True
            dictionary = _describe(apart, schema.dictionary, array.dictionary, 0, array.dictionary.length, &below)
            apart.in_dictionary = outer
        return (count, null_count, rest, (validity, _slice(apart, array.buffers[1], at - rest, count + rest, layout.size)),
                (), dictionary)
    if layout.kind == LAYOUT_VIEW:
        return (count, null_count, 0, _view_buffers(apart, array, validity, at, count, place), (), None)
    if layout.kind == LAYOUT_LIST_VIEW:
        return _list_view(apart, schema, array, layout.width, validity, null_count, at, count, place)
    if layout.kind == LAYOUT_LIST or layout.kind == LAYOUT_BINARY:
        if count:
            first = offset_at(array.buffers[1], layout.width, at)
            last = offset_at(array.buffers[1], layout.width, at + count)
            if first < 0 or last < first or (layout.kind == LAYOUT_LIST and last > array.children[0].length):
                _bad("offsets that grow", f"{first} to {last}", place)
        offsets = _offsets(apart, array.buffers[1], layout.width, at, count + 1 if count else 0, first)
        if layout.kind == LAYOUT_BINARY:
            return (count, null_count, 0, (validity, offsets, _slice(apart, array.buffers[2], first, last - first, 1)), (), None)
        below = place_child(place, 0, NULL)
        child = _describe(apart, schema.children[0], array.children[0], first, last - first, &below)
        return (count, null_count, 0, (validity, offsets), (child,), None)
    if layout.kind == LAYOUT_FIXED_LIST:
        below = place_child(place, 0, NULL)
        first = at * layout.size if count else 0
        child = _describe(apart, schema.children[0], array.children[0], first, count * layout.size, &below)
        return (count, null_count, 0, (validity,), (child,), None)
    children = []
    for i in range(array.n_children):
        below = place_child(place, i, schema.children[i].name if layout.kind == LAYOUT_STRUCT else NULL)
        children.append(_describe(apart, schema.children[i], array.children[i], at, count, &below))
    if layout.kind == LAYOUT_SPARSE:
        return (count, 0, 0, (_slice(apart, array.buffers[0], at, count, 1),), tuple(children), None)
    return (count, null_count, 0, (validity,), tuple(children), None)


cdef tuple describe_array(Apart apart, const ArrowSchema* schema, const ArrowArray* array, const Place* place):
    return _describe(apart, schema, array, 0, array.length, place)
