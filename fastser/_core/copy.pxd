"""Copying what is mostly a few bytes long."""


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* Copy a short string without a call and without reading past its end. */
    static inline void fastser_copy_short(char *to, const char *from, size_t size) {
        if (size >= 8) {
            if (size <= 16) {
                uint64_t a, b;
                memcpy(&a, from, 8);
                memcpy(&b, from + size - 8, 8);
                memcpy(to, &a, 8);
                memcpy(to + size - 8, &b, 8);
            } else {
                memcpy(to, from, size);
            }
        } else if (size >= 4) {
            uint32_t a, b;
            memcpy(&a, from, 4);
            memcpy(&b, from + size - 4, 4);
            memcpy(to, &a, 4);
            memcpy(to + size - 4, &b, 4);
        } else if (size) {
            to[0] = from[0];
            to[size >> 1] = from[size >> 1];
            to[size - 1] = from[size - 1];
        }
    }
    """
    void fastser_copy_short(char* to, const char* source, size_t size) noexcept nogil
