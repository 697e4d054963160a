"""Text: str to UTF-8 and back, without leaving a UTF-8 copy cached on the str."""

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from fastser._core.c.buffer cimport Buffer, buffer_grow, buffer_reserve
from fastser._core.c.capi cimport *
from fastser._core.c.copy cimport fastser_copy_short
from fastser._core.format.columns cimport Columns, Lent, data_size, lend, text_size
from fastser._core.format.tags cimport *


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static inline int fastser_all_ascii(const char *data, size_t size) {
        uint64_t word, bits = 0;
        size_t i = 0;
        for (; i + 8 <= size; i += 8) {
            memcpy(&word, data + i, 8);
            bits |= word;
        }
        for (; i < size; i++)
            bits |= (uint64_t) (uint8_t) data[i];
        return (bits & 0x8080808080808080u) == 0;
    }

    /* Characters of one byte: eight are stored whatever they are, and as many are kept as are ASCII. There is room for
       eight, since each of those that follow takes a byte at least. */
    static inline char *fastser_utf8_ucs1(const uint8_t *from, size_t size, char *to, int surrogates) {
        const uint8_t *end = from + size;
        while (end - from >= 8) {
            uint64_t word, others;
            memcpy(&word, from, 8);
            memcpy(to, &word, 8);
            others = word & 0x8080808080808080u;
            if (!others) {
                from += 8;
                to += 8;
                continue;
            }
            const int ascii = fastser_first_byte(others);
            from += ascii;
            to += ascii;
            do {
                *to++ = (char) (0xC0 | (*from >> 6));
                *to++ = (char) (0x80 | (*from & 0x3F));
                from++;
            } while (from < end && *from >= 0x80);
        }
        for (; from < end; from++) {
            if (*from < 0x80) {
                *to++ = (char) *from;
            } else {
                *to++ = (char) (0xC0 | (*from >> 6));
                *to++ = (char) (0x80 | (*from & 0x3F));
            }
        }
        return to;
    }

    #define FASTSER_UTF8(NAME, CHAR) \\
    static inline char *NAME(const CHAR *from, size_t size, char *to, int surrogates) { \\
        const CHAR *end = from + size; \\
        while (from < end) { \\
            if (*from < 0x80 && end - from >= 8) { \\
                CHAR any = 0; \\
                for (int i = 0; i < 8; i++) any |= from[i]; \\
                if (any < 0x80) { \\
                    for (int i = 0; i < 8; i++) to[i] = (char) from[i]; \\
                    to += 8; \\
                    from += 8; \\
                    continue; \\
                } \\
            } \\
            uint32_t c = *from++; \\
            if (c < 0x80) { \\
                *to++ = (char) c; \\
            } else if (c < 0x800) { \\
                *to++ = (char) (0xC0 | (c >> 6)); \\
                *to++ = (char) (0x80 | (c & 0x3F)); \\
            } else if (c < 0x10000) { \\
                if (c >= 0xD800 && c < 0xE000 && !surrogates) return NULL; \\
                *to++ = (char) (0xE0 | (c >> 12)); \\
                *to++ = (char) (0x80 | ((c >> 6) & 0x3F)); \\
                *to++ = (char) (0x80 | (c & 0x3F)); \\
            } else { \\
                *to++ = (char) (0xF0 | (c >> 18)); \\
                *to++ = (char) (0x80 | ((c >> 12) & 0x3F)); \\
                *to++ = (char) (0x80 | ((c >> 6) & 0x3F)); \\
                *to++ = (char) (0x80 | (c & 0x3F)); \\
            } \\
        } \\
        return to; \\
    }
    FASTSER_UTF8(fastser_utf8_ucs2, uint16_t)
    FASTSER_UTF8(fastser_utf8_ucs4, uint32_t)

    /* Sums that the compiler makes vector code of. */
    static inline Py_ssize_t fastser_utf8_size_ucs1(const uint8_t *from, size_t size) {
        size_t more = 0;
        for (size_t i = 0; i < size; i++) more += from[i] >> 7;
        return (Py_ssize_t) (size + more);
    }
    #define FASTSER_UTF8_SIZE(NAME, CHAR) \\
    static inline Py_ssize_t NAME(const CHAR *from, size_t size) { \\
        size_t total = size; \\
        while (size) { \\
            const size_t some = size < 4096 ? size : 4096; \\
            uint32_t more = 0, surrogates = 0; \\
            for (size_t i = 0; i < some; i++) { \\
                const uint32_t c = from[i]; \\
                more += (c >= 0x80) + (c >= 0x800) + (c >= 0x10000); \\
                surrogates |= (c & 0xFFFFF800u) == 0xD800u; \\
            } \\
            if (surrogates) return -1; \\
            total += more; \\
            from += some; \\
            size -= some; \\
        } \\
        return (Py_ssize_t) total; \\
    }
    FASTSER_UTF8_SIZE(fastser_utf8_size_ucs2, uint16_t)
    FASTSER_UTF8_SIZE(fastser_utf8_size_ucs4, uint32_t)
    """
    Py_ssize_t fastser_utf8_size_ucs1(const uint8_t* source, size_t size) noexcept nogil
    Py_ssize_t fastser_utf8_size_ucs2(const uint16_t* source, size_t size) noexcept nogil
    Py_ssize_t fastser_utf8_size_ucs4(const uint32_t* source, size_t size) noexcept nogil
    bint fastser_all_ascii(const char* data, size_t size) noexcept nogil
    char* fastser_utf8_ucs1(const uint8_t* source, size_t size, char* to, int surrogates) noexcept nogil
    char* fastser_utf8_ucs2(const uint16_t* source, size_t size, char* to, int surrogates) noexcept nogil
    char* fastser_utf8_ucs4(const uint32_t* source, size_t size, char* to, int surrogates) noexcept nogil


cdef enum:
    TEXT_AHEAD = 8         # items: text is read from all over the memory
    TEXT_OK = 1
    TEXT_SURROGATES = 0    # not UTF-8
    TEXT_MEMORY = -1
    TEXT_TOO_LARGE = -2    # the column passes 2^31 - 1 bytes: only 64-bit offsets hold it


cdef inline size_t utf8_room(PyObject* o) noexcept nogil:
    """An upper bound of a str's UTF-8 size."""
    cdef int kind = fastser_str_kind(o)
    if fastser_str_is_ascii(o):
        return fastser_str_length(o)
    return <size_t> fastser_str_length(o) * (kind if kind == 4 else kind + 1)


cdef inline bint text_is_body(PyObject* o) noexcept nogil:
    """Whether a str is UTF-8 as it is, and long enough for a body of its own."""
    return fastser_str_is_ascii(o) and fastser_str_length(o) >= BYTES_BODY_MIN


cdef inline char* utf8_write(PyObject* o, char* to, int surrogates) noexcept nogil:
    """Write a str's UTF-8; its end, or NULL where it has surrogates that may not pass."""
    cdef const void* data = fastser_str_data(o)
    cdef size_t length = fastser_str_length(o)
    cdef int kind = fastser_str_kind(o)
    if kind == 1:
        if fastser_str_is_ascii(o):
            memcpy(to, data, length)
            return to + length
        return fastser_utf8_ucs1(<const uint8_t*> data, length, to, surrogates)
    if kind == 2:
        return fastser_utf8_ucs2(<const uint16_t*> data, length, to, surrogates)
    return fastser_utf8_ucs4(<const uint32_t*> data, length, to, surrogates)


cdef inline Py_ssize_t utf8_size(PyObject* o) noexcept nogil:
    """The size of a str in UTF-8, or -1 where it has surrogates."""
    cdef int kind = fastser_str_kind(o)
    if fastser_str_is_ascii(o):
        return fastser_str_length(o)
    if kind == 1:
        return fastser_utf8_size_ucs1(<const uint8_t*> fastser_str_data(o), fastser_str_length(o))
    if kind == 2:
        return fastser_utf8_size_ucs2(<const uint16_t*> fastser_str_data(o), fastser_str_length(o))
    return fastser_utf8_size_ucs4(<const uint32_t*> fastser_str_data(o), fastser_str_length(o))


cdef inline char* lent_write(PyObject* owner, char* to) noexcept nogil:
    """Write what is lent; its end."""
    if fastser_type(owner) == fastser_bytes_type:
        memcpy(to, fastser_bytes_data(owner), fastser_bytes_size(owner))
        return to + fastser_bytes_size(owner)
    return utf8_write(owner, to, 0)


cdef inline Py_ssize_t lent_size(PyObject* owner) noexcept nogil:
    return fastser_bytes_size(owner) if fastser_type(owner) == fastser_bytes_type else utf8_size(owner)


cdef inline char* write_with_lent(
    char* to, const char* own, size_t done, size_t size, const Lent* lent, Py_ssize_t count,
) noexcept nogil:
    """Write own bytes, from the first ``done`` on up to ``size``, and between them what is lent; their end."""
    cdef Py_ssize_t i
    for i in range(count):
        if lent[i].at > done:
            memcpy(to, own + done, lent[i].at - done)
            to += lent[i].at - done
            done = lent[i].at
        if i + TEXT_AHEAD < count:
            fastser_prefetch(lent[i + TEXT_AHEAD].owner)
        to = lent_write(lent[i].owner, to)
    fastser_copy_short(to, own + done, size - done)
    return to + (size - done)


cdef inline int end_item(Buffer* offsets, size_t end, int large) noexcept nogil:
    """Close an item of text or data where its content ends."""
    if buffer_reserve(offsets, 8) < 0:
        return TEXT_MEMORY
    if large:
        (<int64_t*> (offsets.data + offsets.size))[0] = <int64_t> end
        offsets.size += 8
        return TEXT_OK
    if end > <size_t> 0x7FFFFFFF:
        return TEXT_TOO_LARGE
    (<int32_t*> (offsets.data + offsets.size))[0] = <int32_t> end
    offsets.size += 4
    return TEXT_OK


cdef inline int data_append(Columns* columns, const char* data, size_t size) noexcept nogil:
    if buffer_reserve(&columns.data, size) < 0:
        return TEXT_MEMORY
    fastser_copy_short(columns.data.data + columns.data.size, data, size)
    columns.data.size += size
    return end_item(&columns.data_offsets, data_size(columns), columns.large)


cdef inline int bytes_append(Columns* columns, PyObject* o) noexcept:
    """Append exact bytes to `data`, or lend them."""
    cdef size_t size = fastser_bytes_size(o)
    if size < LEND_MIN:
        return data_append(columns, fastser_bytes_data(o), size)
    if lend(&columns.data_lent, columns.data.size, o) < 0:
        return TEXT_MEMORY
    columns.data_lent_size += size
    return end_item(&columns.data_offsets, data_size(columns), columns.large)


cdef inline int text_lend(Columns* columns, PyObject* o) noexcept:
    """Append one exact str to `text`, by reference."""
    cdef Py_ssize_t size = utf8_size(o)
    if size < 0:
        return TEXT_SURROGATES
    if lend(&columns.text_lent, columns.text.size, o) < 0:
        return TEXT_MEMORY
    columns.text_lent_size += size
    return end_item(&columns.text_offsets, text_size(columns), columns.large)


cdef inline int text_append(Columns* columns, PyObject* o) noexcept nogil:
    """Append one exact str to `text`."""
    cdef size_t length
    cdef char* end
    if fastser_likely(fastser_str_is_ascii(o)):
        length = fastser_str_length(o)
        if buffer_reserve(&columns.text, length) < 0:
            return TEXT_MEMORY
        fastser_copy_short(columns.text.data + columns.text.size, fastser_str_ascii_data(o), length)
        columns.text.size += length
    else:
        if buffer_reserve(&columns.text, utf8_room(o)) < 0:
            return TEXT_MEMORY
        end = utf8_write(o, columns.text.data + columns.text.size, 0)
        if end == NULL:
            return TEXT_SURROGATES
        columns.text.size = end - columns.text.data
    return end_item(&columns.text_offsets, text_size(columns), columns.large)


cdef inline int surrogate_text_append(Columns* columns, PyObject* o) noexcept nogil:
    """Append one exact str to `data`, surrogates passed through."""
    if buffer_reserve(&columns.data, utf8_room(o)) < 0:
        return TEXT_MEMORY
    columns.data.size = utf8_write(o, columns.data.data + columns.data.size, 1) - columns.data.data
    return end_item(&columns.data_offsets, data_size(columns), columns.large)


cdef inline Py_ssize_t text_run(Columns* columns, PyObject** items, Py_ssize_t n, int* status) noexcept:
    """Write the leading strs that `text` takes; how many they are.

    It stops at another type, at a str with surrogates and at one long enough for a body of its
    own; status is TEXT_OK then, else what went wrong.
    """
    cdef Py_ssize_t i, utf8
    cdef size_t length
    cdef PyObject* o
    cdef Buffer* text = &columns.text
    cdef int one
    status[0] = TEXT_OK
    if columns.large or buffer_reserve(&columns.text_offsets, n * 4) < 0:
        for i in range(n):
            o = items[i]
            if fastser_type(o) != fastser_str_type or text_is_body(o):
                return i
            one = text_append(columns, o) if utf8_room(o) < LEND_MIN else text_lend(columns, o)
            if one != TEXT_OK:
                if one != TEXT_SURROGATES:
                    status[0] = one
                return i
        return n
    cdef int32_t* offsets = <int32_t*> (columns.text_offsets.data + columns.text_offsets.size)
    for i in range(n):
        if i + TEXT_AHEAD < n:
            fastser_prefetch(items[i + TEXT_AHEAD])
        o = items[i]
        if fastser_type(o) != fastser_str_type:
            break
        if fastser_likely(fastser_str_is_ascii(o)):
            length = fastser_str_length(o)
            if length >= LEND_MIN:
                if length >= BYTES_BODY_MIN:
                    break
                if lend(&columns.text_lent, text.size, o) < 0:
                    status[0] = TEXT_MEMORY
                    break
                columns.text_lent_size += length
                length = 0
            elif text.capacity - text.size < length:
                if buffer_grow(text, length) < 0:
                    status[0] = TEXT_MEMORY
                    break
            fastser_copy_short(text.data + text.size, fastser_str_ascii_data(o), length)
            text.size += length
        elif utf8_room(o) >= LEND_MIN:
            utf8 = utf8_size(o)
            if utf8 < 0:
                break
            if lend(&columns.text_lent, text.size, o) < 0:
                status[0] = TEXT_MEMORY
                break
            columns.text_lent_size += utf8
        else:
            length = utf8_room(o)
            if buffer_reserve(text, length) < 0:
                status[0] = TEXT_MEMORY
                break
            length = <size_t> utf8_write(o, text.data + text.size, 0)
            if length == 0:
                break
            text.size = <char*> length - text.data
        length = text.size + columns.text_lent_size
        if length > <size_t> 0x7FFFFFFF:
            status[0] = TEXT_TOO_LARGE
            break
        offsets[i] = <int32_t> length
    else:
        i = n
    columns.text_offsets.size += i * 4
    return i


cdef inline bint text_equal(PyObject* a, PyObject* b) noexcept nogil:
    """Whether two exact strs hold the same text."""
    cdef Py_ssize_t length = fastser_str_length(a)
    cdef int kind = fastser_str_kind(a)
    if a == b:
        return True
    if length != fastser_str_length(b) or kind != fastser_str_kind(b):
        return False
    return memcmp(fastser_str_data(a), fastser_str_data(b), <size_t> length * kind) == 0
