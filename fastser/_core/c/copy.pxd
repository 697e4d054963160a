"""Copying what is mostly a few bytes long, and what is larger than any cache."""


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

    #if defined(__SSE2__)
    #include <emmintrin.h>

    /* Copy past the caches: a plain store reads the memory first that it is about to overwrite. */
    static inline void fastser_copy_stream(char *to, const char *from, size_t size) {
        size_t done = 0;
        if (((uintptr_t) to & 15) == 0) {
            for (; size - done >= 64; done += 64) {
                const __m128i a = _mm_loadu_si128((const __m128i *) (from + done));
                const __m128i b = _mm_loadu_si128((const __m128i *) (from + done + 16));
                const __m128i c = _mm_loadu_si128((const __m128i *) (from + done + 32));
                const __m128i d = _mm_loadu_si128((const __m128i *) (from + done + 48));
                _mm_stream_si128((__m128i *) (to + done), a);
                _mm_stream_si128((__m128i *) (to + done + 16), b);
                _mm_stream_si128((__m128i *) (to + done + 32), c);
                _mm_stream_si128((__m128i *) (to + done + 48), d);
            }
            _mm_sfence();
        }
        memcpy(to + done, from + done, size - done);
    }
    #else
    #define fastser_copy_stream(to, from, size) ((void) memcpy((to), (from), (size)))
    #endif
    """
    void fastser_copy_stream(char* to, const char* source, size_t size) noexcept nogil
    void fastser_copy_short(char* to, const char* source, size_t size) noexcept nogil
