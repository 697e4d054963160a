"""A process-wide cache of short keys: making a str and its hash again costs more than finding it."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from fastser._core.c.capi cimport *
from fastser._core.values.text cimport fastser_all_ascii


cdef extern from *:
    """
    enum { FASTSER_KEY_SLOTS = 2048, FASTSER_KEY_MAX = 64 };
    static PyObject *fastser_keys[FASTSER_KEY_SLOTS];     /* strong references, or NULL */

    static inline size_t fastser_key_slot(const char *data, size_t size) {
        uint64_t h = size * 0x9E3779B97F4A7C15u, a = 0, b = 0;
        if (size >= 8) {
            size_t i;
            for (i = 0; i + 8 < size; i += 8) {
                memcpy(&a, data + i, 8);
                h = (h ^ a) * 0xFF51AFD7ED558CCDu;
                h ^= h >> 32;
            }
            memcpy(&b, data + size - 8, 8);
        } else if (size >= 4) {
            uint32_t low, high;
            memcpy(&low, data, 4);
            memcpy(&high, data + size - 4, 4);
            b = ((uint64_t) high << 32) | low;
        } else if (size) {
            b = (uint64_t) (unsigned char) data[0] | (uint64_t) (unsigned char) data[size >> 1] << 8
                | (uint64_t) (unsigned char) data[size - 1] << 16;
        }
        h = (h ^ b) * 0xFF51AFD7ED558CCDu;
        return (size_t) (h >> 53);
    }
    """
    const Py_ssize_t FASTSER_KEY_MAX
    PyObject** fastser_keys
    size_t fastser_key_slot(const char* data, size_t size) noexcept nogil


cdef inline PyObject* new_key(const char* data, Py_ssize_t size) except NULL:
    """New reference: the str of a dict's key."""
    cdef PyObject** slot
    cdef PyObject* key
    cdef PyObject* old
    if size > FASTSER_KEY_MAX:
        return new_utf8(data, size, NULL)
    slot = fastser_keys + fastser_key_slot(data, size)
    key = slot[0]
    if key != NULL and fastser_str_length(key) == size and memcmp(fastser_str_ascii_data(key), data, size) == 0:
        fastser_incref(key)
        return key
    if not fastser_all_ascii(data, size):
        return new_utf8(data, size, NULL)
    key = fastser_ascii(data, size)
    old = slot[0]
    slot[0] = key
    fastser_incref(key)
    fastser_xdecref(old)
    return key
