"""The loops over the values of table columns.  No Python object is touched in them, so that other threads may run."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from fastser._core.c.copy cimport fastser_copy_short


cdef extern from *:
    """
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>

    /* Item i of a selection lies at src[i], or at src_from + i, of the values, and goes to dst[i], or to dst_from + i. */
    #define FASTSER_SCATTER(NAME, FROM, TO, CONVERT) \\
    static inline void NAME(const char *values, ptrdiff_t count, const int64_t *src, ptrdiff_t src_from, \\
                     const int64_t *dst, ptrdiff_t dst_from, char *out) { \\
        ptrdiff_t i; \\
        FROM from; \\
        TO to; \\
        if (src == NULL && dst == NULL) { \\
            values += src_from * sizeof(FROM); \\
            out += dst_from * sizeof(TO); \\
            for (i = 0; i < count; i++) { \\
                memcpy(&from, values + i * sizeof(FROM), sizeof(FROM)); \\
                to = CONVERT; \\
                memcpy(out + i * sizeof(TO), &to, sizeof(TO)); \\
            } \\
            return; \\
        } \\
        for (i = 0; i < count; i++) { \\
            memcpy(&from, values + (src ? src[i] : src_from + i) * sizeof(FROM), sizeof(FROM)); \\
            to = CONVERT; \\
            memcpy(out + (dst ? dst[i] : dst_from + i) * sizeof(TO), &to, sizeof(TO)); \\
        } \\
    }
    typedef struct { uint64_t low, high; } fastser_pair;
    FASTSER_SCATTER(fastser_small_to_64, uint8_t, int64_t, from & 0x7F)
    FASTSER_SCATTER(fastser_8_to_64, int8_t, int64_t, from)
    FASTSER_SCATTER(fastser_16_to_64, int16_t, int64_t, from)
    FASTSER_SCATTER(fastser_32_to_64, int32_t, int64_t, from)
    FASTSER_SCATTER(fastser_64_to_64, int64_t, int64_t, from)
    FASTSER_SCATTER(fastser_small_to_double, uint8_t, double, (double) (from & 0x7F))
    FASTSER_SCATTER(fastser_8_to_double, int8_t, double, from)
    FASTSER_SCATTER(fastser_16_to_double, int16_t, double, from)
    FASTSER_SCATTER(fastser_32_to_double, int32_t, double, from)
    FASTSER_SCATTER(fastser_64_to_double, int64_t, double, (double) from)
    FASTSER_SCATTER(fastser_8_to_8, uint8_t, uint8_t, from)
    FASTSER_SCATTER(fastser_16_to_16, uint16_t, uint16_t, from)
    FASTSER_SCATTER(fastser_32_to_32, uint32_t, uint32_t, from)
    FASTSER_SCATTER(fastser_128_to_128, fastser_pair, fastser_pair, from)

    typedef void (*fastser_scatter)(const char *, ptrdiff_t, const int64_t *, ptrdiff_t, const int64_t *, ptrdiff_t, char *);

    static inline fastser_scatter fastser_to_64(int width) {
        return width == 0 ? fastser_small_to_64 : width == 1 ? fastser_8_to_64 : width == 2 ? fastser_16_to_64
            : width == 4 ? fastser_32_to_64 : fastser_64_to_64;
    }
    static inline fastser_scatter fastser_to_double(int width) {
        return width == 0 ? fastser_small_to_double : width == 1 ? fastser_8_to_double : width == 2 ? fastser_16_to_double
            : width == 4 ? fastser_32_to_double : fastser_64_to_double;
    }
    static inline fastser_scatter fastser_to_same(int width) {
        return width == 1 ? fastser_8_to_8 : width == 2 ? fastser_16_to_16 : width == 4 ? fastser_32_to_32
            : width == 8 ? fastser_64_to_64 : fastser_128_to_128;
    }

    /* The lowest bytes of each number, in place. */
    static inline void fastser_narrow(char *values, ptrdiff_t n, int width) {
        ptrdiff_t i;
        for (i = 0; i < n; i++)
            memmove(values + i * width, values + i * 8, (size_t) width);
    }

    /* Whether a double holds each of these exactly. */
    static inline int fastser_exact_doubles(const char *values, ptrdiff_t count, const int64_t *src, ptrdiff_t src_from, int64_t *odd) {
        ptrdiff_t i;
        int64_t value;
        for (i = 0; i < count; i++) {
            memcpy(&value, values + (src ? src[i] : src_from + i) * 8, 8);
            if (value > 9007199254740992 || value < -9007199254740992) {
                *odd = value;
                return 0;
            }
        }
        return 1;
    }

    /* A bitmap with a bit for each byte that is not 0. */
    static inline void fastser_pack_bools(const char *bytes, ptrdiff_t n, uint8_t *bits) {
        ptrdiff_t i;
        for (i = 0; i < n; i++)
            bits[i >> 3] |= (uint8_t) ((bytes[i] != 0) << (i & 7));
    }

    static inline ptrdiff_t fastser_count_ones(const uint8_t *bits, ptrdiff_t n) {
        ptrdiff_t i, count = 0;
        uint64_t word;
        for (i = 0; i + 64 <= n; i += 64) {
            memcpy(&word, bits + (i >> 3), 8);
            word -= word >> 1 & 0x5555555555555555u;
            word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
            count += (ptrdiff_t) (((word + (word >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
        }
        for (; i < n; i++)
            count += bits[i >> 3] >> (i & 7) & 1;
        return count;
    }

    /* Bits from to up to end become 1. */
    static inline void fastser_set_bits(uint8_t *bits, ptrdiff_t from, ptrdiff_t end) {
        for (; from < end && from & 7; from++) bits[from >> 3] |= (uint8_t) (1 << (from & 7));
        if (end - from >= 8) {
            memset(bits + (from >> 3), 0xFF, (size_t) (end - from) >> 3);
            from += (end - from) & ~(ptrdiff_t) 7;
        }
        for (; from < end; from++) bits[from >> 3] |= (uint8_t) (1 << (from & 7));
    }

    /* Offsets from lengths of 0 (all are constant), 1, 2, 4 or 8 bytes; the last of them. */
    #define FASTSER_OFFSETS(NAME, OFFSET) \\
    static inline int64_t NAME(const void *lengths, int width, uint64_t constant, ptrdiff_t n, OFFSET *out) { \\
        int64_t total = 0; \\
        ptrdiff_t i; \\
        out[0] = 0; \\
        if (lengths == NULL) for (i = 0; i < n; i++) out[i + 1] = (OFFSET) (total += (int64_t) constant); \\
        else if (width == 1) for (i = 0; i < n; i++) out[i + 1] = (OFFSET) (total += ((const uint8_t *) lengths)[i]); \\
        else if (width == 2) for (i = 0; i < n; i++) out[i + 1] = (OFFSET) (total += ((const uint16_t *) lengths)[i]); \\
        else if (width == 4) for (i = 0; i < n; i++) out[i + 1] = (OFFSET) (total += ((const uint32_t *) lengths)[i]); \\
        else for (i = 0; i < n; i++) out[i + 1] = (OFFSET) (total += ((const int64_t *) lengths)[i]); \\
        return total; \\
    }
    FASTSER_OFFSETS(fastser_offsets_32, int32_t)
    FASTSER_OFFSETS(fastser_offsets_64, int64_t)

    /* What items add up to that are taken, by indices of `width` bytes, from those with these sizes. */
    #define FASTSER_TAKE(INDEX) \\
        for (i = 0; i < n; i++) { \\
            const fastser_item *item = items + ((const INDEX *) indices)[i]; \\
            if (out != NULL) { \\
                fastser_copy_short(out + total, item->data, (size_t) item->size); \\
                offsets[i + 1] = (int32_t) (total + item->size); \\
            } \\
            total += item->size; \\
        }
    typedef struct { const char *data; ptrdiff_t size; } fastser_item;
    static inline int64_t fastser_take(const void *spans, const void *indices, int width, ptrdiff_t n, int32_t *offsets, char *out) {
        const fastser_item *items = (const fastser_item *) spans;
        int64_t total = 0;
        ptrdiff_t i;
        if (width == 1) FASTSER_TAKE(uint8_t)
        else if (width == 2) FASTSER_TAKE(uint16_t)
        else FASTSER_TAKE(uint32_t)
        return total;
    }

    /* 64-bit offsets as 32-bit ones, counted from the first. */
    static inline void fastser_shorten_offsets(const int64_t *from, ptrdiff_t n, int32_t *to) {
        ptrdiff_t i;
        for (i = 0; i <= n; i++)
            to[i] = (int32_t) (from[i] - from[0]);
    }
    """
    ctypedef void (*fastser_scatter)(
        const char* values, Py_ssize_t count, const int64_t* src, Py_ssize_t src_from, const int64_t* dst, Py_ssize_t dst_from,
        char* out) noexcept nogil
    fastser_scatter fastser_to_64(int width) noexcept nogil
    fastser_scatter fastser_to_double(int width) noexcept nogil
    fastser_scatter fastser_to_same(int width) noexcept nogil
    void fastser_narrow(char* values, Py_ssize_t n, int width) noexcept nogil
    bint fastser_exact_doubles(const char* values, Py_ssize_t count, const int64_t* src, Py_ssize_t src_from, int64_t* odd) noexcept nogil
    void fastser_pack_bools(const char* data, Py_ssize_t n, uint8_t* bits) noexcept nogil
    Py_ssize_t fastser_count_ones(const uint8_t* bits, Py_ssize_t n) noexcept nogil
    void fastser_set_bits(uint8_t* bits, Py_ssize_t start, Py_ssize_t end) noexcept nogil
    int64_t fastser_offsets_32(const void* lengths, int width, unsigned long long constant, Py_ssize_t n, int32_t* out) noexcept nogil
    int64_t fastser_offsets_64(const void* lengths, int width, unsigned long long constant, Py_ssize_t n, int64_t* out) noexcept nogil
    # The sum of the sizes; with `out`, the items one after the other and where each ends.
    int64_t fastser_take(const void* items, const void* indices, int width, Py_ssize_t n, int32_t* offsets, char* out) noexcept nogil
    void fastser_shorten_offsets(const int64_t* offsets, Py_ssize_t n, int32_t* out) noexcept nogil
