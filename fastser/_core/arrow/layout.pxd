"""Arrow's format strings: which buffers and children an array of a type has."""

from libc.stdint cimport int8_t, int64_t
from libc.string cimport memset, strcmp, strncmp


cdef enum:
    # Real data is nested a few levels deep; pyarrow imports just as many levels as this.
    ARROW_MAX_DEPTH = 64

    LAYOUT_NULL = 0
    LAYOUT_BITS                  # validity, bits
    LAYOUT_FIXED                 # validity, items of `size` bytes
    LAYOUT_BINARY                # validity, offsets, bytes
    LAYOUT_VIEW                  # validity, views, any number of buffers, their sizes
    LAYOUT_LIST                  # validity, offsets
    LAYOUT_LIST_VIEW             # validity, offsets, sizes
    LAYOUT_FIXED_LIST            # validity
    LAYOUT_STRUCT                # validity
    LAYOUT_SPARSE                # type ids
    LAYOUT_DENSE                 # type ids, offsets
    LAYOUT_RUN_END

    ANY_NUMBER = -1


cdef struct Layout:
    int kind
    int n_buffers                # of LAYOUT_VIEW: at least
    int64_t n_children           # or ANY_NUMBER
    int64_t size                 # bytes of a fixed item; items of a fixed list
    int width                    # bytes of an offset
    bint is_text                 # UTF-8
    bint is_integer              # may index a dictionary
    bint is_run_end              # may be the ends of runs
    bint is_map


cdef inline const char* parse_number(const char* text, int64_t* out) noexcept nogil:
    """Read decimal digits, at most 10 of them: where they end, or NULL."""
    cdef int digits = 0
    out[0] = 0
    while c'0' <= text[0] <= c'9':
        digits += 1
        if digits > 10:
            return NULL
        out[0] = out[0] * 10 + (text[0] - c'0')
        text += 1
    return text if digits else NULL


cdef inline int _parse_decimal(const char* text, Layout* out) noexcept nogil:
    cdef int64_t precision, scale, bits = 128
    text = parse_number(text, &precision)
    if text == NULL or text[0] != c',':
        return -1
    text += 1
    text = parse_number(text + 1 if text[0] == c'-' else text, &scale)
    if text == NULL or scale > 0x7fffffff:
        return -1
    if text[0] == c',':
        text = parse_number(text + 1, &bits)
        if text == NULL:
            return -1
    if text[0] != 0 or (bits != 32 and bits != 64 and bits != 128 and bits != 256):
        return -1
    # As many digits as any number of so many bits has: 9, 18, 38, 76.
    if precision < 1 or precision > (9 if bits == 32 else 18 if bits == 64 else 38 if bits == 128 else 76):
        return -1
    out.size = bits // 8
    return 0


cdef inline int _parse_time(const char* format, Layout* out) noexcept nogil:
    """The formats that begin with t."""
    if strncmp(format, "ts", 2) == 0:
        if format[2] == 0 or format[3] != c':' or format[2] not in b"smun":
            return -1
        out.size = 8
    elif not strcmp(format, "tdD") or not strcmp(format, "tts") or not strcmp(format, "ttm") or not strcmp(format, "tiM"):
        out.size = 4
    elif not strcmp(format, "tin"):
        out.size = 16
    elif (not strcmp(format, "tdm") or not strcmp(format, "ttu") or not strcmp(format, "ttn") or not strcmp(format, "tiD")
          or not strcmp(format, "tDs") or not strcmp(format, "tDm") or not strcmp(format, "tDu") or not strcmp(format, "tDn")):
        out.size = 8
    else:
        return -1
    return 0


cdef inline int union_children(const char* format, int8_t* child_of) noexcept nogil:
    """Which child each of the 128 type ids stands for, or -1; the number of children, or -1 for a malformed format."""
    cdef int64_t type_id
    cdef int count = 0
    memset(child_of, -1, 128)
    format += 4
    if format[0] == 0:
        return 0
    while True:
        format = parse_number(format, &type_id)
        if format == NULL or type_id > 127 or child_of[type_id] != -1:
            return -1
        child_of[type_id] = <int8_t> count
        count += 1
        if format[0] == 0:
            return count
        if format[0] != c',':
            return -1
        format += 1


cdef inline int _parse_nested(const char* format, Layout* out) noexcept nogil:
    """The formats that begin with +."""
    cdef int8_t child_of[128]
    cdef const char* end
    cdef char kind = format[1]
    if kind == 0:
        return -1
    out.n_buffers = 1
    out.n_children = 1
    if format[2] == 0:
        if kind == c's':
            out.kind = LAYOUT_STRUCT
            out.n_children = ANY_NUMBER
        elif kind == c'r':
            out.kind = LAYOUT_RUN_END
            out.n_buffers = 0
            out.n_children = 2
        elif kind == c'l' or kind == c'L' or kind == c'm':
            out.kind = LAYOUT_LIST
            out.n_buffers = 2
            out.width = 8 if kind == c'L' else 4
            out.is_map = kind == c'm'
        else:
            return -1
    elif kind == c'v' and (format[2] == c'l' or format[2] == c'L') and format[3] == 0:
        out.kind = LAYOUT_LIST_VIEW
        out.n_buffers = 3
        out.width = 8 if format[2] == c'L' else 4
    elif kind == c'w' and format[2] == c':':
        out.kind = LAYOUT_FIXED_LIST
        end = parse_number(format + 3, &out.size)
        if end == NULL or end[0] != 0 or out.size > 0x7fffffff:
            return -1
    elif kind == c'u' and (format[2] == c'd' or format[2] == c's') and format[3] == c':':
        out.kind = LAYOUT_DENSE if format[2] == c'd' else LAYOUT_SPARSE
        out.n_buffers = 2 if format[2] == c'd' else 1
        out.n_children = union_children(format, child_of)
        if out.n_children < 0:
            return -1
    else:
        return -1
    return 0


cdef inline int layout_parse(const char* format, Layout* out) noexcept nogil:
    """Fill ``out``; -1 for a format that is none."""
    cdef char kind = format[0]
    cdef const char* end
    memset(out, 0, sizeof(Layout))
    if kind == c'+':
        return _parse_nested(format, out)
    out.kind = LAYOUT_FIXED
    out.n_buffers = 2
    if kind == c't':
        return _parse_time(format, out)
    if kind == c'd' and format[1] == c':':
        return _parse_decimal(format + 2, out)
    if kind == c'w' and format[1] == c':':
        end = parse_number(format + 2, &out.size)
        return -1 if end == NULL or end[0] != 0 or out.size > 0x7fffffff else 0
    if kind == c'v' and (format[1] == c'u' or format[1] == c'z') and format[2] == 0:
        out.kind = LAYOUT_VIEW
        out.n_buffers = 3
        out.is_text = format[1] == c'u'
        return 0
    if kind == 0 or format[1] != 0:
        return -1
    if kind == c'c' or kind == c'C':
        out.size = 1
        out.is_integer = True
    elif kind == c's' or kind == c'S':
        out.size = 2
        out.is_integer = True
        out.is_run_end = kind == c's'
    elif kind == c'i' or kind == c'I':
        out.size = 4
        out.is_integer = True
        out.is_run_end = kind == c'i'
    elif kind == c'l' or kind == c'L':
        out.size = 8
        out.is_integer = True
        out.is_run_end = kind == c'l'
    elif kind == c'e':
        out.size = 2
    elif kind == c'f':
        out.size = 4
    elif kind == c'g':
        out.size = 8
    elif kind == c'u' or kind == c'z' or kind == c'U' or kind == c'Z':
        out.kind = LAYOUT_BINARY
        out.n_buffers = 3
        out.width = 8 if kind == c'U' or kind == c'Z' else 4
        out.is_text = kind == c'u' or kind == c'U'
    elif kind == c'b':
        out.kind = LAYOUT_BITS
    elif kind == c'n':
        out.kind = LAYOUT_NULL
        out.n_buffers = 0
    else:
        return -1
    return 0


cdef inline bint has_validity(const Layout* layout) noexcept nogil:
    return layout.kind != LAYOUT_NULL and layout.kind < LAYOUT_SPARSE


cdef inline int64_t item_size(const Layout* layout, int64_t index) noexcept nogil:
    """The bytes of an item of buffer ``index``; 0 for a bitmap, and for the bytes of texts and binaries."""
    if index == 0:
        return 1 if layout.kind >= LAYOUT_SPARSE else 0
    if layout.kind == LAYOUT_FIXED:
        return layout.size
    if layout.kind == LAYOUT_VIEW:
        return 16 if index == 1 else 0
    if layout.kind == LAYOUT_DENSE:
        return 4
    if layout.kind == LAYOUT_LIST_VIEW or index == 1:
        return layout.width
    return 0
