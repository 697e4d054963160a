"""The walk over objects: type dispatch, runs, shapes, memo and the recursion guard."""

cimport numpy as cnp
from cpython.datetime cimport import_datetime
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from fastser._core.arrays cimport *
from fastser._core.buffer cimport Buffer, append_varint, buffer_append, buffer_extend, buffer_reserve
from fastser._core.capi cimport *
from fastser._core.columns cimport Columns, columns_body_count, columns_capacity
from fastser._core.copy cimport fastser_copy_short
from fastser._core.dtypes cimport describe
from fastser._core.encoder cimport *
from fastser._core.frame cimport Layout, frame_layout
from fastser._core.ints cimport int_append, int_run, unsigned_run
from fastser._core.memo cimport Memo, MemoEntry, memo_clear, memo_entry
from fastser._core.packed cimport frame_to_bytes, packed_new
from fastser._core.scalars cimport *
from fastser._core.shapes cimport *
from fastser._core.stack cimport fastser_stack_limit, fastser_stack_short
from fastser._core.tags cimport *
from fastser._core.text cimport *

import datetime as _datetime
import decimal as _decimal
import uuid as _uuid
import zoneinfo as _zoneinfo

import numpy as _numpy

from fastser import errors as _errors, fallback as _fallback, locate as _locate

cnp.import_array()
import_datetime()
fastser_plain_import()

# The exact types below are native.  Strong references for the module's life.
cdef PyObject* datetime_type = <PyObject*> _datetime.datetime
cdef PyObject* date_type = <PyObject*> _datetime.date
cdef PyObject* time_type = <PyObject*> _datetime.time
cdef PyObject* timedelta_type = <PyObject*> _datetime.timedelta
cdef PyObject* timezone_type = <PyObject*> _datetime.timezone
cdef PyObject* utc = <PyObject*> _datetime.timezone.utc
cdef PyObject* zoneinfo_type = <PyObject*> _zoneinfo.ZoneInfo
cdef PyObject* decimal_type = <PyObject*> _decimal.Decimal
cdef PyObject* uuid_type = <PyObject*> _uuid.UUID
cdef object _held_types = (_datetime, _zoneinfo.ZoneInfo, _decimal.Decimal, _uuid.UUID, _datetime.timezone.utc)
cdef list _safe_uuid = [_uuid.SafeUUID.unknown, _uuid.SafeUUID.safe, _uuid.SafeUUID.unsafe]
cdef object _empty_text = ""
cdef object _zero = 0
cdef object _zero_float = 0.0


cdef enum:
    RUN_MIN = 16          # a shorter run that does not reach the end is not worth its own tag
    GROUPS_MIN = 8        # shorter mixed lists are written item by item
    STRETCH_MIN = 64      # of items written one by one before another look for a run
    DICT_SHAPE_MAX = 32   # a single dict with more keys is keys followed by values
    ROW_WIDTH_MAX = 64

    FALLBACK_NONE = 0
    FALLBACK_PICKLE = 1
    FALLBACK_CLOUDPICKLE = 2

    CAN_REPEAT = 1        # kinds of types, see kind_of
    NUMBERED = 2


class _Restart(Exception):
    """The walk begins again at the root, in another mode."""


cdef int restart(Encoder* e, int mode) except -1:
    e.restart = mode
    raise _Restart


cdef int text_failed(Encoder* e) except -1:
    """`text` or `data` did not take an item: begin again with 64-bit offsets, or memory is short."""
    if not e.columns.large and (e.columns.text.size > <size_t> 0x7FFFFFFF or e.columns.data.size > <size_t> 0x7FFFFFFF):
        return restart(e, RESTART_LARGE)
    raise MemoryError()


cdef object path_of(Encoder* e, PyObject* o):
    return _locate.locate(<object> e.root, <object> o)


cdef int too_deep(Encoder* e, PyObject* o, bint stack) except -1:
    raise _errors.depth_exceeded(path_of(e, o), e.max_depth, decoding=False, stack=stack)


cdef int keep(Encoder* e, object temporary) except -1:
    """Keep an object alive until the call ends: its address stands for it in the memo."""
    if e.keep == NULL:
        e.keep = new_list(0)
    (<list> e.keep).append(temporary)
    return 0


# --- numbers: which objects the frame can refer back to ---------------------------------------------------------------


cdef inline bint may_be_shared(Encoder* e, PyObject* o) noexcept:
    """Whether an object may be met twice.

    A container whose only reference is its parent's cannot, as long as nothing but plain
    containers is walked and no user code runs.
    """
    return fastser_refcount(o) > 1 or e.all_shared


cdef Py_ssize_t number_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Number the leading items that are met for the first time; how many they are."""
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    if e.acyclic:
        e.numbers += n
        return n
    for i in range(n):
        if not may_be_shared(e, items[i]):
            continue
        entry = memo_entry(&e.memo, items[i])
        if entry == NULL:
            raise MemoryError()
        if not e.track:
            # Siblings may be the same object.  On another level it may be an ancestor, or one of an
            # ancestor's siblings, whose items lie in the same run.
            if 0 <= entry.value < e.depth:
                restart(e, RESTART_ACYCLIC)
            entry.value = e.depth
        elif entry.value >= 0:
            e.numbers += i
            return i
        else:
            entry.value = e.numbers + i
    e.numbers += n
    return n


cdef int unnumber_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Take the numbers of a run back (tracking), or take its items off the path (a tree)."""
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    for i in range(n):
        if may_be_shared(e, items[i]):
            entry = memo_entry(&e.memo, items[i])
            if entry == NULL:
                raise MemoryError()
            entry.value = -1
    return 0


cdef inline int descend(Encoder* e, PyObject* o) except -1:
    e.depth += 1
    if e.depth > e.max_depth:
        return too_deep(e, o, False)
    if fastser_stack_short(e.stack_limit):
        return too_deep(e, o, True)
    return 0


cdef inline bint is_level(PyObject* t) noexcept:
    """Whether objects of a numbered type hold others (arrays of objects see to that themselves)."""
    return not (t == fastser_array_type or t == fastser_bytearray_type or t == timezone_type or t == zoneinfo_type)


cdef inline int ascend(Encoder* e, PyObject** items, Py_ssize_t n, bint level) except -1:
    e.depth -= level
    if not e.track and not e.acyclic:
        unnumber_run(e, items, n)
    return 0


cdef int write_unsigned(Encoder* e, const uint64_t* values, Py_ssize_t n, uint64_t largest) except -1:
    """Lengths or indices, as one varint where there is one."""
    cdef int size
    if n == 1:
        return write_varint(e, values[0])
    size = unsigned_run(&e.columns, values, n, largest)
    if size < 0:
        raise MemoryError()
    return write_varint(e, size)


cdef int check_open(Encoder* e, Py_ssize_t number) except -1:
    """Before referring to an object that a reader may not have finished.

    A reader fills the tuples of a run together.  Until then they may be referred to from lists, but
    not hashed; frozensets are not even made.
    """
    cdef OpenRun* run = e.open
    while run != NULL:
        if run.first <= number < run.first + run.count and (run.frozen or e.hashed):
            return restart(e, RESTART_SINGLY)
        run = run.next
    return 0


cdef int write_references(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """n items that all have numbers already."""
    cdef size_t mark = e.blocks.size
    cdef uint64_t* numbers = <uint64_t*> block_new(e, n)
    cdef uint64_t largest = 0
    cdef Py_ssize_t i
    for i in range(n):
        numbers[i] = memo_entry(&e.memo, items[i]).value
        check_open(e, numbers[i])
        if numbers[i] > largest:
            largest = numbers[i]
    write_tag(e, TAG_REF)
    write_unsigned(e, numbers, n, largest)
    e.flags |= FLAG_REFS
    blocks_leave(e, mark)
    return 0


cdef Py_ssize_t known_prefix(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """How many of the leading items, whatever their types, have numbers already."""
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    if not e.track:
        return 0
    for i in range(n):
        if not kind_of(fastser_type(items[i])) & NUMBERED or not may_be_shared(e, items[i]):
            return i
        entry = memo_entry(&e.memo, items[i])
        if entry == NULL:
            raise MemoryError()
        if entry.value < 0:
            return i
    return n


# --- single values ------------------------------------------------------------------------------------------------------


cdef int encode_value(Encoder* e, PyObject* o) except -1:
    cdef PyObject* t = fastser_type(o)
    cdef int64_t value
    cdef int tag
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
    if kind_of(t) & NUMBERED:
        return encode_numbered(e, o, t)
    return encode_leaves(e, &o, 1, t)


cdef inline int encode_numbered(Encoder* e, PyObject* o, PyObject* t) except -1:
    """One object that later parts of the message may refer to."""
    cdef MemoEntry* entry
    cdef bint level = is_level(t)
    if level:
        descend(e, o)
    if may_be_shared(e, o):
        if number_run(e, &o, 1) == 0:
            entry = memo_entry(&e.memo, o)
            check_open(e, entry.value)
            put_tag(e, TAG_REF)
            append_varint(&e.columns.tags, entry.value)
            e.flags |= FLAG_REFS
            e.depth -= level
            return 0
    else:
        e.numbers += 1
    if t == fastser_dict_type:
        encode_dict(e, o)
    elif t == fastser_list_type or t == fastser_tuple_type:
        encode_sequence(e, o, t == fastser_list_type)
    else:
        encode_objects(e, &o, 1, t)
    return ascend(e, &o, 1, level)


cdef int encode_text(Encoder* e, PyObject* o) except -1:
    cdef Py_ssize_t length = fastser_str_length(o)
    cdef TextCacheEntry* cached = NULL
    cdef int status
    if fastser_str_ready(o) < 0:
        return -1
    if utf8_room(o) >= BYTES_BODY_MIN:
        return encode_long_text(e, o)
    if e.track and length > 2 and fastser_refcount(o) > 1:
        cached = &e.texts[(<size_t> o >> 4) & (TEXT_CACHE_SIZE - 1)]
        if cached.key == o and cached.epoch == e.epoch:
            put_tag(e, TAG_TEXT_REF)
            append_varint(&e.columns.tags, cached.index)
            return 0
    status = text_append(&e.columns, o)
    if status == TEXT_OK:
        put_tag(e, TAG_TEXT)
        if cached != NULL:
            cached.key = o
            cached.epoch = e.epoch
            cached.index = <unsigned int> (e.columns.text_offsets.size // (8 if e.columns.large else 4) - 2)
            if e.careful:
                keep(e, <object> o)
        return 0
    if status == TEXT_SURROGATES:
        put_tag(e, TAG_SURROGATE_TEXT)
        status = surrogate_text_append(&e.columns, o)
        if status == TEXT_OK:
            return 0
    return text_failed(e)


cdef int encode_long_text(Encoder* e, PyObject* o) except -1:
    """A str long enough for a body of its own."""
    cdef object encoded
    if fastser_str_is_ascii(o):
        put_tag(e, TAG_BODY_TEXT)
        return write_body_reference(e, o, fastser_str_ascii_data(o), fastser_str_length(o), o)
    try:
        encoded = (<str> o).encode("utf-8")
    except UnicodeEncodeError:
        put_tag(e, TAG_SURROGATE_TEXT)
        if surrogate_text_append(&e.columns, o) != TEXT_OK:
            return text_failed(e)
        return 0
    put_tag(e, TAG_BODY_TEXT)
    if e.careful:
        keep(e, <object> o)
    return write_body_reference(e, o, fastser_bytes_data(<PyObject*> encoded), len(<bytes> encoded), <PyObject*> encoded)


# --- leaves that are neither int, float nor text ------------------------------------------------------------------------


cdef int kind_of(PyObject* t) except -1:
    """What the types that are not the hottest are: NUMBERED ones can be referred back to."""
    if (t == fastser_list_type or t == fastser_tuple_type or t == fastser_dict_type or t == fastser_set_type
            or t == fastser_frozenset_type or t == fastser_array_type or t == fastser_bytearray_type):
        return NUMBERED
    if (t == fastser_str_type or t == datetime_type or t == decimal_type or t == uuid_type or t == fastser_bytes_type
            or t == date_type or t == time_type or t == timedelta_type):
        return CAN_REPEAT
    if (t == fastser_int_type or t == fastser_float_type or t == fastser_none_type or t == fastser_bool_type
            or t == fastser_complex_type or t == fastser_range_type or t == fastser_slice_type
            or t == fastser_ellipsis_type or t == fastser_not_implemented_type):
        return 0
    if is_native_scalar(t):
        return 0
    return NUMBERED


cdef Py_ssize_t leaf_prefix(PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """How many leading items, all of exact type t, one run can hold."""
    cdef Py_ssize_t i = 1
    cdef PyObject* zone
    cdef int fold
    cdef PyObject* descr
    if t == fastser_bytes_type:
        if fastser_bytes_size(items[0]) >= BYTES_BODY_MIN:
            return 1
        while i < n and fastser_bytes_size(items[i]) < BYTES_BODY_MIN:
            i += 1
        return i
    if t == datetime_type:
        zone = fastser_datetime_zone(items[0])
        fold = PyDateTime_DATE_GET_FOLD(<object> items[0])
        while i < n and fastser_datetime_zone(items[i]) == zone and PyDateTime_DATE_GET_FOLD(<object> items[i]) == fold:
            i += 1
        return i
    if t == time_type:
        zone = fastser_time_zone(items[0])
        fold = PyDateTime_TIME_GET_FOLD(<object> items[0])
        while i < n and fastser_time_zone(items[i]) == zone and PyDateTime_TIME_GET_FOLD(<object> items[i]) == fold:
            i += 1
        return i
    if t == timedelta_type:
        fold = timedelta_is_long(items[0])
        while i < n and timedelta_is_long(items[i]) == fold:
            i += 1
        return i
    if t == uuid_type:
        zone = uuid_safety(items[0])
        while i < n and uuid_safety(items[i]) == zone:
            i += 1
        return i
    if t == fastser_array_type:
        while i < n and arrays_alike(items[0], items[i]):
            i += 1
        return i
    if t == fastser_bytearray_type:
        if PyByteArray_GET_SIZE(items[0]) >= BYTES_BODY_MIN:
            return 1
        while i < n and PyByteArray_GET_SIZE(items[i]) < BYTES_BODY_MIN:
            i += 1
        return i
    if t == fastser_str_type:
        return 1 if utf8_room(items[0]) >= BYTES_BODY_MIN else n
    if is_native_scalar(t):
        return n if scalar_is_plain(items[0]) else 1
    return n


cdef int encode_leaves(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """n items of one exact type that a single run can hold (leaf_prefix)."""
    cdef PyObject* zone
    cdef int status = 0, fold
    if t == fastser_int_type:
        return encode_big_ints(e, items, n)
    if t == fastser_str_type:
        return encode_value(e, items[0])
    if t == fastser_float_type:
        write_tag(e, TAG_FLOAT)
        return write_floats(e, items, n)
    if t == fastser_none_type:
        return write_tag(e, TAG_NONE)
    if t == fastser_bool_type:
        if n == 1:
            return write_tag(e, TAG_TRUE if items[0] == fastser_true else TAG_FALSE)
        write_tag(e, TAG_BOOLS)
        return write_bits(e, items, n, fastser_true, False)
    if t == fastser_bytes_type:
        if fastser_bytes_size(items[0]) >= BYTES_BODY_MIN:
            write_tag(e, TAG_BODY_BYTES)
            return write_body_reference(
                e, items[0], fastser_bytes_data(items[0]), fastser_bytes_size(items[0]), items[0])
        write_tag(e, TAG_BYTES)
        status = write_bytes(e, items, n)
    elif t == datetime_type:
        zone = fastser_datetime_zone(items[0])
        fold = PyDateTime_DATE_GET_FOLD(<object> items[0])
        write_zone(e, zone, fold, TAG_DATETIME, TAG_DATETIME_ZONED)
        status = write_datetimes(e, items, n)
    elif t == decimal_type:
        write_tag(e, TAG_DECIMAL)
        status = write_decimals(e, items, n)
    elif t == uuid_type:
        status = encode_uuids(e, items, n)
    elif t == date_type:
        write_tag(e, TAG_DATE)
        status = write_dates(e, items, n)
    elif t == time_type:
        zone = fastser_time_zone(items[0])
        fold = PyDateTime_TIME_GET_FOLD(<object> items[0])
        write_zone(e, zone, fold, TAG_TIME, TAG_TIME_ZONED)
        status = write_times(e, items, n)
    elif t == timedelta_type:
        if timedelta_is_long(items[0]):
            write_tag(e, TAG_LONG_TIMEDELTA)
            status = write_long_timedeltas(e, items, n)
        else:
            write_tag(e, TAG_TIMEDELTA)
            status = write_timedeltas(e, items, n)
    elif t == fastser_complex_type:
        write_tag(e, TAG_COMPLEX)
        status = write_complexes(e, items, n)
    elif t == fastser_ellipsis_type:
        return write_tag(e, TAG_ELLIPSIS)
    elif t == fastser_not_implemented_type:
        return write_tag(e, TAG_NOT_IMPLEMENTED)
    elif t == fastser_range_type or t == fastser_slice_type:
        return encode_bounds(e, items, n, t)
    else:
        return encode_scalars(e, items, n)
    if status < 0:
        return text_failed(e)
    return 0


cdef int encode_big_ints(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    write_tag(e, TAG_BIG_INT)
    if write_big_ints(e, items, n) < 0:
        return text_failed(e)
    return 0


cdef int write_zone(Encoder* e, PyObject* zone, int fold, int plain, int zoned) except -1:
    if zone == fastser_none and fold == 0:
        return write_tag(e, plain)
    write_tag(e, zoned)
    append_varint(&e.columns.tags, fold)
    return encode_value(e, zone)


cdef int encode_bounds(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """Ranges and slices: three columns."""
    cdef size_t mark = e.blocks.size
    cdef PyObject** bounds
    cdef Py_ssize_t i, j
    cdef object bound
    cdef list held = []
    for i in range(n):
        for bound in ((<object> items[i]).start, (<object> items[i]).stop, (<object> items[i]).step):
            held.append(bound)
    descend(e, items[0])
    write_tag(e, TAG_SLICE if t == fastser_slice_type else TAG_RANGE)
    for j in range(3):
        bounds = block_new(e, n)
        for i in range(n):
            bounds[i] = <PyObject*> held[3 * i + j]
        block_own(e, n)
        encode_items(e, bounds, n)
    blocks_leave(e, mark)
    e.depth -= 1
    return 0


cdef PyObject* uuid_safety(PyObject* o) except NULL:
    """Borrowed: the SafeUUID member, which the class or the instance holds."""
    cdef object safety = (<object> o).is_safe
    return <PyObject*> safety


cdef int encode_uuids(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef object number
    cdef object safety = (<object> items[0]).is_safe
    cdef unsigned char* at
    cdef Py_ssize_t i
    write_tag(e, TAG_UUID)
    write_varint(e, _safe_uuid.index(safety))
    at = <unsigned char*> room(buffer_extend(&e.columns.data, n * 16))
    for i in range(n):
        number = (<object> items[i]).int
        fastser_int_to_bytes(<PyObject*> number, at + 16 * i, 16, True, False)
    return 0 if end_item(&e.columns.data_offsets, &e.columns.data, e.columns.large) == TEXT_OK else -2


# --- NumPy scalars ------------------------------------------------------------------------------------------------------


cdef tuple _scalar_types = tuple(
    {_numpy.dtype(code).type for code in "?bBhHiIlLqQpPefdgFDGSUVMm"} | {_numpy.record})


cdef bint is_native_scalar(PyObject* t) noexcept:
    """Whether t is one of NumPy's own scalar types (a subclass of a user's is not)."""
    cdef Py_ssize_t i
    cdef PyObject** types = fastser_tuple_items(<PyObject*> _scalar_types)
    for i in range(fastser_tuple_size(<PyObject*> _scalar_types)):
        if types[i] == t:
            return True
    return False


cdef bint scalar_is_plain(PyObject* o) except -1:
    """Whether a scalar's dtype needs no description."""
    cdef PyObject* descr = fastser_scalar_descr(o)
    cdef int code = fastser_dtype_code(descr)
    fastser_decref(descr)
    return code != 0


cdef int encode_scalars(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """NumPy scalars of one dtype."""
    cdef PyObject* new_descr = fastser_scalar_descr(items[0])
    cdef object descr = <object> new_descr
    fastser_decref(new_descr)
    cdef PyObject* array
    cdef Py_ssize_t i, size = fastser_descr_itemsize(<PyObject*> descr)
    cdef char* at
    if (describe(descr) if size == 0 else dtype_is_native(descr) or None) is None:
        e.numbers += n
        return encode_foreign(e, items, n)
    write_tag(e, TAG_SCALAR)
    write_dtype(e, descr)
    at = room(buffer_extend(&e.columns.data, n * size))
    for i in range(n):
        array = fastser_scalar_array(items[i])
        memcpy(at + i * size, fastser_array_data(array), size)
        fastser_decref(array)
    if end_item(&e.columns.data_offsets, &e.columns.data, e.columns.large) != TEXT_OK:
        return text_failed(e)
    return 0


# --- arrays -------------------------------------------------------------------------------------------------------------


cdef bint dtype_is_native(object descr) except -1:
    cdef int type_num = fastser_descr_type_num(<PyObject*> descr)
    if fastser_dtype_code(<PyObject*> descr):
        return True
    if (type_num == cnp.NPY_STRING or type_num == cnp.NPY_UNICODE) and fastser_descr_itemsize(<PyObject*> descr) == 0:
        return False    # of which NumPy makes no array but by its own tricks
    return describe(descr) is not None


cdef int write_dtype(Encoder* e, object descr) except -1:
    """A code of ours, or a description, written once a message."""
    cdef int code = fastser_dtype_code(<PyObject*> descr)
    cdef MemoEntry* entry
    cdef object description, number
    if code:
        return write_varint(e, code)
    entry = memo_entry(&e.dtypes, <PyObject*> descr)
    if entry == NULL:
        raise MemoryError()
    if entry.value >= 0:
        return write_varint(e, DTYPE_EARLIER + entry.value)
    description = describe(descr)
    keep(e, descr)
    if e.descriptions == NULL:
        e.descriptions = new_dict()
    if fastser_descr_type_num(<PyObject*> descr) != STRING_DTYPE:
        number = (<dict> e.descriptions).get(description)
        if number is not None:
            entry.value = number
            return write_varint(e, DTYPE_EARLIER + entry.value)
    entry.value = len(<dict> e.descriptions)
    # StringDType's missing value may be anything, so that its description is not a key.
    (<dict> e.descriptions)[entry.value if fastser_descr_type_num(<PyObject*> descr) == STRING_DTYPE else description] = entry.value
    keep(e, description)
    write_varint(e, DTYPE_DESCRIBED)
    # A description is none of the user's levels, and has a bound of its own.
    e.max_depth += DTYPE_LEVELS
    encode_value(e, <PyObject*> description)
    e.max_depth -= DTYPE_LEVELS
    return 0


cdef int write_layout(Encoder* e, PyObject* array) except -1:
    """Dtype, order and shape."""
    cdef int i, ndim = fastser_array_ndim(array)
    write_dtype(e, <object> fastser_array_descr(array))
    write_varint(e, array_order(array))
    write_varint(e, ndim)
    for i in range(ndim):
        write_varint(e, fastser_array_dims(array)[i])
    return 0


cdef int write_array_body(Encoder* e, PyObject* array, Py_ssize_t number) except -1:
    """The elements of one array: new ones, or the memory of an array that has been written."""
    cdef Py_ssize_t size = fastser_array_nbytes(array)
    cdef MemoEntry* entry
    cdef Span span
    cdef bint gathered = array_is_gathered(array)
    cdef Body* body
    if e.track and not gathered and size and (array_may_be_viewed(array, fastser_refcount(array)) or e.all_shared):
        entry = memo_entry(&e.arrays, fastser_array_data(array))
        if entry == NULL:
            raise MemoryError()
        if entry.value >= 0 and (<Span*> e.spans.data)[entry.value].size == size:
            e.flags |= FLAG_REFS
            write_tag(e, BODY_OF)
            return write_varint(e, (<Span*> e.spans.data)[entry.value].number)
        span.size = size
        span.number = number
        entry.value = e.spans.size // sizeof(Span)
        if buffer_append(&e.spans, &span, sizeof(Span)) < 0:
            raise MemoryError()
    if size >= ARRAY_BODY_MIN:
        body = body_new(e, array)
        body.size = size
        if gathered:
            body.gather = 1
        else:
            body.data = fastser_array_data(array)
        return write_tag(e, BODY_BUFFER)
    return write_elements(e, &array, 1)


cdef int copy_elements(PyObject** arrays, Py_ssize_t n, Py_ssize_t size, char* to) except -1:
    """The elements of n alike arrays of ``size`` bytes, back to back."""
    cdef Py_ssize_t i
    cdef PyObject* copy
    for i in range(n):
        if array_is_gathered(arrays[i]):
            copy = fastser_array_copy(arrays[i], ORDER_C)
            fastser_copy_short(to, fastser_array_data(copy), size)
            fastser_decref(copy)
        else:
            fastser_copy_short(to, fastser_array_data(arrays[i]), size)
        to += size
    return 0


cdef int write_elements(Encoder* e, PyObject** arrays, Py_ssize_t n) except -1:
    """One body for the elements of n alike small arrays."""
    cdef Py_ssize_t size = fastser_array_nbytes(arrays[0]), alignment = fastser_array_alignment(arrays[0])
    cdef size_t padding
    cdef object owner
    cdef Body* body
    if n * size >= ARRAY_BODY_MIN:
        owner = <object> new_bytes(NULL, n * size)
        fastser_decref(<PyObject*> owner)
        copy_elements(arrays, n, size, fastser_bytes_data(<PyObject*> owner))
        body = body_new(e, <PyObject*> owner)
        body.data = fastser_bytes_data(<PyObject*> owner)
        body.size = n * size
        return write_tag(e, BODY_BUFFER)
    write_tag(e, BODY_INLINE)
    padding = -e.columns.data.size & (alignment - 1)
    memset(room(buffer_extend(&e.columns.data, padding)), 0, padding)
    copy_elements(arrays, n, size, room(buffer_extend(&e.columns.data, n * size)))
    if end_item(&e.columns.data_offsets, &e.columns.data, e.columns.large) != TEXT_OK:
        return text_failed(e)
    return 0


cdef bint arrays_overlap(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Whether one of n small arrays, numbered last, lies on memory that another of the message lies on.

    If not, remember where they lie.
    """
    cdef Py_ssize_t i, j, size = fastser_array_nbytes(items[0])
    cdef MemoEntry* entry
    cdef Span span
    if not e.track or size == 0 or size >= ARRAY_BODY_MIN or fastser_descr_has_objects(fastser_array_descr(items[0])):
        return False
    for i in range(n):
        if not (array_may_be_viewed(items[i], fastser_refcount(items[i])) or e.all_shared):
            continue
        entry = memo_entry(&e.arrays, fastser_array_data(items[i]))
        if entry == NULL:
            raise MemoryError()
        if entry.value >= 0:
            for j in range(i):
                if array_may_be_viewed(items[j], fastser_refcount(items[j])) or e.all_shared:
                    memo_entry(&e.arrays, fastser_array_data(items[j])).value = -1
            return True
        span.size = size
        span.number = e.numbers - n + i
        entry.value = e.spans.size // sizeof(Span)
        if buffer_append(&e.spans, &span, sizeof(Span)) < 0:
            raise MemoryError()
    return False


cdef int encode_arrays(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """n alike arrays, numbered already."""
    cdef object descr = <object> fastser_array_descr(items[0])
    cdef Py_ssize_t i, size = fastser_array_nbytes(items[0]), first = e.numbers - n
    cdef object elements
    cdef int type_num = fastser_descr_type_num(<PyObject*> descr)
    if fastser_dtype_code(<PyObject*> descr) == DTYPE_OBJECT or type_num == STRING_DTYPE:
        return encode_object_arrays(e, items, n)
    if not dtype_is_native(descr):
        return encode_foreign(e, items, n)
    if n == 1 or size >= ARRAY_BODY_MIN:
        write_tag(e, TAG_ARRAY)
        write_layout(e, items[0])
        for i in range(n):
            write_array_body(e, items[i], first + i)
        return 0
    write_tag(e, TAG_ARRAY_RUN)
    write_layout(e, items[0])
    return write_elements(e, items, n)


cdef int encode_object_arrays(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Arrays of objects or of variable-width strings: a sequence of their elements, in memory order."""
    cdef size_t mark = e.blocks.size
    cdef Py_ssize_t i, j, size = fastser_array_size(items[0]), itemsize = fastser_array_itemsize(items[0])
    cdef PyObject** elements
    cdef PyObject* array
    cdef PyObject* element
    cdef Block* block
    cdef bint objects = fastser_dtype_code(fastser_array_descr(items[0])) == DTYPE_OBJECT
    for i in range(n):
        # The elements of a view are elements of its base too, whatever their reference counts say.
        if objects and array_may_be_viewed(items[i], fastser_refcount(items[i])):
            e.all_shared = 1
    write_tag(e, TAG_OBJECT_ARRAY)
    write_layout(e, items[0])
    if size == 0:
        return 0
    descend(e, items[0])
    elements = block_new(e, n * size)
    for i in range(n):
        array = items[i]
        if array_is_gathered(array):
            array = fastser_array_copy(array, 0)
            keep(e, <object> array)
            fastser_decref(array)
        for j in range(size):
            if objects:
                element = (<PyObject**> fastser_array_data(array))[j]
                if element == NULL:
                    element = fastser_none
                elements[i * size + j] = element
                if e.careful:
                    fastser_incref(element)
            else:
                elements[i * size + j] = fastser_array_item(array, fastser_array_data(array) + j * itemsize)
            if e.careful or not objects:
                block = <Block*> (e.blocks.data + e.blocks.size - sizeof(Block))
                block.owned += 1
    encode_items(e, elements, n * size)
    blocks_leave(e, mark)
    e.depth -= 1
    return 0


# --- foreign objects ----------------------------------------------------------------------------------------------------


cdef int encode_foreign(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Objects of types that are not native, numbered already: each is pickled as a unit."""
    cdef Py_ssize_t i
    cdef object payload, buffers, buffer, view
    if not e.careful:
        return restart(e, RESTART_CAREFUL)
    write_tag(e, TAG_PICKLE)
    e.flags |= FLAG_FOREIGN
    for i in range(n):
        if e.fallback == FALLBACK_NONE:
            raise _errors.needs_fallback(path_of(e, items[i]), _errors.type_name(<object> items[i]))
        try:
            payload, buffers = _fallback.pickle_object(
                <object> items[i], "cloudpickle" if e.fallback == FALLBACK_CLOUDPICKLE else "pickle")
        except RecursionError as error:
            raise _errors.pickle_recursed(path_of(e, items[i]), _errors.type_name(<object> items[i])) from error
        except Exception as error:
            raise _errors.cannot_pack(path_of(e, items[i]), _errors.type_name(<object> items[i]), error) from error
        write_memory(e, payload)
        write_varint(e, len(buffers))
        for buffer in buffers:
            write_memory(e, buffer.raw())
    return 0


cdef int write_memory(Encoder* e, object memory) except -1:
    """Bytes or a memoryview as a body."""
    cdef const unsigned char[::1] view
    cdef Body* body
    cdef Py_ssize_t size = len(memory)
    cdef object owner = memoryview(memory).cast("B")
    view = owner
    if size < BYTES_BODY_MIN:
        write_tag(e, BODY_INLINE)
        if data_append(&e.columns, <const char*> &view[0] if size else NULL, size) != TEXT_OK:
            return text_failed(e)
        return 0
    body = body_new(e, <PyObject*> owner)
    body.data = <const char*> &view[0]
    body.size = size
    return write_tag(e, BODY_BUFFER)


# --- containers ---------------------------------------------------------------------------------------------------------


cdef int encode_objects(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """n objects of one exact numbered type that a single run can hold; numbered, one level down."""
    if t == fastser_dict_type:
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
    if t == zoneinfo_type:
        return encode_zoneinfos(e, items, n)
    return encode_foreign(e, items, n)


cdef inline PyObject** sequence_items(PyObject* o, bint is_list) noexcept:
    return fastser_list_items(o) if is_list else fastser_tuple_items(o)


cdef int write_lengths(Encoder* e, const uint64_t* lengths, Py_ssize_t n, uint64_t largest) except -1:
    """Lengths of containers; all the same is one varint, unless it is 0, which nothing would back."""
    cdef Py_ssize_t i
    if n > 1 and largest > 0:
        for i in range(n):
            if lengths[i] != largest:
                return write_unsigned(e, lengths, n, largest)
        write_varint(e, LENGTHS_CONSTANT)
        return write_varint(e, largest)
    return write_unsigned(e, lengths, n, largest)


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
        block_own(e, total)
        e.hashed += 1
        encode_items(e, members, total)
        e.hashed -= 1
    blocks_leave(e, mark)
    return 0


cdef int write_shape(Encoder* e, PyObject** keys, Py_ssize_t count) except -1:
    """Refer to the shape of these strs, writing it when it is new; 0 where `text` does not take them."""
    cdef uint64_t hash = 0
    cdef Py_ssize_t i, index = shape_find(&e.shapes, keys, count, &hash)
    cdef size_t tags = e.columns.tags.size, text = e.columns.text.size, offsets = e.columns.text_offsets.size
    cdef int status
    if index >= 0:
        write_varint(e, index + 1)
        return 1
    write_tag(e, 0)
    append_varint(&e.columns.tags, count)
    for i in range(count):
        status = TEXT_SURROGATES
        if fastser_str_length(keys[i]) < BYTES_BODY_MIN:
            status = text_append(&e.columns, keys[i])
        if status == TEXT_SURROGATES:
            e.columns.tags.size = tags
            e.columns.text.size = text
            e.columns.text_offsets.size = offsets
            return 0
        if status != TEXT_OK:
            return text_failed(e)
        if e.careful:
            keep(e, <object> keys[i])
    if shape_add(&e.shapes, keys, count, hash) < 0:
        raise MemoryError()
    return 1


cdef int encode_dict(Encoder* e, PyObject* o) except -1:
    """One dict: its shape and its values, or a run of keys and a run of values."""
    cdef Py_ssize_t i, size = fastser_dict_size(o)
    cdef size_t tags = e.columns.tags.size, pairs = e.pairs.size
    cdef PyObject** keys
    cdef PyObject** values
    if 0 < size <= DICT_SHAPE_MAX:
        if buffer_reserve(&e.pairs, 2 * size * sizeof(PyObject*)) < 0:
            raise MemoryError()
        keys = <PyObject**> (e.pairs.data + pairs)
        if gather_keys(o, keys, keys + size, 1):
            write_tag(e, TAG_RECORDS)
            if write_shape(e, keys, size):
                if e.careful:
                    values = block_new(e, size)
                    memcpy(values, keys + size, size * sizeof(PyObject*))
                    block_own(e, size)
                    for i in range(size):
                        encode_value(e, values[i])
                    return 0
                e.pairs.size += 2 * size * sizeof(PyObject*)
                for i in range(size):
                    # The stack may have moved meanwhile.
                    encode_value(e, (<PyObject**> (e.pairs.data + pairs))[size + i])
                e.pairs.size = pairs
                return 0
            e.columns.tags.size = tags
    return encode_mappings(e, &o, 1)


cdef int encode_mappings(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Dicts of any keys and lengths: one run of keys, one of values."""
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
    write_tag(e, TAG_DICT)
    write_lengths(e, lengths, n, largest)
    if total:
        pairs = block_new(e, 2 * total)
        for i in range(n):
            position = 0
            while fastser_dict_next(items[i], &position, &pairs[at], &pairs[total + at]):
                at += 1
        block_own(e, 2 * total)
        e.hashed += 1
        encode_items(e, pairs, total)
        e.hashed -= 1
        encode_items(e, pairs + total, total)
    blocks_leave(e, mark)
    return 0


cdef int encode_bytearrays(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef object view
    if PyByteArray_GET_SIZE(items[0]) >= BYTES_BODY_MIN:
        # The view keeps it from being resized for as long as its memory is referred to.
        view = memoryview(<object> items[0])
        write_tag(e, TAG_BODY_BYTEARRAY)
        body = body_new(e, <PyObject*> view)
        body.data = PyByteArray_AS_STRING(items[0])
        body.size = PyByteArray_GET_SIZE(items[0])
        return write_tag(e, BODY_BUFFER)
    write_tag(e, TAG_BYTEARRAY)
    if write_bytearrays(e, items, n) < 0:
        return text_failed(e)
    return 0


cdef int encode_timezones(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef size_t mark = e.blocks.size
    cdef PyObject** parts
    cdef Py_ssize_t i
    cdef tuple arguments
    if items[0] == utc:
        return write_tag(e, TAG_UTC)
    parts = block_new(e, 2 * n)
    for i in range(n):
        arguments = (<object> items[i]).__getinitargs__()
        keep(e, arguments)
        parts[i] = <PyObject*> arguments[0]
        parts[n + i] = <PyObject*> arguments[1] if len(arguments) > 1 else fastser_none
    write_tag(e, TAG_TIMEZONE)
    encode_items(e, parts, n)
    encode_items(e, parts + n, n)
    blocks_leave(e, mark)
    return 0


cdef int encode_zoneinfos(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    cdef object key
    for i in range(n):
        # pickle tells by the same method whether a zone is the one that ZoneInfo(key) gives.
        if (<object> items[i]).key is None or not (<object> items[i]).__reduce__()[1][1]:
            return encode_foreign(e, items, n)
    write_tag(e, TAG_ZONEINFO)
    e.flags |= FLAG_FOREIGN    # zones are read by Python code
    for i in range(n):
        key = (<object> items[i]).key
        if type(key) is not str or text_append(&e.columns, <PyObject*> key) != TEXT_OK:
            return text_failed(e)
    return 0


# --- runs ---------------------------------------------------------------------------------------------------------------


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


cdef inline int write_concat(Encoder* e, Py_ssize_t k, Py_ssize_t n) except -1:
    """Announce that the next run ends before the items do."""
    if k < n:
        write_tag(e, TAG_CONCAT)
        append_varint(&e.columns.tags, k)
        e.claimed += k
    return 0


cdef inline bint is_worth_it(Py_ssize_t k, Py_ssize_t n) noexcept:
    return k == n or k >= RUN_MIN


cdef bint rest_is_nullable(PyObject** items, Py_ssize_t n, PyObject* t) noexcept:
    """Whether nothing but None and values of t follows: one nullable run holds that better than two."""
    cdef Py_ssize_t i
    for i in range(n):
        if items[i] != fastser_none and fastser_type(items[i]) != t:
            return False
    return True


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
    if k < n and not kind & NUMBERED and items[k] == fastser_none and rest_is_nullable(items + k, n - k, t):
        return 0
    if kind and k >= RUN_MIN and repeats(e, items, k) and encode_indexed(e, items, k, n):
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


cdef Py_ssize_t encode_hot_run(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """Ints, floats and text: their columns are filled while their types are looked at."""
    cdef Columns* c = &e.columns
    cdef size_t i8 = c.i8.size, i16 = c.i16.size, i32 = c.i32.size, i64 = c.i64.size, f64 = c.f64.size
    cdef size_t text = c.text.size, offsets = c.text_offsets.size
    cdef int status = TEXT_OK, tag = TAG_FLOAT
    cdef Py_ssize_t k = 0
    cdef double* floats
    if t == fastser_int_type:
        k = int_run(c, items, n, &tag)
        if k < 0:
            raise MemoryError()
        if k == 0:
            return encode_big_int_run(e, items, n)
    elif t == fastser_float_type:
        if buffer_reserve(&c.f64, n * 8) < 0:
            raise MemoryError()
        floats = <double*> (c.f64.data + c.f64.size)
        while k < n and fastser_type(items[k]) == fastser_float_type:
            floats[k] = fastser_float_value(items[k])
            k += 1
        c.f64.size += k * 8
    else:
        tag = TAG_TEXT
        k = text_run(c, items, n, &status)
        if status != TEXT_OK:
            return text_failed(e)
    if is_worth_it(k, n) and not (k < n and items[k] == fastser_none and rest_is_nullable(items + k, n - k, t)):
        write_concat(e, k, n)
        write_tag(e, tag)
        return k
    c.i8.size = i8
    c.i16.size = i16
    c.i32.size = i32
    c.i64.size = i64
    c.f64.size = f64
    c.text.size = text
    c.text_offsets.size = offsets
    return 0


cdef Py_ssize_t encode_truth_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """True, False and None: a bitmap, or two."""
    cdef Py_ssize_t k, missing = 0, size = (n + 7) >> 3
    cdef uint8_t* valid = <uint8_t*> room(buffer_extend(&e.columns.bits, 2 * size))
    k = truth_bits(items, n, valid, valid + size, &missing)
    e.columns.bits.size -= 2 * size
    if not is_worth_it(k, n) or (missing == k and k < n):
        return 0
    write_concat(e, k, n)
    if missing == k:
        write_tag(e, TAG_NONE)
        return k
    if missing:
        write_tag(e, TAG_NULLABLE)
        e.columns.bits.size += (k + 7) >> 3
        e.claimed += k
    write_tag(e, TAG_BOOLS)
    memmove(e.columns.bits.data + e.columns.bits.size, valid + size, (k + 7) >> 3)
    e.columns.bits.size += (k + 7) >> 3
    return k


cdef Py_ssize_t encode_big_int_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef Py_ssize_t k = 0
    cdef int64_t value
    while k < n and is_big_int(items[k]):
        k += 1
    if not is_worth_it(k, n):
        return 0
    write_concat(e, k, n)
    encode_big_ints(e, items, k)
    return k


cdef inline bint is_big_int(PyObject* o) noexcept:
    cdef int64_t value
    return fastser_type(o) == fastser_int_type and not fastser_as_int64(o, &value)


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
    if t == fastser_dict_type:
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
    if not is_worth_it(k, n) or (e.singly and (t == fastser_tuple_type or t == fastser_frozenset_type)):
        return 0
    level = is_level(t)
    if level:
        descend(e, items[0])
    first = number_run(e, items, k)
    if not is_worth_it(first, n) or (t == fastser_array_type and first > 1 and arrays_overlap(e, items, first)):
        e.numbers -= first
        unnumber_run(e, items, first)
        e.depth -= level
        return 0
    write_concat(e, first, n)
    run.first = e.numbers - first
    run.count = first
    run.frozen = t == fastser_frozenset_type
    run.next = e.open
    if e.track and (t == fastser_tuple_type or t == fastser_frozenset_type):
        e.open = &run
    encode_objects(e, items, first, t)
    e.open = run.next
    ascend(e, items, first, level)
    return first


cdef Py_ssize_t record_prefix(Encoder* e, PyObject** items, Py_ssize_t k, PyObject*** columns) except -1:
    """How many leading dicts have the keys of the first.

    ``columns`` gets the keys and then the values, k of each key; it stays NULL where the first dict
    has no shape.
    """
    cdef Py_ssize_t width = fastser_dict_size(items[0]), i, j
    cdef PyObject** first
    cdef PyObject** keys
    cdef PyObject** values
    if not 0 < width <= MAX_SHAPE_KEYS:
        return 0
    first = block_new(e, width * (k + 2))
    values = first + width
    keys = values + width * k
    if not gather_keys(items[0], first, values, k):
        return 0
    for i in range(1, k):
        if fastser_dict_size(items[i]) != width or not (
                gather_keys(items[i], keys, values + i, k) and keys_equal(keys, first, width)):
            break
    else:
        i = k
    columns[0] = first
    if i < k and i >= RUN_MIN:
        # Close the gaps, so that each key has just i values.
        for j in range(1, width):
            memmove(values + j * i, values + j * k, i * sizeof(PyObject*))
    return i


cdef Py_ssize_t encode_record_run(
    Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, PyObject** columns,
) except -1:
    """k dicts of one shape, their values by key; how many were written, 0 for none."""
    cdef Py_ssize_t first, j, width = fastser_dict_size(items[0])
    descend(e, items[0])
    first = number_run(e, items, k)
    if first < k:
        e.numbers -= first
        unnumber_run(e, items, first)
        e.depth -= 1
        return 0
    block_own(e, width * (k + 1))
    write_concat(e, k, n)
    write_tag(e, TAG_RECORDS)
    if write_shape(e, columns, width):
        for j in range(width):
            encode_items(e, columns + width + j * k, k)
    else:
        # Keys that `text` does not take: keys followed by values.
        e.columns.tags.size -= 1
        encode_mappings(e, items, k)
    ascend(e, items, k, True)
    return k


# --- items that repeat --------------------------------------------------------------------------------------------------


cdef bint repeats(Encoder* e, PyObject** items, Py_ssize_t n) noexcept:
    """Whether a look at a few items suggests that the same objects come again and again."""
    cdef Py_ssize_t i, step, shared = 0
    if not e.track or n < RUN_MIN:
        return False
    step = n >> 3
    for i in range(8):
        shared += fastser_refcount(items[i * step]) > 1
    return shared >= 4


cdef bint encode_indexed(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n) except -1:
    """Write k items as the distinct ones and an index for each, where that pays; whether it did."""
    cdef size_t mark = e.blocks.size
    cdef PyObject** distinct
    cdef uint64_t* indices
    cdef MemoEntry* entry
    cdef Py_ssize_t i, m = 0, check = 1024
    distinct = block_new(e, k)
    indices = <uint64_t*> block_new(e, k)
    memo_clear(&e.distinct)
    for i in range(k):
        if i == check:
            # Few repeats among so many: distinct objects that something else refers to as well.
            if m > i - (i >> 7):
                break
            check *= 8
        entry = memo_entry(&e.distinct, items[i])
        if entry == NULL:
            raise MemoryError()
        if entry.value < 0:
            entry.value = m
            distinct[m] = items[i]
            m += 1
        indices[i] = entry.value
    else:
        i = k
    memo_clear(&e.distinct)
    if i < k or m + (m >> 1) > k:
        blocks_drop(e, mark)
        return False
    write_concat(e, k, n)
    write_tag(e, TAG_INDEXED)
    append_varint(&e.columns.tags, m)
    encode_items(e, distinct, m)
    write_unsigned(e, indices, k, m)
    blocks_leave(e, mark)
    return True


# --- mixed types --------------------------------------------------------------------------------------------------------


cdef Py_ssize_t type_groups(PyObject** items, Py_ssize_t n, uint8_t* index, PyObject** types) noexcept:
    """Group items by type, eight of them at most; the number of groups, 0 for more."""
    cdef uint8_t slots[64]     # where a type is likely to be in `types`: random types must not be guessed at
    cdef Py_ssize_t i, g, count = 0
    cdef PyObject* t
    memset(slots, 0, sizeof(slots))
    types[0] = NULL
    for i in range(n):
        t = fastser_type(items[i])
        g = slots[(<size_t> t >> 5) & 63]
        if types[g] != t:
            g = 0
            while g < count and types[g] != t:
                g += 1
            if g == count:
                if count == 8:
                    return 0
                types[count] = t
                count += 1
            slots[(<size_t> t >> 5) & 63] = <uint8_t> g
        index[i] = <uint8_t> g
    return count


cdef Py_ssize_t encode_mixed(Encoder* e, PyObject** items, Py_ssize_t n, Py_ssize_t stretch) except -1:
    """Items that are no run: nullable, groups of runs, or a stretch of values; how many were written."""
    cdef size_t mark = e.blocks.size
    cdef PyObject* types[8]
    cdef Py_ssize_t i, count
    cdef PyObject* t
    cdef uint8_t* index
    if n < GROUPS_MIN:
        return encode_generic(e, items, n, n)
    index = <uint8_t*> block_new(e, (n >> 3) + 1)
    count = type_groups(items, n, index, types)
    if count == 1 and types[0] == fastser_int_type:
        count = 2    # or there would have been a run
        for i in range(n):
            index[i] = is_big_int(items[i]) != is_big_int(items[0])
    elif count == 1 and types[0] == fastser_dict_type:
        count = shape_groups(e, items, n, index)
        if count == 1 or count * 4 > n:
            blocks_drop(e, mark)
            i = encode_mapping_run(e, items, n) if n >= RUN_MIN else 0
            return i if i else encode_generic(e, items, n, stretch)
    elif count == 2 and (types[0] == fastser_none_type or types[1] == fastser_none_type):
        t = types[1] if types[0] == fastser_none_type else types[0]
        if not kind_of(t) & NUMBERED:
            encode_nullable(e, items, n, t)
            blocks_leave(e, mark)
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


cdef int encode_nullable(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """Values of one leaf type and None: a validity bitmap, and the values with something in None's place."""
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
        while items[i] == fastser_none:
            i += 1
        filler = items[i]
    for i in range(n):
        filled[i] = filler if items[i] == fastser_none else items[i]
    write_tag(e, TAG_NULLABLE)
    write_bits(e, items, n, fastser_none, True)
    encode_items(e, filled, n)
    return 0


cdef Py_ssize_t shape_groups(Encoder* e, PyObject** items, Py_ssize_t n, uint8_t* index) except -1:
    """Group dicts by their keys; the number of groups, or n where they are too many."""
    cdef Shapes shapes
    cdef PyObject* keys[MAX_SHAPE_KEYS]
    cdef PyObject* values[MAX_SHAPE_KEYS]
    cdef Py_ssize_t i, number, width, count = 0
    cdef uint64_t hash = 0
    memset(&shapes, 0, sizeof(Shapes))
    shapes_clear(&shapes)
    try:
        for i in range(n):
            width = fastser_dict_size(items[i])
            if width > MAX_SHAPE_KEYS or not gather_keys(items[i], keys, values, 1):
                return n
            number = shape_find(&shapes, keys, width, &hash)
            if number == SHAPE_UNKNOWN:
                if count == MAX_GROUPS or (count >= 64 and count * 4 > i):
                    return n
                number = shape_add(&shapes, keys, width, hash)
                if number < 0:
                    raise MemoryError()
                count += 1
            index[i] = <uint8_t> number
        return count
    finally:
        shapes_release(&shapes)


cdef Py_ssize_t encode_mapping_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """Dicts that share no shapes, as keys and values; how many were written, 0 for none."""
    cdef Py_ssize_t first
    if known_prefix(e, items, n):
        return 0
    descend(e, items[0])
    first = number_run(e, items, n)
    if not is_worth_it(first, n):
        e.numbers -= first
        unnumber_run(e, items, first)
        e.depth -= 1
        return 0
    write_concat(e, first, n)
    encode_mappings(e, items, first)
    ascend(e, items, first, True)
    return first


cdef Py_ssize_t encode_groups(Encoder* e, PyObject** items, Py_ssize_t n, Py_ssize_t count, const uint8_t* index) except -1:
    """Items of a few kinds: which kind each is, then a run for each kind."""
    cdef PyObject** grouped = block_new(e, n)
    cdef Py_ssize_t starts[MAX_GROUPS + 1]
    cdef Py_ssize_t i, g
    cdef uint8_t* bits
    cdef char* bytes_
    memset(starts, 0, sizeof(starts))
    for i in range(n):
        starts[index[i] + 1] += 1
    for g in range(1, count + 1):
        starts[g] += starts[g - 1]
    write_tag(e, TAG_GROUPS)
    append_varint(&e.columns.tags, count)
    if count == 2:
        bits = <uint8_t*> room(buffer_extend(&e.columns.bits, (n + 7) >> 3))
        memset(bits, 0, (n + 7) >> 3)
        for i in range(n):
            bits[i >> 3] |= <uint8_t> (index[i] << (i & 7))
    else:
        memcpy(room(buffer_extend(&e.columns.i8, n)), index, n)
    for i in range(n):
        grouped[starts[index[i]]] = items[i]
        starts[index[i]] += 1
    i = 0
    for g in range(count):
        write_varint(e, starts[g] - i)
        encode_items(e, grouped + i, starts[g] - i)
        i = starts[g]
    return n


# --- the root -----------------------------------------------------------------------------------------------------------


cdef Encoder* _pool = NULL
cdef int _pooled = 0


cdef Encoder* take_encoder() except NULL:
    """A set of scratch columns; a call inside a call takes another."""
    global _pool, _pooled
    cdef Encoder* e = _pool
    if e != NULL:
        _pool = e.next
        _pooled -= 1
        return e
    e = encoder_new()
    if e == NULL:
        raise MemoryError()
    return e


cdef void give_encoder(Encoder* e, Py_ssize_t written) noexcept:
    """``written``: the size of the frame that it was used for."""
    global _pool, _pooled
    encoder_clear(e)
    # An integer of one byte in the frame took eight of scratch.
    if _pooled == POOL_SIZE or (8 * written > SCRATCH_KEPT and columns_capacity(&e.columns) > SCRATCH_KEPT):
        encoder_free(e)
        return
    e.next = _pool
    _pool = e
    _pooled += 1


cdef int walk(Encoder* e, PyObject* root, int large) except -1:
    if encoder_begin(e, large) < 0:
        raise MemoryError()
    encode_value(e, root)
    if not large and columns_too_long(&e.columns, e.claimed):
        return restart(e, RESTART_LARGE)
    return 0


cdef inline bint columns_too_long(Columns* c, size_t claimed) noexcept:
    """Whether a column has more items than 32-bit offsets can tell."""
    # No value takes more than three items of a column.
    return claimed + c.tags.size > <size_t> 0x7FFFFFFF // 3 and (c.tags.size | c.i8.size | c.bits.size | c.i16.size >> 1 | c.i32.size >> 2 | c.i64.size >> 3
            | c.f64.size >> 3) > <size_t> 0x7FFFFFFF


# The same function, called without a look at the exception: entering a try block costs as much as
# packing a small int does.
ctypedef int (*Walk)(Encoder*, PyObject*, int) noexcept


cdef int reraise() except -1:
    """Raise what a Walk left."""
    return -1


cdef int walk_again(Encoder* e, PyObject* root) except -1:
    """After the walk stopped: go on in another mode, or raise what stopped it."""
    cdef int large = e.columns.large
    try:
        return reraise()
    except _Restart:
        e.careful = e.careful or e.restart == RESTART_CAREFUL
        e.singly = e.singly or e.restart == RESTART_SINGLY
        large = large or e.restart == RESTART_LARGE
    encoder_clear(e)
    if e.restart == RESTART_ACYCLIC:
        path = _locate.find_cycle(<object> root)
        if path is not None:
            raise _errors.contains_itself(path)
        e.acyclic = 1
    if (<Walk> walk)(e, root, large) < 0:
        return walk_again(e, root)
    return 0


cdef int encode_root(Encoder* e, PyObject* root, bint track, Py_ssize_t max_depth, int fallback) except -1:
    cdef Py_ssize_t missing
    cdef Layout layout
    cdef int collector, status
    e.track = track
    e.careful = 0
    e.acyclic = 0
    e.singly = 0
    e.max_depth = max_depth
    e.fallback = fallback
    e.root = root
    e.stack_limit = fastser_stack_limit()
    collector = fastser_collector_pause()
    status = (<Walk> walk)(e, root, 0)
    fastser_collector_resume(collector)
    if status < 0:
        walk_again(e, root)
    if e.claimed > 8 * <Py_ssize_t> e.columns.tags.size:
        # At least one bit an item, so that no reader makes more than a frame's bytes can back.
        while True:
            frame_layout(&e.columns, e.flags, &layout)
            missing = (e.claimed - 8 * layout.total + 7) >> 3
            if missing <= 0:
                break
            # Padding elsewhere in the frame may take up some of what is added.
            memset(room(buffer_extend(&e.columns.bits, missing)), 0, missing)
    return 0


cdef int fallback_code(object fallback) except -1:
    if fallback is None:
        return FALLBACK_NONE
    if fallback == "cloudpickle":
        return FALLBACK_CLOUDPICKLE
    if fallback == "pickle":
        return FALLBACK_PICKLE
    raise _errors.bad_option("fallback", "'cloudpickle', 'pickle' or None", fallback)


cdef object encode(object obj, bint track_refs, Py_ssize_t max_depth, object fallback, bint packed):
    cdef int code = FALLBACK_CLOUDPICKLE if fallback is _cloudpickle else fallback_code(fallback)
    cdef Encoder* e = take_encoder()
    cdef Py_ssize_t written = PY_SSIZE_T_MAX // 8
    cdef object frame
    try:
        encode_root(e, <PyObject*> obj, track_refs, max_depth, code)
        if packed:
            frame = packed_new(&e.columns, e.flags)
        else:
            frame = frame_to_bytes(&e.columns, e.flags)
            written = fastser_bytes_size(<PyObject*> frame)
        return frame
    finally:
        give_encoder(e, written)


cdef object _cloudpickle = "cloudpickle"


def dumps(obj, *, bint track_refs=True, Py_ssize_t max_depth=1000, fallback="cloudpickle"):
    """Pack an object into one bytes object.

    Parameters
    ----------
    obj : object
    track_refs : bool
        Keep identity: shared references come back shared, cycles as cycles.  Without it an object
        is a tree: what is shared is written twice, and what contains itself is a DepthError.
    max_depth : int
        How many containers may lie within each other.
    fallback : {"cloudpickle", "pickle"} or None
        How objects of types that are not native are packed; with None they are an EncodeError.

    Returns
    -------
    bytes
        One frame.

    Raises
    ------
    EncodeError
        A part of the object cannot be packed; the message tells its path, its type and the reason.
    DepthError
        The object is nested deeper than max_depth, or than this thread's stack allows.

    Examples
    --------
    >>> import fastser
    >>> fastser.loads(fastser.dumps({"a": [1, 2.5, "x"]}))
    {'a': [1, 2.5, 'x']}
    """
    return encode(obj, track_refs, max_depth, fallback, False)


def pack(obj, *, bint track_refs=True, Py_ssize_t max_depth=1000, fallback="cloudpickle"):
    """Pack an object without copying its large buffers.

    Parameters and errors are those of dumps.  The buffers of arrays, long texts and long bytes are
    referenced: changing an array before the frame is written changes the frame.

    Returns
    -------
    Packed

    Examples
    --------
    >>> import fastser, numpy
    >>> packed = fastser.pack(numpy.zeros(1000))
    >>> packed.to_bytes() == fastser.dumps(numpy.zeros(1000))
    True
    """
    return encode(obj, track_refs, max_depth, fallback, True)
