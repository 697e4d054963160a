"""The walk back: every read is checked against its column, every count against what backs it."""

cimport numpy as cnp
from cpython.datetime cimport import_datetime
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc

from fastser._core.c.capi cimport *
from fastser._core.c.refs cimport FEW, slots_done, slots_few, fill_slots, new_reference, slots_free, slots_new
from fastser._core.c.stack cimport fastser_stack_short
from fastser._core.decode.array_classes cimport rebuild_arrays_of
from fastser._core.decode.arrays cimport ArrayForm, read_arrays, read_form, read_scalars
from fastser._core.decode.bodies cimport read_bodies
from fastser._core.decode.calls cimport rebuild_arrow, rebuild_calls, rebuild_hooked, rebuild_memory, rebuild_templates
from fastser._core.decode.columns cimport CHUNK, Column, columns_free, open_columns, read_columns
from fastser._core.decode.errors cimport bad, reraise, too_deep, unbacked
from fastser._core.decode.hash_limits cimport check_hashable, check_reopened
from fastser._core.decode.identity cimport (
    branches, grow, grows, hide, let_go, new_sequence, number, read_references, set_number, show,
)
from fastser._core.decode.instances cimport rebuild_instances, rebuild_named_rows
from fastser._core.decode.keys cimport new_key
from fastser._core.decode.leaf_runs cimport (
    LeafRun, constant_of, decode_text, open_leaf_run, read_leaf_run, read_leaves, read_truths,
)
from fastser._core.decode.leaves cimport rebuild_decimals, rebuild_uuids, rebuild_zones
from fastser._core.decode.names cimport rebuild_globals
from fastser._core.decode.read cimport (
    claim, descend, next_text, read_byte, read_count, read_lengths, read_unsigned, read_varint, take_bits, take_f64,
    take_i64, take_i8,
)
from fastser._core.decode.shapes cimport read_shape, template_of
from fastser._core.decode.state cimport Decoder, OpenTuples, ShapeSeen, user_code_begins, user_code_ends
from fastser._core.format.tags cimport *
from fastser._core.values.arrays cimport (
    DTYPE_DESCRIBED, DTYPE_EARLIER, DTYPE_OBJECT, fastser_array_data, fastser_array_set, fastser_array_size,
    fastser_descr_itemsize, fastser_descr_type_num, fastser_dtype_code, fastser_new_empty_array, fastser_plain,
    FASTSER_PLAIN_COUNT, fastser_plain_import, STRING_DTYPE,
)
from fastser._core.values.dtypes cimport build
from fastser._core.values.times cimport datetime_of, time_of

import datetime as _datetime
import sys as _sys

import numpy as _numpy

from fastser import errors as _errors

cnp.import_array()
import_datetime()
fastser_plain_import()

cdef object _timezone = _datetime.timezone
cdef dict _modules = _sys.modules


# --- arrays -------------------------------------------------------------------------------------------------------------


cdef PyObject* read_dtype(Decoder* d) except NULL:
    """Borrowed from the table of plain dtypes, or from d.dtypes."""
    cdef uint64_t code = read_varint(d)
    cdef PyObject* description
    cdef object dtype
    cdef int inside
    cdef bint paused
    if code < <uint64_t> FASTSER_PLAIN_COUNT and fastser_plain[code].descr != NULL:
        return fastser_plain[code].descr
    if code == DTYPE_DESCRIBED:
        if d.dtypes == NULL:
            d.dtypes = new_list(0)
        if d.at >= d.end or d.at[0] != TAG_TUPLE:
            bad(d, "the tag of a tuple that describes a dtype", d.at[0] if d.at < d.end else "the end of the tags")
        inside = d.inside
        if not inside:
            d.inside = 1
            d.depth -= DTYPE_LEVELS
        description = decode_value(d)
        if not inside:
            d.inside = 0
            d.depth += DTYPE_LEVELS
        paused = d.foreign and d.collector    # which it never is where no objects are made, but tables
        if paused:
            user_code_begins(d)               # something may be imported
        try:
            dtype = build(<object> description, d.foreign)
        finally:
            fastser_decref(description)
        if paused:
            user_code_ends(d)
        (<list> d.dtypes).append(dtype)
        return <PyObject*> dtype
    if code >= DTYPE_EARLIER and d.dtypes != NULL and code - DTYPE_EARLIER < <uint64_t> len(<list> d.dtypes):
        return fastser_list_items(d.dtypes)[code - DTYPE_EARLIER]
    bad(d, "the code of a dtype", code)


cdef int decode_dtypes(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = read_dtype(d)
        fastser_incref(out[i])
    return 0


cdef int decode_arrays(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    cdef ArrayForm form
    cdef Py_ssize_t first = number(d, n)
    read_form(d, &form, read_dtype(d))
    if tag == TAG_OBJECT_ARRAY:
        return decode_object_arrays(d, out, n, first, &form)
    return read_arrays(d, out, n, first, &form, tag)


cdef int decode_object_arrays(Decoder* d, PyObject** out, Py_ssize_t n, Py_ssize_t first, ArrayForm* form) except -1:
    """Arrays of objects or of variable-width strings, numbered from ``first`` on."""
    cdef PyObject* descr = form.descr
    cdef Py_ssize_t i, j, size = form.size, itemsize = fastser_descr_itemsize(descr)
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
        out[i] = fastser_new_empty_array(descr, form.ndim, form.dims, form.order)
        set_number(d, first + i, out[i])
    if size:
        descend(d)
        items = slots_new(n * size)
        try:
            decode_items(d, items, n * size)
            for i in range(n):
                if fastser_array_size(out[i]) != size:
                    return bad(d, f"an array that still has {size} elements", fastser_array_size(out[i]))
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


# --- times, zones and bounds --------------------------------------------------------------------------------------------


cdef int decode_times(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    """Datetimes and times of day, with a time zone or without one."""
    cdef Py_ssize_t i
    cdef uint64_t fold = 0
    cdef const int64_t* values
    cdef PyObject* zone = fastser_none
    if tag == TAG_DATETIME_ZONED or tag == TAG_TIME_ZONED:
        fold = read_varint(d)
        if fold > 1:
            return bad(d, "a fold of 0 or 1", fold)
        if d.at >= d.end or not (
                d.at[0] == TAG_NONE or d.at[0] == TAG_REF or TAG_UTC <= d.at[0] <= TAG_ZONEINFO or d.at[0] == TAG_INSTANCES
                or TAG_GLOBAL <= d.at[0] <= TAG_HOOK):
            return bad(d, "the tag of a time zone or None", d.at[0] if d.at < d.end else "the end of the tags")
        zone = decode_value(d)
    else:
        fastser_incref(zone)
    try:
        if zone != fastser_none and not isinstance(<object> zone, _datetime.tzinfo):
            if d.inspect == NULL:
                return bad(d, "a time zone or None", type(<object> zone).__name__)
            fastser_decref(zone)
            zone = fastser_none    # a stand-in, which is noted
            fastser_incref(zone)
        values = take_i64(d, n)
        for i in range(n):
            if tag == TAG_DATETIME or tag == TAG_DATETIME_ZONED:
                out[i] = datetime_of(values[i], zone, <int> fold)
            else:
                out[i] = time_of(values[i], zone, <int> fold)
    finally:
        fastser_decref(zone)
    return 0


cdef int decode_fixed_zones(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    """Zones of an offset and perhaps a name."""
    cdef Py_ssize_t i, first = number(d, n)
    cdef PyObject** parts = slots_new(2 * n)
    cdef object zone
    cdef int inside = d.inside
    try:
        if inside:
            descend(d)
        d.inside = 1
        decode_items(d, parts, n)
        decode_items(d, parts + n, n)
        d.inside = inside
        d.depth -= inside
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


# --- containers ---------------------------------------------------------------------------------------------------------


cdef int decode_sequences(Decoder* d, PyObject** out, Py_ssize_t n, bint is_list) except -1:
    """n lists or tuples of any lengths, their items in one run."""
    cdef Py_ssize_t i, total, first = number(d, n)
    cdef uint64_t length
    cdef uint64_t* lengths = &length if n == 1 else <uint64_t*> malloc(n * sizeof(uint64_t))
    cdef PyObject* few[FEW]
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
        items = slots_few(few, total)
        if total:
            decode_items(d, items, total)
        if not d.has_refs:
            make_sequences(d, out, lengths, n, is_list, first)
        at = items
        for i in range(n):
            if grows(d, is_list):
                grow(out[i], at, lengths[i], 1)
            else:
                fill_slots(fastser_list_items(out[i]) if is_list else fastser_tuple_items(out[i]), at, lengths[i])
                if is_list or lengths[i]:
                    show(d, out[i])
            at += lengths[i]
    finally:
        d.open = open.next
        if n > 1:
            free(lengths)
        if items != NULL:
            slots_done(items, few, total)
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
                if grows(d, is_list):
                    grow(out[start + i], scratch + i, width, chunk)
                    continue
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
            for j in range(<Py_ssize_t> lengths[i]):  # no-cython-lint: only counted
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


cdef int decode_dicts(Decoder* d, PyObject** out, Py_ssize_t n, bint frozen) except -1:
    """n dicts of any keys and lengths, or open frozendicts."""
    cdef Py_ssize_t i, j, total, first = number(d, n)
    cdef uint64_t length
    cdef uint64_t* lengths = &length if n == 1 else <uint64_t*> malloc(n * sizeof(uint64_t))
    cdef PyObject* few[FEW]
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
            out[i] = fastser_open_frozendict(NULL) if frozen else fastser_dict_presized(lengths[i])
            set_number(d, first + i, out[i])
        keys = slots_few(few, 2 * total)
        values = keys + total
        if total:
            decode_items(d, keys, total)
            decode_items(d, values, total)
        for i in range(n):
            for j in range(<Py_ssize_t> lengths[i]):  # no-cython-lint: only counted
                check_hashable(d, keys[at])
                dict_set(out[i], keys[at], values[at])
                at += 1
    finally:
        if n > 1:
            free(lengths)
        if keys != NULL:
            slots_done(keys, few, 2 * total)
    d.depth -= 1
    return 0


cdef int decode_frozendicts(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    cdef int tag
    if fastser_frozendict_type == NULL:
        raise _errors.newer_python("frozendict", (3, 15), f"tag {d.at - d.view.tags - 1}")
    tag = read_byte(d)
    if tag == TAG_DICT:
        decode_dicts(d, out, n, True)
    elif tag == TAG_RECORDS:
        decode_records(d, out, n, True)
    else:
        d.at -= 1
        return bad(d, "the tag of dicts", tag)
    for i in range(n):
        fastser_close_frozendict(out[i])
    return 0


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
        if fastser_dict_size(template) != count:
            bad(d, "a shape of different keys", "one with a key twice")
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
        if fastser_dict_size(o) != count:
            bad(d, "a shape of different keys", "one with a key twice")
    except:
        fastser_decref(o)
        raise
    d.depth -= 1
    return o


cdef int decode_records(Decoder* d, PyObject** out, Py_ssize_t n, bint frozen) except -1:
    """n dicts of one shape, or open frozendicts, a run for each key."""
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
                out[i] = fastser_open_frozendict(template) if frozen else dict_copy(template)
                set_number(d, first + i, out[i])
        columns = open_columns(d, count, n)
        scratch = slots_new(count * chunk)
        for start in range(0, n, chunk):
            m = min(n - start, chunk)
            read_columns(d, columns, count, scratch, chunk, start, m)
            for i in range(m):
                if not d.has_refs:
                    out[start + i] = fastser_open_frozendict(template) if frozen else dict_copy(template)
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
        if m == 1:
            if n > 1 and branches(d, items[0]):
                return bad(d, "parts of Arrow data that occur once", f"one that occurs {n} times")
            for i in range(n):
                fastser_incref(items[0])
                out[i] = items[0]
            return 0
        indices = <uint64_t*> malloc(n * sizeof(uint64_t))
        if indices == NULL:
            raise MemoryError()
        read_unsigned(d, indices, n)
        for i in range(n):
            if indices[i] >= <uint64_t> m:
                return bad(d, f"an index below {m}", indices[i])
            out[i] = items[indices[i]]
            if out[i] == NULL:
                return bad(d, "parts of Arrow data that occur once", "one that occurs twice")
            if branches(d, out[i]):
                items[indices[i]] = NULL   # it is taken
            else:
                fastser_incref(out[i])
    finally:
        free(indices)
        slots_free(items, m)
    return 0


cdef int decode_nullable(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef const uint8_t* bits = take_bits(d, n)
    if d.at < d.end and d.at[0] == TAG_BOOLS:
        d.at += 1
        claim(d, n)
        read_truths(bits, take_bits(d, n), out, 0, n)
        return 0
    decode_items(d, out, n)
    fill_holes(bits, out, n, fastser_none)
    return 0


cdef void fill_holes(const uint8_t* bits, PyObject** out, Py_ssize_t n, PyObject* hole) noexcept:
    cdef Py_ssize_t i
    cdef PyObject* filler
    for i in range(n):
        if not bits[i >> 3] >> (i & 7) & 1:
            filler = out[i]
            fastser_incref(hole)
            out[i] = hole
            fastser_decref(filler)


cdef int decode_optional(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef PyObject* hole = NULL
    cdef const uint8_t* bits
    try:
        decode_items(d, &hole, 1)
        if branches(d, hole):
            return bad(d, "parts of Arrow data that occur once", "one in place of what is missing")
        d.shares = 1
        bits = take_bits(d, n)
        decode_items(d, out, n)
        fill_holes(bits, out, n, hole)
    finally:
        fastser_xdecref(hole)
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
    cdef Py_ssize_t i
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
        return decode_records(d, out, n, False)
    if tag == TAG_DICT:
        return decode_dicts(d, out, n, False)
    if tag == TAG_SET or tag == TAG_FROZENSET:
        return decode_sets(d, out, n, tag == TAG_FROZENSET)
    if tag == TAG_FROZENDICT:
        return decode_frozendicts(d, out, n)
    if tag == TAG_NULLABLE:
        return decode_nullable(d, out, n)
    if tag == TAG_GROUPS:
        return decode_groups(d, out, n)
    if tag == TAG_INDEXED:
        return decode_indexed(d, out, n)
    if tag == TAG_OPTIONAL:
        return decode_optional(d, out, n)
    if tag == TAG_REF:
        return read_references(d, out, n)
    if tag == TAG_DATETIME or tag == TAG_DATETIME_ZONED or tag == TAG_TIME or tag == TAG_TIME_ZONED:
        return decode_times(d, out, n, tag)
    if tag == TAG_TIMEZONE:
        return decode_fixed_zones(d, out, n)
    if tag == TAG_UTC or tag == TAG_ZONEINFO:
        return rebuild_zones(d, out, n, tag)
    if tag == TAG_ARRAY or tag == TAG_ARRAY_RUN or tag == TAG_OBJECT_ARRAY:
        return decode_arrays(d, out, n, tag)
    if tag == TAG_SCALAR:
        return read_scalars(d, out, n, read_dtype(d))
    if tag == TAG_DECIMAL:
        return rebuild_decimals(d, out, n)
    if tag == TAG_UUID:
        return rebuild_uuids(d, out, n)
    if tag == TAG_BODY_TEXT or tag == TAG_BODY_BYTES or tag == TAG_BODY_BYTEARRAY:
        return read_bodies(d, out, n, tag)
    if tag == TAG_INSTANCES:
        return rebuild_instances(d, out, n)
    if tag == TAG_NAMED_ROWS:
        return rebuild_named_rows(d, out, n)
    if tag == TAG_ARRAYS_OF:
        return rebuild_arrays_of(d, out, n)
    if tag == TAG_DTYPE:
        return decode_dtypes(d, out, n)
    if tag == TAG_GLOBAL:
        return rebuild_globals(d, out, n)
    if tag == TAG_TEMPLATE:
        return rebuild_templates(d, out, n)
    if tag == TAG_CALL:
        return rebuild_calls(d, out, n)
    if tag == TAG_HOOK:
        return rebuild_hooked(d, out, n)
    if tag == TAG_MEMORY:
        return rebuild_memory(d, out, n)
    if tag == TAG_ARROW:
        return rebuild_arrow(d, out, n)
    if tag == TAG_RANGE or tag == TAG_SLICE:
        return decode_bounds(d, out, n, tag)
    if not read_leaves(d, out, n, tag):
        d.at -= 1
        return bad(d, f"the tag of {n} items", tag)
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
    o = constant_of(tag)
    if o != NULL:
        fastser_incref(o)
        return o
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


# --- the whole ----------------------------------------------------------------------------------------------------------


cdef PyObject* decode_root(Decoder* d) except NULL:
    """New reference: the object, and nothing left over."""
    cdef PyObject* o
    d.walk_value = decode_value
    d.walk_items = decode_items
    o = decode_value(d)
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
        definitions = _modules.get("fastser.definitions")
        if definitions is not None:    # imported only where something goes by value
            definitions.give_up()
