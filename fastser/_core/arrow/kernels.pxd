"""The loops over the values of Arrow arrays that become a frame's columns.

`valid` is a bitmap that counts from the column's first value, of which the loop's are those from `at` on; NULL: no nulls.  In
place of nulls stands 0.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t


cdef extern from *:
    """
    #include <stdint.h>
    #include <stddef.h>
    #include <stdio.h>
    #include <string.h>

    #define FASTSER_BIT(bits, i) ((bits)[(i) >> 3] >> ((i) & 7) & 1)

    /* As 64-bit numbers; the union of their magnitudes' bits. */
    #define FASTSER_FILL_INTS(NAME, FROM) \\
    static inline uint64_t NAME(const void *values, ptrdiff_t n, const uint8_t *valid, ptrdiff_t at, int64_t *out) { \\
        const FROM *from = (const FROM *) values; \\
        uint64_t spread = 0; \\
        ptrdiff_t i; \\
        if (valid == NULL) \\
            for (i = 0; i < n; i++) { \\
                int64_t v = (int64_t) from[i]; \\
                out[i] = v; \\
                spread |= (uint64_t) (v ^ (v >> 63)); \\
            } \\
        else \\
            for (i = 0; i < n; i++) { \\
                int64_t v = (int64_t) from[i] & -(int64_t) FASTSER_BIT(valid, at + i); \\
                out[i] = v; \\
                spread |= (uint64_t) (v ^ (v >> 63)); \\
            } \\
        return spread; \\
    }
    FASTSER_FILL_INTS(fastser_fill_i8, int8_t)
    FASTSER_FILL_INTS(fastser_fill_i16, int16_t)
    FASTSER_FILL_INTS(fastser_fill_i32, int32_t)
    FASTSER_FILL_INTS(fastser_fill_i64, int64_t)
    FASTSER_FILL_INTS(fastser_fill_u8, uint8_t)
    FASTSER_FILL_INTS(fastser_fill_u16, uint16_t)
    FASTSER_FILL_INTS(fastser_fill_u32, uint32_t)

    static inline uint64_t fastser_fill(char format, const void *values, ptrdiff_t n, const uint8_t *valid, ptrdiff_t at, int64_t *out) {
        switch (format) {
            case 'c': return fastser_fill_i8(values, n, valid, at, out);
            case 'C': return fastser_fill_u8(values, n, valid, at, out);
            case 's': return fastser_fill_i16(values, n, valid, at, out);
            case 'S': return fastser_fill_u16(values, n, valid, at, out);
            case 'i': return fastser_fill_i32(values, n, valid, at, out);
            case 'I': return fastser_fill_u32(values, n, valid, at, out);
            default: return fastser_fill_i64(values, n, valid, at, out);
        }
    }

    static inline double fastser_half(uint16_t bits) {
        uint64_t sign = (uint64_t) (bits >> 15) << 63, exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF, word;
        double value;
        if (exponent == 0) {
            value = (double) fraction * 5.9604644775390625e-08;    /* 2^-24 */
            memcpy(&word, &value, 8);
        } else {
            word = (exponent == 0x1F ? (uint64_t) 0x7FF : exponent + 1008) << 52 | fraction << 42;
        }
        word |= sign;
        memcpy(&value, &word, 8);
        return value;
    }

    static inline void fastser_fill_doubles(char format, const void *values, ptrdiff_t n, const uint8_t *valid, ptrdiff_t at, double *out) {
        ptrdiff_t i;
        if (format == 'e')
            for (i = 0; i < n; i++) out[i] = fastser_half(((const uint16_t *) values)[i]);
        else if (format == 'f')
            for (i = 0; i < n; i++) out[i] = ((const float *) values)[i];
        else if (n)
            memcpy(out, values, (size_t) n * 8);
        if (valid != NULL)
            for (i = 0; i < n; i++)
                if (!FASTSER_BIT(valid, at + i)) out[i] = 0;
    }

    enum { FASTSER_TIMES_OK = 0, FASTSER_TIMES_RANGE = 1, FASTSER_TIMES_FINE = 2, FASTSER_TIMES_MONTHS = 3 };

    /* Times of 4 or 8 bytes in another unit, from low to high; nothing may be lost unless it `floors`. */
    static inline int fastser_fill_times(const void *values, int width, ptrdiff_t n, const uint8_t *valid, ptrdiff_t at,
                                         int64_t factor, int64_t divisor, int floors, int64_t low, int64_t high, int64_t *out) {
        ptrdiff_t i;
        for (i = 0; i < n; i++) {
            int64_t v = width == 4 ? ((const int32_t *) values)[i] : ((const int64_t *) values)[i], rest;
            if (valid != NULL && !FASTSER_BIT(valid, at + i)) v = 0;
            if (divisor > 1) {
                rest = v % divisor;
                if (rest && !floors) return FASTSER_TIMES_FINE;
                v = v / divisor - (rest < 0);
            } else {
                if (v > INT64_MAX / factor || v < INT64_MIN / factor) return FASTSER_TIMES_RANGE;
                v *= factor;
            }
            if (v < low || v > high) return FASTSER_TIMES_RANGE;
            out[i] = v;
        }
        return FASTSER_TIMES_OK;
    }

    /* Intervals as microseconds: of days and milliseconds (8 bytes), or of months, days and nanoseconds (16). */
    static inline int fastser_fill_intervals(const char *values, int width, ptrdiff_t n, const uint8_t *valid, ptrdiff_t at, int64_t *out) {
        const int64_t day = 86400000000LL;
        ptrdiff_t i;
        for (i = 0; i < n; i++, values += width) {
            int32_t months = 0, days, milliseconds;
            int64_t rest;
            out[i] = 0;
            if (valid != NULL && !FASTSER_BIT(valid, at + i)) continue;
            if (width == 8) {
                memcpy(&days, values, 4);
                memcpy(&milliseconds, values + 4, 4);
                rest = (int64_t) milliseconds * 1000;
            } else {
                memcpy(&months, values, 4);
                memcpy(&days, values + 4, 4);
                memcpy(&rest, values + 8, 8);
                if (months) return FASTSER_TIMES_MONTHS;
                if (rest % 1000) return FASTSER_TIMES_FINE;
                rest /= 1000;
            }
            /* What 64 bits hold, with room for the rest. */
            if (days > 100000000 || days < -100000000) return FASTSER_TIMES_RANGE;
            out[i] = days * day + rest;
        }
        return FASTSER_TIMES_OK;
    }

    /* Bits to where there are zeros. */
    static inline void fastser_copy_bits(uint8_t *to, ptrdiff_t at, const uint8_t *from, ptrdiff_t start, ptrdiff_t n) {
        while (n > 0) {
            unsigned int room = 8 - (unsigned int) (at & 7), skip = (unsigned int) (start & 7), byte;
            if (room > n) room = (unsigned int) n;
            byte = from[start >> 3] >> skip;
            if (skip + room > 8) byte |= (unsigned int) from[(start >> 3) + 1] << (8 - skip);
            to[at >> 3] |= (uint8_t) ((byte & ((1u << room) - 1)) << (at & 7));
            at += room;
            start += room;
            n -= room;
        }
    }

    /* Where items of a slice end, counted from `base`, behind what is there already. */
    #define FASTSER_ENDS(NAME, OFFSET, TO) \\
    static inline void NAME(const OFFSET *offsets, ptrdiff_t n, int64_t base, TO *out) { \\
        ptrdiff_t i; \\
        for (i = 0; i < n; i++) out[i] = (TO) (base + (offsets[i + 1] - offsets[0])); \\
    }
    FASTSER_ENDS(fastser_ends_32_32, int32_t, int32_t)
    FASTSER_ENDS(fastser_ends_32_64, int32_t, int64_t)
    FASTSER_ENDS(fastser_ends_64_32, int64_t, int32_t)
    FASTSER_ENDS(fastser_ends_64_64, int64_t, int64_t)

    /* A number of 4 to 32 bytes with so many digits after the point, as Decimal() reads it; its length, below 100 + scale. */
    static inline int fastser_decimal_text(const char *value, int width, int scale, char *out) {
        uint32_t limbs[8];
        char digits[96];
        char *start = out;
        int count = width / 4, k, n = 0, negative;
        memcpy(limbs, value, (size_t) width);
        negative = limbs[count - 1] >> 31;
        if (negative) {
            uint64_t carry = 1;
            for (k = 0; k < count; k++) {
                carry += (uint32_t) ~limbs[k];
                limbs[k] = (uint32_t) carry;
                carry >>= 32;
            }
            *out++ = '-';
        }
        while (count) {
            uint64_t rest = 0;
            for (k = count - 1; k >= 0; k--) {
                rest = rest << 32 | limbs[k];
                limbs[k] = (uint32_t) (rest / 1000000000);
                rest %= 1000000000;
            }
            for (k = 0; k < 9; k++, rest /= 10) digits[n++] = (char) ('0' + rest % 10);
            while (count && limbs[count - 1] == 0) count--;
        }
        while (n > 1 && digits[n - 1] == '0') n--;
        if (scale <= 0) {
            while (n) *out++ = digits[--n];
            if (scale < 0) out += sprintf(out, "E+%d", -scale);
        } else {
            for (k = n > scale ? n : scale + 1; k > 0; k--) {
                if (k == scale) *out++ = '.';
                *out++ = k > n ? '0' : digits[k - 1];
            }
        }
        return (int) (out - start);
    }
    """
    uint64_t fastser_fill(char format, const void* values, Py_ssize_t n, const uint8_t* valid, Py_ssize_t at, int64_t* out) noexcept nogil
    void fastser_fill_doubles(
        char format, const void* values, Py_ssize_t n, const uint8_t* valid, Py_ssize_t at, double* out) noexcept nogil
    int FASTSER_TIMES_OK
    int FASTSER_TIMES_FINE
    int FASTSER_TIMES_MONTHS
    int fastser_fill_times(
        const void* values, int width, Py_ssize_t n, const uint8_t* valid, Py_ssize_t at, int64_t factor, int64_t divisor,
        bint floors, int64_t low, int64_t high, int64_t* out) noexcept nogil
    int fastser_fill_intervals(
        const char* values, int width, Py_ssize_t n, const uint8_t* valid, Py_ssize_t at, int64_t* out) noexcept nogil
    void fastser_copy_bits(uint8_t* to, Py_ssize_t at, const uint8_t* source, Py_ssize_t start, Py_ssize_t n) noexcept nogil
    void fastser_ends_32_32(const int32_t* offsets, Py_ssize_t n, int64_t base, int32_t* out) noexcept nogil
    void fastser_ends_32_64(const int32_t* offsets, Py_ssize_t n, int64_t base, int64_t* out) noexcept nogil
    void fastser_ends_64_32(const int64_t* offsets, Py_ssize_t n, int64_t base, int32_t* out) noexcept nogil
    void fastser_ends_64_64(const int64_t* offsets, Py_ssize_t n, int64_t base, int64_t* out) noexcept nogil
    int fastser_decimal_text(const char* value, int width, int scale, char* out) noexcept nogil
