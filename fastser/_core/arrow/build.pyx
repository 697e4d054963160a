"""Arrow structs made of a description and buffers.

Descriptions may come from anywhere: each field's type and range is looked at here.  Whether the fields make well-formed
data is arrow_check's to find out, which looks at the structs alone.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.string cimport strlen

from fastser import errors
from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema
from fastser._core.arrow.check cimport metadata_size
from fastser._core.arrow.layout cimport (
    ARROW_MAX_DEPTH, has_validity, item_size, Layout, layout_parse, LAYOUT_STRUCT, LAYOUT_VIEW,
)
from fastser._core.arrow.place cimport Place, place_child, place_dictionary, place_text
from fastser._core.c.arena cimport Arena, arena_new
from fastser._core.c.capi cimport fastser_as_int64


cdef extern from *:
    """
    /* What buffers without bytes point to: no consumer should meet NULL where it expects an offset. */
    #if defined(_MSC_VER)
    __declspec(align(64))
    #else
    __attribute__((aligned(64)))
    #endif
    static const char fastser_no_bytes[64] = {0};
    """
    const char* fastser_no_bytes


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


cdef enum:
    ALIGNMENT = 8                # the most that is asked of a buffer
    FEW_BUFFERS = 3


cdef void _kept_schema(ArrowSchema* schema) noexcept nogil:
    """These structs live as long as their arena, so there is nothing to release; NULL would mean released."""


cdef void _kept_array(ArrowArray* array) noexcept nogil:
    pass


cdef int _bad(object expected, object found, const Place* place) except -1:
    raise errors.bad_arrow(expected, found, place_text(place))


cdef int _check_node(object node, Py_ssize_t size, object expected, const Place* place) except -1:
    if type(node) is not tuple or len(<tuple> node) != size:
        return _bad(expected, errors.tuple_or_type(node), place)
    return 0


cdef int64_t _number(object value, object expected, const Place* place) except? -1:
    cdef int64_t number
    if type(value) is not int or not fastser_as_int64(<PyObject*> value, &number):
        return _bad(f"{expected}, a 64-bit int", errors.brief(value), place)
    return number


cdef const char* _text(object value, object expected, const Place* place) except NULL:
    cdef Py_ssize_t size
    cdef const char* text = NULL
    if type(value) is not str:
        _bad(f"{expected}, a str", errors.brief(value), place)
    try:
        text = PyUnicode_AsUTF8AndSize(value, &size)
    except UnicodeEncodeError:
        _bad(f"{expected} in UTF-8", errors.brief(value), place)
    if <size_t> size != strlen(text):
        _bad(f"{expected} without null characters", errors.brief(value), place)
    return text


cdef int _once(tuple items, Py_ssize_t few, set seen, const Place* place) except -1:
    if len(items) > few:
        key = <size_t> <PyObject*> items
        if key in seen:
            return _bad("a tree", "a part that occurs twice", place)
        seen.add(key)
    return 0


cdef int build_schema(Arena* arena, object node, ArrowSchema* out, set seen, int depth, const Place* place) except -1:
    cdef Py_ssize_t i
    cdef tuple children
    cdef Place below
    cdef ArrowSchema* nodes
    if depth > ARROW_MAX_DEPTH:
        raise errors.arrow_too_deep(ARROW_MAX_DEPTH)
    _check_node(node, 6, "a schema: (format, name, metadata, flags, children, dictionary)", place)
    format, name, metadata, flags, children_, dictionary = <tuple> node
    out.release = _kept_schema
    out.format = _text(format, "a format", place)
    out.name = _text(name, "a name", place)
    out.flags = _number(flags, "flags", place)
    if metadata is not None:
        if type(metadata) is not bytes:
            return _bad("metadata, bytes or None", errors.brief(metadata), place)
        metadata_size(PyBytes_AS_STRING(metadata), PyBytes_GET_SIZE(metadata), place)
        out.metadata = PyBytes_AS_STRING(metadata)
    if type(children_) is not tuple:
        return _bad("a tuple of children", errors.brief(children_), place)
    children = children_
    if children:
        _once(children, 0, seen, place)
        out.n_children = len(children)
        out.children = <ArrowSchema**> arena_new(arena, len(children), sizeof(ArrowSchema*))
        nodes = <ArrowSchema*> arena_new(arena, len(children), sizeof(ArrowSchema))
        for i in range(len(children)):
            below = place_child(place, i, NULL)
            out.children[i] = &nodes[i]
            build_schema(arena, children[i], &nodes[i], seen, depth + 1, &below)
    if dictionary is not None:
        below = place_dictionary(place)
        out.dictionary = <ArrowSchema*> arena_new(arena, 1, sizeof(ArrowSchema))
        build_schema(arena, dictionary, out.dictionary, seen, depth + 1, &below)
    return 0


cdef int _align(Span* span, list copies) except -1:
    cdef bytes copy = PyBytes_FromStringAndSize(span.data, span.size)
    copies.append(copy)
    span.data = PyBytes_AS_STRING(copy)
    return 0


cdef int _build_buffers(
    Arena* arena, tuple numbers, const Layout* layout, Span* spans, Py_ssize_t span_count, list copies, ArrowArray* out,
    const Place* place,
) except -1:
    cdef Py_ssize_t i, count = len(numbers), total = count + (1 if layout.kind == LAYOUT_VIEW else 0)
    cdef int64_t number, alignment
    cdef int64_t* sizes = <int64_t*> arena_new(arena, total, sizeof(int64_t))
    out.n_buffers = total
    out.buffers = <const void**> arena_new(arena, total, sizeof(void*))
    out.private_data = sizes
    for i in range(count):
        number = _number(numbers[i], "the number of a buffer", place)
        if not 0 <= number <= span_count:
            return _bad(f"the number of one of {span_count} buffers", number, place)
        if number == 0 or out.length == 0:   # consumers read the first offset of no items, too
            if i or not has_validity(layout):
                out.buffers[i] = fastser_no_bytes
            continue
        number -= 1
        # Offsets of 32 bits may begin in the middle of others.
        alignment = item_size(layout, i)
        alignment = min(alignment & -alignment, ALIGNMENT)
        if alignment > 1 and <size_t> spans[number].data % <size_t> alignment:
            _align(&spans[number], copies)
        out.buffers[i] = spans[number].data
        sizes[i] = spans[number].size
    if total > count:
        sizes[count] = (count - 2) * sizeof(int64_t)
        out.buffers[count] = &sizes[2]   # the sizes of what the views refer to
    return 0


cdef int build_array(
    Arena* arena, object node, const ArrowSchema* schema, Span* spans, Py_ssize_t span_count, list copies,
    ArrowArray* out, set seen, const Place* place,
) except -1:
    cdef Py_ssize_t i
    cdef tuple numbers, children
    cdef Layout layout
    cdef Place below
    cdef ArrowArray* nodes
    layout_parse(schema.format, &layout)
    _check_node(node, 6, "an array: (length, null count, offset, buffers, children, dictionary)", place)
    length, null_count, offset, numbers_, children_, dictionary = <tuple> node
    out.release = _kept_array
    out.length = _number(length, "a length", place)
    out.null_count = _number(null_count, "a number of nulls", place)
    out.offset = _number(offset, "an offset", place)
    if out.length == 0 and out.offset > 0:
        out.offset = 0   # consumers slice children by it, be they as empty
    if type(numbers_) is not tuple or type(children_) is not tuple:
        return _bad("tuples of buffers and children", f"{errors.brief(numbers_)} and {errors.brief(children_)}", place)
    numbers = numbers_
    children = children_
    if layout.kind == LAYOUT_VIEW and len(numbers) < 2 or layout.kind != LAYOUT_VIEW and len(numbers) != layout.n_buffers:
        return _bad(f"{2 if layout.kind == LAYOUT_VIEW else layout.n_buffers} buffers for the format "
                    f"{(<bytes> schema.format).decode()!r}", len(numbers), place)
    _once(numbers, FEW_BUFFERS, seen, place)
    _build_buffers(arena, numbers, &layout, spans, span_count, copies, out, place)
    if len(children) != schema.n_children:
        return _bad(f"{schema.n_children} children, as in the schema", len(children), place)
    if children:
        _once(children, 0, seen, place)
        out.n_children = len(children)
        out.children = <ArrowArray**> arena_new(arena, len(children), sizeof(ArrowArray*))
        nodes = <ArrowArray*> arena_new(arena, len(children), sizeof(ArrowArray))
        for i in range(len(children)):
            below = place_child(place, i, schema.children[i].name if layout.kind == LAYOUT_STRUCT else NULL)
            out.children[i] = &nodes[i]
            build_array(arena, children[i], schema.children[i], spans, span_count, copies, &nodes[i], seen, &below)
    if (dictionary is None) != (schema.dictionary == NULL):
        return _bad("no dictionary, as in the schema" if schema.dictionary == NULL else "a dictionary",
                    errors.brief(dictionary), place)
    if schema.dictionary != NULL:
        below = place_dictionary(place)
        out.dictionary = <ArrowArray*> arena_new(arena, 1, sizeof(ArrowArray))
        build_array(arena, dictionary, schema.dictionary, spans, span_count, copies, out.dictionary, seen, &below)
    return 0
