"""Reading the tags of a frame into nodes: every count and operand is checked here, so that what is made of them needs no checks."""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MIN, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from fastser._core.arrow.values cimport end_of_utf8
from fastser._core.c.arena cimport arena_free
from fastser._core.c.buffer cimport Buffer, buffer_append, buffer_release
from fastser._core.c.capi cimport PY_SSIZE_T_MAX, fastser_decref
from fastser._core.c.stack cimport fastser_stack_short
from fastser._core.decode.arrays cimport ArrayForm, read_form
from fastser._core.decode.bodies cimport BodyRead, read_body
from fastser._core.decode.errors cimport bad, short_column, too_deep, unbacked
from fastser._core.decode.identity cimport number
from fastser._core.decode.names cimport read_callable
from fastser._core.decode.read cimport (
    claim, descend, next_data, next_text, read_byte, read_count, read_unsigned, read_varint, take_bits, take_f64,
    take_i16, take_i32, take_i64, take_i8,
)
from fastser._core.decode.shapes cimport read_shape
from fastser._core.decode.state cimport Decoder, ShapeSeen
from fastser._core.decode.walk cimport decode_value, read_dtype
from fastser._core.format.tags cimport *
from fastser._core.values.arrays cimport (
    DTYPE_OBJECT, NPY_USERDEF, STRING_DTYPE, fastser_descr_has_objects, fastser_descr_has_subarray, fastser_descr_itemsize,
    fastser_descr_type_num, fastser_dtype_code, fastser_plain_import,
)

import datetime as _datetime
import sys as _sys

import numpy as _numpy

from fastser import errors as _errors, inspection as _inspection

cnp.import_array()
fastser_plain_import()


cdef struct Range:
    # Numbered objects.
    Py_ssize_t first
    Py_ssize_t count
    Node* node


cdef class Nodes:
    def __cinit__(self):
        self.kept = []

    def __dealloc__(self):
        arena_free(&self.memory)
        buffer_release(&self.ranges)


cdef int spend(Nodes self, int64_t count, Place* place) except -1:
    if count > self.room:
        return refuse(place, _errors.TOO_SPREAD)
    self.room -= count
    return 0


cdef object path_of_place(Place* place):
    cdef list parts = []
    while place != NULL:
        if place.kind == AT_ITEM:
            parts.append("[*]")
        elif place.kind == AT_POSITION:
            parts.append(f"[{place.position}]")
        else:
            name = place.name.data[:place.name.size].decode("utf-8", "replace")
            parts.append(f".{name}" if name.isidentifier() else f"[{name!r}]")
        place = place.up
    return "$" + "".join(reversed(parts))


cdef int refuse(Place* place, object reason) except -1:
    raise _errors.not_a_column(path_of_place(place), reason)


cdef Node* new_node(Nodes self, int kind, int tag, Py_ssize_t n) except NULL:
    cdef Node* node = <Node*> arena(self, sizeof(Node))
    node.kind = kind
    node.tag = tag
    node.n = n
    node.done = 1
    return node


cdef Node** new_children(Nodes self, Node* node, Py_ssize_t count) except NULL:
    node.children = <Node**> arena(self, count * sizeof(Node*) + 1)
    node.count = count
    return node.children


cdef Node* parent(Nodes self, int kind, int tag, Py_ssize_t n, Node* child) except NULL:
    cdef Node* node = new_node(self, kind, tag, n)
    new_children(self, node, 1)[0] = child
    return node


# --- numbers ------------------------------------------------------------------------------------------------------------


cdef Node* numbered(Nodes self, Node* node) except NULL:
    """Give the items of a node their numbers; they can be referred to once it is done."""
    cdef Range range
    range.first = number(self.d, node.n)
    range.count = node.n
    range.node = node
    node.done = 0
    if self.d.has_refs and buffer_append(&self.ranges, &range, sizeof(Range)) < 0:
        raise MemoryError()
    return node


cdef Range* range_of(Nodes self, uint64_t index) except NULL:
    cdef Range* ranges = <Range*> self.ranges.data
    cdef Py_ssize_t low = 0, high = self.ranges.size // sizeof(Range), middle
    while low < high:
        middle = (low + high) >> 1
        if index < <uint64_t> ranges[middle].first:
            high = middle
        elif index >= <uint64_t> (ranges[middle].first + ranges[middle].count):
            low = middle + 1
        else:
            return &ranges[middle]
    bad(self.d, f"a reference to one of {self.d.ref_count} objects, and not to a class or a zone", index)


cdef Node* read_references(Nodes self, Py_ssize_t n, Place* place) except NULL:
    """Parts, each of which takes items of one node."""
    cdef uint64_t* numbers = <uint64_t*> arena(self, n * sizeof(uint64_t))
    cdef Range* range
    cdef Node* node = NULL
    cdef Buffer parts
    cdef Py_ssize_t i = 0, start
    parts.data = NULL
    parts.size = parts.capacity = 0
    read_unsigned(self.d, numbers, n)
    try:
        while i < n:
            range = range_of(self, numbers[i])
            if not range.node.done:
                refuse(place, _errors.CONTAINS_ITSELF)
            start = i
            while i < n and range.first <= <Py_ssize_t> numbers[i] < range.first + range.count:
                numbers[i] -= range.first
                i += 1
            node = parent(self, NODE_TAKE, TAG_REF, i - start, range.node)
            node.data = numbers + start
            node.width = 8
            node.made = 1
            if buffer_append(&parts, &node, sizeof(Node*)) < 0:
                raise MemoryError()
        return concatenated(self, TAG_REF, <Node**> parts.data, parts.size // sizeof(Node*), n)
    finally:
        buffer_release(&parts)


cdef Node* concatenated(Nodes self, int tag, Node** parts, Py_ssize_t count, Py_ssize_t n) except NULL:
    cdef Node* node
    cdef Py_ssize_t i
    if count == 1:
        return parts[0]
    node = new_node(self, NODE_CONCAT, tag, n)
    memcpy(new_children(self, node, count), parts, count * sizeof(Node*))
    node.starts = <int64_t*> arena(self, (count + 1) * sizeof(int64_t))
    for i in range(count):
        node.starts[i + 1] = node.starts[i] + parts[i].n
    return node


# --- leaves -------------------------------------------------------------------------------------------------------------


cdef Node* leaf(Nodes self, int kind, int tag, Py_ssize_t n, const void* data, int width=0) except NULL:
    cdef Node* node = new_node(self, kind, tag, n)
    node.data = data
    node.width = width
    return node


cdef Node* read_texts(Nodes self, int kind, int tag, Py_ssize_t start, Py_ssize_t n) except NULL:
    """Items of `text` from ``start`` on, which are there."""
    cdef Decoder* d = self.d
    cdef Node* node = new_node(self, kind, tag, n)
    node.width = 8 if d.view.text_large else 4
    node.data = <const char*> d.view.text_offsets + start * node.width
    node.base = d.view.text
    return node


cdef Node* read_data(Nodes self, int tag, Py_ssize_t n) except NULL:
    cdef Decoder* d = self.d
    cdef Node* node = new_node(self, NODE_BINARY, tag, n)
    if n > d.view.data_count - d.data:
        short_column(d, "data", n, d.view.data_count - d.data)
    node.width = 8 if d.view.data_large else 4
    node.data = <const char*> d.view.data_offsets + d.data * node.width
    node.base = d.view.data
    d.data += n
    return node


cdef Node* read_long(Nodes self, int tag, Py_ssize_t n) except NULL:
    """Text or bytes with bodies of their own."""
    cdef Node* node = new_node(self, NODE_LONG_TEXT if tag == TAG_BODY_TEXT else NODE_LONG_BINARY, tag, n)
    cdef Span* spans = <Span*> arena(self, n * sizeof(Span))
    cdef Py_ssize_t i
    cdef BodyRead piece
    cdef const uint8_t* end
    if tag == TAG_BODY_BYTEARRAY:
        numbered(self, node)
        node.done = 1
    for i in range(n):
        read_body(self.d, -1, &piece, 0 if tag == TAG_BODY_BYTEARRAY else BODY_SAME)
        spans[i].data = piece.data
        spans[i].size = piece.size
        end = <const uint8_t*> spans[i].data + spans[i].size
        if tag == TAG_BODY_TEXT and end_of_utf8(<const uint8_t*> spans[i].data, end) != end:
            bad(self.d, "UTF-8", "other bytes")
    node.data = spans
    return node


cdef int check_zone(Place* place, object zone) except -1:
    if zone is not None and not isinstance(zone, _datetime.tzinfo):
        return refuse(place, f"a time zone that only Python code can make ({zone})")
    return 0


cdef Node* read_zoned(Nodes self, int tag, Py_ssize_t n, Place* place) except NULL:
    cdef uint64_t fold = read_varint(self.d)
    cdef PyObject* o
    cdef Node* node
    if fold > 1:
        bad(self.d, "a fold of 0 or 1", fold)
    o = decode_value(self.d)
    zone = <object> o
    fastser_decref(o)
    check_zone(place, zone)
    if zone is not None and tag == TAG_TIME_ZONED:
        refuse(place, "times of day with a time zone")
    node = leaf(self, NODE_TIMESTAMP if tag == TAG_DATETIME_ZONED else NODE_TIME, tag, n, take_i64(self.d, n), 8)
    node.constant = fold
    if zone is not None:
        self.kept.append(zone)
        node.zone = <PyObject*> zone
    return node


# --- NumPy --------------------------------------------------------------------------------------------------------------


cdef dict FORMATS = {
    code: format for code, format in zip("bBhHiIlLqQefd", ["c", "C", "s", "S", "i", "I", "l", "L", "l", "L", "e", "f", "g"])
}
if _numpy.dtype("l").itemsize == 4:
    FORMATS["l"], FORMATS["L"] = "i", "I"
cdef str _NATIVE_UTF32 = f"utf-32-{_sys.byteorder[0]}e"
cdef dict FORMAT_BYTES = {format: format.encode() for format in [
    *"cCsSiIlLefg", "tss:", "tsm:", "tsu:", "tsn:", "tDs", "tDm", "tDu", "tDn", "tdD"]}


cdef Node* read_elements(Nodes self, PyObject* descr, int tag, Py_ssize_t n, const char* data, Place* place) except NULL:
    """The n elements at ``data``."""
    cdef object dtype = <object> descr
    cdef bytes format
    cdef Node* node
    if fastser_descr_type_num(descr) >= NPY_USERDEF:
        refuse(place, f"elements of dtype {dtype}")    # whose characters may be those of NumPy's own
    if dtype.char == "U" and dtype.isnative:
        return wide_texts(self, tag, n, data, dtype.itemsize, place)
    if dtype.char == "S":
        return wide_bytes(self, tag, n, data, dtype.itemsize)
    if dtype.kind == "M" and dtype.isnative and _numpy.datetime_data(dtype) == ("D", 1):
        return days(self, tag, n, data, place)
    if dtype.char == "?":
        return leaf(self, NODE_BYTES_OF_BOOL, tag, n, data, 1)
    text = FORMATS.get(dtype.char) if dtype.isnative else None
    if dtype.kind in "mM" and dtype.isnative:
        unit, multiple = _numpy.datetime_data(dtype)
        if unit == "generic" and tag == TAG_SCALAR and all_nat(data, n):
            return new_node(self, NODE_NULL, tag, n)    # np.datetime64("NaT"), which has no unit
        if multiple == 1 and unit in ("s", "ms", "us", "ns"):
            text = f"tD{unit[0]}" if dtype.kind == "m" else f"ts{unit[0]}:"
    if text is None:
        refuse(place, f"elements of dtype {dtype}")
    if text == "l":
        return leaf(self, NODE_INT, tag, n, data, 8)
    if text == "g":
        return leaf(self, NODE_FLOAT, tag, n, data, 8)
    format = FORMAT_BYTES[text]
    node = leaf(self, NODE_FIXED, tag, n, data, dtype.itemsize)
    node.format = format
    node.constant = text[0] == "t"
    return node


cdef bint all_nat(const char* data, Py_ssize_t n) noexcept:
    cdef Py_ssize_t i
    cdef int64_t value
    for i in range(n):
        memcpy(&value, data + i * 8, 8)
        if value != INT64_MIN:
            return False
    return True


cdef Node* wide_texts(Nodes self, int tag, Py_ssize_t n, const char* data, Py_ssize_t itemsize, Place* place) except NULL:
    """Texts of 4 bytes for each character, up to the last that is not 0."""
    cdef Node* node = new_node(self, NODE_LONG_TEXT, tag, n)
    cdef Span* spans = <Span*> arena(self, n * sizeof(Span))
    cdef Py_ssize_t i
    cdef object text
    cdef bytes encoded
    cdef char* copy
    for i in range(n):
        text = data[i * itemsize:(i + 1) * itemsize].decode(_NATIVE_UTF32, "surrogatepass").rstrip("\0")
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            refuse(place, "a str with lone surrogates")
        copy = <char*> arena(self, len(encoded) + 1)
        memcpy(copy, <const char*> encoded, len(encoded))
        spans[i].data = copy
        spans[i].size = len(encoded)
    node.data = spans
    node.base = data
    node.made = <int> itemsize
    return node


cdef Node* wide_bytes(Nodes self, int tag, Py_ssize_t n, const char* data, Py_ssize_t itemsize) except NULL:
    """Bytes up to the last that is not 0, where they lie."""
    cdef Node* node = new_node(self, NODE_LONG_BINARY, tag, n)
    cdef Span* spans = <Span*> arena(self, n * sizeof(Span))
    cdef Py_ssize_t i
    for i in range(n):
        spans[i].data = data + i * itemsize
        spans[i].size = itemsize
        while spans[i].size and spans[i].data[spans[i].size - 1] == 0:
            spans[i].size -= 1
    node.data = spans
    node.base = data
    node.made = <int> itemsize
    return node


cdef Node* days(Nodes self, int tag, Py_ssize_t n, const char* data, Place* place) except NULL:
    """Dates of 8 bytes, of which the lowest is none, in 4."""
    cdef int32_t* values = <int32_t*> arena(self, n * 4)
    cdef Py_ssize_t i
    cdef int64_t value
    cdef Node* node = leaf(self, NODE_FIXED, tag, n, values, 4)
    for i in range(n):
        memcpy(&value, data + i * 8, 8)
        if value != INT64_MIN and not INT32_MIN < value <= INT32_MAX:
            refuse(place, "a date beyond 32 bits of days")
        values[i] = INT32_MIN if value == INT64_MIN else <int32_t> value
    node.format = FORMAT_BYTES["tdD"]
    node.constant = 1
    node.base = data
    node.made = 8
    return node


cdef Node* read_arrays(Nodes self, int tag, Py_ssize_t n, Place* place) except NULL:
    """n arrays of one dimension, which are lists."""
    cdef Decoder* d = self.d
    cdef Node* node = numbered(self, new_node(self, NODE_LIST, tag, n))
    cdef Node* child
    cdef Node** parts
    cdef Place below
    cdef ArrayForm form
    cdef PyObject* descr = read_dtype(d)
    cdef Py_ssize_t i, itemsize = fastser_descr_itemsize(descr), nbytes
    cdef BodyRead piece
    form.ndim = 0
    form.size = 0
    self.kept.append(<object> descr)
    read_form(d, &form, descr)
    if form.ndim != 1:
        refuse(place, f"an array of {form.ndim} dimensions")
    node.constant = form.size
    below.up = place
    below.kind = AT_ITEM
    if tag == TAG_OBJECT_ARRAY:
        if fastser_dtype_code(descr) != DTYPE_OBJECT and fastser_descr_type_num(descr) != STRING_DTYPE:
            bad(d, "a dtype of objects or strings", "another one")
        if form.size and n > d.budget // form.size:
            unbacked(d, <uint64_t> form.size * n)
        descend(d)
        new_children(self, node, 1)[0] = read_node(self, n * form.size, &below)
        d.depth -= 1
        node.done = 1
        return node
    if fastser_descr_has_objects(descr) or fastser_descr_has_subarray(descr):
        bad(d, "a dtype of plain memory", "one that holds references or arrays")
    if itemsize == 0 or form.size > PY_SSIZE_T_MAX // itemsize or (form.size and n > PY_SSIZE_T_MAX // (form.size * itemsize)):
        bad(d, "a size that memory can have", "another one")
    nbytes = form.size * itemsize
    if tag == TAG_ARRAY_RUN:
        read_body(d, nbytes * n, &piece, 0)
        child = read_elements(self, descr, tag, n * form.size, piece.data, &below)
    else:
        # In place before it is full, as arrays may lie on the memory of others of the same run.
        child = new_node(self, NODE_CONCAT, tag, n * form.size)
        parts = new_children(self, child, n)
        new_children(self, node, 1)[0] = child
        for i in range(n):
            if d.at < d.end and d.at[0] == BODY_OF:
                d.at += 1
                parts[i] = shared_elements(self, read_varint(d), descr, form.size, nbytes, &below)
            else:
                read_body(d, nbytes, &piece, BODY_COPY)
                parts[i] = read_elements(self, descr, tag, form.size, piece.data, &below)
        child = concatenated(self, tag, parts, n, n * form.size)
    new_children(self, node, 1)[0] = child
    node.done = 1
    return node


cdef Node* shared_elements(
    Nodes self, uint64_t index, PyObject* descr, Py_ssize_t count, Py_ssize_t nbytes, Place* place,
) except NULL:
    """An array on the memory of one that was read before."""
    cdef Range* range = range_of(self, index)
    cdef Node* elements = NULL
    cdef Py_ssize_t at = <Py_ssize_t> index - range.first
    cdef const char* data
    cdef int width
    if range.node.kind == NODE_LIST and range.node.count == 1:
        elements = range.node.children[0]
        if elements != NULL and elements.kind == NODE_CONCAT:
            elements = elements.children[at] if elements.count == range.count else NULL
            at = 0
    if elements == NULL or (elements.tag != TAG_ARRAY and elements.tag != TAG_ARRAY_RUN):
        bad(self.d, "an array to share memory with", "another object")
    # What was made of NumPy's elements has those in `base`.
    width = elements.width if elements.base == NULL else elements.made
    if <Py_ssize_t> range.node.constant * width != nbytes:
        bad(self.d, f"an array of {nbytes} bytes to share memory with", range.node.constant * width)
    data = (elements.base if elements.base != NULL else <const char*> elements.data) + at * nbytes
    return read_elements(self, descr, TAG_ARRAY, count, data, place)


# --- rows and records ---------------------------------------------------------------------------------------------------


cdef int read_columns(Nodes self, Node* node, Py_ssize_t width, Place* place) except -1:
    """A child of n items for each position or name."""
    cdef Node** children = new_children(self, node, width)
    cdef Py_ssize_t j
    cdef Place below
    below.up = place
    for j in range(width):
        if node.kind == NODE_STRUCT:
            below.kind = AT_KEY
            below.name = node.names[j]
        else:
            below.kind = AT_POSITION
            below.position = j
        children[j] = read_node(self, node.n, &below)
    node.done = 1
    return 0


cdef int claim_columns(Nodes self, Py_ssize_t n, Py_ssize_t width) except -1:
    """What the columns of n items will claim is there; single values, which claim nothing themselves, are claimed here."""
    if n == 1:
        return claim(self.d, width)
    if width and n > self.d.budget // width:
        return unbacked(self.d, <uint64_t> n * width)
    return 0


cdef int read_names(Nodes self, Node* node, ShapeSeen* shape) except -1:
    cdef Py_ssize_t i
    cdef set names = set()
    node.names = <Span*> arena(self, shape.count * sizeof(Span))
    for i in range(shape.count):
        node.names[i].data = next_text(self.d, shape.first + i, &node.names[i].size)
        names.add(node.names[i].data[:node.names[i].size])
    if len(names) != shape.count:
        return bad(self.d, "a shape of different keys", "one with a key twice")
    return 0


cdef Node* read_records(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef Node* node = numbered(self, new_node(self, NODE_STRUCT, TAG_RECORDS, n))
    cdef ShapeSeen* shape = read_shape(self.d)
    cdef Py_ssize_t count = shape.count
    read_names(self, node, shape)
    claim_columns(self, n, count)
    descend(self.d)
    read_columns(self, node, count, place)
    self.d.depth -= 1
    return node


cdef Node* read_instances(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef Node* node = numbered(self, new_node(self, NODE_STRUCT, TAG_INSTANCES, n))
    cdef uint64_t form = read_varint(self.d)
    cdef ShapeSeen* shape
    cdef Py_ssize_t count = 0
    if form:
        shape = read_shape(self.d)
        count = shape.count
        if form - 1 > <uint64_t> count:
            bad(self.d, f"at most {count} slots", form - 1)
        read_names(self, node, shape)
        claim_columns(self, n, count)
    descend(self.d)
    read_callable(self.d)
    read_columns(self, node, count, place)
    self.d.depth -= 1
    return node


cdef Node* read_rows(Nodes self, int tag, Py_ssize_t n, Place* place) except NULL:
    cdef Py_ssize_t width = read_count(self.d)
    cdef Node* node = numbered(self, new_node(self, NODE_ROWS, tag, n))
    if width == 0:
        bad(self.d, "a width of at least 1", 0)
    node.constant = tag == TAG_LIST_ROWS
    claim_columns(self, n, width)
    descend(self.d)
    read_columns(self, node, width, place)
    self.d.depth -= 1
    return node


cdef object imported(object cls):
    found = _sys.modules.get(cls.reference[0])
    for part in cls.reference[1].split("."):
        # Nothing of a module's or a class's own runs.
        found = type.__getattribute__(found, "__dict__").get(part) if isinstance(found, type) else getattr(found, "__dict__", {}).get(part)
    return found


cdef Node* read_named_rows(Nodes self, Py_ssize_t n, Place* place) except NULL:
    """Named tuples, whose class, where it is imported already, tells the names."""
    cdef Py_ssize_t width = read_count(self.d), i
    cdef Node* node = numbered(self, new_node(self, NODE_STRUCT, TAG_NAMED_ROWS, n))
    cdef object cls, found
    cdef bytes name
    claim_columns(self, n, width)
    descend(self.d)
    cls = <object> read_callable(self.d)
    if not isinstance(cls, _inspection.StandIn) or cls.reference is None:
        refuse(place, f"named tuples whose class goes by value, so that their names are told by Python code alone ({cls})")
    found = imported(cls)
    if not isinstance(found, type) or not issubclass(found, tuple):
        refuse(place, f"named tuples of {cls}, which is not there: import it first")
    fields = found.__dict__.get("_fields")
    for base in found.__mro__:
        if type(fields) is tuple:
            break
        fields = base.__dict__.get("_fields")
    if type(fields) is not tuple or len(fields) != width or not all(type(field) is str for field in fields):
        refuse(place, f"named tuples of {cls}, which has no {width} fields")
    node.names = <Span*> arena(self, width * sizeof(Span) + 1)
    for i in range(width):
        name = fields[i].encode("utf-8", "replace")
        self.kept.append(name)
        node.names[i].data = name
        node.names[i].size = len(name)
    read_columns(self, node, width, place)
    self.d.depth -= 1
    return node


# --- containers ---------------------------------------------------------------------------------------------------------


cdef Py_ssize_t open_lengths(Nodes self, Node* node) except -1:
    """The lengths of a node's n containers, still in the frame; their sum, which the frame backs."""
    cdef Decoder* d = self.d
    cdef Py_ssize_t i
    cdef uint64_t total = 0, length
    if node.n == 1:
        node.constant = read_varint(d)
    else:
        read_packed(self, node)
    for i in range(node.n):
        length = <uint64_t> length_at(node, i)
        if length > <uint64_t> d.budget:
            unbacked(d, length)
        total += length
        if total > <uint64_t> d.budget:
            unbacked(d, total)
    return <Py_ssize_t> total


cdef int read_packed(Nodes self, Node* node) except -1:
    """More than one length or index."""
    cdef Decoder* d = self.d
    cdef uint64_t width = read_varint(d)
    if width == 1:
        node.data = take_i8(d, node.n)
    elif width == 2:
        node.data = take_i16(d, node.n)
    elif width == 4:
        node.data = take_i32(d, node.n)
    elif width == 8:
        node.data = take_i64(d, node.n)
    elif width == LENGTHS_CONSTANT:
        node.constant = read_varint(d)
        if node.constant == 0:
            return bad(d, "a constant length of at least 1", 0)
    else:
        return bad(d, "an item size of 1, 2, 4 or 8", width)
    node.width = <int> width
    return 0


cdef Node* read_lists(Nodes self, int tag, Py_ssize_t n, Place* place) except NULL:
    cdef Node* node = numbered(self, new_node(self, NODE_LIST, tag, n))
    cdef Place below
    cdef Py_ssize_t total
    descend(self.d)
    total = open_lengths(self, node)
    below.up = place
    below.kind = AT_ITEM
    new_children(self, node, 1)[0] = read_node(self, total, &below)
    self.d.depth -= 1
    node.done = 1
    return node


cdef Node* read_dicts(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef Node* node = numbered(self, new_node(self, NODE_DICT, TAG_DICT, n))
    cdef Node** children
    cdef Place below
    cdef Py_ssize_t total
    descend(self.d)
    total = open_lengths(self, node)
    below.up = place
    below.kind = AT_ITEM
    children = new_children(self, node, 2)
    children[0] = read_node(self, total, &below)
    children[1] = read_node(self, total, &below)
    self.d.depth -= 1
    node.done = 1
    return node


cdef Node* read_frozendicts(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef int tag = read_byte(self.d)
    if tag == TAG_RECORDS:
        return read_records(self, n, place)
    if tag == TAG_DICT:
        return read_dicts(self, n, place)
    self.d.at -= 1
    bad(self.d, "the tag of dicts", tag)


# --- structure ----------------------------------------------------------------------------------------------------------


cdef Node* read_groups(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef Decoder* d = self.d
    cdef uint64_t groups = read_varint(d)
    cdef Node* node
    cdef Py_ssize_t g, i, m, total = 0
    cdef Py_ssize_t found[MAX_GROUPS]
    if not 2 <= groups <= MAX_GROUPS:
        bad(d, f"2 to {MAX_GROUPS} groups", groups)
    node = new_node(self, NODE_GROUPS, TAG_GROUPS, n)
    node.data = take_bits(d, n) if groups == 2 else <const uint8_t*> take_i8(d, n)
    new_children(self, node, <Py_ssize_t> groups)
    for g in range(<Py_ssize_t> groups):
        found[g] = 0
    for i in range(n):
        g = group_at(node, i)
        if g >= <Py_ssize_t> groups:
            bad(d, f"one of {groups} groups", g)
        found[g] += 1
    for g in range(<Py_ssize_t> groups):
        m = read_count(d)
        if m == 0 or m != found[g]:
            bad(d, f"a group of {found[g]} items", m)
        node.children[g] = read_node(self, m, place)
        total += m
    return node


cdef inline Py_ssize_t group_at(const Node* node, Py_ssize_t i) noexcept:
    if node.count == 2:
        return bit_at(<const uint8_t*> node.data, i)
    return (<const uint8_t*> node.data)[i]


cdef Node* read_indexed(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef Py_ssize_t i, m = read_count(self.d)
    cdef Node* node
    cdef uint64_t index, largest = 0
    if m == 0:
        bad(self.d, "at least one distinct item", 0)
    node = parent(self, NODE_TAKE, TAG_INDEXED, n, read_node(self, m, place))
    if m == 1:
        node.constant = 0
    elif n == 1:
        node.constant = read_varint(self.d)
    else:
        read_packed(self, node)
    if node.data == NULL:
        # One index, or the same for all: as an array like the others.
        largest = node.constant
        node.data = arena(self, n * sizeof(uint64_t))
        node.made = 1
        node.width = 8
        for i in range(n):
            (<uint64_t*> node.data)[i] = largest
    for i in range(n):
        index = <uint64_t> unsigned_at(node.data, node.width, i)
        largest = index if index > largest else largest
    if largest >= <uint64_t> m:
        bad(self.d, f"an index below {m}", largest)
    return node


cdef Node* read_text_references(Nodes self, Py_ssize_t n) except NULL:
    cdef Decoder* d = self.d
    cdef Py_ssize_t i
    cdef uint64_t* indices = <uint64_t*> arena(self, n * sizeof(uint64_t))
    cdef Node* node
    for i in range(n):
        indices[i] = read_varint(d)
        if indices[i] >= <uint64_t> d.text:
            bad(d, f"one of {d.text} items of text", indices[i])
    node = parent(self, NODE_TAKE, TAG_TEXT_REF, n, read_texts(self, NODE_TEXT, TAG_TEXT_REF, 0, d.text))
    node.data = indices
    node.width = 8
    node.made = 1
    return node


cdef bint extends(Node* before, Node* next) noexcept:
    """Make one node of two leaves that lie one after the other, if they do."""
    cdef const char* end = <const char*> before.data + before.n * before.width
    if before.kind != next.kind or before.tag != next.tag or before.made or next.made:
        return False
    if before.kind == NODE_NULL or (before.kind == NODE_TRUTH and before.constant == next.constant):
        before.n += next.n
        return True
    if before.kind == NODE_INT and before.width == 0:
        end += before.n
    elif before.kind == NODE_TIMESTAMP:
        if before.zone != next.zone or before.constant != next.constant:
            return False
    elif not (before.kind == NODE_INT or before.kind == NODE_FLOAT or before.kind == NODE_DATE or before.kind == NODE_TIME
              or before.kind == NODE_DURATION or NODE_TEXT <= before.kind <= NODE_DECIMAL):
        return False
    if before.width != next.width or next.data != end:
        return False
    before.n += next.n
    return True


cdef Node* read_generic(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef Buffer parts
    cdef Node* node
    cdef Py_ssize_t i
    parts.data = NULL
    parts.size = parts.capacity = 0
    try:
        for i in range(n):  # no-cython-lint: only counted
            node = read_run(self, 1, read_byte(self.d), place)
            if not (parts.size and extends((<Node**> (parts.data + parts.size) - 1)[0], node)) \
                    and buffer_append(&parts, &node, sizeof(Node*)) < 0:
                raise MemoryError()
        return concatenated(self, TAG_GENERIC, <Node**> parts.data, parts.size // sizeof(Node*), n)
    finally:
        buffer_release(&parts)


cdef Node* read_node(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef Decoder* d = self.d
    cdef Buffer parts
    cdef Node* node
    cdef Py_ssize_t k, left = n
    if n == 0:
        return new_node(self, NODE_NULL, TAG_NONE, 0)
    if n > 1:
        claim(d, n)
    if fastser_stack_short(d.stack_limit):
        too_deep(d, True)
    parts.data = NULL
    parts.size = parts.capacity = 0
    try:
        while left > 1 and d.at < d.end and d.at[0] == TAG_CONCAT:
            d.at += 1
            k = read_count(d)
            if not 0 < k < left:
                bad(d, f"a part of 1 to {left - 1} items", k)
            node = read_node(self, k, place)
            if buffer_append(&parts, &node, sizeof(Node*)) < 0:
                raise MemoryError()
            left -= k
        if parts.size == 0:
            return read_run(self, n, read_byte(d), place)
        node = read_run(self, left, read_byte(d), place)
        if buffer_append(&parts, &node, sizeof(Node*)) < 0:
            raise MemoryError()
        return concatenated(self, TAG_CONCAT, <Node**> parts.data, parts.size // sizeof(Node*), n)
    finally:
        buffer_release(&parts)


cdef Node* read_run(Nodes self, Py_ssize_t n, int tag, Place* place) except NULL:
    cdef Decoder* d = self.d
    cdef Node* node
    cdef const uint8_t* bits
    cdef uint64_t safety
    if tag >= TAG_SMALL_INT and n == 1:
        return leaf(self, NODE_INT, TAG_SMALL_INT, 1, d.at - 1)
    if tag == TAG_TEXT or tag == TAG_DECIMAL:
        if n > d.view.text_count - d.text:
            short_column(d, "text", n, d.view.text_count - d.text)
        d.text += n
        return read_texts(self, NODE_TEXT if tag == TAG_TEXT else NODE_DECIMAL, tag, d.text - n, n)
    if tag == TAG_INT8:
        return leaf(self, NODE_INT, tag, n, take_i8(d, n), 1)
    if tag == TAG_INT16:
        return leaf(self, NODE_INT, tag, n, take_i16(d, n), 2)
    if tag == TAG_INT32:
        return leaf(self, NODE_INT, tag, n, take_i32(d, n), 4)
    if tag == TAG_INT64:
        return leaf(self, NODE_INT, tag, n, take_i64(d, n), 8)
    if tag == TAG_FLOAT:
        return leaf(self, NODE_FLOAT, tag, n, take_f64(d, n), 8)
    if tag == TAG_BOOLS:
        return leaf(self, NODE_BITS, tag, n, take_bits(d, n))
    if tag == TAG_NONE:
        return new_node(self, NODE_NULL, tag, n)
    if tag == TAG_FALSE or tag == TAG_TRUE:
        node = new_node(self, NODE_TRUTH, tag, n)
        node.constant = tag == TAG_TRUE
        return node
    if tag == TAG_RECORDS:
        return read_records(self, n, place)
    if tag == TAG_LIST or tag == TAG_TUPLE or tag == TAG_SET or tag == TAG_FROZENSET:
        return read_lists(self, tag, n, place)
    if tag == TAG_DATETIME:
        return leaf(self, NODE_TIMESTAMP, tag, n, take_i64(d, n), 8)
    if tag == TAG_DATETIME_ZONED or tag == TAG_TIME_ZONED:
        return read_zoned(self, tag, n, place)
    if tag == TAG_DATE:
        return leaf(self, NODE_DATE, tag, n, take_i32(d, n), 4)
    if tag == TAG_TIME:
        return leaf(self, NODE_TIME, tag, n, take_i64(d, n), 8)
    if tag == TAG_TIMEDELTA:
        return leaf(self, NODE_DURATION, tag, n, take_i64(d, n), 8)
    if tag == TAG_LONG_TIMEDELTA:
        node = leaf(self, NODE_LONG_DURATION, tag, n, take_i32(d, n))
        take_i32(d, n)
        take_i32(d, n)
        return node
    if tag == TAG_BYTES:
        return read_data(self, tag, n)
    if tag == TAG_BIG_INT:
        return unsigned(self, read_data(self, tag, n), place)
    if tag == TAG_BYTEARRAY:
        node = numbered(self, read_data(self, tag, n))
        node.done = 1
        return node
    if tag == TAG_BODY_TEXT or tag == TAG_BODY_BYTES or tag == TAG_BODY_BYTEARRAY:
        return read_long(self, tag, n)
    if tag == TAG_TEXT_REF:
        return read_text_references(self, n)
    if tag == TAG_UUID:
        safety = read_varint(d)
        node = read_data(self, tag, 1)
        return uuids(self, node, n, safety)
    if tag == TAG_NULLABLE:
        bits = take_bits(d, n)
        node = parent(self, NODE_NULLABLE, tag, n, read_node(self, n, place))
        node.data = bits
        return node
    if tag == TAG_GROUPS:
        return read_groups(self, n, place)
    if tag == TAG_INDEXED:
        return read_indexed(self, n, place)
    if tag == TAG_REF:
        return read_references(self, n, place)
    if tag == TAG_GENERIC and n > 1:
        return read_generic(self, n, place)
    if tag == TAG_LIST_ROWS or tag == TAG_TUPLE_ROWS:
        return read_rows(self, tag, n, place)
    if tag == TAG_NAMED_ROWS:
        return read_named_rows(self, n, place)
    if tag == TAG_INSTANCES:
        return read_instances(self, n, place)
    if tag == TAG_DICT:
        return read_dicts(self, n, place)
    if tag == TAG_FROZENDICT:
        return read_frozendicts(self, n, place)
    if tag == TAG_OPTIONAL:
        read_node(self, 1, place)    # a sentinel, which is refused
        refuse(place, "a value that stands for what is missing")
    if tag == TAG_ARRAY or tag == TAG_ARRAY_RUN or tag == TAG_OBJECT_ARRAY:
        return read_arrays(self, tag, n, place)
    if tag == TAG_SCALAR:
        return read_scalars(self, n, place)
    if tag == TAG_CALL or tag == TAG_ARRAYS_OF:
        return self.walk_calls(self, tag, n, place)
    if tag == TAG_GLOBAL:
        return read_globals(self, n, place)
    if tag in OTHERS:
        refuse(place, OTHERS[tag])
    d.at -= 1
    bad(d, f"the tag of {n} items", tag)


cdef Node* uuids(Nodes self, Node* data, Py_ssize_t n, uint64_t safety) except NULL:
    cdef Py_ssize_t size = 0
    cdef const char* start = bytes_at(data, 0, &size)
    if safety > 2 or n > size // 16 or size != n * 16:
        bad(self.d, f"{n} UUIDs of 16 bytes", size)
    return leaf(self, NODE_UUID, TAG_UUID, n, start, 16)


cdef Node* unsigned(Nodes self, const Node* data, Place* place) except NULL:
    """Of the bytes of ints, the lowest first, which are those of 64 bits without a sign."""
    cdef uint64_t* values = <uint64_t*> arena(self, data.n * 8)
    cdef Node* node
    cdef Py_ssize_t i, k, size = 0
    cdef const char* at
    for i in range(data.n):
        at = bytes_at(data, i, &size)
        for k in range(8, size):
            if at[k] != 0:
                refuse(place, "an int of more than 64 bits")
        # The highest bit of all is the sign; without a byte beyond the eighth it is one of the 64.
        if size == 0 or (size <= 8 and at[size - 1] & 0x80):
            refuse(place, "an int of more than 64 bits")
        memcpy(&values[i], at, min(size, 8))
    node = leaf(self, NODE_UNSIGNED, TAG_BIG_INT, data.n, values, 8)
    node.made = 1
    return node


cdef Node* read_scalars(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef PyObject* descr = read_dtype(self.d)
    cdef Py_ssize_t size = 0, itemsize = fastser_descr_itemsize(descr)
    cdef const char* data = next_data(self.d, &size)
    self.kept.append(<object> descr)
    # An empty np.str_ or np.bytes_ has none.
    if (itemsize == 0 and (<object> descr).char not in "US") or (itemsize and n > PY_SSIZE_T_MAX // itemsize) or size != n * itemsize:
        bad(self.d, f"{n} items of {itemsize} bytes", size)
    return read_elements(self, descr, TAG_SCALAR, n, data, place)


cdef Node* read_globals(Nodes self, Py_ssize_t n, Place* place) except NULL:
    """Of what is found by its name, pandas.NA is a null."""
    cdef Decoder* d = self.d
    cdef Node* node = numbered(self, new_node(self, NODE_NULL, TAG_GLOBAL, n))
    cdef Py_ssize_t i, size = 0
    cdef const char* text
    node.done = 1
    for i in range(n):  # no-cython-lint: only counted
        text = next_text(d, d.text, &size)
        module = text[:size].decode("utf-8", "replace")
        text = next_text(d, d.text + 1, &size)
        name = text[:size].decode("utf-8", "replace")
        if (module, name) not in PANDAS_NA:
            refuse(place, f"an object that is found by its name ({module}.{name})")
        d.text += 2
    return node


cdef tuple PANDAS_NA = (("pandas", "NA"), ("pandas._libs.missing", "NA"))

# What Arrow has no type for, by tag.
cdef dict OTHERS = {
    TAG_ELLIPSIS: "Ellipsis", TAG_NOT_IMPLEMENTED: "NotImplemented",
    TAG_COMPLEX: "a complex", TAG_SURROGATE_TEXT: "a str with lone surrogates", TAG_UTC: "a time zone",
    TAG_TIMEZONE: "a time zone", TAG_ZONEINFO: "a time zone", TAG_RANGE: "a range", TAG_SLICE: "a slice", TAG_TEMPLATE: "a template string",
    TAG_HOOK: "an object that a hook makes", TAG_MEMORY: "a PickleBuffer", TAG_ARROW: "Arrow data as a value",
    TAG_DTYPE: "a dtype",
}


cdef int check_end(Nodes self) except -1:
    if self.d.at != self.d.end:
        return bad(self.d, "the end of the tags", f"{self.d.end - self.d.at} more bytes")
    return 0
