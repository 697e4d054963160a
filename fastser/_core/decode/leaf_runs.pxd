"""Leaves on the way back: text, numbers and constants, whose runs need no walk."""

from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memset

from fastser._core.c.capi cimport *
from fastser._core.c.refs cimport slots_new
from fastser._core.decode.errors cimport bad, short_column
from fastser._core.decode.identity cimport number, set_number
from fastser._core.decode.read cimport (
    next_data, next_text, read_varint, take_bits, take_f64, take_i8, take_i16, take_i32, take_i64,
)
from fastser._core.decode.state cimport Decoder
from fastser._core.format.tags cimport *
from fastser._core.values.text cimport fastser_all_ascii
from fastser._core.values.times cimport date_of, fastser_new_timedelta, timedelta_of


cdef enum:
    ASCII_APART = 128      # bytes of an average text


# --- text ---------------------------------------------------------------------------------------------------------------


cdef inline bint all_ascii(Decoder* d) noexcept:
    if d.text_is_ascii < 0:
        d.text_is_ascii = fastser_all_ascii(d.view.text + d.view.text_start, d.view.text_size - d.view.text_start)
    return d.text_is_ascii


cdef inline PyObject* decode_text(Decoder* d) except NULL:
    cdef Py_ssize_t size
    cdef const char* text = next_text(d, d.text, &size)
    d.text += 1
    if all_ascii(d):
        return fastser_ascii(text, size)
    return new_utf8(text, size, NULL)


cdef inline int decode_texts(Decoder* d, Py_ssize_t index, PyObject** out, Py_ssize_t n) except -1:
    """n items of text from ``index`` on, which are there."""
    cdef Py_ssize_t i, start, stop, size = 0
    cdef const int32_t* offsets
    cdef const char* text
    # A long text is looked at when it is copied, so that it comes from memory once.
    if d.view.text_large or d.view.text_size > n * ASCII_APART or not all_ascii(d):
        for i in range(n):
            text = next_text(d, index + i, &size)
            out[i] = new_utf8(text, size, NULL)
        return 0
    offsets = <const int32_t*> d.view.text_offsets + index
    start = offsets[0]
    if start < d.view.text_start:
        return bad(d, f"offsets from {d.view.text_start} on in column text", start)
    for i in range(n):
        stop = offsets[i + 1]
        if stop < start or stop > d.view.text_size:
            return bad(d, "rising offsets in column text", (start, stop))
        out[i] = fastser_ascii(d.view.text + start, stop - start)
        start = stop
    return 0


cdef inline PyObject* text_reference(Decoder* d, uint64_t index) except NULL:
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


# --- runs that can be made in pieces ------------------------------------------------------------------------------------


cdef struct LeafRun:
    # A run whose items can be made later and in pieces.
    int tag
    const void* at            # of the first item in its column
    Py_ssize_t text           # TEXT: the first item's place


cdef inline bint open_leaf_run(Decoder* d, int tag, Py_ssize_t n, LeafRun* run) except -1:
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


cdef inline int read_leaf_run(Decoder* d, LeafRun* run, PyObject** out, Py_ssize_t start, Py_ssize_t n) except -1:
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


cdef inline void read_truths(
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


# --- other leaves ---------------------------------------------------------------------------------------------------------


cdef inline PyObject* constant_of(int tag) noexcept:
    """Borrowed: a constant of the interpreter's, or NULL where the tag is another's."""
    if tag == TAG_NONE:
        return fastser_none
    if tag == TAG_TRUE:
        return fastser_true
    if tag == TAG_FALSE:
        return fastser_false
    if tag == TAG_ELLIPSIS:
        return fastser_ellipsis
    if tag == TAG_NOT_IMPLEMENTED:
        return fastser_not_implemented
    return NULL


cdef inline bint read_leaves(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    """Make n items; whether ``tag`` is one of these leaves."""
    cdef Py_ssize_t i, k, size = 0
    cdef const char* data
    cdef const int64_t* values
    cdef const int32_t* days
    cdef PyObject* constant
    if tag == TAG_BYTES:
        for i in range(n):
            data = next_data(d, &size)
            out[i] = new_bytes(data, size)
        return True
    if tag == TAG_BYTEARRAY:
        k = number(d, n)
        for i in range(n):
            data = next_data(d, &size)
            out[i] = new_bytearray(data, size)
            set_number(d, k + i, out[i])
        return True
    if tag == TAG_DATE:
        days = take_i32(d, n)
        for i in range(n):
            out[i] = date_of(days[i])
        return True
    if tag == TAG_TIMEDELTA:
        values = take_i64(d, n)
        for i in range(n):
            out[i] = timedelta_of(values[i])
        return True
    if tag == TAG_LONG_TIMEDELTA:
        days = take_i32(d, n)
        take_i32(d, n)
        take_i32(d, n)
        for i in range(n):
            out[i] = fastser_new_timedelta(days[i], days[n + i], days[2 * n + i])
        return True
    if tag == TAG_BIG_INT:
        for i in range(n):
            data = next_data(d, &size)
            if size == 0:
                return bad(d, "the bytes of an integer", "none")
            out[i] = fastser_int_from_bytes(<const unsigned char*> data, size, False, True)
        return True
    if tag == TAG_COMPLEX:
        floats = take_f64(d, n)
        take_f64(d, n)
        for i in range(n):
            out[i] = new_complex(floats[2 * i], floats[2 * i + 1])
        return True
    if tag == TAG_SURROGATE_TEXT:
        for i in range(n):
            data = next_data(d, &size)
            out[i] = new_utf8(data, size, "surrogatepass")
        return True
    if tag == TAG_TEXT_REF:
        for i in range(n):
            out[i] = text_reference(d, read_varint(d))
        return True
    if tag >= TAG_SMALL_INT and n == 1:
        out[0] = new_long(tag - TAG_SMALL_INT)
        return True
    constant = constant_of(tag)
    if constant == NULL:
        return False
    fastser_incref_constant(constant, n)
    for i in range(n):
        out[i] = constant
    return True
