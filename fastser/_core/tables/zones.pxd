"""Times in tables: zones, and what must be counted anew."""

from libc.stdint cimport int64_t

from fastser._core.c.buffer cimport Buffer
from fastser._core.tables.nodes cimport Nodes, Place

# What Arrow calls the one zone of these datetimes, "" where they have none.
cdef str zone_name(const Buffer* pieces, Place* place)

# Have the values of these datetimes as Arrow has them: in UTC where they have a zone.
cdef int to_utc(Nodes self, const Buffer* pieces) except -1

# Every time of day lies within a day.
cdef int check_clock(Nodes self, const Buffer* pieces) except -1

# Have these timedeltas as microseconds.
cdef int long_durations(Nodes self, const Buffer* pieces, Place* place) except -1

# New reference: the zone of that name, or of an offset such as +01:00.
cdef object zone_of(str name)

# (what clocks in the zone are ahead of UTC, in microseconds; their fold) at an instant.
cdef tuple clock_of(object zone, int64_t instant)
