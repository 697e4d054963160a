"""The walk back: every read is checked against its column, every count against what backs it."""

cimport numpy as cnp
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.datetime cimport import_datetime
from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from fastser._core.arrays cimport *
from fastser._core.arrow_in cimport ArrowRow, arrow_row_view
from fastser._core.buffer cimport buffer_append
from fastser._core.capi cimport *
from fastser._core.columns cimport Body, View, view_offset
from fastser._core.decoder cimport *
from fastser._core.dtypes cimport build
from fastser._core.frame cimport FRAME_OK, frame_parse, view_release
from fastser._core.keys cimport new_key
from fastser._core.memo cimport Memo, MemoEntry, memo_entry
from fastser._core.packed cimport Packed, frame_error, packed_view
from fastser._core.scalars cimport *
from fastser._core.stack cimport fastser_stack_limit, fastser_stack_short
from fastser._core.tags cimport *
from fastser._core.text cimport fastser_all_ascii
from fastser._core.times cimport *

import datetime as _datetime
import decimal as _decimal
import uuid as _uuid
import zoneinfo as _zoneinfo

import numpy as _numpy

from fastser import errors as _errors, fallback as _fallback

cnp.import_array()
import_datetime()
fastser_plain_import()

cdef object _timezone = _datetime.timezone
cdef object _utc = _datetime.timezone.utc
cdef object _zoneinfo_class = _zoneinfo.ZoneInfo
cdef object _decimal_class = _decimal.Decimal
cdef object _uuid_class = _uuid.UUID
cdef tuple _safe_uuid = (_uuid.SafeUUID.unknown, _uuid.SafeUUID.safe, _uuid.SafeUUID.unsafe)
cdef dict _tag_names = {}


cdef enum:
    CHUNK = 128               # rows that are made at a time
    HASHING_MAX = 1 << 26     # items in keys that hold others again and again: about a second of hashing


# --- reading with checks ------------------------------------------------------------------------------------------------


cdef int bad(Decoder* d, str expected, object found) except -1:
    raise _errors.bad_frame(expected, found, f"tag {d.at - d.view.tags}")


cdef int too_deep(Decoder* d, bint stack) except -1:
    raise _errors.depth_exceeded(None, d.max_depth, decoding=True, stack=stack)


cdef int short_column(Decoder* d, str name, Py_ssize_t wanted, Py_ssize_t left) except -1:
    return bad(d, f"{wanted} more items in column {name}", left)


cdef inline int descend(Decoder* d) except -1:
    d.depth += 1
    if d.depth > d.max_depth:
        return too_deep(d, False)
    if fastser_stack_short(d.stack_limit):
        return too_deep(d, True)
    return 0


cdef inline int read_byte(Decoder* d) except -1:
    if d.at >= d.end:
        return bad(d, "a tag", "the end of the tags")
    d.at += 1
    return (d.at - 1)[0]


cdef inline uint64_t read_varint(Decoder* d) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef uint8_t byte
    while True:
        if d.at >= d.end:
            bad(d, "an operand", "the end of the tags")
        byte = d.at[0]
        d.at += 1
        value |= <uint64_t> (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
        if shift > 63:
            bad(d, "an operand of at most 10 bytes", "a longer one")


cdef inline Py_ssize_t read_count(Decoder* d) except -1:
    """A number of items, backed by the frame."""
    cdef uint64_t count = read_varint(d)
    if count > <uint64_t> d.budget:
        unbacked(d, count)
    return <Py_ssize_t> count


cdef int unbacked(Decoder* d, uint64_t count) except -1:
    raise _errors.unbacked_items(count, d.budget, f"tag {d.at - d.view.tags}")


cdef inline int claim(Decoder* d, Py_ssize_t n) except -1:
    if n > d.budget:
        return unbacked(d, n)
    d.budget -= n
    return 0


cdef inline const char* next_text(Decoder* d, Py_ssize_t index, Py_ssize_t* size) except NULL:
    """Item ``index`` of text, borrowed."""
    cdef Py_ssize_t start, stop
    if index >= d.view.text_count:
        short_column(d, "text", 1, 0)
    start = view_offset(d.view.text_offsets, d.view.text_large, index)
    stop = view_offset(d.view.text_offsets, d.view.text_large, index + 1)
    if start < 0 or stop < start or stop > d.view.text_size:
        bad(d, "rising offsets in column text", (start, stop))
    size[0] = stop - start
    return d.view.text + start


cdef inline const char* next_data(Decoder* d, Py_ssize_t* size) except NULL:
    """The next item of data, borrowed."""
    cdef Py_ssize_t start, stop
    if d.data >= d.view.data_count:
        short_column(d, "data", 1, 0)
    start = view_offset(d.view.data_offsets, d.view.data_large, d.data)
    stop = view_offset(d.view.data_offsets, d.view.data_large, d.data + 1)
    if start < 0 or stop < start or stop > d.view.data_size:
        bad(d, "rising offsets in column data", (start, stop))
    d.data += 1
    size[0] = stop - start
    return d.view.data + start


cdef inline const int64_t* take_i64(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.i64_count - d.i64:
        short_column(d, "i64", n, d.view.i64_count - d.i64)
    d.i64 += n
    return d.view.i64 + (d.i64 - n)


cdef inline const int32_t* take_i32(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.i32_count - d.i32:
        short_column(d, "i32", n, d.view.i32_count - d.i32)
    d.i32 += n
    return d.view.i32 + (d.i32 - n)


cdef inline const int16_t* take_i16(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.i16_count - d.i16:
        short_column(d, "i16", n, d.view.i16_count - d.i16)
    d.i16 += n
    return d.view.i16 + (d.i16 - n)


cdef inline const int8_t* take_i8(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.i8_count - d.i8:
        short_column(d, "i8", n, d.view.i8_count - d.i8)
    d.i8 += n
    return d.view.i8 + (d.i8 - n)


cdef inline const double* take_f64(Decoder* d, Py_ssize_t n) except NULL:
    if n > d.view.f64_count - d.f64:
        short_column(d, "f64", n, d.view.f64_count - d.f64)
    d.f64 += n
    return d.view.f64 + (d.f64 - n)


cdef inline const uint8_t* take_bits(Decoder* d, Py_ssize_t n) except NULL:
    """A bitmap of n bits."""
    cdef Py_ssize_t size = (n + 7) >> 3
    if size > d.view.bits_count - d.bits:
        short_column(d, "bits", size, d.view.bits_count - d.bits)
    d.bits += size
    return d.view.bits + (d.bits - size)


cdef int read_unsigned(Decoder* d, uint64_t* out, Py_ssize_t n) except -1:
    """n lengths or indices, as write_unsigned wrote them."""
    cdef Py_ssize_t i
    cdef uint64_t kind = read_varint(d)
    if n == 1:
        out[0] = kind
    elif kind == 1:
        bytes_ = <const uint8_t*> take_i8(d, n)
        for i in range(n):
            out[i] = bytes_[i]
    elif kind == 2:
        halves = <const uint16_t*> take_i16(d, n)
        for i in range(n):
            out[i] = halves[i]
    elif kind == 4:
        words = <const uint32_t*> take_i32(d, n)
        for i in range(n):
            out[i] = words[i]
    elif kind == 8:
        longs = <const uint64_t*> take_i64(d, n)
        for i in range(n):
            out[i] = longs[i]
    elif kind == LENGTHS_CONSTANT:
        kind = read_varint(d)
        if kind == 0:
            bad(d, "a constant length of at least 1", 0)
        for i in range(n):
            out[i] = kind
    else:
        bad(d, "an item size of 1, 2, 4 or 8", kind)
    return 0


cdef Py_ssize_t read_lengths(Decoder* d, uint64_t* lengths, Py_ssize_t n) except -1:
    """The lengths of n containers; their sum, which the frame backs."""
    cdef Py_ssize_t i
    cdef uint64_t total = 0
    read_unsigned(d, lengths, n)
    for i in range(n):
        if lengths[i] > <uint64_t> d.budget:
            unbacked(d, lengths[i])
        total += lengths[i]
        if total > <uint64_t> d.budget:
            unbacked(d, total)
    return <Py_ssize_t> total


# --- numbered objects ---------------------------------------------------------------------------------------------------


cdef Py_ssize_t number(Decoder* d, Py_ssize_t n) except -1:
    """Take n numbers, their objects still missing; the first of them."""
    cdef PyObject** refs
    cdef Py_ssize_t first = d.ref_count, capacity
    if not d.has_refs:
        return 0
    if d.ref_count + n > d.ref_capacity:
        capacity = max(2 * d.ref_capacity, d.ref_count + n, 64)
        refs = <PyObject**> realloc(d.refs, capacity * sizeof(PyObject*))
        if refs == NULL:
            raise MemoryError()
        d.refs = refs
        d.ref_capacity = capacity
    memset(d.refs + d.ref_count, 0, n * sizeof(PyObject*))
    d.ref_count += n
    return first


cdef inline void set_number(Decoder* d, Py_ssize_t index, PyObject* o) noexcept:
    if d.has_refs:
        fastser_incref(o)
        d.refs[index] = o


cdef PyObject* referred(Decoder* d, uint64_t index) except NULL:
    """New reference to a numbered object."""
    if index >= <uint64_t> d.ref_count or d.refs[index] == NULL:
        bad(d, f"a reference to one of {d.ref_count} objects, complete enough to be referred to", index)
    if d.open != NULL and fastser_type(d.refs[index]) == fastser_tuple_type:
        note_open(d, index)
    fastser_incref(d.refs[index])
    return d.refs[index]


cdef inline void hide(Decoder* d, PyObject* o) noexcept:
    """Where user code may run it must not find, through the collector, what has empty slots."""
    if d.foreign:
        gc_untrack(o)


cdef inline void show(Decoder* d, PyObject* o) noexcept:
    if d.foreign:
        gc_track(o)


cdef PyObject* new_sequence(Decoder* d, Py_ssize_t size, bint is_list) except NULL:
    """A list or tuple to fill.  Where references may lead to it before it is full, it is full of None."""
    cdef PyObject* o = new_list(size) if is_list else new_tuple(size)
    cdef PyObject** items = fastser_list_items(o) if is_list else fastser_tuple_items(o)
    cdef Py_ssize_t i
    if d.has_refs:
        for i in range(size):
            fastser_incref(fastser_none)
            items[i] = fastser_none
    if is_list or size:
        hide(d, o)
    return o


cdef inline void fill_slots(PyObject** slots, PyObject** items, Py_ssize_t size) noexcept:
    """Steals items; what lay in the slots is let go."""
    cdef Py_ssize_t i
    cdef PyObject* old
    for i in range(size):
        old = slots[i]
        slots[i] = items[i]
        items[i] = NULL
        fastser_xdecref(old)


cdef int hashing_begin(Decoder* d) except -1:
    if d.hashing == NULL:
        d.hashing = <Hashing*> calloc(1, sizeof(Hashing))
        if d.hashing == NULL:
            raise MemoryError()
        # Keys that share nothing hold no more items than the frame backs.
        d.hashing.left = HASHING_MAX + 8 * <uint64_t> d.view.frame_size
    return 0


cdef object hashed_members(PyObject* o):
    """What the hash of a frozenset or slice looks at."""
    if fastser_type(o) == fastser_slice_type:
        return ((<object> o).start, (<object> o).stop, (<object> o).step)
    return <object> o


cdef uint64_t unfolded(Decoder* d, PyObject* o, Py_ssize_t depth) except 0:
    """How many objects hashing or comparing o meets, those that are shared counted each time.

    The interpreter's own hash functions recurse without a limit, and for as long as it takes: a
    frame must not send them into a tuple that contains itself, nor into 40 levels of tuples that
    hold one tuple twice.
    """
    cdef PyObject* t = fastser_type(o)
    cdef MemoEntry* entry
    cdef uint64_t size = 1
    cdef Py_ssize_t i
    cdef object member
    if t != fastser_tuple_type and t != fastser_frozenset_type and t != fastser_slice_type:
        return 1
    if depth > d.max_depth or fastser_stack_short(d.stack_limit):
        bad(d, "a key that can be hashed", "a deeper one")
    entry = memo_entry(&d.hashing.sizes, o)
    if entry == NULL:
        raise MemoryError()
    if entry.value > 0:
        return entry.value
    if entry.value == 0:
        bad(d, "a key that can be hashed", "one that contains itself")
    entry.value = 0    # on the path
    fastser_incref(o)  # or its address might come to stand for another
    if t == fastser_tuple_type:
        for i in range(fastser_tuple_size(o)):
            size += unfolded(d, fastser_tuple_items(o)[i], depth + 1)
            size = min(size, d.hashing.left + 1)
    else:
        for member in hashed_members(o):
            size += unfolded(d, <PyObject*> member, depth + 1)
            size = min(size, d.hashing.left + 1)
    entry = memo_entry(&d.hashing.sizes, o)
    if entry == NULL:
        raise MemoryError()
    entry.value = <Py_ssize_t> size
    return size


cdef int check_hashable(Decoder* d, PyObject* key) except -1:
    """Before a key or member is hashed."""
    cdef PyObject* t = fastser_type(key)
    cdef uint64_t size
    if not d.shares or (t != fastser_tuple_type and t != fastser_frozenset_type and t != fastser_slice_type):
        return 0
    hashing_begin(d)
    size = unfolded(d, key, 0)
    if size > d.hashing.left:
        return bad(d, "keys that can be hashed in reasonable time", "keys that hold others again and again")
    d.hashing.left -= size
    if d.hashing.reopened.count and leads_to_open(d, key):
        return bad(d, "a key that is complete", "one that leads back to itself")
    return 0


cdef bint is_open(Decoder* d, uint64_t index) noexcept:
    """Whether a number belongs to a tuple that is still being filled."""
    cdef OpenTuples* tuples = d.open
    while tuples != NULL:
        if <uint64_t> tuples.first <= index < <uint64_t> (tuples.first + tuples.count):
            return True
        tuples = tuples.next
    return False


cdef bint leads_to_open(Decoder* d, PyObject* o) except -1:
    """Whether a key (unfolded without complaint) holds a tuple that is still being filled."""
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    cdef object member
    if fastser_type(o) == fastser_tuple_type:
        entry = memo_entry(&d.hashing.reopened, o)
        if entry == NULL:
            raise MemoryError()
        if entry.value >= 0 and is_open(d, entry.value):
            return True
        for i in range(fastser_tuple_size(o)):
            if leads_to_open(d, fastser_tuple_items(o)[i]):
                return True
    elif fastser_type(o) == fastser_frozenset_type or fastser_type(o) == fastser_slice_type:
        for member in hashed_members(o):
            if leads_to_open(d, <PyObject*> member):
                return True
    return False


cdef int note_open(Decoder* d, uint64_t index) except -1:
    """Remember a tuple that is referred to while it is being filled."""
    cdef MemoEntry* entry
    if is_open(d, index) and fastser_tuple_size(d.refs[index]):
        hashing_begin(d)
        entry = memo_entry(&d.hashing.reopened, d.refs[index])
        if entry == NULL:
            raise MemoryError()
        entry.value = <Py_ssize_t> index
    return 0


cdef int check_reopened(Decoder* d) except -1:
    """A tuple may contain itself through a list or dict, never through tuples alone: nothing else could make one."""
    cdef Memo* reopened = &d.hashing.reopened
    cdef size_t i
    if reopened.count:
        sizes_clear(d.hashing)
        for i in range(reopened.mask + 1):
            if reopened.entries[i].key != NULL and reopened.entries[i].value >= 0:
                unfolded(d, <PyObject*> reopened.entries[i].key, 0)
    return 0


cdef int let_go(Decoder* d) except -1:
    """After an error: empty what contains itself and what no collector could free."""
    cdef Py_ssize_t i, j
    cdef Memo* reopened
    cdef PyObject* o
    if d.hashing != NULL and d.hashing.reopened.count:
        reopened = &d.hashing.reopened
        for i in range(<Py_ssize_t> reopened.mask + 1):
            if reopened.entries[i].key != NULL and reopened.entries[i].value >= 0:
                o = <PyObject*> reopened.entries[i].key
                for j in range(fastser_tuple_size(o)):
                    replace_slot(&fastser_tuple_items(o)[j], fastser_none)
    for j in range(d.ref_count):
        o = d.refs[j]
        if o != NULL and fastser_type(o) == fastser_array_type \
                and fastser_dtype_code(fastser_array_descr(o)) == DTYPE_OBJECT:
            for i in range(fastser_array_size(o)):
                replace_slot(&(<PyObject**> fastser_array_data(o))[i], fastser_none)
    return 0


cdef inline void replace_slot(PyObject** slot, PyObject* o) noexcept:
    cdef PyObject* old = slot[0]
    fastser_incref(o)
    slot[0] = o
    fastser_xdecref(old)


# --- text ---------------------------------------------------------------------------------------------------------------


cdef inline bint all_ascii(Decoder* d) noexcept:
    if d.text_is_ascii < 0:
        d.text_is_ascii = fastser_all_ascii(d.view.text, d.view.text_size)
    return d.text_is_ascii


cdef inline PyObject* decode_text(Decoder* d) except NULL:
    cdef Py_ssize_t size
    cdef const char* text = next_text(d, d.text, &size)
    d.text += 1
    if all_ascii(d):
        return fastser_ascii(text, size)
    return new_utf8(text, size, NULL)


cdef PyObject* text_reference(Decoder* d, uint64_t index) except NULL:
    """New reference: an item of text that came before."""
    cdef Py_ssize_t size
    cdef const char* text
    if index >= <uint64_t> d.text:
        bad(d, f"one of {d.text} items of text", index)
    if d.texts == NULL:
        d.texts = slots_new(d.view.text_count)
    if d.texts[index] == NULL:
        text = next_text(d, <Py_ssize_t> index, &size)
        d.texts[index] = new_utf8(text, size, NULL)
    fastser_incref(d.texts[index])
    return d.texts[index]


# --- runs of the commonest leaves -----------------------------------------------------------------------------------------


cdef struct LeafRun:
    # A run whose items can be made later and in pieces.
    int tag
    const void* at            # of the first item in its column
    Py_ssize_t text           # TEXT: the first item's place


cdef bint open_leaf_run(Decoder* d, int tag, Py_ssize_t n, LeafRun* run) except -1:
    """Step over the payload of n items; whether ``tag`` is one of these leaves."""
    run.tag = tag
    if tag == TAG_TEXT:
        if n > d.view.text_count - d.text:
            short_column(d, "text", n, d.view.text_count - d.text)
        run.text = d.text
        d.text += n
    elif tag == TAG_INT8:
        run.at = take_i8(d, n)
    elif tag == TAG_INT16:
        run.at = take_i16(d, n)
    elif tag == TAG_INT32:
        run.at = take_i32(d, n)
    elif tag == TAG_INT64:
        run.at = take_i64(d, n)
    elif tag == TAG_FLOAT:
        run.at = take_f64(d, n)
    elif tag == TAG_BOOLS:
        run.at = take_bits(d, n)
    else:
        return False
    return True


cdef int read_leaf_run(Decoder* d, LeafRun* run, PyObject** out, Py_ssize_t start, Py_ssize_t n) except -1:
    """Make the items from ``start`` on."""
    cdef Py_ssize_t i
    if run.tag == TAG_TEXT:
        return decode_texts(d, run.text + start, out, n)
    if run.tag == TAG_INT8:
        int8s = <const int8_t*> run.at + start
        for i in range(n):
            out[i] = new_long(int8s[i])
    elif run.tag == TAG_INT16:
        int16s = <const int16_t*> run.at + start
        for i in range(n):
            out[i] = new_long(int16s[i])
    elif run.tag == TAG_INT32:
        int32s = <const int32_t*> run.at + start
        for i in range(n):
            out[i] = new_long(int32s[i])
    elif run.tag == TAG_INT64:
        int64s = <const int64_t*> run.at + start
        for i in range(n):
            out[i] = new_long(int64s[i])
    elif run.tag == TAG_FLOAT:
        floats = <const double*> run.at + start
        for i in range(n):
            out[i] = new_float(floats[i])
    else:
        read_truths(NULL, <const uint8_t*> run.at, out, start, n)
    return 0


cdef void read_truths(
    const uint8_t* valid, const uint8_t* bits, PyObject** out, Py_ssize_t start, Py_ssize_t n,
) noexcept:
    """True and False, and None where ``valid`` is given and says so."""
    cdef PyObject* constants[4]
    cdef Py_ssize_t counts[4]
    cdef Py_ssize_t i
    cdef int which
    constants[0] = constants[1] = fastser_none
    constants[2] = fastser_false
    constants[3] = fastser_true
    memset(counts, 0, sizeof(counts))
    for i in range(start, start + n):
        which = bits[i >> 3] >> (i & 7) & 1
        which |= (valid[i >> 3] >> (i & 7) & 1) << 1 if valid != NULL else 2
        out[i - start] = constants[which]
        counts[which] += 1
    for which in range(4):
        fastser_incref_constant(constants[which], counts[which])


cdef int decode_texts(Decoder* d, Py_ssize_t index, PyObject** out, Py_ssize_t n) except -1:
    """n items of text from ``index`` on, which are there."""
    cdef Py_ssize_t i, start, stop, size = 0
    cdef const int32_t* offsets
    cdef const char* text
    if d.view.text_large or not all_ascii(d):
        for i in range(n):
            text = next_text(d, index + i, &size)
            out[i] = new_utf8(text, size, NULL)
        return 0
    offsets = <const int32_t*> d.view.text_offsets + index
    start = offsets[0]
    if start < 0:
        return bad(d, "offsets from 0 on in column text", start)
    for i in range(n):
        stop = offsets[i + 1]
        if stop < start or stop > d.view.text_size:
            return bad(d, "rising offsets in column text", (start, stop))
        out[i] = fastser_ascii(d.view.text + start, stop - start)
        start = stop
    return 0


# --- bodies -------------------------------------------------------------------------------------------------------------


cdef const char* read_body(
    Decoder* d, Py_ssize_t wanted, Py_ssize_t* size, Py_ssize_t* index, bint may_be_same,
) except? NULL:
    """The bytes of a body, borrowed; ``wanted`` of them, or as many as there are where it is -1.

    ``index`` tells which of buffers it is, -1 for none of them.
    """
    cdef uint64_t where = read_varint(d), number = 0
    cdef const char* data
    index[0] = -1
    if where == BODY_INLINE:
        data = next_data(d, size)
        if wanted >= 0:
            if size[0] < wanted:
                bad(d, f"{wanted} bytes of data", size[0])
            data += size[0] - wanted
            size[0] = wanted
        return data
    if where == BODY_BUFFER:
        if d.body >= d.view.body_count:
            short_column(d, "buffers", 1, 0)
        number = d.body
        d.body += 1
    elif where == BODY_SAME and may_be_same:
        number = read_varint(d)
        if number >= <uint64_t> d.body:
            bad(d, f"one of {d.body} buffers", number)
    else:
        bad(d, "a kind of body", where)
    index[0] = <Py_ssize_t> number
    size[0] = d.view.bodies[number].size
    if wanted >= 0 and size[0] != wanted:
        bad(d, f"a buffer of {wanted} bytes", size[0])
    return d.view.bodies[number].data


cdef object memory_view(Decoder* d, const char* data, Py_ssize_t size, bint borrowed):
    """A memoryview of a body that keeps its owner alive; a copy where the memory is not the owner's."""
    cdef cnp.npy_intp dims = size
    cdef PyObject* array = new_array_view(d, fastser_plain[2].descr, 1, <Py_ssize_t*> &dims, data, size, 1, 0, not borrowed)
    cdef object view = memoryview(<object> array)
    fastser_decref(array)
    return view


cdef int decode_bodies(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    """Long texts, bytes or bytearrays."""
    cdef Py_ssize_t i, size = 0, index = 0, first
    cdef const char* data
    cdef PyObject* t = fastser_str_type if tag == TAG_BODY_TEXT else fastser_bytes_type
    cdef PyObject* known
    if tag == TAG_BODY_BYTEARRAY:
        first = number(d, n)
        for i in range(n):
            data = read_body(d, -1, &size, &index, False)
            out[i] = new_bytearray(data, size)
            set_number(d, first + i, out[i])
        return 0
    for i in range(n):
        data = read_body(d, -1, &size, &index, True)
        known = NULL
        if index >= 0:
            if d.bodies == NULL:
                d.bodies = slots_new(d.view.body_count)
            known = d.bodies[index]
            if known != NULL and fastser_type(known) != t:
                return bad(d, "a buffer of one type", "two")
        if known == NULL:
            if tag == TAG_BODY_TEXT:
                known = fastser_ascii(data, size) if fastser_all_ascii(data, size) else new_utf8(data, size, NULL)
            else:
                known = new_bytes(data, size)
            if index >= 0:
                d.bodies[index] = known
                fastser_incref(known)
        else:
            fastser_incref(known)
        out[i] = known
    return 0


# --- arrays -------------------------------------------------------------------------------------------------------------


cdef PyObject* read_dtype(Decoder* d) except NULL:
    """Borrowed from the table of plain dtypes, or from d.dtypes."""
    cdef uint64_t code = read_varint(d)
    cdef PyObject* description
    cdef object dtype
    if code < <uint64_t> FASTSER_PLAIN_COUNT and fastser_plain[code].descr != NULL:
        return fastser_plain[code].descr
    if code == DTYPE_DESCRIBED:
        if d.dtypes == NULL:
            d.dtypes = new_list(0)
        if d.at >= d.end or d.at[0] != TAG_TUPLE:
            bad(d, "the tag of a tuple that describes a dtype", d.at[0] if d.at < d.end else "the end of the tags")
        d.max_depth += DTYPE_LEVELS
        description = decode_value(d)
        d.max_depth -= DTYPE_LEVELS
        try:
            dtype = build(<object> description)
        finally:
            fastser_decref(description)
        (<list> d.dtypes).append(dtype)
        return <PyObject*> dtype
    if code >= DTYPE_EARLIER and d.dtypes != NULL and code - DTYPE_EARLIER < <uint64_t> len(<list> d.dtypes):
        return fastser_list_items(d.dtypes)[code - DTYPE_EARLIER]
    bad(d, "the code of a dtype", code)


cdef PyObject* new_array_view(
    Decoder* d, PyObject* descr, int ndim, Py_ssize_t* dims, const char* data, Py_ssize_t nbytes,
    Py_ssize_t alignment, int order, bint copy,
) except NULL:
    """New reference: an array over a body, or over a copy of it where it is not aligned."""
    cdef int flags = NPY_ARRAY_F_CONTIGUOUS if order == ORDER_FORTRAN else 0
    cdef PyObject* array
    cdef bint own = copy or nbytes == 0 or <size_t> data % alignment != 0
    # Without memory of its own to use, NumPy takes any flag for Fortran order.
    if not own and d.writable:
        flags |= NPY_ARRAY_WRITEABLE
    array = fastser_new_array(descr, ndim, dims, NULL if own else data, flags)
    if own:
        if nbytes:
            memcpy(fastser_array_data(array), data, nbytes)
        if not d.writable:
            fastser_array_freeze(array)
    else:
        fastser_array_set_base(array, d.owner)
    return array


cdef int decode_arrays(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    cdef PyObject* descr
    cdef Py_ssize_t dims[64]
    cdef uint64_t dim, order, ndim, where, index
    cdef Py_ssize_t i, first, size = 1, itemsize, nbytes, alignment, found = 0, body = 0
    cdef const char* data
    cdef bint inline_copied = d.copied != NULL
    first = number(d, n)
    descr = read_dtype(d)
    itemsize = fastser_descr_itemsize(descr)
    alignment = fastser_descr_alignment(descr)
    order = read_varint(d)
    ndim = read_varint(d)
    if order > ORDER_FORTRAN or ndim > 64:
        return bad(d, "an order and at most 64 dimensions", (order, ndim))
    cdef bint empty = False
    for i in range(<Py_ssize_t> ndim):
        dim = read_varint(d)
        if dim > <uint64_t> PY_SSIZE_T_MAX:
            return bad(d, "a dimension", dim)
        dims[i] = <Py_ssize_t> dim
        empty = empty or dim == 0
    if empty:
        size = 0
    else:
        for i in range(<Py_ssize_t> ndim):
            if dims[i] > PY_SSIZE_T_MAX // size:
                return bad(d, "a size that memory can have", "a larger one")
            size *= dims[i]
    if tag == TAG_OBJECT_ARRAY:
        return decode_object_arrays(d, out, n, first, descr, <int> ndim, dims, size, <int> order)
    if fastser_descr_has_objects(descr) or fastser_descr_has_subarray(descr):
        return bad(d, "a dtype of plain memory", "one that holds references or arrays")
    if itemsize == 0 and fastser_descr_type_num(descr) in (cnp.NPY_STRING, cnp.NPY_UNICODE):
        return bad(d, "text of at least one character", "a dtype of none")
    if itemsize and size > PY_SSIZE_T_MAX // itemsize:
        return bad(d, "a size that memory can have", "a larger one")
    nbytes = size * itemsize
    if tag == TAG_ARRAY_RUN:
        if nbytes and n > PY_SSIZE_T_MAX // nbytes:
            return bad(d, "a size that memory can have", "a larger one")
        data = read_body(d, nbytes * n, &found, &body, False)
        for i in range(n):
            out[i] = new_array_view(
                d, descr, <int> ndim, dims, data + i * nbytes, nbytes, alignment, <int> order,
                inline_copied and body < 0)
            set_number(d, first + i, out[i])
        return 0
    for i in range(n):
        if d.at < d.end and d.at[0] == BODY_OF:
            d.at += 1
            index = read_varint(d)
            out[i] = same_memory(d, index, descr, <int> ndim, dims, nbytes, <int> order)
        else:
            data = read_body(d, nbytes, &found, &body, False)
            out[i] = new_array_view(
                d, descr, <int> ndim, dims, data, nbytes, alignment, <int> order, inline_copied and body < 0)
        set_number(d, first + i, out[i])
    return 0


cdef PyObject* same_memory(
    Decoder* d, uint64_t index, PyObject* descr, int ndim, Py_ssize_t* dims, Py_ssize_t nbytes, int order,
) except NULL:
    """New reference: an array over the memory of an array that was made before."""
    cdef PyObject* other = referred(d, index)
    cdef PyObject* array
    cdef int flags = NPY_ARRAY_F_CONTIGUOUS if order == ORDER_FORTRAN else 0
    try:
        if fastser_type(other) != fastser_array_type or fastser_array_nbytes(other) != nbytes \
                or fastser_descr_has_objects(fastser_array_descr(other)):
            bad(d, f"an array of {nbytes} bytes to share memory with", "another object")
        if <size_t> fastser_array_data(other) % fastser_descr_alignment(descr):
            bad(d, "memory that is aligned for its dtype", "other memory")
        array = fastser_new_array(
            descr, ndim, dims, fastser_array_data(other), flags | (NPY_ARRAY_WRITEABLE if d.writable else 0))
        fastser_array_set_base(array, other)
        return array
    finally:
        fastser_decref(other)


cdef int decode_object_arrays(
    Decoder* d, PyObject** out, Py_ssize_t n, Py_ssize_t first, PyObject* descr, int ndim, Py_ssize_t* dims,
    Py_ssize_t size, int order,
) except -1:
    """Arrays of objects or of variable-width strings."""
    cdef Py_ssize_t i, j, itemsize = fastser_descr_itemsize(descr)
    cdef bint objects = fastser_dtype_code(descr) == DTYPE_OBJECT
    cdef PyObject** items
    cdef PyObject* item
    cdef object missing = None
    if not objects:
        if fastser_descr_type_num(descr) != STRING_DTYPE:
            return bad(d, "a dtype of objects or strings", "another one")
        missing = getattr(<object> descr, "na_object", None)
        if isinstance(missing, (tuple, list, dict, set, frozenset, slice, _numpy.ndarray)):
            return bad(d, "a missing value that is no container", type(missing).__name__)
    if size and n > d.budget // size:
        return unbacked(d, <uint64_t> size * n)
    for i in range(n):
        out[i] = fastser_new_empty_array(descr, ndim, dims, order)
        set_number(d, first + i, out[i])
    if size:
        descend(d)
        items = slots_new(n * size)
        try:
            decode_items(d, items, n * size)
            for i in range(n):
                if objects:
                    fill_slots(<PyObject**> fastser_array_data(out[i]), items + i * size, size)
                else:
                    for j in range(size):
                        item = items[i * size + j]
                        if fastser_type(item) != fastser_str_type and fastser_type(item) != fastser_type(<PyObject*> missing):
                            return bad(d, "a str or the missing value", type(<object> item).__name__)
                        fastser_array_set(out[i], fastser_array_data(out[i]) + j * itemsize, items[i * size + j])
        finally:
            slots_free(items, n * size)
        d.depth -= 1
    return 0


cdef int decode_scalars(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef PyObject* descr = read_dtype(d)
    cdef Py_ssize_t i, size = 0, itemsize = fastser_descr_itemsize(descr)
    cdef const char* data = next_data(d, &size)
    cdef char* aligned
    if fastser_descr_has_objects(descr) or fastser_descr_has_subarray(descr) \
            or fastser_descr_type_num(descr) == STRING_DTYPE:
        return bad(d, "a dtype of plain memory", "one that holds references")
    if (itemsize and n > PY_SSIZE_T_MAX // itemsize) or size != n * itemsize:
        return bad(d, f"{n} items of {itemsize} bytes", size)
    aligned = <char*> malloc(itemsize + 16)
    if aligned == NULL:
        raise MemoryError()
    try:
        for i in range(n):
            memcpy(aligned, data + i * itemsize, itemsize)
            out[i] = fastser_new_scalar(aligned, descr, NULL)
    finally:
        free(aligned)
    return 0


# --- times and other standard values ------------------------------------------------------------------------------------


cdef PyObject* datetime_of(int64_t value, PyObject* zone, int fold) except NULL:
    cdef int64_t days = value // FASTSER_DAY_MICROSECONDS, rest = value % FASTSER_DAY_MICROSECONDS
    cdef int year = 0, month = 0, day = 0
    if rest < 0:
        rest += FASTSER_DAY_MICROSECONDS
        days -= 1
    if not DAY_FIRST <= days <= DAY_LAST:
        raise ValueError(f"{value} microseconds since 1970 lie outside the years 1 to 9999")
    civil_from_days(<int32_t> days, &year, &month, &day)
    return fastser_new_datetime(
        year, month, day, <int> (rest // 3600000000), <int> (rest // 60000000 % 60),
        <int> (rest // 1000000 % 60), <int> (rest % 1000000), zone, fold)


cdef PyObject* time_of(int64_t value, PyObject* zone, int fold) except NULL:
    if not 0 <= value < FASTSER_DAY_MICROSECONDS:
        raise ValueError(f"{value} microseconds are no time of a day")
    return fastser_new_time(
        <int> (value // 3600000000), <int> (value // 60000000 % 60),
        <int> (value // 1000000 % 60), <int> (value % 1000000), zone, fold)


cdef PyObject* timedelta_of(int64_t value) except NULL:
    cdef int64_t days = value // FASTSER_DAY_MICROSECONDS, rest = value % FASTSER_DAY_MICROSECONDS
    if rest < 0:
        rest += FASTSER_DAY_MICROSECONDS
        days -= 1
    return fastser_new_timedelta(<int> days, <int> (rest // 1000000), <int> (rest % 1000000))


cdef PyObject* date_of(int32_t days) except NULL:
    cdef int year = 0, month = 0, day = 0
    if not DAY_FIRST <= days <= DAY_LAST:
        raise ValueError(f"{days} days since 1970 lie outside the years 1 to 9999")
    civil_from_days(days, &year, &month, &day)
    return fastser_new_date(year, month, day)


cdef int decode_times(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    cdef Py_ssize_t i
    cdef uint64_t fold = 0
    cdef const int64_t* values
    cdef const int32_t* days
    cdef PyObject* zone = fastser_none
    if tag == TAG_DATE:
        days = take_i32(d, n)
        for i in range(n):
            out[i] = date_of(days[i])
        return 0
    if tag == TAG_TIMEDELTA:
        values = take_i64(d, n)
        for i in range(n):
            out[i] = timedelta_of(values[i])
        return 0
    if tag == TAG_LONG_TIMEDELTA:
        days = take_i32(d, n)
        take_i32(d, n)
        take_i32(d, n)
        for i in range(n):
            out[i] = fastser_new_timedelta(days[i], days[n + i], days[2 * n + i])
        return 0
    if tag == TAG_DATETIME_ZONED or tag == TAG_TIME_ZONED:
        fold = read_varint(d)
        if fold > 1:
            return bad(d, "a fold of 0 or 1", fold)
        if d.at >= d.end or not (
                d.at[0] == TAG_NONE or d.at[0] == TAG_REF or d.at[0] == TAG_PICKLE or TAG_UTC <= d.at[0] <= TAG_ZONEINFO):
            return bad(d, "the tag of a time zone or None", d.at[0] if d.at < d.end else "the end of the tags")
        zone = decode_value(d)
    else:
        fastser_incref(zone)
    try:
        if zone != fastser_none and not isinstance(<object> zone, _datetime.tzinfo):
            return bad(d, "a time zone or None", type(<object> zone).__name__)
        values = take_i64(d, n)
        for i in range(n):
            if tag == TAG_DATETIME or tag == TAG_DATETIME_ZONED:
                out[i] = datetime_of(values[i], zone, <int> fold)
            else:
                out[i] = time_of(values[i], zone, <int> fold)
    finally:
        fastser_decref(zone)
    return 0


cdef int decode_zones(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    cdef Py_ssize_t i, size = 0, first = number(d, n)
    cdef PyObject** parts
    cdef const char* text
    cdef object zone
    if tag == TAG_UTC:
        for i in range(n):
            out[i] = new_reference(_utc)
            set_number(d, first + i, out[i])
        return 0
    if tag == TAG_ZONEINFO:
        if not d.foreign:
            return bad(d, "the header to announce a time zone", "one")
        for i in range(n):
            text = next_text(d, d.text, &size)
            d.text += 1
            out[i] = new_reference(_zoneinfo_class(text[:size].decode("utf-8")))
            set_number(d, first + i, out[i])
        return 0
    parts = slots_new(2 * n)
    try:
        decode_items(d, parts, n)
        decode_items(d, parts + n, n)
        for i in range(n):
            if parts[n + i] == fastser_none:
                zone = _timezone(<object> parts[i])
            else:
                zone = _timezone(<object> parts[i], <object> parts[n + i])
            out[i] = new_reference(zone)
            set_number(d, first + i, out[i])
    finally:
        slots_free(parts, 2 * n)
    return 0


cdef inline PyObject* new_reference(object o) noexcept:
    fastser_incref(<PyObject*> o)
    return <PyObject*> o


cdef int decode_decimals(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    cdef PyObject* text
    for i in range(n):
        text = decode_text(d)
        try:
            out[i] = new_call(<PyObject*> _decimal_class, text)
        finally:
            fastser_decref(text)
    return 0


cdef int decode_uuids(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, size = 0
    cdef uint64_t safety = read_varint(d)
    cdef const unsigned char* data = <const unsigned char*> next_data(d, &size)
    if safety > 2 or n > size // 16 or size != n * 16:
        return bad(d, f"{n} UUIDs of 16 bytes", size)
    for i in range(n):
        out[i] = fastser_new_uuid(
            <PyObject*> _uuid_class, fastser_int_from_bytes(data + 16 * i, 16, True, False),
            fastser_tuple_items(<PyObject*> _safe_uuid)[safety])
    return 0


cdef int decode_bounds(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    """Ranges and slices."""
    cdef PyObject** bounds
    cdef Py_ssize_t i
    descend(d)
    bounds = slots_new(3 * n)
    try:
        for i in range(3):
            decode_items(d, bounds + i * n, n)
        for i in range(n):
            if tag == TAG_SLICE:
                out[i] = new_slice(bounds[i], bounds[n + i], bounds[2 * n + i])
            else:
                out[i] = new_reference(range(<object> bounds[i], <object> bounds[n + i], <object> bounds[2 * n + i]))
    finally:
        slots_free(bounds, 3 * n)
    d.depth -= 1
    return 0


# --- foreign objects ----------------------------------------------------------------------------------------------------


cdef int decode_pickles(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, size = 0, index = 0, first
    cdef uint64_t count, j
    cdef const char* data
    cdef object payload, o
    cdef list buffers
    if d.safe:
        raise _errors.unsafe("a pickled part", f"tag {d.at - d.view.tags}")
    if not d.foreign:
        return bad(d, "the header to announce pickled parts", "a pickled part")
    first = number(d, n)
    for i in range(n):
        data = read_body(d, -1, &size, &index, False)
        payload = memory_view(d, data, size, d.copied == NULL or index >= 0)
        count = read_varint(d)
        claim(d, <Py_ssize_t> min(count, <uint64_t> PY_SSIZE_T_MAX))
        buffers = []
        for j in range(count):
            data = read_body(d, -1, &size, &index, False)
            buffers.append(memory_view(d, data, size, d.copied == NULL or index >= 0))
        try:
            o = _fallback.unpickle_object(payload, buffers)
        except Exception as error:
            raise _errors.cannot_rebuild("a pickled part", error, f"tag {d.at - d.view.tags}") from error
        out[i] = new_reference(o)
        set_number(d, first + i, out[i])
    return 0


# --- containers ---------------------------------------------------------------------------------------------------------


cdef int decode_sequences(Decoder* d, PyObject** out, Py_ssize_t n, bint is_list) except -1:
    """n lists or tuples of any lengths, their items in one run."""
    cdef Py_ssize_t i, total, first = number(d, n)
    cdef uint64_t* lengths = <uint64_t*> malloc(n * sizeof(uint64_t))
    cdef PyObject** items = NULL
    cdef PyObject** at
    cdef OpenTuples open
    if lengths == NULL:
        raise MemoryError()
    total = 0
    open.first = first
    open.count = n
    open.next = d.open
    try:
        descend(d)
        total = read_lengths(d, lengths, n)
        if d.has_refs:
            make_sequences(d, out, lengths, n, is_list, first)
            if not is_list:
                d.open = &open
        items = slots_new(total)
        if total:
            decode_items(d, items, total)
        if not d.has_refs:
            make_sequences(d, out, lengths, n, is_list, first)
        at = items
        for i in range(n):
            fill_slots(fastser_list_items(out[i]) if is_list else fastser_tuple_items(out[i]), at, lengths[i])
            at += lengths[i]
            if is_list or lengths[i]:
                show(d, out[i])
    finally:
        d.open = open.next
        free(lengths)
        if items != NULL:
            slots_free(items, total)
    d.depth -= 1
    return 0


cdef int make_sequences(
    Decoder* d, PyObject** out, const uint64_t* lengths, Py_ssize_t n, bint is_list, Py_ssize_t first,
) except -1:
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = new_sequence(d, lengths[i], is_list)
        set_number(d, first + i, out[i])
    return 0


cdef struct Column:
    LeafRun leaves            # tag 0: `items` holds them already
    PyObject** items


cdef Column* open_columns(Decoder* d, Py_ssize_t width, Py_ssize_t n) except NULL:
    """The columns of n rows, claimed already.  columns_free takes them.

    Leaves are not made yet: making them a few rows at a time keeps them in the processor's cache
    until they are put into their row.
    """
    cdef Py_ssize_t j
    cdef Column* columns = <Column*> calloc(width, sizeof(Column))
    if columns == NULL:
        raise MemoryError()
    try:
        for j in range(width):
            if n > 1 and d.at < d.end and open_leaf_run(d, d.at[0], n, &columns[j].leaves):
                d.at += 1
                continue
            columns[j].leaves.tag = 0
            columns[j].items = slots_new(n)
            # Claimed while it was still to come: given back before it claims itself.
            if n > 1:
                d.budget += n
            decode_items(d, columns[j].items, n)
    except:
        columns_free(columns, width, n)
        raise
    return columns


cdef void columns_free(Column* columns, Py_ssize_t width, Py_ssize_t n) noexcept:
    cdef Py_ssize_t j
    for j in range(width):
        if columns[j].items != NULL:
            slots_free(columns[j].items, n)
    free(columns)


cdef PyObject** read_columns(
    Decoder* d, Column* columns, Py_ssize_t width, PyObject** scratch, Py_ssize_t chunk, Py_ssize_t start, Py_ssize_t m,
) except NULL:
    """m rows of all columns, ``chunk`` apart, in ``scratch``, which owns them."""
    cdef Py_ssize_t j
    for j in range(width):
        if columns[j].leaves.tag:
            read_leaf_run(d, &columns[j].leaves, scratch + j * chunk, start, m)
        else:
            memcpy(scratch + j * chunk, columns[j].items + start, m * sizeof(PyObject*))
            memset(columns[j].items + start, 0, m * sizeof(PyObject*))
    return scratch


cdef int decode_rows(Decoder* d, PyObject** out, Py_ssize_t n, bint is_list) except -1:
    """n lists or tuples of one width, a run for each position."""
    cdef Py_ssize_t width = read_count(d), i, j, start, m, chunk = min(n, <Py_ssize_t> CHUNK), first = number(d, n)
    cdef PyObject** scratch = NULL
    cdef PyObject** slots
    cdef PyObject* old
    cdef Column* columns = NULL
    cdef OpenTuples open
    if width == 0:
        return bad(d, "a width of at least 1", 0)
    if n > d.budget // width:
        return unbacked(d, <uint64_t> n * width)
    claim(d, n * width)
    descend(d)
    open.first = first
    open.count = n
    open.next = d.open
    try:
        if d.has_refs:
            for i in range(n):
                out[i] = new_sequence(d, width, is_list)
                set_number(d, first + i, out[i])
            if not is_list:
                d.open = &open
        columns = open_columns(d, width, n)
        scratch = slots_new(width * chunk)
        for start in range(0, n, chunk):
            m = min(n - start, chunk)
            read_columns(d, columns, width, scratch, chunk, start, m)
            for i in range(m):
                if not d.has_refs:
                    out[start + i] = new_sequence(d, width, is_list)
                slots = fastser_list_items(out[start + i]) if is_list else fastser_tuple_items(out[start + i])
                for j in range(width):
                    old = slots[j]
                    slots[j] = scratch[j * chunk + i]
                    scratch[j * chunk + i] = NULL
                    fastser_xdecref(old)
                show(d, out[start + i])
    finally:
        d.open = open.next
        if columns != NULL:
            columns_free(columns, width, n)
        if scratch != NULL:
            slots_free(scratch, width * chunk)
    d.depth -= 1
    return 0


cdef int decode_sets(Decoder* d, PyObject** out, Py_ssize_t n, bint frozen) except -1:
    cdef Py_ssize_t i, j, total, first = number(d, n)
    cdef uint64_t* lengths = <uint64_t*> malloc(n * sizeof(uint64_t))
    cdef PyObject** items = NULL
    cdef PyObject** at
    if lengths == NULL:
        raise MemoryError()
    total = 0
    try:
        descend(d)
        total = read_lengths(d, lengths, n)
        if not frozen:
            for i in range(n):
                out[i] = new_set(NULL)
                set_number(d, first + i, out[i])
        items = slots_new(total)
        if total:
            decode_items(d, items, total)
        at = items
        for i in range(n):
            if frozen:
                out[i] = new_frozenset(NULL)
            for j in range(<Py_ssize_t> lengths[i]):
                check_hashable(d, at[j])
                set_add(out[i], at[j])
            if frozen:
                set_number(d, first + i, out[i])
            at += lengths[i]
    finally:
        free(lengths)
        if items != NULL:
            slots_free(items, total)
    d.depth -= 1
    return 0


cdef int decode_dicts(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    """n dicts of any keys and lengths."""
    cdef Py_ssize_t i, j, total, first = number(d, n)
    cdef uint64_t* lengths = <uint64_t*> malloc(n * sizeof(uint64_t))
    cdef PyObject** keys = NULL
    cdef PyObject** values
    cdef Py_ssize_t at = 0
    if lengths == NULL:
        raise MemoryError()
    total = 0
    try:
        descend(d)
        total = read_lengths(d, lengths, n)
        for i in range(n):
            out[i] = fastser_dict_presized(lengths[i])
            set_number(d, first + i, out[i])
        keys = slots_new(2 * total)
        values = keys + total
        if total:
            decode_items(d, keys, total)
            decode_items(d, values, total)
        for i in range(n):
            for j in range(<Py_ssize_t> lengths[i]):
                check_hashable(d, keys[at])
                dict_set(out[i], keys[at], values[at])
                at += 1
    finally:
        free(lengths)
        if keys != NULL:
            slots_free(keys, 2 * total)
    d.depth -= 1
    return 0


cdef ShapeSeen* read_shape(Decoder* d) except NULL:
    """Borrowed: a shape, with a template when it is used again or for many."""
    cdef uint64_t index = read_varint(d)
    cdef ShapeSeen new
    if index:
        if index > d.shapes.size // sizeof(ShapeSeen):
            bad(d, f"one of {d.shapes.size // sizeof(ShapeSeen)} shapes", index)
        return <ShapeSeen*> d.shapes.data + (index - 1)
    new.count = read_count(d)
    new.first = d.text
    new.template = NULL
    if new.count > d.view.text_count - d.text or new.count == 0 or new.count > MAX_SHAPE_KEYS:
        bad(d, "a shape whose keys lie in column text", f"{new.count} keys")
    d.text += new.count
    if buffer_append(&d.shapes, &new, sizeof(ShapeSeen)) < 0:
        raise MemoryError()
    return <ShapeSeen*> (d.shapes.data + d.shapes.size) - 1


cdef PyObject* template_of(Decoder* d, ShapeSeen* shape) except NULL:
    """Borrowed: a dict of the shape's keys, to copy: cheaper than to insert them one by one."""
    cdef Py_ssize_t i, size = 0
    cdef const char* text
    cdef PyObject* key
    if shape.template == NULL:
        shape.template = fastser_dict_presized(shape.count)
        for i in range(shape.count):
            text = next_text(d, shape.first + i, &size)
            key = new_key(text, size)
            try:
                dict_set(shape.template, key, fastser_none)
            finally:
                fastser_decref(key)
    return shape.template


cdef PyObject* decode_record(Decoder* d) except NULL:
    """New reference: one dict of str keys."""
    cdef Py_ssize_t i, size = 0, position = 0, first = number(d, 1)
    cdef size_t known = d.shapes.size
    cdef ShapeSeen* shape = read_shape(d)
    cdef Py_ssize_t first_key = shape.first, count = shape.count
    cdef PyObject* o
    cdef PyObject* key
    cdef PyObject* value
    cdef PyObject* template
    cdef const char* text
    descend(d)
    claim(d, count)
    if d.shapes.size == known:
        # Met before: fill a copy of its template.
        template = template_of(d, shape)
        if fastser_dict_size(template) == count:
            fastser_incref(template)
            o = dict_copy(template)
            try:
                set_number(d, first, o)
                while fastser_dict_next(template, &position, &key, NULL):
                    value = decode_value(d)
                    try:
                        dict_set(o, key, value)
                    finally:
                        fastser_decref(value)
            except:
                fastser_decref(o)
                raise
            finally:
                fastser_decref(template)
            d.depth -= 1
            return o
    o = fastser_dict_presized(count)
    try:
        set_number(d, first, o)
        for i in range(count):
            text = next_text(d, first_key + i, &size)
            value = decode_value(d)
            try:
                key = new_key(text, size)
                try:
                    dict_set(o, key, value)
                finally:
                    fastser_decref(key)
            finally:
                fastser_decref(value)
    except:
        fastser_decref(o)
        raise
    d.depth -= 1
    return o


cdef int decode_records(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    """n dicts of one shape, a run for each key."""
    cdef Py_ssize_t i = 0, j, start, m, count, chunk = min(n, <Py_ssize_t> CHUNK), first = number(d, n), position = 0
    cdef ShapeSeen* shape = read_shape(d)
    cdef PyObject* template = template_of(d, shape)
    cdef PyObject** scratch = NULL
    cdef PyObject** keys = NULL
    cdef PyObject* key
    cdef Column* columns = NULL
    count = shape.count
    if n > d.budget // count:
        return unbacked(d, <uint64_t> n * count)
    claim(d, n * count)
    if fastser_dict_size(template) != count:
        return bad(d, "a shape of different keys", "one with a key twice")
    descend(d)
    fastser_incref(template)
    try:
        keys = slots_new(count)
        while fastser_dict_next(template, &position, &key, NULL):
            fastser_incref(key)
            keys[i] = key
            i += 1
        if d.has_refs:
            for i in range(n):
                out[i] = dict_copy(template)
                set_number(d, first + i, out[i])
        columns = open_columns(d, count, n)
        scratch = slots_new(count * chunk)
        for start in range(0, n, chunk):
            m = min(n - start, chunk)
            read_columns(d, columns, count, scratch, chunk, start, m)
            for i in range(m):
                if not d.has_refs:
                    out[start + i] = dict_copy(template)
                for j in range(count):
                    dict_set(out[start + i], keys[j], scratch[j * chunk + i])
                    fastser_decref(scratch[j * chunk + i])
                    scratch[j * chunk + i] = NULL
    finally:
        if columns != NULL:
            columns_free(columns, count, n)
        if scratch != NULL:
            slots_free(scratch, count * chunk)
        if keys != NULL:
            slots_free(keys, count)
        fastser_decref(template)
    d.depth -= 1
    return 0


# --- structure ----------------------------------------------------------------------------------------------------------


cdef int decode_indexed(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, m = read_count(d)
    cdef uint64_t* indices = NULL
    cdef PyObject** items
    if m == 0:
        return bad(d, "at least one distinct item", 0)
    items = slots_new(m)
    try:
        decode_items(d, items, m)
        d.shares = 1
        indices = <uint64_t*> malloc(n * sizeof(uint64_t))
        if indices == NULL:
            raise MemoryError()
        read_unsigned(d, indices, n)
        for i in range(n):
            if indices[i] >= <uint64_t> m:
                return bad(d, f"an index below {m}", indices[i])
            out[i] = items[indices[i]]
            fastser_incref(out[i])
    finally:
        free(indices)
        slots_free(items, m)
    return 0


cdef int decode_references(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    cdef uint64_t* numbers
    if n == 1:
        out[0] = referred(d, read_varint(d))
        return 0
    numbers = <uint64_t*> malloc(n * sizeof(uint64_t))
    if numbers == NULL:
        raise MemoryError()
    try:
        read_unsigned(d, numbers, n)
        for i in range(n):
            out[i] = referred(d, numbers[i])
    finally:
        free(numbers)
    return 0


cdef int decode_nullable(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef const uint8_t* bits = take_bits(d, n)
    cdef Py_ssize_t i
    cdef PyObject* filler
    if d.at < d.end and d.at[0] == TAG_BOOLS:
        d.at += 1
        claim(d, n)
        read_truths(bits, take_bits(d, n), out, 0, n)
        return 0
    decode_items(d, out, n)
    for i in range(n):
        if not bits[i >> 3] >> (i & 7) & 1:
            filler = out[i]
            fastser_incref(fastser_none)
            out[i] = fastser_none
            fastser_decref(filler)
    return 0


cdef int decode_groups(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef uint64_t groups = read_varint(d)
    cdef const uint8_t* index
    cdef Py_ssize_t starts[MAX_GROUPS + 1]
    cdef Py_ssize_t i, g, m, start = 0
    cdef PyObject** items
    if not 2 <= groups <= MAX_GROUPS:
        return bad(d, f"2 to {MAX_GROUPS} groups", groups)
    index = take_bits(d, n) if groups == 2 else <const uint8_t*> take_i8(d, n)
    items = slots_new(n)
    try:
        for g in range(<Py_ssize_t> groups):
            m = read_count(d)
            if m == 0 or m > n - start:
                return bad(d, f"a group of 1 to {n - start} items", m)
            starts[g] = start
            decode_items(d, items + start, m)
            start += m
        if start != n:
            return bad(d, f"groups of {n} items", start)
        for i in range(n):
            g = (index[i >> 3] >> (i & 7) & 1) if groups == 2 else index[i]
            if g >= <Py_ssize_t> groups or starts[g] >= n or items[starts[g]] == NULL:
                return bad(d, "an index of a group with items left", g)
            out[i] = items[starts[g]]
            items[starts[g]] = NULL
            starts[g] += 1
    finally:
        slots_free(items, n)
    return 0


cdef int decode_items(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    """Fill n empty slots.  On an error some are filled; they are the caller's to let go."""
    cdef Py_ssize_t k
    if n > 1:
        claim(d, n)
    if fastser_stack_short(d.stack_limit):
        return too_deep(d, True)
    while True:
        if n == 1:
            out[0] = decode_value(d)
            return 0
        if d.at < d.end and d.at[0] == TAG_CONCAT:
            d.at += 1
            k = read_count(d)
            if not 0 < k < n:
                return bad(d, f"a part of 1 to {n - 1} items", k)
            decode_items(d, out, k)
            out += k
            n -= k
            continue
        return decode_run(d, out, n, read_byte(d))


cdef int decode_run(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    cdef Py_ssize_t i, k, size = 0
    cdef const char* data
    cdef PyObject* constant
    cdef LeafRun run
    if open_leaf_run(d, tag, n, &run):
        return read_leaf_run(d, &run, out, 0, n)
    if tag == TAG_GENERIC:
        for i in range(n):
            out[i] = decode_value(d)
        return 0
    if tag == TAG_LIST or tag == TAG_TUPLE:
        return decode_sequences(d, out, n, tag == TAG_LIST)
    if tag == TAG_LIST_ROWS or tag == TAG_TUPLE_ROWS:
        return decode_rows(d, out, n, tag == TAG_LIST_ROWS)
    if tag == TAG_RECORDS:
        return decode_records(d, out, n)
    if tag == TAG_DICT:
        return decode_dicts(d, out, n)
    if tag == TAG_SET or tag == TAG_FROZENSET:
        return decode_sets(d, out, n, tag == TAG_FROZENSET)
    if tag == TAG_NULLABLE:
        return decode_nullable(d, out, n)
    if tag == TAG_GROUPS:
        return decode_groups(d, out, n)
    if tag == TAG_INDEXED:
        return decode_indexed(d, out, n)
    if tag == TAG_REF:
        return decode_references(d, out, n)
    if tag == TAG_BYTES:
        for i in range(n):
            data = next_data(d, &size)
            out[i] = new_bytes(data, size)
        return 0
    if tag == TAG_BYTEARRAY:
        k = number(d, n)
        for i in range(n):
            data = next_data(d, &size)
            out[i] = new_bytearray(data, size)
            set_number(d, k + i, out[i])
        return 0
    if TAG_DATETIME <= tag <= TAG_LONG_TIMEDELTA:
        return decode_times(d, out, n, tag)
    if TAG_UTC <= tag <= TAG_ZONEINFO:
        return decode_zones(d, out, n, tag)
    if tag == TAG_ARRAY or tag == TAG_ARRAY_RUN or tag == TAG_OBJECT_ARRAY:
        return decode_arrays(d, out, n, tag)
    if tag == TAG_SCALAR:
        return decode_scalars(d, out, n)
    if tag == TAG_DECIMAL:
        return decode_decimals(d, out, n)
    if tag == TAG_UUID:
        return decode_uuids(d, out, n)
    if tag == TAG_BODY_TEXT or tag == TAG_BODY_BYTES or tag == TAG_BODY_BYTEARRAY:
        return decode_bodies(d, out, n, tag)
    if tag == TAG_PICKLE:
        return decode_pickles(d, out, n)
    if tag == TAG_BIG_INT:
        for i in range(n):
            data = next_data(d, &size)
            if size == 0:
                return bad(d, "the bytes of an integer", "none")
            out[i] = fastser_int_from_bytes(<const unsigned char*> data, size, False, True)
        return 0
    if tag == TAG_COMPLEX:
        floats = take_f64(d, n)
        take_f64(d, n)
        for i in range(n):
            out[i] = new_complex(floats[2 * i], floats[2 * i + 1])
        return 0
    if tag == TAG_SURROGATE_TEXT:
        for i in range(n):
            data = next_data(d, &size)
            out[i] = new_utf8(data, size, "surrogatepass")
        return 0
    if tag == TAG_TEXT_REF:
        for i in range(n):
            out[i] = text_reference(d, read_varint(d))
        return 0
    if tag == TAG_RANGE or tag == TAG_SLICE:
        return decode_bounds(d, out, n, tag)
    if tag == TAG_NONE:
        constant = fastser_none
    elif tag == TAG_TRUE:
        constant = fastser_true
    elif tag == TAG_FALSE:
        constant = fastser_false
    elif tag == TAG_ELLIPSIS:
        constant = fastser_ellipsis
    elif tag == TAG_NOT_IMPLEMENTED:
        constant = fastser_not_implemented
    elif tag >= TAG_SMALL_INT and n == 1:
        out[0] = new_long(tag - TAG_SMALL_INT)
        return 0
    else:
        d.at -= 1
        return bad(d, f"the tag of {n} items", tag)
    fastser_incref_constant(constant, n)
    for i in range(n):
        out[i] = constant
    return 0


cdef PyObject* decode_value(Decoder* d) except NULL:
    """New reference: one value, the commonest kinds first."""
    cdef int tag = read_byte(d)
    cdef PyObject* o = NULL
    if tag >= TAG_SMALL_INT:
        return new_long(tag - TAG_SMALL_INT)
    if tag == TAG_TEXT:
        return decode_text(d)
    if tag == TAG_FLOAT:
        return new_float(take_f64(d, 1)[0])
    if tag == TAG_RECORDS:
        return decode_record(d)
    if (tag == TAG_LIST or tag == TAG_TUPLE) and not d.has_refs:
        return decode_sequence(d, tag == TAG_LIST)
    if tag == TAG_CONCAT or tag == TAG_GENERIC:
        d.at -= 1
        bad(d, "the tag of a value", tag)
    decode_one(d, &o, tag)
    return o


cdef int decode_one(Decoder* d, PyObject** out, int tag) except -1:
    try:
        return decode_run(d, out, 1, tag)
    except:
        fastser_xdecref(out[0])
        raise


cdef PyObject* decode_sequence(Decoder* d, bint is_list) except NULL:
    """New reference: one list or tuple, its items straight into their places."""
    cdef Py_ssize_t first = number(d, 1), size = read_count(d)
    cdef PyObject* o
    descend(d)
    o = new_list(size) if is_list else new_tuple(size)
    try:
        set_number(d, first, o)
        if size:
            hide(d, o)
            decode_items(d, fastser_list_items(o) if is_list else fastser_tuple_items(o), size)
            show(d, o)
    except:
        fastser_decref(o)
        raise
    d.depth -= 1
    return o


# --- the root -----------------------------------------------------------------------------------------------------------


cdef PyObject* decode_root(Decoder* d) except NULL:
    """New reference: the object, and nothing left over."""
    cdef PyObject* o = decode_value(d)
    try:
        if d.at != d.end:
            bad(d, "the end of the tags", f"{d.end - d.at} more bytes")
        if d.hashing != NULL:
            check_reopened(d)
    except:
        fastser_decref(o)
        raise
    return o


cdef int word_error(Decoder* d) except -1:
    """Raise what decode_root left, as an error of the frame's where it is one of a constructor's."""
    try:
        return reraise()
    except (_errors.FastserError, MemoryError):
        raise
    except Exception as error:
        raise _errors.cannot_rebuild("a value", error, f"tag {d.at - d.view.tags}") from error
    finally:
        let_go(d)


cdef int reraise() except -1:
    """Raise what a function left that was called without a look at the exception."""
    return -1


# The same functions, called without a look at the exception: entering a try block costs as much as
# reading a small int does.
ctypedef PyObject* (*DecodeRoot)(Decoder*) noexcept
ctypedef int (*WordError)(Decoder*) noexcept


cdef PyObject* decode_view(Decoder* d, PyObject* owner, bint writable, bint safe, Py_ssize_t max_depth) noexcept:
    """New reference: the object in d.view, or NULL with an exception.  ``owner`` keeps the memory alive."""
    cdef PyObject* o
    cdef int collector = 0
    decoder_begin(d)
    d.at = d.view.tags
    d.end = d.view.tags + d.view.tag_count
    d.budget = d.view.frame_size * 8 if d.view.frame_size <= PY_SSIZE_T_MAX // 8 else PY_SSIZE_T_MAX
    d.max_depth = max_depth
    d.stack_limit = fastser_stack_limit()
    d.owner = owner
    d.writable = writable
    d.shares = d.has_refs = d.view.flags & FLAG_REFS
    d.foreign = d.view.flags & FLAG_FOREIGN
    d.safe = safe
    if not d.foreign:
        collector = fastser_collector_pause()
    o = (<DecodeRoot> decode_root)(d)
    fastser_collector_resume(collector)
    if o == NULL:
        (<WordError> word_error)(d)
    decoder_release(d)
    return o


cdef PyObject* decode_frame(
    const char* data, Py_ssize_t size, PyObject* owner, bint writable, bint safe, Py_ssize_t max_depth,
) except NULL:
    cdef Decoder d
    cdef PyObject* o = NULL
    cdef int status
    status = frame_parse(data, size, &d.view, &d.copied)
    if status == FRAME_OK:
        o = decode_view(&d, owner, writable, safe, max_depth)
    view_release(&d.view, d.copied)
    if status != FRAME_OK:
        raise frame_error(status, data, size)
    return o


cdef object decode_packed(Packed packed, bint safe, Py_ssize_t max_depth):
    cdef Decoder d
    memset(&d.view, 0, sizeof(View))
    d.copied = NULL
    try:
        packed_view(packed, &d.view)
        return taken(decode_view(&d, <PyObject*> packed, False, safe, max_depth))
    finally:
        view_release(&d.view, NULL)


cdef object decode_row(ArrowRow row, bint safe, Py_ssize_t max_depth):
    cdef Decoder d
    memset(&d.view, 0, sizeof(View))
    d.copied = NULL
    try:
        arrow_row_view(row, &d.view)
        return taken(decode_view(&d, <PyObject*> row, False, safe, max_depth))
    finally:
        view_release(&d.view, NULL)


cdef inline object taken(PyObject* o):
    """Steals a new reference, or raises what was left with NULL."""
    if o == NULL:
        reraise()
    result = <object> o
    fastser_decref(o)
    return result


def loads(data, *, bint safe=False, allow=(), Py_ssize_t max_depth=1000):
    """Rebuild the object that a frame holds.

    Frames are trusted as pickles are: parts that were pickled are unpickled, which can run any
    code.  With ``safe=True`` nothing is imported, called or unpickled.

    Parameters
    ----------
    data : bytes-like, Packed, or a producer of one Arrow row
        What follows the frame in a longer buffer is not looked at.
    safe : bool
        Refuse what would import, call or unpickle.
    allow : sequence
        Classes that may be rebuilt from their fields all the same.  Pickled parts are refused whatever it holds.
    max_depth : int
        How many containers may lie within each other.

    Returns
    -------
    object
        Its arrays are views of ``data``, writable exactly when ``data`` is.

    Raises
    ------
    DecodeError
        The bytes are not one whole frame; the message tells what was expected, what was found and where.
    UnsafeDataError
        With safe=True, a part would have to be unpickled.
    DepthError
        The object is nested deeper than max_depth, or than this thread's stack allows.

    Examples
    --------
    >>> import fastser
    >>> fastser.loads(fastser.dumps((1, "a")))
    (1, 'a')
    """
    cdef Py_buffer buffer
    if type(data) is bytes:
        return taken(decode_frame(
            fastser_bytes_data(<PyObject*> data), fastser_bytes_size(<PyObject*> data), <PyObject*> data,
            False, safe, max_depth))
    if type(data) is Packed:
        return decode_packed(<Packed> data, safe, max_depth)
    try:
        view = memoryview(data)
    except TypeError:
        if hasattr(data, "__arrow_c_array__"):
            return decode_row(ArrowRow(data), safe, max_depth)
        raise _errors.not_readable(data) from None
    PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE)
    try:
        return taken(decode_frame(
            <const char*> buffer.buf, buffer.len, <PyObject*> view, not view.readonly, safe, max_depth))
    finally:
        PyBuffer_Release(&buffer)
