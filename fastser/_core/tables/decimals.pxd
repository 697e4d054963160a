"""Decimal numbers in text to integers of 128 bits."""


cdef extern from *:
    """
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>
    #define FASTSER_DECIMAL_DIGITS 38

    typedef struct {
        int negative;
        const char *digits;      /* and at most one point among them */
        ptrdiff_t size;
        int places;              /* digits after the point, less the exponent */
    } fastser_decimal;

    /* [-]digits[.digits][E[sign]digits]; 0 for anything else, such as NaN, and for exponents that no 38 digits have. */
    static inline int fastser_decimal_open(const char *at, ptrdiff_t size, fastser_decimal *out) {
        const char *end = at + size;
        int seen = 0, point = 0, exponent = 0, sign = 1;
        out->negative = at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        out->digits = at;
        out->places = 0;
        for (; at < end && ((*at >= '0' && *at <= '9') || (*at == '.' && !point)); at++) {
            point |= *at == '.';
            seen |= *at != '.';
            out->places += point && *at != '.';
            if (out->places > 1000000) return 0;
        }
        out->size = at - out->digits;
        if (!seen) return 0;
        if (at < end && (*at == 'E' || *at == 'e')) {
            at++;
            if (at < end && (*at == '-' || *at == '+')) sign = *at++ == '-' ? -1 : 1;
            if (at == end) return 0;
            for (; at < end && *at >= '0' && *at <= '9'; at++)
                if ((exponent = exponent * 10 + (*at - '0')) > 1000000) return 0;
            out->places -= sign * exponent;
        }
        return at == end;
    }

    /* How many digits come after the point, -1 for what is no number. */
    static inline int decimal_scale(const char *text, ptrdiff_t size) {
        fastser_decimal number;
        if (!fastser_decimal_open(text, size, &number)) return -1;
        return number.places > 0 ? number.places : 0;
    }

    static inline int fastser_decimal_push(uint32_t *limbs, uint32_t digit, int *digits) {
        uint64_t carry = digit;
        int k;
        if (*digits || digit)
            if (++*digits > FASTSER_DECIMAL_DIGITS) return 0;
        for (k = 0; k < 4; k++) {
            carry += (uint64_t) limbs[k] * 10;
            limbs[k] = (uint32_t) carry;
            carry >>= 32;
        }
        return 1;
    }

    /* Write the number with so many digits after the point as 16 bytes; 0 where 38 digits do not hold it. */
    static inline int decimal_parse(const char *text, ptrdiff_t size, int scale, char *out) {
        fastser_decimal number;
        uint32_t limbs[4] = {0, 0, 0, 0};
        uint64_t carry = 1;
        int digits = 0, k;
        ptrdiff_t i;
        if (!fastser_decimal_open(text, size, &number)) return 0;
        for (i = 0; i < number.size; i++)
            if (number.digits[i] != '.' && !fastser_decimal_push(limbs, (uint32_t) (number.digits[i] - '0'), &digits)) return 0;
        for (k = number.places; digits && k < scale; k++)
            if (!fastser_decimal_push(limbs, 0, &digits)) return 0;
        if (number.negative)
            for (k = 0; k < 4; k++) {
                carry += (uint32_t) ~limbs[k];
                limbs[k] = (uint32_t) carry;
                carry >>= 32;
            }
        memcpy(out, limbs, 16);
        return 1;
    }
    """
    const int DECIMAL_DIGITS "FASTSER_DECIMAL_DIGITS"
    int decimal_scale(const char* text, Py_ssize_t size) noexcept nogil
    bint decimal_parse(const char* text, Py_ssize_t size, int scale, char* out) noexcept nogil
