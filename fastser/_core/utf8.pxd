"""Whether bytes are UTF-8, as the Unicode standard defines it: no surrogates, nothing longer than need be."""


cdef extern from *:
    """
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>

    static inline int fastser_continues(uint8_t byte) { return (byte & 0xC0) == 0x80; }

    static inline int fastser_is_utf8(const char *data, size_t size) {
        const uint8_t *at = (const uint8_t *) data, *end = at + size;
        uint64_t word;
        while (at < end) {
            while (end - at >= 8 && (memcpy(&word, at, 8), (word & 0x8080808080808080u) == 0))
                at += 8;
            if (at == end)
                return 1;
            uint8_t c = *at;
            if (c < 0x80) {
                at += 1;
            } else if (c < 0xE0) {
                if (c < 0xC2 || end - at < 2 || !fastser_continues(at[1])) return 0;
                at += 2;
            } else if (c < 0xF0) {
                if (end - at < 3 || !fastser_continues(at[1]) || !fastser_continues(at[2])) return 0;
                if ((c == 0xE0 && at[1] < 0xA0) || (c == 0xED && at[1] >= 0xA0)) return 0;
                at += 3;
            } else {
                if (c > 0xF4 || end - at < 4 || !fastser_continues(at[1]) || !fastser_continues(at[2])
                        || !fastser_continues(at[3])) return 0;
                if ((c == 0xF0 && at[1] < 0x90) || (c == 0xF4 && at[1] >= 0x90)) return 0;
                at += 4;
            }
        }
        return 1;
    }

    static inline int fastser_all_below_128(const char *data, size_t size) {
        uint8_t bits = 0;
        size_t i;
        for (i = 0; i < size; i++) bits |= (uint8_t) data[i];
        return bits < 0x80;
    }

    /* How many leading items of a column of offsets and bytes are well-formed: offsets that rise within size, and,
       where utf8 is asked for, none that splits a character. */
    #define FASTSER_RISING(NAME, OFFSET) \\
    static inline size_t NAME(const void *at, size_t n, const char *data, long long size, int utf8) { \\
        const OFFSET *offsets = (const OFFSET *) at; \\
        OFFSET wrong = 0; \\
        size_t i; \\
        if (offsets[0] < 0 || (int64_t) offsets[n] > size) return 0; \\
        for (i = 0; i < n; i++) wrong |= offsets[i + 1] < offsets[i]; \\
        if (wrong) return 0; \\
        if (utf8 && !fastser_is_utf8(data + offsets[0], (size_t) (offsets[n] - offsets[0]))) return 0; \\
        if (utf8 && !fastser_all_below_128(data + offsets[0], (size_t) (offsets[n] - offsets[0]))) \\
            for (i = 0; i < n; i++) \\
                if (offsets[i] < size && fastser_continues((uint8_t) data[offsets[i]])) return i; \\
        return n; \\
    }
    FASTSER_RISING(fastser_rising_32, int32_t)
    FASTSER_RISING(fastser_rising_64, int64_t)
    """
    bint fastser_is_utf8(const char* data, size_t size) noexcept nogil
    size_t fastser_rising_32(const void* offsets, size_t n, const char* data, long long size, bint utf8) noexcept nogil
    size_t fastser_rising_64(const void* offsets, size_t n, const char* data, long long size, bint utf8) noexcept nogil
