"""Datetimes of a zone lie in a frame as the clocks there show them; Arrow has them in UTC."""

from cpython.object cimport PyObject
from libc.stdint cimport INT64_MAX, int32_t, int64_t

from fastser._core.c.buffer cimport Buffer
from fastser._core.decode.errors cimport bad
from fastser._core.tables.nodes cimport arena, Node, NODE_DURATION, NODE_LONG_DURATION, Nodes, Place, refuse
from fastser._core.tables.pieces cimport Piece, piece_count, source_of
from fastser._core.values.times cimport FASTSER_DAY_MICROSECONDS

import datetime as _datetime
from zoneinfo import ZoneInfo as _ZoneInfo

from fastser import errors as _errors

cdef object _utc = _datetime.timezone.utc
cdef object _timezone = _datetime.timezone
cdef object _timedelta = _datetime.timedelta
cdef object _epoch = _datetime.datetime(1970, 1, 1)
cdef object _microsecond = _datetime.timedelta(microseconds=1)

cdef enum:
    HOUR = 3600000000


cdef str name_of(object zone):
    """None for a zone that Arrow has no name for."""
    if zone is None:
        return ""
    if zone is _utc:
        return "UTC"
    if type(zone) is not _timezone:
        return zone.key
    minutes, rest = divmod(zone.utcoffset(None), _timedelta(minutes=1))
    if rest:
        return None
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


cdef str zone_name(const Buffer* pieces, Place* place):
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t k
    cdef str name = None, other
    for k in range(piece_count(pieces)):
        if k and piece[k].node.zone == piece[k - 1].node.zone:
            continue
        zone = None if piece[k].node.zone == NULL else <object> piece[k].node.zone
        other = name_of(zone)
        if other is None:
            refuse(place, f"datetimes of {zone}, which is not a whole number of minutes from UTC")
        if name is not None and other != name:
            refuse(place, _errors.mixed_zones(name, other))
        name = other
    return name


cdef object offset_at(object zone, int64_t value, int fold):
    """Microseconds from UTC when clocks show ``value``."""
    when = (_epoch + _timedelta(microseconds=value)).replace(tzinfo=zone, fold=fold)
    return when.utcoffset() // _microsecond


cdef int to_utc(Nodes self, const Buffer* pieces) except -1:
    cdef Piece* piece = <Piece*> pieces.data
    cdef Py_ssize_t k
    for k in range(piece_count(pieces)):
        if piece[k].node.zone != NULL and piece[k].node.zone != <PyObject*> _utc and not piece[k].node.made:
            convert(self, piece[k].node)
    return 0


cdef int convert(Nodes self, Node* node) except -1:
    """The offset is asked for once an hour, and for each value of the hours in which it changes."""
    cdef object zone = <object> node.zone
    cdef const int64_t* values = <const int64_t*> node.data
    cdef int64_t* out = <int64_t*> arena(self, node.n * sizeof(int64_t))
    cdef int64_t hour = -1, next_hour, offset = 0
    cdef dict offsets = {}
    cdef Py_ssize_t i
    cdef bint known = False
    for i in range(node.n):
        next_hour = values[i] // HOUR - (values[i] % HOUR < 0)
        try:
            if not known or next_hour != hour:
                hour = next_hour
                found = offsets.get(hour)
                if found is None:
                    first = offset_at(zone, hour * HOUR, 0)
                    found = offsets[hour] = (
                        first, offset_at(zone, hour * HOUR, 1) == first
                        and offset_at(zone, hour * HOUR + (HOUR - 1), 0) == first
                        and offset_at(zone, hour * HOUR + (HOUR - 1), 1) == first)
                offset, known = found
            if not known:
                offset = offset_at(zone, values[i], <int> node.constant)
        except (OverflowError, ValueError):
            return bad(self.d, "a time of the years 1 to 9999", values[i])
        out[i] = values[i] - offset
    node.data = out
    node.made = 1
    return 0


cdef int check_clock(Nodes self, const Buffer* pieces) except -1:
    cdef const Piece* piece = <const Piece*> pieces.data
    cdef Py_ssize_t i, k
    cdef int64_t value
    for k in range(piece_count(pieces)):
        for i in range(piece[k].count):
            value = (<const int64_t*> piece[k].node.data)[source_of(&piece[k], i)]
            if not 0 <= value < FASTSER_DAY_MICROSECONDS:
                return bad(self.d, "microseconds of one day", value)
    return 0


cdef int long_durations(Nodes self, const Buffer* pieces, Place* place) except -1:
    cdef Piece* piece = <Piece*> pieces.data
    cdef Py_ssize_t i, k
    cdef const int32_t* parts
    cdef Node* node
    cdef int64_t* out
    cdef int64_t limit = INT64_MAX // FASTSER_DAY_MICROSECONDS - 1
    for k in range(piece_count(pieces)):
        node = piece[k].node
        if node.kind != NODE_LONG_DURATION:
            continue
        parts = <const int32_t*> node.data
        out = <int64_t*> arena(self, node.n * sizeof(int64_t))
        for i in range(node.n):
            if not -limit < parts[i] < limit or not 0 <= parts[node.n + i] < 86400 or not 0 <= parts[2 * node.n + i] < 1000000:
                refuse(place, _errors.long_duration(parts[i]))
            out[i] = (parts[i] * <int64_t> 86400 + parts[node.n + i]) * <int64_t> 1000000 + parts[2 * node.n + i]
        node.data = out
        node.kind = NODE_DURATION
        node.made = 1
    return 0


# --- from Arrow ---------------------------------------------------------------------------------------------------------


cdef object zone_of(str name):
    if name == "UTC":
        return _utc
    if name[:1] in ("+", "-"):
        hours, minutes = name[1:].split(":")
        offset = _timedelta(hours=int(hours), minutes=int(minutes))
        return _timezone(-offset if name[0] == "-" else offset)
    return _ZoneInfo(name)


cdef tuple clock_of(object zone, int64_t instant):
    when = (_epoch + _timedelta(microseconds=instant)).replace(tzinfo=_utc).astimezone(zone)
    return when.utcoffset() // _microsecond, when.fold
