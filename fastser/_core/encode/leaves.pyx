"""Leaves other than the hottest, and zones, bytearrays, ranges and slices: which tag each has."""

cimport numpy as cnp
from cpython.datetime cimport PyDateTime_DATE_GET_FOLD, PyDateTime_TIME_GET_FOLD, import_datetime
from cpython.object cimport PyObject

from fastser._core.c.buffer cimport append_varint, buffer_extend
from fastser._core.c.capi cimport *
from fastser._core.encode.arrays cimport encode_scalars
from fastser._core.encode.calls cimport encode_each
from fastser._core.encode.hot_leaves cimport encode_big_ints
from fastser._core.encode.scalars cimport (
    fastser_datetime_zone, fastser_time_zone, room, timedelta_is_long, write_bits, write_bytearrays, write_bytes,
    write_complexes, write_dates, write_datetimes, write_decimals, write_floats, write_long_timedeltas,
    write_timedeltas, write_times,
)
from fastser._core.encode.state cimport (
    block_new, block_own, blocks_leave, body_new, descend, Encoder, keep, text_failed, write_body_reference, write_tag,
    write_varint,
)
from fastser._core.format.columns cimport Body, data_size
from fastser._core.format.tags cimport *
from fastser._core.values.kinds cimport (
    date_type, datetime_type, decimal_type, kinds_import, time_type, timedelta_type, utc, uuid_type,
)
from fastser._core.values.text cimport TEXT_OK, end_item, text_append

import uuid as _uuid

cnp.import_array()
import_datetime()
kinds_import()

cdef list _safe_uuid = [_uuid.SafeUUID.unknown, _uuid.SafeUUID.safe, _uuid.SafeUUID.unsafe]


cdef int encode_uuids(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef object number
    cdef object safety = getattr(<object> items[0], "is_safe", None)
    cdef unsigned char* at
    cdef Py_ssize_t i
    for i in range(n):
        number = getattr(<object> items[i], "int", None)
        if type(number) is not int or number < 0 or fastser_int_size(<PyObject*> number) > 17 or number >> 128 \
                or safety not in _safe_uuid:
            # No UUID that its class would make: pickle tells what it is.
            return encode_each(e, items, n, False)
    write_tag(e, TAG_UUID)
    write_varint(e, _safe_uuid.index(safety))
    at = <unsigned char*> room(buffer_extend(&e.columns.data, n * 16))
    for i in range(n):
        number = (<object> items[i]).int
        fastser_int_to_bytes(<PyObject*> number, at + 16 * i, 16, True, False)
    if end_item(&e.columns.data_offsets, data_size(&e.columns), e.columns.large) != TEXT_OK:
        return text_failed(e)
    return 0


cdef int write_zone(Encoder* e, PyObject* zone, int fold, int plain, int zoned) except -1:
    if zone == fastser_none and fold == 0:
        return write_tag(e, plain)
    write_tag(e, zoned)
    append_varint(&e.columns.tags, fold)
    return e.walk_value(e, zone)


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
        e.walk_items(e, bounds, n)
    blocks_leave(e, mark)
    e.depth -= 1
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
    e.walk_items(e, parts, n)
    e.walk_items(e, parts + n, n)
    blocks_leave(e, mark)
    return 0


cdef int encode_zoneinfos(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    cdef object key
    for i in range(n):
        # pickle tells by the same method whether a zone is the one that ZoneInfo(key) gives.
        key = (<object> items[i]).key
        if type(key) is not str or not key.isascii() or not (<object> items[i]).__reduce__()[1][1]:
            return encode_each(e, items, n, True)
    write_tag(e, TAG_ZONEINFO)
    e.flags |= FLAG_FOREIGN    # zones are read by Python code
    for i in range(n):
        key = (<object> items[i]).key
        if text_append(&e.columns, <PyObject*> key) != TEXT_OK:
            return text_failed(e)
    return 0


cdef int encode_bytearrays(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef object view
    cdef Body* body
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


cdef int encode_leaves(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """n items of one exact type that a single run can hold (leaf_prefix)."""
    cdef PyObject* zone
    cdef int status = 0, fold
    if t == fastser_int_type:
        return encode_big_ints(e, items, n)
    if t == fastser_str_type:
        return e.walk_value(e, items[0])
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
