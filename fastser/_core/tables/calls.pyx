"""Calls of classes whose objects are values: members of enums, subclasses of Python's own types, the times of pandas, masked arrays.

What such a call would make is told by its arguments.  The class must be imported already, and is only looked at: whether it
reduces its objects as the type that it derives from does, so that the arguments mean what they mean there.
"""

from cpython.object cimport PyObject
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memset

from fastser._core.c.buffer cimport Buffer, buffer_append, buffer_release
from fastser._core.c.refs cimport slots_free, slots_new
from fastser._core.decode.errors cimport bad, unbacked
from fastser._core.decode.names cimport read_callable
from fastser._core.decode.read cimport descend, read_varint
from fastser._core.decode.state cimport Decoder
from fastser._core.format.tags cimport *
from fastser._core.tables.kernels cimport fastser_to_64
from fastser._core.tables.nodes cimport (
    arena, AT_ITEM, bit_at, bytes_at, check_zone, concatenated, imported, leaf, new_children, new_node, Node, NODE_BINARY,
    NODE_BYTES_OF_BOOL, NODE_DATE, NODE_DICT, NODE_DURATION, NODE_FLOAT, NODE_GROUPS, NODE_INT, NODE_LIST, NODE_LONG_BINARY,
    NODE_LONG_DECIMAL, NODE_LONG_TEXT, NODE_NULL, NODE_TAKE, NODE_TEXT, NODE_TIME, NODE_TIMESTAMP, Nodes,
    numbered, open_lengths, parent, Place, read_node, refuse, Span, spend,
)
from fastser._core.tables.pieces cimport flatten, Piece, piece_count, source_of, starts_of, target_of, without_nulls

import collections as _collections
import datetime as _datetime
import decimal as _decimal
import enum as _enum

from fastser import errors as _errors, inspection as _inspection

cdef enum:
    # What calls make.
    MADE_AS_IS = 0            # the value is the one argument
    MADE_MEMBER = 1           # of an enum
    MADE_DATETIME = 2
    MADE_DATE = 3
    MADE_TIME = 4
    MADE_TIMEDELTA = 5
    MADE_DECIMAL = 6
    MADE_LIST = 7
    MADE_DICT = 8
    MADE_STAMP = 9            # pandas.Timestamp
    MADE_SPAN = 10            # pandas.Timedelta
    MADE_NAT = 11             # pandas.NaT

    DAYS_BEFORE_EPOCH = 719163    # date(1970, 1, 1).toordinal()

# What pandas' objects are made by, and with how many arguments.
cdef dict _PANDAS = {
    ("pandas._libs.tslibs.timestamps", "_unpickle_timestamp"): (MADE_STAMP, 4),
    ("pandas._libs.tslibs.timedeltas", "_timedelta_unpickle"): (MADE_SPAN, 2),
    ("pandas._libs.tslibs.nattype", "_nat_unpickle"): (MADE_NAT, 1),
}
# (type; what calls of its subclasses make; the parts of such a call; how few arguments they take, and how many), the first that fits.
cdef tuple _TYPES = (
    (_datetime.datetime, MADE_DATETIME, 0, 1, 2), (_datetime.date, MADE_DATE, 0, 1, 1), (_datetime.time, MADE_TIME, 0, 1, 2),
    (_datetime.timedelta, MADE_TIMEDELTA, 0, 3, 3), (_decimal.Decimal, MADE_DECIMAL, 0, 1, 1),
    (str, MADE_AS_IS, PART_NEW, 1, 1), (int, MADE_AS_IS, PART_NEW, 1, 1), (float, MADE_AS_IS, PART_NEW, 1, 1),
    (bytes, MADE_AS_IS, PART_NEW, 1, 1), (tuple, MADE_AS_IS, PART_NEW, 1, 1),
    (_collections.Counter, MADE_AS_IS, 0, 1, 1), (_collections.defaultdict, MADE_DICT, 0, 0, 1), (_collections.OrderedDict, MADE_DICT, 0, 0, 0),
    (dict, MADE_DICT, PART_NEW, 0, 0), (list, MADE_LIST, PART_NEW, 0, 0),
)
cdef tuple _REDUCERS = ("__reduce_ex__", "__reduce__", "__getnewargs_ex__", "__getnewargs__")
cdef tuple _ENUMS = (_enum.Enum, _enum.Flag)
cdef int[13] _UNITS = [0, 0, 0, 0, 0, 0, 0, 1000000, 1000, 1, 0, 0, 0]    # microseconds in NumPy's 7, 8 and 9; 10 are nanoseconds


# --- classes ------------------------------------------------------------------------------------------------------------


cdef object attribute(object cls, str name):
    """As the class or a base holds it: nothing runs."""
    for base in type.__getattribute__(cls, "__mro__"):
        held = type.__getattribute__(base, "__dict__")
        if name in held:
            return held[name]
    return None


cdef bint derives(object cls, object base) except -1:
    return base in type.__getattribute__(cls, "__mro__")


cdef object what_made(object cls, uint64_t parts, Py_ssize_t given, Place* place):
    """(what calls of a class or function make, the class), where the arguments tell the values."""
    cdef str what
    reference = cls.reference if isinstance(cls, _inspection.StandIn) else None
    known = _PANDAS.get(reference)
    if known is not None and known[1] == given and parts == 0:
        return known[0], None
    what = f"an object that its own reducer makes, by {cls}"
    if reference is None:
        refuse(place, _errors.BY_VALUE_OBJECT)
    found = imported(cls)
    if found is None:
        refuse(place, f"an object of {cls}, which is not there: import it first")
    if not isinstance(found, type):
        refuse(place, what)
    if derives(found, _enum.Enum):
        if parts == 0 and given == 1 and any(attribute(found, "__reduce_ex__") is attribute(base, "__reduce_ex__") for base in _ENUMS):
            return MADE_MEMBER, found
        refuse(place, f"a member of {cls}, an enum with a reducer of its own")
    for base, made, wanted, least, most in _TYPES:
        if not derives(found, base):
            continue
        if (parts & ~<uint64_t> (PART_STATE | PART_LIST_ITEMS | PART_DICT_ITEMS) == <uint64_t> wanted and least <= given <= most
                and all(attribute(found, name) is attribute(base, name) for name in _REDUCERS)):
            return made, found
        break
    refuse(place, what)


# --- arguments ----------------------------------------------------------------------------------------------------------


cdef list decoded(Nodes self, Py_ssize_t n):
    """n values as Python objects, with stand-ins for what only code could make."""
    cdef PyObject** slots = slots_new(n)
    try:
        self.d.walk_items(self.d, slots, n)
        return [<object> slots[i] for i in range(n)]
    finally:
        slots_free(slots, n)


cdef class Values:
    """The values of a node in the order of its items."""
    cdef Buffer pieces

    def __dealloc__(self):
        buffer_release(&self.pieces)


cdef Values values_of(Nodes self, Node* node, Place* place):
    cdef Values values = Values()
    cdef Piece piece
    cdef Py_ssize_t k
    memset(&piece, 0, sizeof(Piece))
    piece.node = node
    piece.count = node.n
    flatten(self, &piece, &values.pieces, place)
    for k in range(piece_count(&values.pieces)):
        without_nulls(self, <Piece*> values.pieces.data + k, place)
    return values


cdef Values values_in(Nodes self, Node* node, Place* place, str wanted):
    """None of them may be missing."""
    cdef Values values = values_of(self, node, place)
    cdef Py_ssize_t k, total = 0
    for k in range(piece_count(&values.pieces)):
        total += (<Piece*> values.pieces.data + k).count
    if total != node.n:
        bad(self.d, wanted, "other arguments of a call")
    return values


cdef int64_t* ints_in(Nodes self, Node* node, Place* place) except NULL:
    cdef Values values = values_in(self, node, place, "ints")
    cdef const Piece* piece = <const Piece*> values.pieces.data
    cdef int64_t* out
    cdef Py_ssize_t k
    spend(self, node.n, place)
    out = <int64_t*> arena(self, node.n * sizeof(int64_t))
    for k in range(piece_count(&values.pieces)):
        if piece[k].node.kind != NODE_INT:
            bad(self.d, "ints", "other arguments of a call")
        fastser_to_64(piece[k].node.width)(
            <const char*> piece[k].node.data, piece[k].count, piece[k].src, piece[k].src_from, piece[k].dst, piece[k].dst_from,
            <char*> out)
    return out


cdef Span* spans_in(Nodes self, Node* node, bint text, Place* place) except NULL:
    """Texts or bytes."""
    cdef Values values = values_in(self, node, place, "text" if text else "bytes")
    cdef const Piece* piece = <const Piece*> values.pieces.data
    cdef Span* out
    cdef Py_ssize_t i, k
    cdef int64_t at
    cdef int kind
    spend(self, 2 * node.n, place)
    out = <Span*> arena(self, node.n * sizeof(Span))
    for k in range(piece_count(&values.pieces)):
        kind = piece[k].node.kind
        if (kind != NODE_TEXT and kind != NODE_LONG_TEXT) if text else (kind != NODE_BINARY and kind != NODE_LONG_BINARY):
            bad(self.d, "text" if text else "bytes", "other arguments of a call")
        for i in range(piece[k].count):
            at = target_of(&piece[k], i)
            out[at].data = bytes_at(piece[k].node, source_of(&piece[k], i), &out[at].size)
    return out


cdef Node* made_leaf(Nodes self, int kind, Py_ssize_t n, const void* data, int width) except NULL:
    cdef Node* node = leaf(self, kind, TAG_CALL, n, data, width)
    node.made = 1
    return node


# --- times --------------------------------------------------------------------------------------------------------------


cdef int64_t days_at(Nodes self, const char* text) except? -1:
    """Of year, month and day, as dates and datetimes are pickled."""
    cdef const uint8_t* at = <const uint8_t*> text
    try:
        return <int64_t> _datetime.date(at[0] << 8 | at[1], at[2] & 0x7F, at[3]).toordinal() - DAYS_BEFORE_EPOCH
    except ValueError:
        bad(self.d, "a date", text[:4].hex())


cdef int64_t clock_at(Nodes self, const char* text) except -1:
    """Of hour, minute, second and microseconds."""
    cdef const uint8_t* at = <const uint8_t*> text
    cdef int64_t rest = <int64_t> at[3] << 16 | <int64_t> at[4] << 8 | at[5]
    if (at[0] & 0x7F) > 23 or at[1] > 59 or at[2] > 59 or rest > 999999:
        bad(self.d, "a time of day", text[:6].hex())
    return ((<int64_t> (at[0] & 0x7F) * 60 + at[1]) * 60 + at[2]) * 1000000 + rest


cdef Node* by_zone(Nodes self, Py_ssize_t n, const int64_t* values, list zones, const uint8_t* folds, bint in_utc, Place* place) except NULL:
    """Datetimes, a node for as many as have one zone and one fold."""
    cdef Buffer parts
    cdef Node* node = NULL
    cdef Py_ssize_t i
    cdef PyObject* zone
    cdef uint64_t fold
    parts.data = NULL
    parts.size = parts.capacity = 0
    try:
        for i in range(n):
            zone = NULL if zones is None or zones[i] is None else <PyObject*> zones[i]
            fold = 0 if folds == NULL else folds[i]
            if node != NULL and node.zone == zone and node.constant == fold:
                node.n += 1
                continue
            if zone != NULL:
                check_zone(place, <object> zone)
                self.kept.append(<object> zone)
            node = leaf(self, NODE_TIMESTAMP, TAG_CALL, 1, values + i, 8)
            # What is not in UTC is converted, into new memory.
            node.made = in_utc or zone == NULL or <object> zone is _datetime.timezone.utc
            node.zone = zone
            node.constant = fold
            if buffer_append(&parts, &node, sizeof(Node*)) < 0:
                raise MemoryError()
        return concatenated(self, TAG_CALL, <Node**> parts.data, parts.size // sizeof(Node*), n)
    finally:
        buffer_release(&parts)


cdef bint to_microseconds(Nodes self, int64_t* values, const int64_t* units, Py_ssize_t n, Place* place) except -1:
    """Have counts of pandas' units as microseconds, or, where some are no whole ones, as nanoseconds; whether they are these."""
    cdef Py_ssize_t i
    cdef bint fine = False
    cdef int64_t factor
    for i in range(n):
        if not 7 <= units[i] <= 10:
            refuse(place, f"a time of pandas in another unit than s, ms, us and ns ({units[i]})")
        fine = fine or (units[i] == 10 and values[i] % 1000 != 0)
    for i in range(n):
        if units[i] == 10:
            if not fine:
                values[i] //= 1000
            continue
        factor = <int64_t> _UNITS[units[i]] * (1000 if fine else 1)
        if not -(INT64_MAX // factor) <= values[i] <= INT64_MAX // factor:
            refuse(place, f"a time of pandas that 64 bits of {'nano' if fine else 'micro'}seconds do not hold")
        values[i] *= factor
    return fine


cdef Node* read_stamps(Nodes self, Py_ssize_t n, Place* place) except NULL:
    """Counts, None, zones, units."""
    cdef int64_t* values = ints_in(self, read_node(self, n, place), place)
    cdef Node* node
    cdef Py_ssize_t i
    cdef bint fine
    cdef list zones
    if any(freq is not None for freq in decoded(self, n)):
        refuse(place, "a Timestamp with a frequency")
    zones = decoded(self, n)
    fine = to_microseconds(self, values, ints_in(self, read_node(self, n, place), place), n, place)
    node = by_zone(self, n, values, zones, NULL, True, place)
    if fine and node.kind == NODE_TIMESTAMP:
        node.format = "n"
    elif fine:
        for i in range(node.count):
            node.children[i].format = "n"
    return node


cdef Node* read_spans(Nodes self, Py_ssize_t n, Place* place) except NULL:
    """Counts, units."""
    cdef int64_t* values = ints_in(self, read_node(self, n, place), place)
    cdef Node* node = made_leaf(self, NODE_DURATION, n, values, 8)
    if to_microseconds(self, values, ints_in(self, read_node(self, n, place), place), n, place):
        node.format = "n"
    return node


cdef Node* read_datetimes(Nodes self, Py_ssize_t n, bint zoned, bint dates, Place* place) except NULL:
    """Ten bytes each, or four of dates; their zones."""
    cdef Span* spans = spans_in(self, read_node(self, n, place), False, place)
    cdef int64_t* values = <int64_t*> arena(self, n * sizeof(int64_t))
    cdef uint8_t* folds = <uint8_t*> arena(self, n)
    cdef Py_ssize_t i
    for i in range(n):
        if spans[i].size != (4 if dates else 10):
            bad(self.d, "the bytes of a date or datetime", spans[i].size)
        values[i] = days_at(self, spans[i].data)
        if dates:
            (<int32_t*> values)[i] = <int32_t> values[i]
        else:
            folds[i] = <uint8_t> spans[i].data[2] >> 7
            values[i] = values[i] * 86400000000 + clock_at(self, spans[i].data + 4)
    if dates:
        return made_leaf(self, NODE_DATE, n, values, 4)
    return by_zone(self, n, values, decoded(self, n) if zoned else None, folds, False, place)


cdef Node* read_times(Nodes self, Py_ssize_t n, bint zoned, Place* place) except NULL:
    cdef Span* spans = spans_in(self, read_node(self, n, place), False, place)
    cdef int64_t* values = <int64_t*> arena(self, n * sizeof(int64_t))
    cdef Py_ssize_t i
    for i in range(n):
        if spans[i].size != 6:
            bad(self.d, "the bytes of a time", spans[i].size)
        values[i] = clock_at(self, spans[i].data)
    if zoned and any(zone is not None for zone in decoded(self, n)):
        refuse(place, "times of day with a time zone")
    return made_leaf(self, NODE_TIME, n, values, 8)


cdef Node* read_timedeltas(Nodes self, Py_ssize_t n, Place* place) except NULL:
    cdef int64_t* days = ints_in(self, read_node(self, n, place), place)
    cdef int64_t* seconds = ints_in(self, read_node(self, n, place), place)
    cdef int64_t* rest = ints_in(self, read_node(self, n, place), place)
    cdef Py_ssize_t i
    for i in range(n):
        if not -106751990 < days[i] < 106751990 or not 0 <= seconds[i] < 86400 or not 0 <= rest[i] < 1000000:
            refuse(place, _errors.long_duration(days[i]))
        days[i] = (days[i] * 86400 + seconds[i]) * 1000000 + rest[i]
    return made_leaf(self, NODE_DURATION, n, days, 8)


# --- members of enums ---------------------------------------------------------------------------------------------------


cdef Node* read_members(Nodes self, Py_ssize_t n, object found, object cls, Place* place) except NULL:
    """Members are what the type that the enum mixes in holds, which need not be what they are called with."""
    cdef list values = decoded(self, n)
    cdef dict members = attribute(found, "_value2member_map_")
    cdef Py_ssize_t i
    cdef Span* spans
    cdef int64_t* ints
    cdef double* floats
    cdef bint flag = derives(found, _enum.Flag)
    for i, value in enumerate(values):
        if type(value) not in (str, int, float, bytes):
            refuse(place, f"a member of the enum {cls} with a value of type {_errors.type_name(type(value))}")
        # A union of flags may not have been met yet.
        member = members.get(value, value if flag else None)
        if member is None:
            refuse(place, f"a member of the enum {cls} that it does not have ({value!r})")
        values[i] = member
    spend(self, 2 * n, place)
    if derives(found, str) or derives(found, bytes):
        spans = <Span*> arena(self, n * sizeof(Span))
        for i in range(n):
            value = str.__str__(values[i]).encode("utf-8", "surrogatepass") if derives(found, str) else bytes.__getitem__(values[i], slice(None))
            self.kept.append(value)
            spans[i].data = <bytes> value
            spans[i].size = len(<bytes> value)
        return made_leaf(self, NODE_LONG_TEXT if derives(found, str) else NODE_LONG_BINARY, n, spans, 0)
    if derives(found, int):
        ints = <int64_t*> arena(self, n * sizeof(int64_t))
        for i in range(n):
            try:
                ints[i] = int.__int__(values[i])
            except OverflowError:
                refuse(place, f"a member of the enum {cls} that is an int of more than 63 bits")
        return made_leaf(self, NODE_INT, n, ints, 8)
    if derives(found, float):
        floats = <double*> arena(self, n * sizeof(double))
        for i in range(n):
            floats[i] = float.__float__(values[i])
        return made_leaf(self, NODE_FLOAT, n, floats, 8)
    refuse(place, f"a member of the enum {cls}, which is neither a str, an int, a float nor bytes")
    return NULL


# --- calls --------------------------------------------------------------------------------------------------------------


cdef Node* read_values(Nodes self, int made, Py_ssize_t n, Py_ssize_t given, object found, object cls, Place* place) except NULL:
    """The values of n calls whose arguments lie in so many columns."""
    if made == MADE_AS_IS:
        return read_node(self, n, place)
    if made == MADE_MEMBER:
        return read_members(self, n, found, cls, place)
    if made == MADE_DATETIME or made == MADE_DATE:
        return read_datetimes(self, n, given == 2, made == MADE_DATE, place)
    if made == MADE_TIME:
        return read_times(self, n, given == 2, place)
    if made == MADE_TIMEDELTA:
        return read_timedeltas(self, n, place)
    if made == MADE_DECIMAL:
        return made_leaf(self, NODE_LONG_DECIMAL, n, spans_in(self, read_node(self, n, place), True, place), 0)
    if made == MADE_STAMP:
        return read_stamps(self, n, place)
    if made == MADE_SPAN:
        return read_spans(self, n, place)
    if made == MADE_NAT:
        decoded(self, n)
        return new_node(self, NODE_NULL, TAG_CALL, n)
    if given:
        decoded(self, n)    # the factories of defaultdicts
    # Empty ones; what belongs in them comes after their numbers.
    return new_node(self, NODE_LIST if made == MADE_LIST else NODE_DICT, TAG_LIST if made == MADE_LIST else TAG_DICT, n)


cdef int read_contents(Nodes self, Node* node, int parts, Place* place) except -1:
    """The items of lists, or the keys and values of dicts."""
    cdef Node** children
    cdef Py_ssize_t i, count = 2 if node.kind == NODE_DICT else 1, total = 0
    cdef Place below
    below.up = place
    below.kind = AT_ITEM
    if parts & (PART_DICT_ITEMS if count == 2 else PART_LIST_ITEMS):
        total = open_lengths(self, node)
    children = new_children(self, node, count)
    for i in range(count):
        children[i] = read_node(self, total, &below)
    return 0


cdef Node* read_call(Nodes self, int tag, Py_ssize_t n, Place* place) except NULL:
    cdef Decoder* d = self.d
    cdef Node* node
    cdef uint64_t parts, width
    cdef int made
    cdef object cls, found
    if not d.foreign:
        bad(d, "the header to announce calls and classes", "one")
    if tag == TAG_ARRAYS_OF:
        return read_arrays_of(self, n, place)
    parts = read_varint(d)
    if parts > PARTS_KNOWN:
        bad(d, f"parts of at most {PARTS_KNOWN}", parts)
    descend(d)
    cls = <object> read_callable(d)
    width = read_varint(d)
    if width == 0:
        refuse(place, f"objects that their own reducers make in different ways, by {cls}")
    if width > <uint64_t> (d.budget // n):
        unbacked(d, width * n)
    made, found = what_made(cls, parts, <Py_ssize_t> width - 1, place)
    if parts & ((PART_LIST_ITEMS if made != MADE_LIST else 0) | (PART_DICT_ITEMS if made != MADE_DICT else 0)):
        refuse(place, f"an object of {cls} that holds more than the value that it is")
    node = read_values(self, made, n, <Py_ssize_t> width - 1, found, cls, place)
    if n == 1 and read_varint(d):
        refuse(place, _errors.CONTAINS_ITSELF)
    numbered(self, node)
    if made == MADE_LIST or made == MADE_DICT:
        read_contents(self, node, <int> parts, place)
    node.done = 1
    if parts & PART_STATE:
        read_node(self, n, place)    # attributes beside the value, which pyarrow leaves out too
    d.depth -= 1
    return node


# --- arrays -------------------------------------------------------------------------------------------------------------


cdef Node* read_arrays_of(Nodes self, Py_ssize_t n, Place* place) except NULL:
    """Arrays as plain ones are; what a masked one hides is null."""
    cdef Decoder* d = self.d
    cdef Node* node = numbered(self, new_node(self, NODE_LIST, TAG_ARRAYS_OF, n))
    cdef Node* arrays
    cdef uint64_t form = read_varint(d)
    if form > FORM_MASKED_OF:
        bad(d, f"a form of arrays of at most {FORM_MASKED_OF}", form)
    descend(d)
    read_callable(d)
    if form == FORM_MASKED_OF:
        read_callable(d)
    arrays = read_node(self, n, place)
    if form == FORM_PLAIN:
        masked(self, node, arrays, NULL, place)
    else:
        masked(self, node, arrays, read_node(self, n, place), place)
        decoded(self, n)    # fill values
    node.done = 1
    d.depth -= 1
    return node


cdef int locate(Nodes self, Values values, Py_ssize_t n, Node** nodes, int64_t* at) except -1:
    """For each item, which node has it and where."""
    cdef const Piece* piece = <const Piece*> values.pieces.data
    cdef Py_ssize_t i, k
    for k in range(piece_count(&values.pieces)):
        for i in range(piece[k].count):
            nodes[target_of(&piece[k], i)] = piece[k].node
            at[target_of(&piece[k], i)] = source_of(&piece[k], i)
    return 0


cdef int masked(Nodes self, Node* node, Node* arrays, Node* masks, Place* place) except -1:
    """Have a node be lists of the elements of arrays, of which masks, where there are some, hide some."""
    cdef Py_ssize_t n = node.n, i
    cdef Node** lists
    cdef Node** hidden
    cdef Node** parts
    cdef int64_t* at
    cdef int64_t* mask_at
    cdef int64_t* lengths
    cdef const int64_t* starts
    cdef int64_t total = 0
    spend(self, 5 * n, place)
    lists = <Node**> arena(self, n * sizeof(Node*))
    hidden = <Node**> arena(self, n * sizeof(Node*))
    parts = <Node**> arena(self, n * sizeof(Node*))
    at = <int64_t*> arena(self, n * sizeof(int64_t))
    mask_at = <int64_t*> arena(self, n * sizeof(int64_t))
    lengths = <int64_t*> arena(self, n * sizeof(int64_t))
    locate(self, values_in(self, arrays, place, "arrays"), n, lists, at)
    if masks != NULL:
        locate(self, values_of(self, masks, place), n, hidden, mask_at)
    for i in range(n):
        if lists[i].kind != NODE_LIST:
            bad(self.d, "plain arrays", "other elements of an array of a class of its own")
        starts = starts_of(self, lists[i])
        lengths[i] = starts[at[i] + 1] - starts[at[i]]
        total += lengths[i]
        parts[i] = taken(self, lists[i].children[0], starts[at[i]], lengths[i], place)
        if hidden[i] != NULL and hidden[i].kind == NODE_LIST:
            starts = starts_of(self, hidden[i])
            if starts[mask_at[i] + 1] - starts[mask_at[i]] != lengths[i]:
                bad(self.d, "a mask of the shape of its array", "another one")
            parts[i] = shown(self, parts[i], taken(self, hidden[i].children[0], starts[mask_at[i]], lengths[i], place), place)
    node.data = lengths
    node.width = 8
    new_children(self, node, 1)[0] = concatenated(self, TAG_ARRAYS_OF, parts, n, total)
    return 0


cdef Node* taken(Nodes self, Node* items, int64_t start, int64_t count, Place* place) except NULL:
    """So many items from a start on."""
    cdef Node* node
    cdef int64_t* indices
    cdef int64_t i
    if start == 0 and count == items.n:
        return items
    spend(self, count, place)
    indices = <int64_t*> arena(self, count * sizeof(int64_t) + 1)
    for i in range(count):
        indices[i] = start + i
    node = parent(self, NODE_TAKE, TAG_ARRAYS_OF, count, items)
    node.data = indices
    node.width = 8
    node.made = 1
    return node


cdef Node* shown(Nodes self, Node* items, Node* mask, Place* place) except NULL:
    """Items with null for what a mask of bools hides: two groups, since a bitmap of nulls would be lent as the frame's own memory."""
    cdef Values values = values_in(self, mask, place, "a mask")
    cdef const Piece* piece = <const Piece*> values.pieces.data
    cdef Node* node = new_node(self, NODE_GROUPS, TAG_ARRAYS_OF, items.n)
    cdef Node** groups = new_children(self, node, 2)
    cdef uint8_t* bits
    cdef int64_t* indices
    cdef Py_ssize_t i, k, count = 0
    cdef int64_t at
    spend(self, items.n + (items.n >> 3), place)
    bits = <uint8_t*> arena(self, (items.n >> 3) + 1)
    indices = <int64_t*> arena(self, items.n * sizeof(int64_t) + 1)
    for k in range(piece_count(&values.pieces)):
        if piece[k].node.kind != NODE_BYTES_OF_BOOL:
            refuse(place, "a masked array with a mask of fields")
        for i in range(piece[k].count):
            at = target_of(&piece[k], i)
            if not (<const uint8_t*> piece[k].node.data)[source_of(&piece[k], i)]:
                bits[at >> 3] |= <uint8_t> (1 << (at & 7))
    for i in range(items.n):
        if bit_at(bits, i):
            indices[count] = i
            count += 1
    node.data = bits
    groups[0] = new_node(self, NODE_NULL, TAG_NONE, items.n - count)
    groups[1] = parent(self, NODE_TAKE, TAG_ARRAYS_OF, count, items)
    groups[1].data = indices
    groups[1].width = 8
    groups[1].made = 1
    return node
