"""Where in Arrow data an error is: a path on the C stack, which becomes a text only when it is needed."""

from libc.stdint cimport int64_t


cdef enum:
    PLACE_CHUNK
    PLACE_COLUMN                 # a child of the root that has a name
    PLACE_CHILD
    PLACE_DICTIONARY


cdef struct Place:
    const Place* up              # NULL at the top
    int kind
    int64_t index
    const char* name             # of a column


cdef inline Place place_child(const Place* up, int64_t index, const char* name) noexcept nogil:
    cdef Place place
    place.up = up
    place.kind = PLACE_CHILD
    if (up == NULL or up.kind == PLACE_CHUNK) and name != NULL and name[0] != 0:
        place.kind = PLACE_COLUMN
    place.index = index
    place.name = name
    return place


cdef inline Place place_dictionary(const Place* up) noexcept nogil:
    cdef Place place
    place.up = up
    place.kind = PLACE_DICTIONARY
    place.index = 0
    place.name = NULL
    return place


cdef inline Place place_chunk(int64_t index) noexcept nogil:
    cdef Place place
    place.up = NULL
    place.kind = PLACE_CHUNK
    place.index = index
    place.name = NULL
    return place


cdef inline str place_text(const Place* place):
    cdef list parts = []
    while place != NULL:
        if place.kind == PLACE_CHUNK:
            parts.append(f"chunk {place.index}")
        elif place.kind == PLACE_DICTIONARY:
            parts.append("dictionary")
        elif place.kind == PLACE_CHILD:
            parts.append(f"child {place.index}")
        else:
            parts.append(f"column {(<bytes> place.name).decode('utf-8', 'replace')!r}")
        place = place.up
    parts.reverse()
    return ", ".join(parts) or "the root"
