"""Taking the structure out of runs: which items of which nodes of values a column is made of."""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fastser._core.c.buffer cimport Buffer, buffer_extend, buffer_release
from fastser._core.c.stack cimport fastser_stack_short
from fastser._core.decode.errors cimport too_deep
from fastser._core.format.tags cimport TAG_ARRAY, TAG_ARRAY_RUN, TAG_ARRAYS_OF
from fastser._core.tables.kernels cimport fastser_offsets_64
from fastser._core.tables.nodes cimport (
    arena, bit_at, bytes_at, Node, NODE_CONCAT, NODE_DICT, NODE_LONG_TEXT, NODE_NULL, NODE_NULLABLE, NODE_ROWS,
    NODE_TAKE, NODE_TEXT, Nodes, Place, refuse, Span, spend, unsigned_at,
)

from fastser import errors as _errors

cdef uint64_t SEED = <uint64_t> (hash("fastser") & 0x7FFFFFFFFFFFFFFF) | 1


cdef int64_t* pairs(Nodes self, Py_ssize_t count, Place* place) except NULL:
    """Room for positions."""
    spend(self, count, place)
    return <int64_t*> arena(self, count * sizeof(int64_t) + 1)


cdef int without_nulls(Nodes self, Piece* piece, Place* place) except -1:
    cdef int64_t* src
    cdef int64_t* dst
    cdef Py_ssize_t i, count = 0
    if piece.valid == NULL:
        return 0
    src = pairs(self, piece.count, place)
    dst = pairs(self, piece.count, place)
    for i in range(piece.count):
        src[count] = source_of(piece, i)
        dst[count] = target_of(piece, i)
        count += bit_at(piece.valid, src[count])
    piece.src = src
    piece.dst = dst
    piece.count = count
    piece.valid = NULL
    return 0


cdef int flatten(Nodes self, const Piece* given, Buffer* out, Place* place) except -1:
    cdef Piece piece = given[0]
    cdef Node* node = piece.node
    cdef Py_ssize_t i
    cdef int64_t* src
    if fastser_stack_short(self.d.stack_limit):
        return too_deep(self.d, True)
    while True:
        # Elements of arrays have a type also where there are none.
        if node.kind == NODE_NULL or (piece.count == 0 and node.tag not in (TAG_ARRAY, TAG_ARRAY_RUN, TAG_ARRAYS_OF)):
            return 0
        if node.kind < NODE_CONCAT:
            piece.node = node
            return append_piece(out, &piece)
        without_nulls(self, &piece, place)
        if node.kind == NODE_NULLABLE:
            piece.valid = <const uint8_t*> node.data
        elif node.kind == NODE_TAKE:
            src = pairs(self, piece.count, place)
            for i in range(piece.count):
                src[i] = unsigned_at(node.data, node.width, source_of(&piece, i))
            piece.src = src
        elif node.kind == NODE_CONCAT:
            return flatten_parts(self, node, &piece, out, place)
        else:
            return flatten_groups(self, node, &piece, out, place)
        node = node.children[0]


cdef Py_ssize_t part_of(const Node* node, int64_t index) noexcept:
    """Which part of NODE_CONCAT holds an item."""
    cdef Py_ssize_t low = 0, high = node.count - 1, middle
    while low < high:
        middle = (low + high + 1) >> 1
        if node.starts[middle] <= index:
            low = middle
        else:
            high = middle - 1
    return low


cdef int flatten_parts(Nodes self, Node* node, const Piece* piece, Buffer* out, Place* place) except -1:
    cdef Piece part
    cdef int64_t* src
    cdef int64_t start, end, index
    cdef Py_ssize_t i = 0, k
    if piece.src == NULL:
        while i < piece.count:
            index = piece.src_from + i
            k = part_of(node, index)
            part = piece[0]
            part.node = node.children[k]
            part.src_from = index - node.starts[k]
            part.count = min(node.starts[k + 1] - index, piece.count - i)
            if part.dst != NULL:
                part.dst += i
            part.dst_from += i
            flatten(self, &part, out, place)
            i += part.count
        return 0
    src = pairs(self, piece.count, place)
    while i < piece.count:
        k = part_of(node, piece.src[i])
        start, end = node.starts[k], node.starts[k + 1]
        part = piece[0]
        part.node = node.children[k]
        part.src = src + i
        part.count = 0
        if part.dst != NULL:
            part.dst += i
        part.dst_from += i
        while i < piece.count and start <= piece.src[i] < end:
            src[i] = piece.src[i] - start
            part.count += 1
            i += 1
        flatten(self, &part, out, place)
    return 0


cdef int flatten_groups(Nodes self, Node* node, const Piece* piece, Buffer* out, Place* place) except -1:
    cdef Py_ssize_t i, g
    cdef Py_ssize_t starts[257]
    cdef int64_t at
    cdef int64_t* src
    cdef int64_t* dst
    cdef int64_t met[256]
    cdef Piece part
    if node.starts == NULL:
        # The place of each item within its group.
        memset(met, 0, sizeof(met))
        node.starts = pairs(self, node.n, place)
        for i in range(node.n):
            g = group_of(node, i)
            node.starts[i] = met[g]
            met[g] += 1
    memset(starts, 0, sizeof(starts))
    for i in range(piece.count):
        starts[group_of(node, source_of(piece, i)) + 1] += 1
    for g in range(node.count):
        starts[g + 1] += starts[g]
    src = pairs(self, piece.count, place)
    dst = pairs(self, piece.count, place)
    for i in range(piece.count):
        at = source_of(piece, i)
        g = group_of(node, at)
        src[starts[g]] = node.starts[at]
        dst[starts[g]] = target_of(piece, i)
        starts[g] += 1
    part.valid = NULL
    part.src_from = part.dst_from = 0
    at = 0
    for g in range(node.count):
        part.node = node.children[g]
        part.src = src + at
        part.dst = dst + at
        part.count = starts[g] - at
        at = starts[g]
        flatten(self, &part, out, place)
    return 0


cdef inline Py_ssize_t group_of(const Node* node, Py_ssize_t i) noexcept nogil:
    if node.count == 2:
        return bit_at(<const uint8_t*> node.data, i)
    return (<const uint8_t*> node.data)[i]


cdef const int64_t* starts_of(Nodes self, Node* node) except NULL:
    if node.starts == NULL:
        node.starts = <int64_t*> arena(self, (node.n + 1) * sizeof(int64_t))
        fastser_offsets_64(node.data, node.width, node.constant, node.n, node.starts)
    return node.starts


# --- fields -------------------------------------------------------------------------------------------------------------


cdef void fields_release(Fields* fields) noexcept:
    cdef Py_ssize_t i
    for i in range(<Py_ssize_t> (fields.fields.size // sizeof(Field))):
        buffer_release(&(<Field*> fields.fields.data)[i].pieces)
    buffer_release(&fields.fields)
    buffer_release(&fields.slots)


cdef uint64_t hash_name(const Span* name) noexcept nogil:
    cdef uint64_t hash = SEED, word = 0
    cdef Py_ssize_t i = 0
    while i < name.size:
        word = 0
        memcpy(&word, name.data + i, min(8, name.size - i))
        hash = (hash ^ word) * <uint64_t> 0x9E3779B97F4A7C15
        hash ^= hash >> 29
        i += 8
    return hash ^ <uint64_t> name.size


cdef Py_ssize_t field_named(Fields* fields, const Span* name) except -1:
    """The index of a field, which is new or was there."""
    cdef uint64_t hash = hash_name(name), mask, at
    cdef Py_ssize_t i, count = fields.fields.size // sizeof(Field)
    cdef Field* field
    cdef int64_t* slots
    if fields.slots.size < <size_t> (count + 1) * 2 * sizeof(int64_t):
        mask = fields.slots.size * 2 if fields.slots.size else 16 * sizeof(int64_t)
        fields.slots.size = 0
        if buffer_extend(&fields.slots, mask) == NULL:
            raise MemoryError()
        memset(fields.slots.data, 0, fields.slots.size)
        mask = fields.slots.size // sizeof(int64_t) - 1
        for i in range(count):
            at = (<Field*> fields.fields.data)[i].hash & mask
            while (<int64_t*> fields.slots.data)[at]:
                at = (at + 1) & mask
            (<int64_t*> fields.slots.data)[at] = i + 1
    slots = <int64_t*> fields.slots.data
    mask = fields.slots.size // sizeof(int64_t) - 1
    at = hash & mask
    while slots[at]:
        field = <Field*> fields.fields.data + (slots[at] - 1)
        if field.hash == hash and field.name.size == name.size and memcmp(field.name.data, name.data, name.size) == 0:
            return slots[at] - 1
        at = (at + 1) & mask
    field = <Field*> buffer_extend(&fields.fields, sizeof(Field))
    if field == NULL:
        raise MemoryError()
    memset(field, 0, sizeof(Field))
    field.name = name[0]
    field.hash = hash
    slots[at] = count + 1
    return count


cdef int add_to_field(Fields* fields, const Span* name, const Piece* piece) except -1:
    cdef Py_ssize_t i = field_named(fields, name)
    return append_piece(&(<Field*> fields.fields.data)[i].pieces, piece)


cdef int gather_fields(Nodes self, const Piece* piece, Fields* fields, Place* place) except -1:
    cdef Piece part = piece[0]
    cdef Py_ssize_t j
    cdef Span name
    cdef bytes number
    if piece.node.kind == NODE_DICT:
        return gather_keys(self, piece, fields, place)
    for j in range(piece.node.count):
        part.node = piece.node.children[j]
        if piece.node.kind == NODE_ROWS:
            number = b"%d" % j
            self.kept.append(number)
            name.data = number
            name.size = len(number)
        else:
            name = piece.node.names[j]
        add_to_field(fields, &name, &part)
    return 0


cdef int gather_keys(Nodes self, const Piece* given, Fields* fields, Place* place) except -1:
    """Dicts whose keys lie in a run of their own: which of the values belong to each key."""
    cdef Piece piece = given[0], keys
    cdef Buffer texts
    cdef Node* node = piece.node
    cdef const int64_t* starts = starts_of(self, node)
    cdef Py_ssize_t total = node.children[0].n, i, j, k, known, count
    cdef int64_t* field_of
    cdef int64_t* filled
    cdef int64_t* ends
    cdef int64_t* src
    cdef int64_t* dst
    cdef int64_t at, target
    cdef Span name
    cdef const Piece* text
    without_nulls(self, &piece, place)
    field_of = pairs(self, total, place)
    memset(&keys, 0, sizeof(Piece))
    keys.node = node.children[0]
    keys.count = total
    texts.data = NULL
    texts.size = texts.capacity = 0
    try:
        flatten(self, &keys, &texts, place)
        for k in range(piece_count(&texts)):
            text = <Piece*> texts.data + k
            if text.node.kind != NODE_TEXT and text.node.kind != NODE_LONG_TEXT or text.valid != NULL:
                refuse(place, _errors.KEYS_NOT_TEXT)
            for i in range(text.count):
                name.data = bytes_at(text.node, source_of(text, i), &name.size)
                field_of[target_of(text, i)] = field_named(fields, &name) + 1
    finally:
        buffer_release(&texts)
    known = fields.fields.size // sizeof(Field)
    ends = pairs(self, known + 1, place)
    for i in range(piece.count):
        at = source_of(&piece, i)
        for j in range(starts[at], starts[at + 1]):
            if field_of[j] == 0:
                refuse(place, _errors.KEYS_NOT_TEXT)
            ends[field_of[j]] += 1
    for k in range(known):
        ends[k + 1] += ends[k]
    count = ends[known]
    src = pairs(self, count, place)
    dst = pairs(self, count, place)
    filled = pairs(self, known, place)
    for k in range(known):
        filled[k] = ends[k]
    for i in range(piece.count):
        at = source_of(&piece, i)
        target = target_of(&piece, i)
        for j in range(starts[at], starts[at + 1]):
            k = field_of[j] - 1
            if filled[k] > ends[k] and dst[filled[k] - 1] == target:
                filled[k] -= 1    # a key that comes twice
            src[filled[k]] = j
            dst[filled[k]] = target
            filled[k] += 1
    memset(&keys, 0, sizeof(Piece))
    keys.node = node.children[1]
    for k in range(known):
        if filled[k] > ends[k]:
            keys.src = src + ends[k]
            keys.dst = dst + ends[k]
            keys.count = filled[k] - ends[k]
            append_piece(&(<Field*> fields.fields.data)[k].pieces, &keys)
    return 0
