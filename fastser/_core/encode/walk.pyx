"""The walk over objects: what recurses, and how items are cut into runs."""

cimport numpy as cnp
from cpython.datetime cimport import_datetime
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastser._core.c.buffer cimport append_varint, buffer_reserve
from fastser._core.c.capi cimport *
from fastser._core.encode.arrays cimport arrays_overlap, encode_arrays
from fastser._core.encode.hot_leaves cimport encode_big_ints, encode_hot_run, encode_text, encode_truth_run, is_big_int
from fastser._core.encode.identity cimport (
    ascend, close_run, known_prefix, may_be_shared, number_run, open_run, take_back_run, write_lengths, write_reference,
    write_references, write_unsigned,
)
from fastser._core.encode.leaves cimport encode_bytearrays, encode_leaves, encode_timezones, encode_zoneinfos
from fastser._core.encode.objects cimport encode_as_call, encode_foreign, encode_foreign_run
from fastser._core.encode.reached cimport mark_reached
from fastser._core.encode.records cimport record_prefix, shape_groups, write_shape
from fastser._core.encode.runs cimport (
    distinct_items, group_items, is_worth_it, leaf_prefix, repeats, rest_is_nullable, RUN_MIN, type_groups,
)
from fastser._core.encode.scalars cimport write_bits, write_floats
from fastser._core.encode.shapes cimport gather_keys
from fastser._core.encode.state cimport (
    block_new, block_own, blocks_drop, blocks_leave, descend, Encoder, encoder_begin, OpenRun, put_tag, stop,
    STOP_CAREFUL, STOP_LARGE, write_concat, write_tag, write_varint,
)
from fastser._core.format.columns cimport Columns
from fastser._core.format.tags cimport *
from fastser._core.values.arrays cimport fastser_array_type, fastser_plain_import
from fastser._core.values.ints cimport int_append
from fastser._core.values.kinds cimport (
    FOREIGN, is_frozen, is_hole, is_level, is_mapping, kind_of, kinds_import, NUMBERED, timezone_type,
)

cnp.import_array()
import_datetime()
fastser_plain_import()
kinds_import()

from fastser import fallback as _fallback

cdef object _empty_text = ""
cdef object _zero = 0
cdef object _zero_float = 0.0


cdef enum:
    GROUPS_MIN = 8        # shorter mixed lists are written item by item
    STRETCH_MIN = 64      # of items written one by one before another look for a run
    DICT_SHAPE_MAX = 32   # a single dict with more keys is keys followed by values
    ROW_WIDTH_MAX = 64


cdef int walk(Encoder* e, PyObject* root, int large) except -1:
    if encoder_begin(e, large) < 0:
        raise MemoryError()
    e.walk_value = encode_value
    e.walk_items = encode_items
    encode_value(e, root)
    if e.reached.size:
        mark_reached(e)
    if not large and columns_too_long(&e.columns, e.claimed):
        return stop(e, STOP_LARGE)
    return 0


cdef inline bint columns_too_long(Columns* c, size_t claimed) noexcept:
    """Whether a column has more items than 32-bit offsets can tell."""
    # No value takes more than three items of a column.
    return claimed + c.tags.size > <size_t> 0x7FFFFFFF // 3 and (
        c.tags.size | c.i8.size | c.bits.size | c.i16.size >> 1 | c.i32.size >> 2 | c.i64.size >> 3 | c.f64.size >> 3
    ) > <size_t> 0x7FFFFFFF


cdef int encode_value(Encoder* e, PyObject* o) except -1:
    cdef PyObject* t = fastser_type(o)
    cdef int64_t value
    cdef int tag, kind
    if buffer_reserve(&e.columns.tags, 32) < 0:
        raise MemoryError()
    if t == fastser_str_type:
        return encode_text(e, o)
    if t == fastser_int_type:
        if fastser_as_int64(o, &value):
            if 0 <= value <= 127:
                put_tag(e, TAG_SMALL_INT | <int> value)
                return 0
            tag = int_append(&e.columns, value)
            if tag < 0:
                raise MemoryError()
            put_tag(e, tag)
            return 0
        return encode_big_ints(e, &o, 1)
    if t == fastser_dict_type or t == fastser_list_type or t == fastser_tuple_type:
        return encode_numbered(e, o, t)
    if t == fastser_float_type:
        put_tag(e, TAG_FLOAT)
        return write_floats(e, &o, 1)
    if o == fastser_none:
        put_tag(e, TAG_NONE)
        return 0
    if t == fastser_bool_type:
        put_tag(e, TAG_TRUE if o == fastser_true else TAG_FALSE)
        return 0
    kind = kind_of(t)
    if kind & FOREIGN:
        return encode_foreign(e, o)
    if kind & NUMBERED:
        return encode_numbered(e, o, t)
    return encode_leaves(e, &o, 1, t)


cdef inline int encode_numbered(Encoder* e, PyObject* o, PyObject* t) except -1:
    """One object that later parts of the message may refer to."""
    cdef bint level = is_level(t)
    if level and not e.track:
        descend(e, o)
    if may_be_shared(e, o):
        if e.recursive and is_frozen(t):
            return encode_as_call(e, o)
        if number_run(e, &o, 1) == 0:
            return write_reference(e, o)
    else:
        e.numbers += 1
    if level and e.track:
        descend(e, o)    # a reference is no level
    if t == fastser_dict_type:
        encode_dict(e, o)
    elif e.careful and is_frozen(t):
        encode_opened(e, o, t)
    elif t == fastser_list_type or t == fastser_tuple_type:
        encode_sequence(e, o, t == fastser_list_type)
    elif t == fastser_frozendict_type:
        encode_dict(e, o)
    else:
        encode_objects(e, &o, 1, t)
    return ascend(e, &o, 1, level)


cdef int encode_opened(Encoder* e, PyObject* o, PyObject* t) except -1:
    """One that is complete with its contents, which may need it to be: user code may run."""
    cdef OpenRun run
    open_run(e, &run, 1, t == fastser_frozenset_type)
    if t == fastser_tuple_type:
        encode_sequence(e, o, False)
    elif t == fastser_frozendict_type:
        encode_dict(e, o)
    else:
        encode_sets(e, &o, 1, t)
    close_run(e, &run)
    return 0


# --- containers ------------------------------------------------------------------------------------------------------


cdef int encode_objects(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """n objects of one exact numbered type that a single run can hold; numbered, one level down."""
    if is_mapping(t):
        return encode_mappings(e, items, n)
    if t == fastser_list_type or t == fastser_tuple_type:
        return encode_sequences(e, items, n, t == fastser_list_type)
    if t == fastser_set_type or t == fastser_frozenset_type:
        return encode_sets(e, items, n, t)
    if t == fastser_array_type:
        return encode_arrays(e, items, n)
    if t == fastser_bytearray_type:
        return encode_bytearrays(e, items, n)
    if t == timezone_type:
        return encode_timezones(e, items, n)
    return encode_zoneinfos(e, items, n)


cdef inline PyObject** sequence_items(PyObject* o, bint is_list) noexcept:
    return fastser_list_items(o) if is_list else fastser_tuple_items(o)


cdef int encode_sequence(Encoder* e, PyObject* o, bint is_list) except -1:
    """One list or tuple."""
    cdef Py_ssize_t size = fastser_list_size(o)
    cdef PyObject** items
    write_tag(e, TAG_LIST if is_list else TAG_TUPLE)
    append_varint(&e.columns.tags, size)
    if size == 0:
        return 0
    items = sequence_items(o, is_list)
    if e.careful:
        items = block_new(e, size)
        memcpy(items, sequence_items(o, is_list), size * sizeof(PyObject*))
        block_own(e, size)
    return encode_items(e, items, size)


cdef int encode_sequences(Encoder* e, PyObject** items, Py_ssize_t n, bint is_list) except -1:
    """Lists or tuples: their items in one run, or a run for each position."""
    cdef size_t mark = e.blocks.size
    cdef Py_ssize_t i, j, size = fastser_list_size(items[0]), total = 0
    cdef uint64_t largest = 0
    cdef uint64_t* lengths
    cdef PyObject** source
    cdef PyObject** flat
    cdef bint alike = True, rows = False
    if n == 1:
        return encode_sequence(e, items[0], is_list)
    lengths = <uint64_t*> block_new(e, n)
    for i in range(n):
        lengths[i] = fastser_list_size(items[i])
        total += lengths[i]
        alike = alike and <Py_ssize_t> lengths[i] == size
        if lengths[i] > largest:
            largest = lengths[i]
    if alike and 2 <= size <= ROW_WIDTH_MAX:
        # Positions of different types are columns; positions of one type are one long run.
        source = sequence_items(items[0], is_list)
        for j in range(1, size):
            rows = rows or fastser_type(source[j]) != fastser_type(source[0])
    flat = block_new(e, total)
    if rows:
        for i in range(n):
            source = sequence_items(items[i], is_list)
            for j in range(size):
                flat[j * n + i] = source[j]
        block_own(e, total)
        write_tag(e, TAG_LIST_ROWS if is_list else TAG_TUPLE_ROWS)
        append_varint(&e.columns.tags, size)
        for j in range(size):
            encode_items(e, flat + j * n, n)
    else:
        total = 0
        for i in range(n):
            if lengths[i]:
                memcpy(flat + total, sequence_items(items[i], is_list), lengths[i] * sizeof(PyObject*))
            total += lengths[i]
        block_own(e, total)
        write_tag(e, TAG_LIST if is_list else TAG_TUPLE)
        write_lengths(e, lengths, n, largest)
        if total:
            encode_items(e, flat, total)
    blocks_leave(e, mark)
    return 0


cdef int encode_sets(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    cdef size_t mark = e.blocks.size
    cdef uint64_t* lengths = <uint64_t*> block_new(e, n)
    cdef uint64_t largest = 0
    cdef Py_ssize_t i, position, at = 0, total = 0
    cdef PyObject** members
    for i in range(n):
        lengths[i] = fastser_set_size(items[i])
        total += lengths[i]
        if lengths[i] > largest:
            largest = lengths[i]
    write_tag(e, TAG_SET if t == fastser_set_type else TAG_FROZENSET)
    write_lengths(e, lengths, n, largest)
    if total:
        members = block_new(e, total)
        for i in range(n):
            position = 0
            while fastser_set_next(items[i], &position, &members[at]):
                at += 1
            if (not e.track or e.defining) and lengths[i] > 1:
                sort_members(e, members + at - lengths[i], lengths[i])
        block_own(e, total)
        e.strict += 1
        encode_items(e, members, total)
        e.strict -= 1
    blocks_leave(e, mark)
    return 0


cdef int sort_members(Encoder* e, PyObject** members, Py_ssize_t n) except -1:
    """The members of a set in an order of their own, where that can be told: that of text differs from process to process."""
    cdef PyObject* t = fastser_type(members[0])
    cdef Py_ssize_t i
    cdef bint alike = t == fastser_str_type or t == fastser_bytes_type or t == fastser_int_type
    cdef object ordered
    for i in range(n):
        alike = alike and fastser_type(members[i]) == t
    if alike and t == fastser_int_type and e.track:
        return 0    # the same in all processes
    if not alike and not e.careful:
        return stop(e, STOP_CAREFUL)
    ordered = [<object> members[i] for i in range(n)]
    if alike:
        (<list> ordered).sort()
    else:
        ordered = _fallback.in_order(ordered)
    for i in range(n):
        members[i] = fastser_list_items(<PyObject*> ordered)[i]    # the set keeps them
    return 0


cdef inline int write_mapping_tag(Encoder* e, PyObject* o, int tag) except -1:
    """``tag``, of dicts, for a run of mappings of o's type."""
    if fastser_type(o) == fastser_frozendict_type:
        write_tag(e, TAG_FROZENDICT)
    return write_tag(e, tag)


cdef int encode_dict(Encoder* e, PyObject* o) except -1:
    """One mapping: its shape and its values, or a run of keys and a run of values."""
    cdef Py_ssize_t i, size = fastser_dict_size(o)
    cdef size_t tags = e.columns.tags.size, pairs = e.pairs.size
    cdef PyObject** keys
    if 0 < size <= DICT_SHAPE_MAX:
        if e.careful:
            keys = block_new(e, 2 * size)
        elif buffer_reserve(&e.pairs, 2 * size * sizeof(PyObject*)) < 0:
            raise MemoryError()
        else:
            keys = <PyObject**> (e.pairs.data + pairs)
        if gather_keys(o, keys, keys + size, 1):
            block_own(e, 2 * size)
            write_mapping_tag(e, o, TAG_RECORDS)
            if write_shape(e, keys, size):
                if not e.careful:
                    e.pairs.size += 2 * size * sizeof(PyObject*)
                for i in range(size):
                    if not e.careful:
                        keys = <PyObject**> (e.pairs.data + pairs)    # the stack may have moved
                    encode_value(e, keys[size + i])
                e.pairs.size = pairs
                return 0
            e.columns.tags.size = tags
    return encode_mappings(e, &o, 1)


cdef int encode_mappings(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Mappings of any keys and lengths: one run of keys, one of values."""
    cdef size_t mark = e.blocks.size
    cdef uint64_t* lengths = <uint64_t*> block_new(e, n)
    cdef uint64_t largest = 0
    cdef Py_ssize_t i, position, at = 0, total = 0
    cdef PyObject** pairs
    for i in range(n):
        lengths[i] = fastser_dict_size(items[i])
        total += lengths[i]
        if lengths[i] > largest:
            largest = lengths[i]
    write_mapping_tag(e, items[0], TAG_DICT)
    write_lengths(e, lengths, n, largest)
    if total:
        pairs = block_new(e, 2 * total)
        for i in range(n):
            position = 0
            while fastser_dict_next(items[i], &position, &pairs[at], &pairs[total + at]):
                at += 1
        block_own(e, 2 * total)
        e.strict += 1
        encode_items(e, pairs, total)
        e.strict -= 1
        encode_items(e, pairs + total, total)
    blocks_leave(e, mark)
    return 0


# --- runs ------------------------------------------------------------------------------------------------------------


cdef int encode_items(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """n items, in as few runs as their types allow."""
    cdef Py_ssize_t done, stretch = STRETCH_MIN
    e.claimed += n
    while True:
        if n == 1:
            return encode_value(e, items[0])
        done = 0
        if n >= RUN_MIN or fastser_type(items[0]) == fastser_type(items[n - 1]):
            done = encode_run(e, items, n)
        if done == 0:
            done = encode_mixed(e, items, n, stretch)
            stretch *= 2
        if done == n:
            return 0
        items += done
        n -= done


cdef Py_ssize_t encode_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Write the leading items as one run where they are one; how many they are, 0 for none."""
    cdef PyObject* t = fastser_type(items[0])
    cdef Py_ssize_t k
    cdef int kind
    if t == fastser_int_type or t == fastser_float_type or (t == fastser_str_type and not repeats(e, items, n)):
        return encode_hot_run(e, items, n, t)
    if t == fastser_bool_type or t == fastser_none_type:
        return encode_truth_run(e, items, n)
    k = 1
    while k < n and fastser_type(items[k]) == t:
        k += 1
    kind = kind_of(t)
    if k < n and not kind & NUMBERED and is_hole(items[k]) and rest_is_nullable(items + k, n - k, t, items[k]):
        if n < GROUPS_MIN:
            return 0
        encode_nullable(e, items, n, t, items[k])
        return n
    if kind and k >= RUN_MIN and (t == fastser_sentinel_type or repeats(e, items, k)) and encode_indexed(e, items, k, n):
        return k
    if t == fastser_str_type:
        return encode_hot_run(e, items, n, t)
    if kind & NUMBERED:
        return encode_numbered_run(e, items, k, n, t)
    k = leaf_prefix(items, k, t)
    if not is_worth_it(k, n):
        return 0
    write_concat(e, k, n)
    encode_leaves(e, items, k, t)
    return k


cdef Py_ssize_t encode_numbered_run(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, PyObject* t) except -1:
    """Of k items of one exact type, those that one run can hold."""
    cdef Py_ssize_t first, known = known_prefix(e, items, k)
    cdef size_t mark = e.blocks.size
    cdef OpenRun run
    cdef bint level
    cdef PyObject** columns = NULL
    if known:
        known = known_prefix(e, items, n)
        if not is_worth_it(known, n):
            return 0
        write_concat(e, known, n)
        write_references(e, items, known)
        return known
    if kind_of(t) & FOREIGN:
        return encode_foreign_run(e, items, k, n)
    if e.singly and (is_level(t) or t == fastser_array_type):
        return 0
    if is_mapping(t):
        first = record_prefix(e, items, k, &columns)
        if columns != NULL:
            if not is_worth_it(first, n):
                blocks_drop(e, mark)
                return 0
            k = encode_record_run(e, items, first, n, columns)
            blocks_leave(e, mark)
            return k
    else:
        k = leaf_prefix(items, k, t)
        if t == timezone_type and k > 1:
            return 0    # UTC has a tag of its own
    if not is_worth_it(k, n):
        return 0
    level = is_level(t)
    if level:
        descend(e, items[0])
    first = number_run(e, items, k)
    if not is_worth_it(first, n) or (t == fastser_array_type and first > 1 and arrays_overlap(e, items, first)):
        take_back_run(e, items, first, level)
        return 0
    write_concat(e, first, n)
    open_run(e, &run, first, t == fastser_frozenset_type)
    encode_objects(e, items, first, t)
    close_run(e, &run)
    ascend(e, items, first, level)
    return first


cdef Py_ssize_t encode_record_run(
    Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, PyObject** columns,
) except -1:
    """k mappings of one shape, their values by key; how many were written, 0 for none."""
    cdef Py_ssize_t first, j, width = fastser_dict_size(items[0])
    cdef size_t tags
    cdef OpenRun run
    descend(e, items[0])
    first = number_run(e, items, k)
    if first < k:
        take_back_run(e, items, first, True)
        return 0
    block_own(e, width * (k + 1))
    write_concat(e, k, n)
    open_run(e, &run, k, False)
    tags = e.columns.tags.size
    write_mapping_tag(e, items[0], TAG_RECORDS)
    if write_shape(e, columns, width):
        for j in range(width):
            encode_items(e, columns + width + j * k, k)
    else:
        # Keys that `text` does not take: keys followed by values.
        e.columns.tags.size = tags
        encode_mappings(e, items, k)
    close_run(e, &run)
    ascend(e, items, k, True)
    return k


cdef Py_ssize_t encode_mapping_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Mappings that share no shapes, as keys and values; how many were written, 0 for none."""
    cdef Py_ssize_t first
    cdef OpenRun run
    if e.singly or known_prefix(e, items, n):
        return 0
    descend(e, items[0])
    first = number_run(e, items, n)
    if not is_worth_it(first, n):
        take_back_run(e, items, first, True)
        return 0
    write_concat(e, first, n)
    open_run(e, &run, first, False)
    encode_mappings(e, items, first)
    close_run(e, &run)
    ascend(e, items, first, True)
    return first


cdef bint encode_indexed(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n) except -1:
    """Write k items as the distinct ones and an index for each, where that pays; whether it did."""
    cdef size_t mark = e.blocks.size
    cdef PyObject** distinct = block_new(e, k)
    cdef uint32_t* indices = <uint32_t*> block_new(e, (k >> 1) + 1)
    cdef Py_ssize_t m = distinct_items(e, items, k, distinct, indices)
    if m == 0:
        blocks_drop(e, mark)
        return False
    write_concat(e, k, n)
    write_tag(e, TAG_INDEXED)
    append_varint(&e.columns.tags, m)
    encode_items(e, distinct, m)
    if m > 1:
        write_unsigned(e, indices, k, m)
    blocks_leave(e, mark)
    return True


# --- mixed types -----------------------------------------------------------------------------------------------------


cdef Py_ssize_t encode_mixed(Encoder* e, PyObject** items, Py_ssize_t n, Py_ssize_t stretch) except -1:
    """Items that are no run: nullable, groups of runs, or a stretch of values; how many were written."""
    cdef size_t mark = e.blocks.size
    cdef PyObject* types[8]
    cdef Py_ssize_t i, count
    cdef PyObject* hole
    cdef uint8_t* index
    if n < GROUPS_MIN:
        return encode_generic(e, items, n, n)
    index = <uint8_t*> block_new(e, (n >> 3) + 1)
    count = type_groups(items, n, index, types)
    if count == 1 and types[0] == fastser_int_type:
        count = 2    # or there would have been a run
        for i in range(n):
            index[i] = is_big_int(items[i]) != is_big_int(items[0])
    elif count == 1 and is_mapping(types[0]):
        count = shape_groups(e, items, n, index)
        if count == 1 or count * 4 > n:
            blocks_drop(e, mark)
            i = encode_mapping_run(e, items, n) if n >= RUN_MIN else 0
            return i if i else encode_generic(e, items, n, stretch)
    elif count == 2:
        hole = hole_among(items, n, types, index)
        if hole != NULL:
            blocks_drop(e, mark)
            encode_nullable(e, items, n, types[types[0] == fastser_type(hole)], hole)
            return n
    if count < 2 or count * 4 > n:
        blocks_drop(e, mark)
        return encode_generic(e, items, n, stretch)
    i = encode_groups(e, items, n, count, index)
    blocks_leave(e, mark)
    return i


cdef Py_ssize_t encode_generic(Encoder* e, PyObject** items, Py_ssize_t n, Py_ssize_t stretch) except -1:
    cdef Py_ssize_t i
    if n - stretch < RUN_MIN:
        stretch = n
    write_concat(e, stretch, n)
    write_tag(e, TAG_GENERIC)
    for i in range(stretch):
        encode_value(e, items[i])
    return stretch


cdef PyObject* hole_among(PyObject** items, Py_ssize_t n, PyObject** types, const uint8_t* index) noexcept:
    """The None or the one sentinel that lies among leaves of one type; NULL where there is no such."""
    cdef Py_ssize_t i, first = 0
    cdef bint others = False
    # Groups are numbered as they are met.  None among sentinels is a value.
    cdef int at = types[0] != fastser_sentinel_type and (types[1] == fastser_sentinel_type or types[1] == fastser_none_type)
    if kind_of(types[1 - at]) & NUMBERED:
        return NULL
    if types[at] == fastser_none_type:
        return fastser_none
    if types[at] != fastser_sentinel_type:
        return NULL
    while index[first] != at:
        first += 1
    for i in range(first, n):
        others |= (index[i] == at) & (items[i] != items[first])
    return NULL if others else items[first]


cdef int encode_nullable(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t, PyObject* hole) except -1:
    """Values of one leaf type and holes: a validity bitmap, and the values with something in the holes' place."""
    cdef size_t mark = e.blocks.size
    cdef PyObject** filled = block_new(e, n)
    cdef PyObject* filler = NULL
    cdef Py_ssize_t i = 0
    if t == fastser_int_type:
        filler = <PyObject*> _zero
    elif t == fastser_float_type:
        filler = <PyObject*> _zero_float
    elif t == fastser_str_type:
        filler = <PyObject*> _empty_text
    else:
        while items[i] == hole:
            i += 1
        filler = items[i]
    for i in range(n):
        filled[i] = filler if items[i] == hole else items[i]
    if hole == fastser_none:
        write_tag(e, TAG_NULLABLE)
    else:
        write_tag(e, TAG_OPTIONAL)
        encode_value(e, hole)
    write_bits(e, items, n, hole, True)
    encode_items(e, filled, n)
    blocks_leave(e, mark)
    return 0


cdef Py_ssize_t encode_groups(Encoder* e, PyObject** items, Py_ssize_t n, Py_ssize_t count, const uint8_t* index) except -1:
    """Items of a few kinds: which kind each is, then a run for each kind."""
    cdef PyObject** grouped = block_new(e, n)
    cdef Py_ssize_t ends[MAX_GROUPS + 1]
    cdef Py_ssize_t i = 0, g
    write_tag(e, TAG_GROUPS)
    append_varint(&e.columns.tags, count)
    group_items(e, items, n, count, index, grouped, ends)
    for g in range(count):
        write_varint(e, ends[g] - i)
        encode_items(e, grouped + i, ends[g] - i)
        i = ends[g]
    return n
