"""Ints, floats, text and truth values: one of them, or a run that is written while its types are looked at."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memmove

from fastser._core.c.buffer cimport append_varint, buffer_extend, buffer_reserve
from fastser._core.c.capi cimport *
from fastser._core.encode.runs cimport is_worth_it, rest_is_nullable
from fastser._core.encode.scalars cimport room, truth_bits, write_big_ints
from fastser._core.encode.state cimport (
    Encoder, keep, put_tag, TEXT_CACHE_SIZE, text_failed, TextCacheEntry, write_body_reference, write_concat, write_tag,
)
from fastser._core.format.columns cimport Columns, lent_truncate
from fastser._core.format.tags cimport *
from fastser._core.values.ints cimport int_run
from fastser._core.values.kinds cimport is_hole, kind_of, NUMBERED
from fastser._core.values.text cimport (
    lent_size, surrogate_text_append, text_append, text_is_body, text_lend, TEXT_OK, text_run, TEXT_SURROGATES,
    utf8_room,
)


cdef extern from *:
    """
    /* A few of its characters, and not its address, so that equal objects take the same places in all processes.  Not empty. */
    static inline size_t fastser_text_slot(PyObject *o) {
        const unsigned char *data = (const unsigned char *) PyUnicode_DATA(o);
        size_t size = (size_t) PyUnicode_GET_LENGTH(o) * PyUnicode_KIND(o);
        return size * 7 + data[0] + data[size / 2] * 59u + data[size - 1] * 101u;
    }
    """
    size_t fastser_text_slot(PyObject* o) noexcept


cdef inline int encode_text(Encoder* e, PyObject* o) except -1:
    cdef Py_ssize_t length = fastser_str_length(o)
    cdef TextCacheEntry* cached = NULL
    cdef int status
    if fastser_str_ready(o) < 0:
        return -1
    if text_is_body(o):
        put_tag(e, TAG_BODY_TEXT)
        return write_body_reference(e, o, fastser_str_ascii_data(o), length, o)
    if e.track and length > 2 and fastser_refcount(o) > 1:
        cached = &e.texts[fastser_text_slot(o) & (TEXT_CACHE_SIZE - 1)]
        if cached.key == o and cached.epoch == e.epoch:
            put_tag(e, TAG_TEXT_REF)
            append_varint(&e.columns.tags, cached.index)
            return 0
    status = text_append(&e.columns, o) if utf8_room(o) < LEND_MIN else text_lend(&e.columns, o)
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


cdef inline bint is_big_int(PyObject* o) noexcept:
    cdef int64_t value
    return fastser_type(o) == fastser_int_type and not fastser_as_int64(o, &value)


cdef inline int encode_big_ints(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    write_tag(e, TAG_BIG_INT)
    if write_big_ints(e, items, n) < 0:
        return text_failed(e)
    return 0


cdef inline Py_ssize_t encode_big_int_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef Py_ssize_t k = 0
    while k < n and is_big_int(items[k]):
        k += 1
    if not is_worth_it(k, n):
        return 0
    write_concat(e, k, n)
    encode_big_ints(e, items, k)
    return k


cdef inline Py_ssize_t encode_hot_run(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* t) except -1:
    """Ints, floats and text: their columns are filled while their types are looked at."""
    cdef Columns* c = &e.columns
    cdef size_t i8 = c.i8.size, i16 = c.i16.size, i32 = c.i32.size, i64 = c.i64.size, f64 = c.f64.size
    cdef size_t text = c.text.size, offsets = c.text_offsets.size, lent = c.text_lent.size, lent_bytes = c.text_lent_size
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
    if is_worth_it(k, n) and not (k < n and is_hole(items[k]) and rest_is_nullable(items + k, n - k, t, items[k])):
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
    lent_truncate(&c.text_lent, lent)
    c.text_lent_size = lent_bytes
    return 0


cdef inline bint is_mostly_none(PyObject** items, Py_ssize_t k, Py_ssize_t n) noexcept:
    """Whether k leading Nones are a run of their own: little follows, and not leaves that the Nones are holes among."""
    cdef PyObject* t = fastser_type(items[k])
    return k >= n - (n >> 3) and (kind_of(t) & NUMBERED != 0 or not rest_is_nullable(items + k, n - k, t, fastser_none))


cdef inline Py_ssize_t encode_truth_run(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """True, False and None: a bitmap, or two."""
    cdef Py_ssize_t k, missing = 0, size = (n + 7) >> 3
    cdef uint8_t* valid = <uint8_t*> room(buffer_extend(&e.columns.bits, 2 * size))
    k = truth_bits(items, n, valid, valid + size, &missing)
    e.columns.bits.size -= 2 * size
    if not is_worth_it(k, n) or (missing == k and k < n and not is_mostly_none(items, k, n)):
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
