"""CPython calls that Cython does not declare, and the few that differ between versions."""

from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int64_t, uint8_t


cdef extern from *:
    """
    #include <Python.h>
    #include <stdint.h>
    #if PY_VERSION_HEX < 0x030B0000
    #include <longintrepr.h>
    #endif

    /* 1 and the value when an exact int fits 64 bits, else 0.  Never raises.  The digits are read
       in place because a call per integer costs more than the rest of the loop. */
    static inline int fastser_as_int64(PyObject *o, int64_t *value) {
        int overflow;
        const PyLongObject *v = (const PyLongObject *) o;
    #if PY_VERSION_HEX >= 0x030C0000
        const uintptr_t tag = v->long_value.lv_tag;
        const Py_ssize_t digits = (Py_ssize_t) (tag >> 3);
        const int64_t sign = 1 - (int64_t) (tag & 3);
        const digit *d = v->long_value.ob_digit;
    #else
        const Py_ssize_t size = Py_SIZE(o);
        const Py_ssize_t digits = size < 0 ? -size : size;
        const int64_t sign = size < 0 ? -1 : 1;
        const digit *d = v->ob_digit;
    #endif
        if (digits <= 1) {
            *value = digits ? sign * (int64_t) d[0] : 0;
            return 1;
        }
        if (digits == 2) {
            *value = sign * (((int64_t) d[1] << PyLong_SHIFT) | (int64_t) d[0]);
            return PyLong_SHIFT <= 30;
        }
        *value = PyLong_AsLongLongAndOverflow(o, &overflow);
        return overflow == 0;
    }

    /* Two's complement, little-endian.  Public from 3.13 on; before that only the private pair can
       do it without a detour over hexadecimal text. */
    static inline size_t fastser_int_size(PyObject *o) {
    #if PY_VERSION_HEX >= 0x030D0000
        return (size_t) PyLong_AsNativeBytes(o, NULL, 0, 1);
    #else
        return _PyLong_NumBits(o) / 8 + 1;
    #endif
    }
    static inline int fastser_int_to_bytes(PyObject *o, unsigned char *at, size_t size, int big_endian, int is_signed) {
    #if PY_VERSION_HEX >= 0x030D0000
        int flags = (big_endian ? 0 : 1) | (is_signed ? 0 : 4);
        Py_ssize_t needed = PyLong_AsNativeBytes(o, at, (Py_ssize_t) size, flags);
        return needed < 0 || needed > (Py_ssize_t) size ? -1 : 0;
    #else
        return _PyLong_AsByteArray((PyLongObject *) o, at, size, !big_endian, is_signed);
    #endif
    }
    static inline PyObject *fastser_int_from_bytes(const unsigned char *at, size_t size, int big_endian, int is_signed) {
    #if PY_VERSION_HEX >= 0x030D0000
        int flags = big_endian ? 0 : 1;
        return is_signed ? PyLong_FromNativeBytes(at, size, flags) : PyLong_FromUnsignedNativeBytes(at, size, flags);
    #else
        return _PyLong_FromByteArray(at, size, !big_endian, is_signed);
    #endif
    }

    /* A dict with room for n keys: private, but filling a large dict without it costs a third more. */
    static inline PyObject *fastser_dict_presized(Py_ssize_t n) {
        return n > 5 ? _PyDict_NewPresized(n) : PyDict_New();
    }

    /* The members of a set, one after the other.  Private, as the only alternative is an iterator for
       each set: for small ones that costs more than all the rest.  3.13 still exports it, for pickle,
       but declares it elsewhere. */
    #if PY_VERSION_HEX >= 0x030D0000
    PyAPI_FUNC(int) _PySet_NextEntry(PyObject *set, Py_ssize_t *position, PyObject **member, Py_hash_t *hash);
    #endif
    static inline int fastser_set_next(PyObject *o, Py_ssize_t *position, PyObject **member) {
        Py_hash_t hash;
        return _PySet_NextEntry(o, position, member, &hash);
    }

    /* Borrowed, or NULL: what a class or its bases hold under a name.  Private, as the public calls ask the metaclass, and may run
       Python code. */
    static inline PyObject *fastser_in_class(PyTypeObject *cls, PyObject *name) {
        return _PyType_Lookup(cls, name);
    }

    /* Whether a function of Python's surely takes so many positional arguments after its first one, and needs no other. */
    static inline int fastser_takes(PyObject *function, Py_ssize_t count) {
        PyCodeObject *code = (PyCodeObject *) PyFunction_GET_CODE(function);
        PyObject *defaults = PyFunction_GET_DEFAULTS(function), *named = PyFunction_GET_KW_DEFAULTS(function);
        Py_ssize_t most = code->co_argcount - 1;
        Py_ssize_t least = most - (defaults != NULL ? PyTuple_GET_SIZE(defaults) : 0);
        return count >= least && (count <= most || code->co_flags & CO_VARARGS) &&
            code->co_kwonlyargcount == (named != NULL ? PyDict_GET_SIZE(named) : 0);
    }

    /* Many references to one of the interpreter's constants at once: counting them one by one, each
       addition would wait for the one before.  From 3.12 on they are immortal. */
    static inline void fastser_incref_constant(PyObject *o, Py_ssize_t n) {
    #if PY_VERSION_HEX < 0x030C0000
        Py_SET_REFCNT(o, Py_REFCNT(o) + n);
    #else
        (void) o; (void) n;
    #endif
    }

    /* From 3.14 on a tuple keeps its hash.  One whose items are put in place by hand must have none yet. */
    #if PY_VERSION_HEX >= 0x030E0000
    #define fastser_forget_hash(o) do { if (PyTuple_Check((PyObject *) (o))) ((PyTupleObject *) (o))->ob_hash = -1; } while (0)
    #else
    #define fastser_forget_hash(o) ((void) (o))
    #endif

    /* A new frozendict of these items, open: until it is closed it passes for the dict that it is laid out as, to be filled
       through the functions for dicts.  There is no other way to fill one that something in it refers to, and as long as it
       is incomplete nobody can hash it. */
    #if PY_VERSION_HEX >= 0x030F0000
    static inline PyObject *fastser_open_frozendict(PyObject *items) {
        PyObject *o = PyFrozenDict_New(items);
        if (o != NULL)
            Py_SET_TYPE(o, &PyDict_Type);
        return o;
    }
    #define fastser_close_frozendict(o) Py_SET_TYPE((PyObject *) (o), &PyFrozenDict_Type)
    #else
    #define fastser_open_frozendict(items) (PyErr_BadInternalCall(), (PyObject *) NULL)
    #define fastser_close_frozendict(o) ((void) (o))
    #endif

    /* The hash of an exact str, computed when it is not cached yet. */
    static inline Py_hash_t fastser_str_hash(PyObject *o) {
        Py_hash_t h = ((PyASCIIObject *) o)->hash;
        return h != -1 ? h : PyObject_Hash(o);
    }

    /* Below 3.12 a collection can start inside any allocation.  From 3.12 on it waits for the interpreter, but one that
       comes due in a walk is run right after it, over all that was made, though most callers drop or keep it whole. */
    #define fastser_collector_pause() PyGC_Disable()
    #define fastser_collector_resume(was) do { if (was) PyGC_Enable(); } while (0)

    #if defined(__GNUC__) || defined(__clang__)
    #define fastser_likely(x) __builtin_expect(!!(x), 1)
    #define fastser_unlikely(x) __builtin_expect(!!(x), 0)
    #define fastser_prefetch(p) __builtin_prefetch(p)
    #else
    #define fastser_likely(x) (x)
    #define fastser_unlikely(x) (x)
    #define fastser_prefetch(p) ((void) (p))
    #endif

    /* Borrowed and stolen references as plain pointers, without Cython's counting. */
    #define fastser_type(o) ((PyObject *) Py_TYPE((PyObject *) (o)))
    #define fastser_refcount(o) Py_REFCNT((PyObject *) (o))
    #define fastser_incref(o) Py_INCREF((PyObject *) (o))
    #define fastser_decref(o) Py_DECREF((PyObject *) (o))
    #define fastser_xdecref(o) Py_XDECREF((PyObject *) (o))
    #define fastser_float_value(o) PyFloat_AS_DOUBLE((PyObject *) (o))
    #define fastser_list_items(o) (((PyListObject *) (o))->ob_item)
    #define fastser_list_size(o) Py_SIZE((PyObject *) (o))
    #define fastser_tuple_items(o) (((PyTupleObject *) (o))->ob_item)
    #define fastser_tuple_size(o) Py_SIZE((PyObject *) (o))
    #define fastser_is_tuple(o) PyTuple_Check((PyObject *) (o))
    #define fastser_bytes_data(o) PyBytes_AS_STRING((PyObject *) (o))
    #define fastser_bytes_size(o) PyBytes_GET_SIZE((PyObject *) (o))
    #define fastser_set_size(o) PySet_GET_SIZE((PyObject *) (o))
    #define fastser_dict_size(o) PyDict_GET_SIZE((PyObject *) (o))
    #define fastser_dict_next(o, position, key, value) PyDict_Next((PyObject *) (o), position, key, value)
    #define fastser_str_is_ascii(o) PyUnicode_IS_COMPACT_ASCII((PyObject *) (o))
    #define fastser_str_ascii_data(o) ((const char *) (((PyASCIIObject *) (o)) + 1))
    #define fastser_str_length(o) PyUnicode_GET_LENGTH((PyObject *) (o))
    #define fastser_str_kind(o) ((int) PyUnicode_KIND((PyObject *) (o)))
    #define fastser_str_data(o) ((const void *) PyUnicode_DATA((PyObject *) (o)))
    #if PY_VERSION_HEX < 0x030C0000
    #define fastser_str_ready(o) PyUnicode_READY((PyObject *) (o))
    #else
    #define fastser_str_ready(o) 0
    #endif
    static inline PyObject *fastser_ascii(const char *data, Py_ssize_t size) {
        PyObject *o;
        if (size <= 1)
            return PyUnicode_DecodeLatin1(data, size, NULL);   /* the interpreter's own singletons */
        o = PyUnicode_New(size, 127);
        if (o != NULL)
            memcpy(((PyASCIIObject *) o) + 1, data, (size_t) size);
        return o;
    }

    /* One pass over UTF-8 that checks it and fills a str of `count` characters: 0 where it is none. Every character begins with a
       byte that was counted, so that nothing is written past them. */
    #if defined(__GNUC__) || defined(__clang__)
    #define fastser_first_byte(bits) (__builtin_ctzll(bits) >> 3)
    #else
    static inline int fastser_first_byte(uint64_t bits) {
        int at = 0;
        while (!(bits >> (8 * at) & 0xFF)) at++;
        return at;
    }
    #endif
    /* Characters of two bytes, in lanes of 16 bits, and of three bytes, in lanes of 24 bits, so that a word decodes four or two of
       them; `bad` has bits in the lanes of what is none. */
    #define FASTSER_FOUR 0x0001000100010001u
    #define FASTSER_TWO UINT64_C(0x000001000001)
    static inline uint64_t fastser_four_of_two(uint64_t word, uint64_t *bad) {
        *bad = ((word ^ 0x80C0 * FASTSER_FOUR) & 0xC0E0 * FASTSER_FOUR)
            | (~((word & 0x001E * FASTSER_FOUR) + 0x7FFE * FASTSER_FOUR) & 0x8000 * FASTSER_FOUR);   /* would fit in one byte */
        return (word & 0x001F * FASTSER_FOUR) << 6 | (word >> 8 & 0x003F * FASTSER_FOUR);
    }
    static inline uint64_t fastser_two_of_three(uint64_t word, uint64_t *bad) {
        uint64_t result = (word & 0x00000F * FASTSER_TWO) << 12 | (word >> 2 & 0x000FC0 * FASTSER_TWO)
            | (word >> 16 & 0x00003F * FASTSER_TWO);
        uint64_t high = result & 0xF800 * FASTSER_TWO;
        uint64_t not_short = high + 0xF800 * FASTSER_TWO;
        uint64_t not_surrogate = (high ^ 0xD800 * FASTSER_TWO) + 0xF800 * FASTSER_TWO;
        *bad = ((word ^ 0x8080E0 * FASTSER_TWO) & 0xC0C0F0 * FASTSER_TWO)
            | (~(not_short & not_surrogate) & 0x10000 * FASTSER_TWO);
        return result;
    }
    #define FASTSER_FILL(NAME, CHAR, LARGEST_LEAD) \\
    static inline int NAME(CHAR *to, Py_ssize_t count, const uint8_t *p, const uint8_t *end) { \\
        CHAR *stop = to + count; \\
        while (p < end) { \\
            uint32_t c = *p; \\
            if (to == stop) return 0; \\
            if (c < 0x80) { \\
                if (end - p >= 8 && stop - to >= 8 && p[1] < 0x80) { \\
                    uint64_t word; \\
                    int ascii = 8; \\
                    memcpy(&word, p, 8); \\
                    word &= 0x8080808080808080u; \\
                    if (word) ascii = fastser_first_byte(word); \\
                    for (int i = 0; i < 8; i++) to[i] = p[i]; \\
                    to += ascii; \\
                    p += ascii; \\
                } else { \\
                    *to++ = (CHAR) c; \\
                    p += 1; \\
                } \\
            } else if (c < 0xE0 && LARGEST_LEAD > 0xC3 && end - p >= 8 && stop - to >= 4) { \\
                uint64_t word, bad; \\
                int right = 4; \\
                memcpy(&word, p, 8); \\
                word = fastser_four_of_two(word, &bad); \\
                for (int i = 0; i < 4; i++) to[i] = (CHAR) (word >> (16 * i) & 0xFFFF); \\
                if (bad) { \\
                    right = fastser_first_byte(bad) >> 1; \\
                    if (!right) return 0; \\
                } \\
                to += right; \\
                p += 2 * right; \\
            } else if (c < 0xE0 || LARGEST_LEAD < 0xE0) { \\
                if (c < 0xC2 || end - p < 2 || (p[1] & 0xC0) != 0x80) return 0; \\
                *to++ = (CHAR) ((c & 0x1F) << 6 | (p[1] & 0x3F)); \\
                p += 2; \\
            } else if (c < 0xF0 && end - p >= 14 && stop - to >= 4) { \\
                do { \\
                    uint64_t word, next, bad, bad_next; \\
                    memcpy(&word, p, 8); \\
                    memcpy(&next, p + 6, 8); \\
                    word = fastser_two_of_three(word, &bad); \\
                    next = fastser_two_of_three(next, &bad_next); \\
                    to[0] = (CHAR) (word & 0xFFFF); \\
                    to[1] = (CHAR) (word >> 24 & 0xFFFF); \\
                    to[2] = (CHAR) (next & 0xFFFF); \\
                    to[3] = (CHAR) (next >> 24 & 0xFFFF); \\
                    if (bad | bad_next) { \\
                        int right = bad & 0xFFFFFF ? 0 : bad ? 1 : bad_next & 0xFFFFFF ? 2 : 3; \\
                        if (!right && (*p & 0xF0) == 0xE0) return 0; \\
                        to += right; \\
                        p += 3 * right; \\
                        break; \\
                    } \\
                    to += 4; \\
                    p += 12; \\
                } while (end - p >= 14 && stop - to >= 4); \\
            } else if (c < 0xF0 || LARGEST_LEAD < 0xF0) { \\
                if (end - p < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80) return 0; \\
                c = (c & 0x0F) << 12 | (uint32_t) (p[1] & 0x3F) << 6 | (p[2] & 0x3F); \\
                if (c < 0x800 || (c >= 0xD800 && c < 0xE000)) return 0; \\
                *to++ = (CHAR) c; \\
                p += 3; \\
            } else { \\
                if (end - p < 4 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80 || (p[3] & 0xC0) != 0x80) return 0; \\
                c = (c & 0x07) << 18 | (uint32_t) (p[1] & 0x3F) << 12 | (uint32_t) (p[2] & 0x3F) << 6 | (p[3] & 0x3F); \\
                if (c < 0x10000 || c > 0x10FFFF) return 0; \\
                *to++ = (CHAR) c; \\
                p += 4; \\
            } \\
        } \\
        return to == stop; \\
    }
    FASTSER_FILL(fastser_fill_ucs1, Py_UCS1, 0xC3)
    FASTSER_FILL(fastser_fill_ucs2, Py_UCS2, 0xEF)
    FASTSER_FILL(fastser_fill_ucs4, Py_UCS4, 0xF4)

    /* UTF-8 to str: measure, in a loop that the compiler makes vector code of, then check and fill.  The interpreter's own decoder
       widens the str as it goes.  What is not UTF-8 is left to it: it words the error, or passes surrogates through where errors
       says so. */
    static inline PyObject *fastser_utf8(const char *data, Py_ssize_t size, const char *errors) {
        const uint8_t *p = (const uint8_t *) data, *end = p + size;
        Py_ssize_t count = size;
        uint32_t largest = 0;
        int valid;
        PyObject *o;
        if (errors != NULL || size <= 2)    /* the interpreter has singletons of single characters */
            return PyUnicode_DecodeUTF8(data, size, errors);
        while (p < end) {
            /* Sums of bytes, which do not overflow in so many steps. */
            const uint8_t *stop = end - p < 128 ? end : p + 128;
            uint8_t within = 0, most = 0;
            for (; p < stop; p++) {
                within += (uint8_t) ((int8_t) *p < -64);
                most = *p > most ? *p : most;
            }
            count -= within;
            if (most > largest) largest = most;
        }
        if (largest > 0xF4 || count < 2)    /* or a single character again */
            return PyUnicode_DecodeUTF8(data, size, errors);
        o = PyUnicode_New(count, largest < 0x80 ? 0x7F : largest < 0xC4 ? 0xFF : largest < 0xF0 ? 0xFFFF : 0x10FFFF);
        if (o == NULL)
            return NULL;
        p = (const uint8_t *) data;
        if (largest < 0x80) {
            memcpy(PyUnicode_1BYTE_DATA(o), data, (size_t) size);
            return o;
        }
        if (largest < 0xC4)
            valid = fastser_fill_ucs1(PyUnicode_1BYTE_DATA(o), count, p, end);
        else if (largest < 0xF0)
            valid = fastser_fill_ucs2(PyUnicode_2BYTE_DATA(o), count, p, end);
        else
            valid = fastser_fill_ucs4(PyUnicode_4BYTE_DATA(o), count, p, end);
        if (valid)
            return o;
        Py_DECREF(o);
        return PyUnicode_DecodeUTF8(data, size, errors);
    }

    #define fastser_none Py_None
    #define fastser_true Py_True
    #define fastser_false Py_False
    #define fastser_ellipsis Py_Ellipsis
    #define fastser_not_implemented Py_NotImplemented
    #define fastser_list_type ((PyObject *) &PyList_Type)
    #define fastser_tuple_type ((PyObject *) &PyTuple_Type)
    #define fastser_dict_type ((PyObject *) &PyDict_Type)
    #define fastser_set_type ((PyObject *) &PySet_Type)
    #define fastser_frozenset_type ((PyObject *) &PyFrozenSet_Type)
    #if PY_VERSION_HEX >= 0x030F0000
    #define fastser_frozendict_type ((PyObject *) &PyFrozenDict_Type)
    #define fastser_sentinel_type ((PyObject *) &PySentinel_Type)
    #else
    #define fastser_frozendict_type ((PyObject *) NULL)
    #define fastser_sentinel_type ((PyObject *) NULL)
    #endif
    #define fastser_str_type ((PyObject *) &PyUnicode_Type)
    #define fastser_int_type ((PyObject *) &PyLong_Type)
    #define fastser_float_type ((PyObject *) &PyFloat_Type)
    #define fastser_bool_type ((PyObject *) &PyBool_Type)
    #define fastser_none_type ((PyObject *) Py_TYPE(Py_None))
    #define fastser_bytes_type ((PyObject *) &PyBytes_Type)
    #define fastser_bytearray_type ((PyObject *) &PyByteArray_Type)
    #define fastser_complex_type ((PyObject *) &PyComplex_Type)
    #define fastser_range_type ((PyObject *) &PyRange_Type)
    #define fastser_slice_type ((PyObject *) &PySlice_Type)
    #define fastser_ellipsis_type ((PyObject *) Py_TYPE(Py_Ellipsis))
    #define fastser_not_implemented_type ((PyObject *) Py_TYPE(Py_NotImplemented))
    """
    bint fastser_as_int64(PyObject* o, int64_t* value) noexcept nogil
    size_t fastser_int_size(PyObject* o) noexcept
    int fastser_int_to_bytes(PyObject* o, unsigned char* at, size_t size, bint big_endian, bint is_signed) except -1
    PyObject* fastser_int_from_bytes(const unsigned char* at, size_t size, bint big_endian, bint is_signed) except NULL
    PyObject* fastser_dict_presized(Py_ssize_t n) except NULL
    bint fastser_set_next(PyObject* o, Py_ssize_t* position, PyObject** member) noexcept
    void fastser_incref_constant(PyObject* o, Py_ssize_t n) noexcept
    void fastser_forget_hash(PyObject* o) noexcept
    Py_hash_t fastser_str_hash(PyObject* o) noexcept
    int fastser_collector_pause() noexcept
    void fastser_collector_resume(int was) noexcept
    bint fastser_likely(bint x) noexcept nogil
    bint fastser_unlikely(bint x) noexcept nogil
    void fastser_prefetch(const void* p) noexcept nogil

    PyObject* fastser_type(PyObject* o) noexcept nogil
    PyObject* fastser_in_class(PyTypeObject* cls, PyObject* name) noexcept
    bint fastser_takes(PyObject* function, Py_ssize_t count) noexcept
    Py_ssize_t fastser_refcount(PyObject* o) noexcept nogil
    void fastser_incref(PyObject* o) noexcept
    void fastser_decref(PyObject* o) noexcept
    void fastser_xdecref(PyObject* o) noexcept
    double fastser_float_value(PyObject* o) noexcept nogil
    PyObject** fastser_list_items(PyObject* o) noexcept nogil
    Py_ssize_t fastser_list_size(PyObject* o) noexcept nogil
    PyObject** fastser_tuple_items(PyObject* o) noexcept nogil
    Py_ssize_t fastser_tuple_size(PyObject* o) noexcept nogil
    bint fastser_is_tuple(PyObject* o) noexcept nogil
    char* fastser_bytes_data(PyObject* o) noexcept nogil
    Py_ssize_t fastser_bytes_size(PyObject* o) noexcept nogil
    Py_ssize_t fastser_set_size(PyObject* o) noexcept nogil
    Py_ssize_t fastser_dict_size(PyObject* o) noexcept nogil
    bint fastser_dict_next(PyObject* o, Py_ssize_t* position, PyObject** key, PyObject** value) noexcept
    bint fastser_str_is_ascii(PyObject* o) noexcept nogil
    const char* fastser_str_ascii_data(PyObject* o) noexcept nogil
    Py_ssize_t fastser_str_length(PyObject* o) noexcept nogil
    int fastser_str_kind(PyObject* o) noexcept nogil
    const void* fastser_str_data(PyObject* o) noexcept nogil
    int fastser_str_ready(PyObject* o) except -1
    PyObject* fastser_ascii(const char* data, Py_ssize_t size) except NULL
    PyObject* new_utf8 "fastser_utf8"(const char* data, Py_ssize_t size, const char* errors) except NULL

    PyObject* fastser_none
    PyObject* fastser_true
    PyObject* fastser_false
    PyObject* fastser_ellipsis
    PyObject* fastser_not_implemented
    PyObject* fastser_list_type
    PyObject* fastser_tuple_type
    PyObject* fastser_dict_type
    PyObject* fastser_set_type
    PyObject* fastser_frozenset_type
    PyObject* fastser_frozendict_type     # NULL below 3.15, as the next
    PyObject* fastser_sentinel_type
    PyObject* fastser_str_type
    PyObject* fastser_int_type
    PyObject* fastser_float_type
    PyObject* fastser_bool_type
    PyObject* fastser_none_type
    PyObject* fastser_bytes_type
    PyObject* fastser_bytearray_type
    PyObject* fastser_complex_type
    PyObject* fastser_range_type
    PyObject* fastser_slice_type
    PyObject* fastser_ellipsis_type
    PyObject* fastser_not_implemented_type


cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX
    # New references as plain pointers, so that they can be stored without counting twice.
    PyObject* new_long "PyLong_FromLongLong"(long long value) except NULL
    PyObject* new_float "PyFloat_FromDouble"(double value) except NULL
    PyObject* new_complex "PyComplex_FromDoubles"(double real, double imag) except NULL
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL
    PyObject* new_bytearray "PyByteArray_FromStringAndSize"(const char* data, Py_ssize_t size) except NULL
    PyObject* new_list "PyList_New"(Py_ssize_t size) except NULL
    PyObject* new_tuple "PyTuple_New"(Py_ssize_t size) except NULL
    PyObject* new_dict "PyDict_New"() except NULL
    PyObject* new_set "PySet_New"(PyObject* iterable) except NULL
    PyObject* new_frozenset "PyFrozenSet_New"(PyObject* iterable) except NULL
    PyObject* fastser_open_frozendict(PyObject* items) except NULL
    void fastser_close_frozendict(PyObject* o) noexcept
    PyObject* new_slice "PySlice_New"(PyObject* start, PyObject* stop, PyObject* step) except NULL
    PyObject* dict_copy "PyDict_Copy"(PyObject* o) except NULL
    int dict_set "PyDict_SetItem"(PyObject* o, PyObject* key, PyObject* value) except -1
    void intern_in_place "PyUnicode_InternInPlace"(PyObject** o) noexcept
    int list_append "PyList_Append"(PyObject* o, PyObject* item) except -1
    int set_add "PySet_Add"(PyObject* o, PyObject* key) except -1
    PyObject* new_object_as_list "PySequence_List"(PyObject* o) except NULL
    PyObject* new_list_as_tuple "PyList_AsTuple"(PyObject* o) except NULL
    void gc_untrack "PyObject_GC_UnTrack"(PyObject* o) noexcept
    bint gc_is_tracked "PyObject_GC_IsTracked"(PyObject* o) noexcept
    void gc_track "PyObject_GC_Track"(PyObject* o) noexcept
    PyObject* new_call "PyObject_CallOneArg"(PyObject* callable, PyObject* argument) except NULL
    PyObject* new_str "PyObject_Str"(PyObject* o) except NULL
    char* PyByteArray_AS_STRING(PyObject* o) noexcept nogil
    Py_ssize_t PyByteArray_GET_SIZE(PyObject* o) noexcept nogil
