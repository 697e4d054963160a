"""Pieces to Arrow arrays: the frame's own memory where it is one, else new memory that they are copied to."""

cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT32_MIN, INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from fastser._core.c.buffer cimport Buffer, buffer_release
from fastser._core.c.capi cimport PY_SSIZE_T_MAX
from fastser._core.c.stack cimport fastser_stack_short
from fastser._core.decode.arrays cimport lent_memory
from fastser._core.decode.bodies cimport BodyRead
from fastser._core.decode.errors cimport too_deep
from fastser._core.format.tags cimport TAG_SET, TAG_FROZENSET, TAG_LIST, TAG_INSTANCES, TAG_NAMED_ROWS
from fastser._core.tables.decimals cimport decimal_parse, decimal_scale, DECIMAL_DIGITS
from fastser._core.tables.kernels cimport (
    fastser_count_ones, fastser_exact_doubles, fastser_narrow, fastser_pack_bools, fastser_scatter, fastser_set_bits,
    fastser_shorten_offsets, fastser_take, fastser_to_64, fastser_to_double, fastser_to_same,
)
from fastser._core.tables.nodes cimport (
    arena, AT_ITEM, AT_KEY, bit_at, bytes_at, length_at, Node, NODE_BITS, NODE_BYTES_OF_BOOL, NODE_DECIMAL,
    NODE_DURATION, NODE_FIXED, NODE_FLOAT, NODE_INT, NODE_LIST, NODE_LONG_BINARY, NODE_LONG_DECIMAL, NODE_LONG_DURATION, NODE_LONG_TEXT,
    NODE_NULLABLE, NODE_STRUCT, NODE_TAKE, NODE_TEXT, NODE_TIMESTAMP, NODE_TRUTH, NODE_UNSIGNED, NODE_UUID, Place,
    refuse, Span, spend,
)
from fastser._core.tables.pieces cimport (
    append_piece, Field, Fields, fields_release, flatten, gather_fields, Piece, piece_count, source_of, starts_of,
    target_of, without_nulls,
)
from fastser._core.tables.widths cimport to_nanoseconds, widen
from fastser._core.tables.zones cimport check_clock, long_durations, to_utc, zone_name
from fastser._core.values.arrays cimport fastser_plain_import

from fastser import errors as _errors

cnp.import_array()
fastser_plain_import()


cdef enum:
    NULLABLE = 2              # the flag of a field
    MAX_LEVELS = 64           # which is what importers take
    FIELD_COST = 256          # values that a column is counted as
    SHORT = 0x7FFFFFFF        # what 32-bit offsets reach

    # What the values of a column can be.
    IS_NULL = 0
    IS_BOOL = 1
    IS_INT = 2
    IS_FLOAT = 3
    IS_FIXED = 4
    IS_TEXT = 5
    IS_BINARY = 6
    IS_DECIMAL = 7
    IS_UUID = 8
    IS_DATE = 9
    IS_TIME = 10
    IS_DURATION = 11
    IS_TIMESTAMP = 12
    IS_LIST = 13
    IS_ROWS = 14
    IS_STRUCT = 15
    IS_UNSIGNED = 16
    IS_MIXED = 17

cdef tuple CLASS_NAMES = (
    "None", "bool", "int", "float", "NumPy elements", "str", "bytes", "Decimal", "UUID", "date", "time", "timedelta", "datetime",
    "list", "tuple", "dict", "int beyond 63 bits")

# Two entries of key and value, each with its length before it.
cdef bytes UUID_METADATA = b"".join(
    len(part).to_bytes(4, "little") + part if isinstance(part, bytes) else part.to_bytes(4, "little")
    for part in (2, b"ARROW:extension:name", b"arrow.uuid", b"ARROW:extension:metadata", b""))


cdef class Table:
    def __cinit__(self):
        self.buffers = []
        self.borrowed = {}


# --- buffers ------------------------------------------------------------------------------------------------------------


cdef bytes new_memory(Py_ssize_t size):
    """Not filled yet."""
    return PyBytes_FromStringAndSize(NULL, size)


cdef bytes new_zeros(Py_ssize_t size):
    cdef bytes memory = new_memory(size)
    memset(PyBytes_AS_STRING(memory), 0, size)
    return memory


cdef int add(Table self, object memory) except -1:
    self.buffers.append(memory)
    return len(self.buffers)


cdef int borrow(Table self, const void* data, Py_ssize_t size, int alignment) except -1:
    """The number of a buffer that is the frame's own memory, or a copy where that is not aligned."""
    cdef tuple key
    cdef BodyRead piece
    if size == 0 or <size_t> data % alignment:
        return add(self, PyBytes_FromStringAndSize(<const char*> data if size else NULL, size) if size else b"")
    key = (<size_t> data, size)
    found = self.borrowed.get(key)
    if found is None:
        piece.data = <const char*> data
        piece.size = size
        piece.index = 0
        found = self.borrowed[key] = add(self, lent_memory(self.nodes.d, &piece, True))
    return found


# --- what a column is ---------------------------------------------------------------------------------------------------


cdef int class_of(const Node* node) noexcept:
    if node.kind <= NODE_BYTES_OF_BOOL:
        return IS_BOOL if node.kind else IS_NULL
    if node.kind <= NODE_FIXED:
        return IS_INT + node.kind - NODE_INT
    if node.kind <= NODE_DECIMAL:
        return IS_TEXT + node.kind - NODE_TEXT
    if node.kind <= NODE_LONG_BINARY:
        return IS_TEXT + node.kind - NODE_LONG_TEXT
    if node.kind <= NODE_DURATION:
        return IS_UUID + node.kind - NODE_UUID
    if node.kind == NODE_LONG_DURATION:
        return IS_DURATION
    if node.kind == NODE_UNSIGNED:
        return IS_UNSIGNED
    if node.kind == NODE_LONG_DECIMAL:
        return IS_DECIMAL
    if node.kind <= NODE_STRUCT:
        return IS_TIMESTAMP + node.kind - NODE_TIMESTAMP
    return IS_STRUCT


cdef str class_name(int cls, const Node* node):
    if node.kind == NODE_LIST and node.tag != TAG_LIST:
        if node.tag == TAG_SET or node.tag == TAG_FROZENSET:
            return "set"
        return "array" if node.tag > TAG_INSTANCES else "tuple"
    if node.tag == TAG_INSTANCES or node.tag == TAG_NAMED_ROWS:
        return "instance"
    if cls == IS_FIXED:
        return f"NumPy's {node.format.decode()!r}"
    if cls == IS_ROWS and node.constant:
        return "list"
    return CLASS_NAMES[cls]


cdef int common_class(Table self, const Buffer* pieces, Place* place, int level) except -1:
    """What all the values are, IS_MIXED where they have no type in common."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef const Piece* first = piece
    cdef Py_ssize_t i
    cdef unsigned int classes = 0
    cdef int cls
    cdef bint lists = True, alike = True
    for i in range(piece_count(pieces)):
        piece = first + i
        cls = class_of(piece.node)
        classes |= 1u << cls
        if cls == IS_FIXED and piece.node.format != first.node.format:
            return IS_MIXED
        if cls == IS_ROWS:
            lists = lists and piece.node.constant
            alike = alike and piece.node.count == first.node.count
    if classes == 0:
        return IS_NULL
    if classes & classes - 1 == 0:
        if cls == IS_ROWS and (not alike or (lists and rows_are_lists(self, pieces, place, level))):
            return IS_LIST
        return cls
    if classes == (1 << IS_INT | 1 << IS_FLOAT):
        return IS_FLOAT
    if classes == (1 << IS_LIST | 1 << IS_ROWS):
        return IS_LIST
    if classes == (1 << IS_INT | 1 << IS_UNSIGNED):
        return IS_UNSIGNED
    return IS_MIXED


cdef bint rows_are_lists(Table self, const Buffer* pieces, Place* place, int level) except -1:
    """Whether the values at all positions of rows have a type in common."""
    cdef Buffer flat
    cdef Piece part
    cdef const Piece* piece
    cdef Py_ssize_t i, j
    if level > MAX_LEVELS:
        return False
    flat.data = NULL
    flat.size = flat.capacity = 0
    try:
        for i in range(piece_count(pieces)):
            piece = <const Piece*> pieces.data + i
            for j in range(piece.node.count):
                part = piece[0]
                part.node = piece.node.children[j]
                flatten(self.nodes, &part, &flat, place)
        return common_class(self, &flat, place, level + 1) != IS_MIXED
    finally:
        buffer_release(&flat)


cdef object mixture(const Buffer* pieces):
    cdef const Piece* piece
    cdef Py_ssize_t i
    cdef list names = []
    for i in range(piece_count(pieces)):
        piece = <const Piece*> pieces.data + i
        name = class_name(class_of(piece.node), piece.node)
        if name not in names:
            names.append(name)
        if len(names) == 4:
            break
    return _errors.mixed_column(names)


# --- validity -----------------------------------------------------------------------------------------------------------


cdef inline bint is_slice(const Buffer* pieces, Py_ssize_t n) noexcept:
    """Whether a column is n items of one node as they lie there."""
    cdef const Piece* piece = <const Piece*> pieces.data
    return piece_count(pieces) == 1 and piece.count == n and piece.src == NULL and piece.dst == NULL


cdef tuple validity(Table self, const Buffer* pieces, Py_ssize_t n):
    """(count of nulls, buffer number)."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t i, k, total = 0, nulls
    cdef uint8_t* bits
    cdef bytes memory
    cdef bint all_valid = True
    cdef int64_t at
    if is_slice(pieces, n):
        if piece.valid == NULL:
            return 0, 0
        if piece.src_from & 7 == 0:
            bits = <uint8_t*> piece.valid + (piece.src_from >> 3)
            nulls = n - fastser_count_ones(bits, n)
            return nulls, borrow(self, bits, (n + 7) >> 3, 1) if nulls else 0
    for k in range(piece_count(pieces)):
        total += piece[k].count
        all_valid = all_valid and piece[k].valid == NULL
    if all_valid and total == n:
        return 0, 0
    memory = new_zeros((n + 7) >> 3)
    bits = <uint8_t*> PyBytes_AS_STRING(memory)
    for k in range(piece_count(pieces)):
        if piece[k].valid == NULL and piece[k].dst == NULL:
            fastser_set_bits(bits, piece[k].dst_from, piece[k].dst_from + piece[k].count)
            continue
        for i in range(piece[k].count):
            at = target_of(&piece[k], i)
            if piece[k].valid == NULL or bit_at(piece[k].valid, source_of(&piece[k], i)):
                bits[at >> 3] |= <uint8_t> (1 << (at & 7))
    nulls = n - fastser_count_ones(bits, n)
    return nulls, add(self, memory) if nulls else 0


# --- values -------------------------------------------------------------------------------------------------------------


cdef int scatter(const Buffer* pieces, char* out, fastser_scatter (*loop_for)(int) noexcept nogil, int width) except -1:
    """Copy the values of all pieces to their places; ``width`` where the nodes do not tell."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t k
    cdef fastser_scatter loop
    with nogil:
        for k in range(piece_count(pieces)):
            loop = loop_for(piece[k].node.width if width < 0 else width)
            loop(<const char*> piece[k].node.data, piece[k].count, piece[k].src, piece[k].src_from, piece[k].dst,
                 piece[k].dst_from, out)
    return 0


cdef int values_of(Table self, const Buffer* pieces, Py_ssize_t n, int width) except -1:
    """The buffer of n values of one width, which is the frame's own where they lie there as they are."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef bytes memory
    if is_slice(pieces, n) and not piece.node.made:
        return borrow(self, <const char*> piece.node.data + piece.src_from * width, n * width, width if width <= 8 else 1)
    memory = new_zeros(n * width)
    scatter(pieces, PyBytes_AS_STRING(memory), fastser_to_same, width)
    return add(self, memory)


cdef int bools_of(Table self, const Buffer* pieces, Py_ssize_t n) except -1:
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t i, k
    cdef int64_t from_, at
    cdef bytes memory
    cdef uint8_t* bits
    cdef const Node* node
    cdef bint bit
    if is_slice(pieces, n) and piece.node.kind == NODE_BITS and piece.src_from & 7 == 0:
        return borrow(self, <const char*> piece.node.data + (piece.src_from >> 3), (n + 7) >> 3, 1)
    memory = new_zeros((n + 7) >> 3)
    bits = <uint8_t*> PyBytes_AS_STRING(memory)
    if is_slice(pieces, n) and piece.node.kind == NODE_BYTES_OF_BOOL:
        fastser_pack_bools(<const char*> piece.node.data + piece.src_from, n, bits)
        return add(self, memory)
    for k in range(piece_count(pieces)):
        node = piece[k].node
        if node.kind == NODE_TRUTH and piece[k].dst == NULL:
            if node.constant:
                fastser_set_bits(bits, piece[k].dst_from, piece[k].dst_from + piece[k].count)
            continue
        for i in range(piece[k].count):
            from_, at = source_of(&piece[k], i), target_of(&piece[k], i)
            if node.kind == NODE_BITS:
                bit = bit_at(<const uint8_t*> node.data, from_)
            else:
                bit = node.constant if node.kind == NODE_TRUTH else (<const char*> node.data)[from_] != 0
            bits[at >> 3] |= <uint8_t> (bit << (at & 7))
    return add(self, memory)


cdef tuple ints_of(Table self, const Buffer* pieces, Py_ssize_t n):
    """(format, buffer): 64 bits, or with exact= as many as the widest of them has."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t k
    cdef int width = 1
    cdef bytes memory
    for k in range(piece_count(pieces)):
        width = max(width, piece[k].node.width)
    if not self.exact:
        width = 8
    if is_slice(pieces, n) and piece.node.width == width:
        return "csil"[width.bit_length() - 1], values_of(self, pieces, n, width)
    memory = new_memory(n * 8) if is_slice(pieces, n) else new_zeros(n * 8)
    scatter(pieces, PyBytes_AS_STRING(memory), fastser_to_64, -1)
    if width < 8:
        fastser_narrow(PyBytes_AS_STRING(memory), n, width)
        memory = memory[:n * width]
    return "csil"[width.bit_length() - 1], add(self, memory)


cdef int unsigned_of(Table self, const Buffer* pieces, Py_ssize_t n, Place* place) except -1:
    """The buffer of 64 bits without a sign: some values need them all, and none may be below 0."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t i, k
    cdef int64_t at
    cdef bytes memory = new_zeros(n * 8)
    cdef const int64_t* values = <const int64_t*> PyBytes_AS_STRING(memory)
    scatter(pieces, PyBytes_AS_STRING(memory), fastser_to_64, -1)
    for k in range(piece_count(pieces)):
        if piece[k].node.kind != NODE_INT:
            continue
        for i in range(piece[k].count):
            at = source_of(&piece[k], i)
            if (piece[k].valid == NULL or bit_at(piece[k].valid, at)) and values[target_of(&piece[k], i)] < 0:
                return refuse(place, _errors.mixed_signs(values[target_of(&piece[k], i)]))
    return add(self, memory)


cdef int floats_of(Table self, const Buffer* pieces, Py_ssize_t n, Place* place) except -1:
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t k
    cdef int64_t odd = 0
    cdef bytes memory
    cdef char* out
    if is_slice(pieces, n) and piece.node.kind == NODE_FLOAT:
        return values_of(self, pieces, n, 8)
    memory = new_zeros(n * 8)
    out = PyBytes_AS_STRING(memory)
    for k in range(piece_count(pieces)):
        if piece[k].node.kind == NODE_FLOAT:
            fastser_to_same(8)(<const char*> piece[k].node.data, piece[k].count, piece[k].src, piece[k].src_from,
                               piece[k].dst, piece[k].dst_from, out)
            continue
        if piece[k].node.width == 8 and not fastser_exact_doubles(
                <const char*> piece[k].node.data, piece[k].count, piece[k].src, piece[k].src_from, &odd):
            return refuse(place, _errors.inexact_double(odd))
        fastser_to_double(piece[k].node.width)(
            <const char*> piece[k].node.data, piece[k].count, piece[k].src, piece[k].src_from, piece[k].dst, piece[k].dst_from, out)
    return add(self, memory)


cdef tuple bytes_of(Table self, const Buffer* pieces, Py_ssize_t n):
    """(whether offsets have 64 bits, buffer of offsets, buffer of bytes)."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef const Node* node
    cdef Py_ssize_t i, k, size = 0
    cdef int64_t total, at
    cdef const int64_t* wide
    cdef const char* text
    cdef bytes memory, content
    cdef int64_t* offsets
    if is_slice(pieces, n) and piece.node.kind <= NODE_DECIMAL:
        node = piece.node
        if node.width == 4:
            total = (<const int32_t*> node.data)[piece.src_from + n]
            return (False, borrow(self, <const int32_t*> node.data + piece.src_from, (n + 1) * 4, 4),
                    borrow(self, node.base, total, 1))
        wide = <const int64_t*> node.data + piece.src_from
        if wide[n] - wide[0] > SHORT:
            return True, borrow(self, wide, (n + 1) * 8, 8), borrow(self, node.base, wide[n], 1)
        memory = new_memory((n + 1) * 4)
        fastser_shorten_offsets(wide, n, <int32_t*> PyBytes_AS_STRING(memory))
        return False, add(self, memory), borrow(self, node.base + wide[0], wide[n] - wide[0], 1)
    memory = new_zeros((n + 1) * 8)
    offsets = <int64_t*> PyBytes_AS_STRING(memory)
    for k in range(piece_count(pieces)):
        for i in range(piece[k].count):
            at = source_of(&piece[k], i)
            if piece[k].valid == NULL or bit_at(piece[k].valid, at):
                bytes_at(piece[k].node, at, &size)
                offsets[target_of(&piece[k], i) + 1] = size
    total = 0
    for i in range(n):
        if offsets[i + 1] > PY_SSIZE_T_MAX - total:
            raise MemoryError()
        total += offsets[i + 1]
        offsets[i + 1] = total
    content = new_memory(total)
    for k in range(piece_count(pieces)):
        for i in range(piece[k].count):
            at = source_of(&piece[k], i)
            if piece[k].valid == NULL or bit_at(piece[k].valid, at):
                text = bytes_at(piece[k].node, at, &size)
                memcpy(PyBytes_AS_STRING(content) + offsets[target_of(&piece[k], i)], text, size)
    if total <= SHORT:
        fastser_shorten_offsets(offsets, n, <int32_t*> offsets)
        memory = memory[:(n + 1) * 4]
    return total > SHORT, add(self, memory), add(self, content)


cdef tuple decimals_of(Table self, const Buffer* pieces, Py_ssize_t n, Place* place):
    """(format, buffer) of 128-bit decimals, whose scale is that of the most digits after the point."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t i, k, size = 0
    cdef int64_t at
    cdef int scale = 0, one
    cdef const char* text
    cdef bytes memory = new_zeros(n * 16)
    for k in range(piece_count(pieces)):
        for i in range(piece[k].count):
            at = source_of(&piece[k], i)
            if piece[k].valid != NULL and not bit_at(piece[k].valid, at):
                continue
            text = bytes_at(piece[k].node, at, &size)
            one = decimal_scale(text, size)
            if one < 0:
                refuse(place, _errors.odd_decimal(text[:min(size, 80)]))
            scale = max(scale, one)
    for k in range(piece_count(pieces)):
        for i in range(piece[k].count):
            at = source_of(&piece[k], i)
            if piece[k].valid != NULL and not bit_at(piece[k].valid, at):
                continue
            text = bytes_at(piece[k].node, at, &size)
            if not decimal_parse(text, size, scale, PyBytes_AS_STRING(memory) + 16 * target_of(&piece[k], i)):
                refuse(place, _errors.wide_decimal(text[:min(size, 80)], scale))
    return f"d:{DECIMAL_DIGITS},{scale}", add(self, memory)


# --- nested columns -----------------------------------------------------------------------------------------------------


cdef tuple lists_of(Table self, const Buffer* pieces, Py_ssize_t n, Place* place, int level):
    """(whether offsets have 64 bits, buffer of offsets, child)."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Node* node
    cdef Py_ssize_t i, k
    cdef int64_t total = 0, at
    cdef bytes memory
    cdef int64_t* offsets
    cdef const int64_t* starts
    cdef Place below
    cdef Buffer content
    cdef bint whole
    below.up = place
    below.kind = AT_ITEM
    content.data = NULL
    content.size = content.capacity = 0
    memory = new_zeros((n + 1) * 8)
    offsets = <int64_t*> PyBytes_AS_STRING(memory)
    whole = is_slice(pieces, n) and piece.node.kind == NODE_LIST
    for k in range(piece_count(pieces)):
        node = piece[k].node
        for i in range(piece[k].count):
            at = source_of(&piece[k], i)
            if whole or piece[k].valid == NULL or bit_at(piece[k].valid, at):
                offsets[target_of(&piece[k], i) + 1] = length_at(node, at) if node.kind == NODE_LIST else node.count
    for i in range(n):
        if offsets[i + 1] > INT64_MAX // 16 - total:
            refuse(place, _errors.TOO_SPREAD)
        total += offsets[i + 1]
        offsets[i + 1] = total
    try:
        for k in range(piece_count(pieces)):
            node = piece[k].node
            starts = starts_of(self.nodes, node) if node.kind == NODE_LIST else NULL
            list_contents(self, &piece[k], starts, offsets, whole, &content, &below)
        child = make_column(self, &content, total, "item", &below, level + 1)
    finally:
        buffer_release(&content)
    if total <= SHORT:
        fastser_shorten_offsets(offsets, n, <int32_t*> offsets)
        memory = memory[:(n + 1) * 4]
    return total > SHORT, add(self, memory), child


cdef int list_contents(
    Table self, const Piece* piece, const int64_t* starts, const int64_t* offsets, bint whole, Buffer* content, Place* place,
) except -1:
    """Where the items of lists, of which those at ``starts`` are all, or of rows go in the column of their contents."""
    cdef Piece part, chosen
    cdef int64_t* src
    cdef int64_t* dst
    cdef int64_t at, to, count = 0, j
    cdef Py_ssize_t i, position
    memset(&part, 0, sizeof(Piece))
    if starts != NULL and piece.src == NULL and piece.dst == NULL and (whole or piece.valid == NULL):
        part.node = piece.node.children[0]
        part.src_from = starts[piece.src_from]
        part.dst_from = offsets[piece.dst_from]
        part.count = starts[piece.src_from + piece.count] - part.src_from
        return append_piece(content, &part)
    part = piece[0]
    without_nulls(self.nodes, &part, place)
    chosen = part
    for i in range(part.count):
        at = target_of(&part, i)
        count += offsets[at + 1] - offsets[at]
    spend(self.nodes, 2 * count, place)
    src = <int64_t*> arena(self.nodes, count * 8 + 1)
    dst = <int64_t*> arena(self.nodes, count * 8 + 1)
    count = 0
    if starts != NULL:
        for i in range(part.count):
            at = source_of(&part, i)
            to = offsets[target_of(&part, i)]
            for j in range(starts[at + 1] - starts[at]):
                src[count] = starts[at] + j
                dst[count] = to + j
                count += 1
        part.node = part.node.children[0]
        part.src = src
        part.dst = dst
        part.count = count
        return append_piece(content, &part)
    for position in range(piece.node.count):
        part.node = piece.node.children[position]
        part.dst = dst + position * part.count
        for i in range(part.count):
            dst[position * part.count + i] = offsets[target_of(&chosen, i)] + position
        append_piece(content, &part)
    return 0


cdef list struct_fields(Table self, const Buffer* pieces, Py_ssize_t n, Place* place, int level):
    """The children of a struct."""
    cdef Fields fields
    cdef Field* field
    cdef Py_ssize_t k
    cdef Place below
    cdef list children = []
    memset(&fields, 0, sizeof(Fields))
    below.up = place
    below.kind = AT_KEY
    try:
        for k in range(piece_count(pieces)):
            gather_fields(self.nodes, <const Piece*> pieces.data + k, &fields, place)
        for k in range(<Py_ssize_t> (fields.fields.size // sizeof(Field))):
            field = <Field*> fields.fields.data + k
            below.name = field.name
            name = field.name.data[:field.name.size].decode("utf-8")
            children.append(make_column(self, &field.pieces, n, name, &below, level + 1))
        return children
    finally:
        fields_release(&fields)


# --- columns ------------------------------------------------------------------------------------------------------------


cdef tuple leaf_column(str format, object name, Py_ssize_t n, tuple valid, tuple buffers, bytes metadata=None):
    return (format, name, metadata, NULLABLE, (), None), (n, valid[0], 0, (valid[1], *buffers), (), None)


cdef tuple make_indexed(Table self, const Buffer* given, Py_ssize_t n, object name, Place* place):
    """The column where it is indices and distinct texts or bytes, else None: a dictionary array with exact=, or the texts."""
    cdef const Piece* piece = <const Piece*> given.data
    cdef Piece part
    cdef Buffer pieces
    cdef Node* node
    cdef Flat flat
    cdef int cls
    if not is_slice(given, n) or piece.src_from:
        return None
    part = piece[0]
    node = part.node
    if node.kind == NODE_NULLABLE and part.valid == NULL:
        part.valid = <const uint8_t*> node.data
        node = node.children[0]
    if node.kind != NODE_TAKE or node.made or node.width > 4:
        return None
    part.node = node
    pieces.data = NULL
    pieces.size = pieces.capacity = 0
    try:
        append_piece(&pieces, &part)
        memset(&part, 0, sizeof(Piece))
        part.node = node.children[0]
        part.count = part.node.n
        flat = Flat()
        flatten(self.nodes, &part, &flat.pieces, place)
        cls = common_class(self, &flat.pieces, place, 0)
        if (cls != IS_TEXT and cls != IS_BINARY) or not (self.exact or is_slice(&flat.pieces, part.count)):
            return None
        valid = validity(self, &pieces, n)
        if not self.exact:
            buffers = take_bytes(self, node, n, <Piece*> flat.pieces.data)
            return None if buffers is None else leaf_column("uz"[cls == IS_BINARY], name, n, valid, buffers)
        indices = (valid[1], values_of(self, &pieces, n, node.width))
        buffer_release(&pieces)
        append_piece(&pieces, &part)
        schema, array = make_column(self, &pieces, part.count, "", place, 0)
        return ("CSI"[node.width.bit_length() - 1], name, None, NULLABLE, (), schema), (n, valid[0], 0, indices, (), array)
    finally:
        buffer_release(&pieces)


cdef tuple take_bytes(Table self, const Node* node, Py_ssize_t n, const Piece* distinct):
    """(buffer of offsets, buffer of bytes), or None where the offsets need 64 bits."""
    cdef Span* items = <Span*> arena(self.nodes, distinct.count * sizeof(Span))
    cdef Py_ssize_t i
    cdef int64_t total
    cdef bytes offsets, content
    cdef int32_t* out
    cdef char* text
    for i in range(distinct.count):
        items[i].data = bytes_at(distinct.node, distinct.src_from + i, &items[i].size)
    with nogil:
        total = fastser_take(items, node.data, node.width, n, NULL, NULL)
    if not 0 <= total <= SHORT:
        return None
    offsets, content = new_memory((n + 1) * 4), new_memory(total)
    out, text = <int32_t*> PyBytes_AS_STRING(offsets), PyBytes_AS_STRING(content)
    with nogil:
        out[0] = 0
        fastser_take(items, node.data, node.width, n, out, text)
    return add(self, offsets), add(self, content)


cdef class Flat:
    """Pieces without structure."""
    cdef Buffer pieces

    def __dealloc__(self):
        buffer_release(&self.pieces)


cdef Flat flat_of(Table self, const Buffer* given, Place* place):
    cdef Flat flat = Flat()
    cdef Py_ssize_t k
    for k in range(piece_count(given)):
        flatten(self.nodes, <const Piece*> given.data + k, &flat.pieces, place)
    return flat


cdef tuple make_column(Table self, Buffer* given, Py_ssize_t n, object name, Place* place, int level):
    cdef Flat flat
    cdef Buffer* pieces
    cdef const Piece* first
    cdef int cls
    cdef bint large
    if level > MAX_LEVELS:
        refuse(place, _errors.too_nested(MAX_LEVELS))
    if fastser_stack_short(self.nodes.d.stack_limit):
        too_deep(self.nodes.d, True)
    spend(self.nodes, n + FIELD_COST, place)
    indexed = make_indexed(self, given, n, name, place)
    if indexed is not None:
        return indexed
    flat = flat_of(self, given, place)
    pieces = &flat.pieces
    first = <const Piece*> pieces.data
    cls = common_class(self, pieces, place, level)
    if cls == IS_NULL:
        return ("n", name, None, NULLABLE, (), None), (n, n, 0, (), (), None)
    if cls == IS_MIXED:
        widen(self.nodes, pieces, place)
        cls = common_class(self, pieces, place, level)
        first = <const Piece*> pieces.data
    if cls == IS_MIXED and self.nan_is_null and without_nan(self, pieces, place):
        cls = common_class(self, pieces, place, level)
        first = <const Piece*> pieces.data
    if cls == IS_MIXED:
        refuse(place, mixture(pieces))
    valid = validity(self, pieces, n)
    if cls == IS_BOOL:
        return leaf_column("b", name, n, valid, (bools_of(self, pieces, n),))
    if cls == IS_INT:
        format, values = ints_of(self, pieces, n)
        return leaf_column(format, name, n, valid, (values,))
    if cls == IS_UNSIGNED:
        return leaf_column("L", name, n, valid, (unsigned_of(self, pieces, n, place),))
    if cls == IS_FLOAT:
        return leaf_column("g", name, n, valid, (floats_of(self, pieces, n, place),))
    if cls == IS_FIXED:
        if first.node.constant:
            valid = without_nat(self, pieces, n, valid)
        return leaf_column(first.node.format.decode(), name, n, valid, (values_of(self, pieces, n, first.node.width),))
    if cls == IS_TEXT or cls == IS_BINARY:
        large, offsets, content = bytes_of(self, pieces, n)
        return leaf_column("uUzZ"[2 * (cls == IS_BINARY) + large], name, n, valid, (offsets, content))
    if cls == IS_DECIMAL:
        format, values = decimals_of(self, pieces, n, place)
        return leaf_column(format, name, n, valid, (values,))
    if cls == IS_UUID:
        return leaf_column("w:16", name, n, valid, (values_of(self, pieces, n, 16),), UUID_METADATA)
    if cls == IS_DATE:
        return leaf_column("tdD", name, n, valid, (values_of(self, pieces, n, 4),))
    if cls == IS_TIME:
        check_clock(self.nodes, pieces)
        return leaf_column("ttu", name, n, valid, (values_of(self, pieces, n, 8),))
    if cls == IS_DURATION:
        long_durations(self.nodes, pieces, place)
        format = "tDn" if to_nanoseconds(self.nodes, pieces, place) else "tDu"
        return leaf_column(format, name, n, valid, (values_of(self, pieces, n, 8),))
    if cls == IS_TIMESTAMP:
        format = zone_name(pieces, place)
        to_utc(self.nodes, pieces)
        format = ("tsn:" if to_nanoseconds(self.nodes, pieces, place) else "tsu:") + format
        return leaf_column(format, name, n, valid, (values_of(self, pieces, n, 8),))
    if cls == IS_LIST:
        large, offsets, child = lists_of(self, pieces, n, place, level)
        return (("+L" if large else "+l", name, None, NULLABLE, (child[0],), None),
                (n, valid[0], 0, (valid[1], offsets), (child[1],), None))
    children = struct_fields(self, pieces, n, place, level)
    return (("+s", name, None, NULLABLE, tuple([child[0] for child in children]), None),
            (n, valid[0], 0, (valid[1],), tuple([child[1] for child in children]), None))


cdef bint without_nan(Table self, Buffer* pieces, Place* place) except -1:
    """Leave floats out where they are all NaN, so that their places are null; whether that was done."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Piece* kept = <Piece*> pieces.data
    cdef Py_ssize_t i, k, count = 0
    cdef int64_t at
    cdef double value
    for k in range(piece_count(pieces)):
        if piece[k].node.kind != NODE_FLOAT:
            continue
        for i in range(piece[k].count):
            at = source_of(&piece[k], i)
            if piece[k].valid == NULL or bit_at(piece[k].valid, at):
                memcpy(&value, <const char*> piece[k].node.data + at * 8, 8)
                if value == value:
                    return False
    for k in range(piece_count(pieces)):
        if piece[k].node.kind != NODE_FLOAT:
            kept[count] = piece[k]
            count += 1
    pieces.size = count * sizeof(Piece)
    return True


cdef tuple without_nat(Table self, const Buffer* pieces, Py_ssize_t n, tuple valid):
    """Of NumPy's times, the lowest number is none."""
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t i, k
    cdef int64_t value, at
    cdef bytes memory = None
    cdef uint8_t* bits = NULL
    cdef Py_ssize_t nulls
    cdef bint none
    for k in range(piece_count(pieces)):
        for i in range(piece[k].count):
            if piece[k].node.width == 4:
                value = (<const int32_t*> piece[k].node.data)[source_of(&piece[k], i)]
                none = value == INT32_MIN
            else:
                memcpy(&value, <const char*> piece[k].node.data + source_of(&piece[k], i) * 8, 8)
                none = value == INT64_MIN
            if not none:
                continue
            if memory is None:
                memory = new_zeros((n + 7) >> 3)
                bits = <uint8_t*> PyBytes_AS_STRING(memory)
                if valid[1]:
                    source = bytes(self.buffers[valid[1] - 1])
                    memcpy(bits, PyBytes_AS_STRING(source), (n + 7) >> 3)
                else:
                    fastser_set_bits(bits, 0, n)
            at = target_of(&piece[k], i)
            bits[at >> 3] &= <uint8_t> ~(1 << (at & 7))
    if memory is None:
        return valid
    nulls = n - fastser_count_ones(bits, n)
    return nulls, add(self, memory)
