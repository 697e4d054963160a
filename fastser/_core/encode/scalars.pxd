"""Leaves other than ints, floats and text: how a run of one exact type is written to its columns.

Each function takes n items that are known to be of its type and returns nothing but success; the
tag is the caller's, or is written here where operands follow it.
"""

from cpython.datetime cimport (
    PyDateTime_DELTA_GET_DAYS, PyDateTime_DELTA_GET_MICROSECONDS, PyDateTime_DELTA_GET_SECONDS,
    PyDateTime_DATE_GET_FOLD, PyDateTime_TIME_GET_FOLD,
)
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memchr, memset

from fastser._core.c.buffer cimport buffer_extend, buffer_reserve
from fastser._core.c.capi cimport *
from fastser._core.encode.state cimport Encoder, write_tag, write_varint
from fastser._core.format.columns cimport Columns, data_size
from fastser._core.format.tags cimport *
from fastser._core.frame.layout cimport fastser_popcount16
from fastser._core.values.text cimport TEXT_OK, bytes_append, data_append, end_item, text_append
from fastser._core.values.times cimport date_days, datetime_microseconds, time_microseconds


cdef extern from *:
    """
    #include <datetime.h>
    /* The zone of a datetime or time, borrowed, None where there is none. */
    #define fastser_datetime_zone(o) (((PyDateTime_DateTime *) (o))->hastzinfo ? ((PyDateTime_DateTime *) (o))->tzinfo : Py_None)
    #define fastser_time_zone(o) (((PyDateTime_Time *) (o))->hastzinfo ? ((PyDateTime_Time *) (o))->tzinfo : Py_None)
    #define fastser_complex_real(o) (((PyComplexObject *) (o))->cval.real)
    #define fastser_complex_imag(o) (((PyComplexObject *) (o))->cval.imag)
    """
    PyObject* fastser_datetime_zone(PyObject* o) noexcept
    PyObject* fastser_time_zone(PyObject* o) noexcept
    double fastser_complex_real(PyObject* o) noexcept
    double fastser_complex_imag(PyObject* o) noexcept


cdef inline char* room(char* at) except NULL:
    """What buffer_extend returned, or a MemoryError."""
    if at == NULL:
        raise MemoryError()
    return at


cdef inline void set_bits(uint8_t* bits, PyObject** items, Py_ssize_t n, PyObject* one, bint inverted) noexcept:
    """Bitmap of the items that are ``one`` (or are not), LSB first, the last byte padded with 0."""
    cdef Py_ssize_t i, j, whole = n >> 3
    cdef unsigned int byte
    for i in range(whole):
        byte = 0
        for j in range(8):
            byte |= <unsigned int> ((items[i * 8 + j] == one) != inverted) << j
        bits[i] = <uint8_t> byte
    if n & 7:
        byte = 0
        for j in range(n & 7):
            byte |= <unsigned int> ((items[whole * 8 + j] == one) != inverted) << j
        bits[whole] = <uint8_t> byte


cdef inline int write_bits(Encoder* e, PyObject** items, Py_ssize_t n, PyObject* one, bint inverted) except -1:
    set_bits(<uint8_t*> room(buffer_extend(&e.columns.bits, (n + 7) >> 3)), items, n, one, inverted)
    return 0


cdef inline Py_ssize_t truth_bits(
    PyObject** items, Py_ssize_t n, uint8_t* valid, uint8_t* bits, Py_ssize_t* missing,
) noexcept nogil:
    """Bitmaps of the leading items that are True, False or None; how many they are.

    Every item is compared with all three: which one it is cannot be guessed, and a wrong guess
    costs more than the comparisons.
    """
    cdef Py_ssize_t i, j, count
    cdef unsigned int known, not_none, true, bit
    for i in range(0, n, 8):
        known = not_none = true = 0
        count = n - i if n - i < 8 else 8
        for j in range(count):
            bit = <unsigned int> 1 << j
            true |= (items[i + j] == fastser_true) * bit
            not_none |= (items[i + j] != fastser_none) * bit
            known |= ((items[i + j] == fastser_true) | (items[i + j] == fastser_false)
                      | (items[i + j] == fastser_none)) * bit
        if known != (<unsigned int> 1 << count) - 1:
            count = 0
            while known & 1:
                known >>= 1
                count += 1
            not_none &= (<unsigned int> 1 << count) - 1
        valid[i >> 3] = <uint8_t> not_none
        bits[i >> 3] = <uint8_t> (true & not_none)
        missing[0] += count - fastser_popcount16(not_none)
        if count < 8:
            return i + count
    return n


cdef inline int write_floats(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef double* out = <double*> room(buffer_extend(&e.columns.f64, n * 8))
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = fastser_float_value(items[i])
    return 0


cdef inline int write_complexes(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef double* out = <double*> room(buffer_extend(&e.columns.f64, n * 16))
    cdef Py_ssize_t i
    for i in range(n):
        out[2 * i] = fastser_complex_real(items[i])
        out[2 * i + 1] = fastser_complex_imag(items[i])
    return 0


cdef inline int write_dates(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef int32_t* out = <int32_t*> room(buffer_extend(&e.columns.i32, n * 4))
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = date_days(items[i])
    return 0


cdef inline int write_datetimes(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef int64_t* out = <int64_t*> room(buffer_extend(&e.columns.i64, n * 8))
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = datetime_microseconds(items[i])
    return 0


cdef inline int write_times(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef int64_t* out = <int64_t*> room(buffer_extend(&e.columns.i64, n * 8))
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = time_microseconds(items[i])
    return 0


cdef inline bint timedelta_is_long(PyObject* o) noexcept:
    """Whether its microseconds may pass 64 bits."""
    cdef int days = PyDateTime_DELTA_GET_DAYS(<object> o)
    return not -100000000 < days < 100000000


cdef inline int write_timedeltas(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef int64_t* out = <int64_t*> room(buffer_extend(&e.columns.i64, n * 8))
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = (PyDateTime_DELTA_GET_DAYS(<object> items[i]) * <int64_t> 86400
                  + PyDateTime_DELTA_GET_SECONDS(<object> items[i])) * <int64_t> 1000000 \
            + PyDateTime_DELTA_GET_MICROSECONDS(<object> items[i])
    return 0


cdef inline int write_long_timedeltas(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef int32_t* out = <int32_t*> room(buffer_extend(&e.columns.i32, n * 12))
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = PyDateTime_DELTA_GET_DAYS(<object> items[i])
        out[n + i] = PyDateTime_DELTA_GET_SECONDS(<object> items[i])
        out[2 * n + i] = PyDateTime_DELTA_GET_MICROSECONDS(<object> items[i])
    return 0


cdef inline int write_big_ints(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    cdef size_t size
    for i in range(n):
        size = fastser_int_size(items[i])
        fastser_int_to_bytes(items[i], <unsigned char*> room(buffer_extend(&e.columns.data, size)), size, False, True)
        if end_item(&e.columns.data_offsets, data_size(&e.columns), e.columns.large) != TEXT_OK:
            return -2
    return 0


cdef inline int write_bytes(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    for i in range(n):
        if bytes_append(&e.columns, items[i]) != TEXT_OK:
            return -2
    return 0


cdef inline int write_bytearrays(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    for i in range(n):
        if data_append(&e.columns, PyByteArray_AS_STRING(items[i]), PyByteArray_GET_SIZE(items[i])) != TEXT_OK:
            return -2
    return 0


cdef inline int write_decimals(Encoder* e, PyObject** items, Py_ssize_t n) except -1:
    """str() of each, which Decimal() reads back exactly."""
    cdef Py_ssize_t i
    cdef PyObject* text
    cdef char* small
    cdef size_t start
    cdef int status
    for i in range(n):
        text = new_str(items[i])
        start = e.columns.text.size
        status = text_append(&e.columns, text)
        fastser_decref(text)
        if status != TEXT_OK:
            return -2
        # The context may ask for a small "e": equal numbers still give equal bytes.
        small = <char*> memchr(e.columns.text.data + start, c"e", e.columns.text.size - start)
        if small != NULL:
            small[0] = c"E"
    return 0
