"""What may be hashed: the interpreter's own hash functions know no limit, and a frame can make them run for ever."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc

from fastser._core.c.capi cimport *
from fastser._core.c.memo cimport Memo, MemoEntry, memo_entry
from fastser._core.c.stack cimport fastser_stack_short
from fastser._core.classes.plans cimport PLAN_FIELDS, ClassPlan, known_plan
from fastser._core.decode.errors cimport bad
from fastser._core.decode.state cimport Decoder, Hashing, OpenTuples, sizes_clear


cdef enum:
    HASHING_MAX = 1 << 26     # items in keys that hold others again and again: about a second of hashing


cdef int hashing_begin(Decoder* d) except -1:
    if d.hashing == NULL:
        d.hashing = <Hashing*> calloc(1, sizeof(Hashing))
        if d.hashing == NULL:
            raise MemoryError()
        # Keys that share nothing hold no more items than the frame backs.
        d.hashing.left = HASHING_MAX + 8 * <uint64_t> d.view.frame_size
    return 0


cdef object hashed_members(PyObject* o, ClassPlan plan):
    """What the hash of a frozenset, a frozendict, a slice or an instance may look at, or comparing it."""
    cdef PyObject* value
    cdef Py_ssize_t i
    cdef list members
    if plan is not None:
        members = list((<object> o).__dict__.values()) if plan.has_dict else []
        for i in range(plan.slot_count):
            value = (<PyObject**> (<char*> o + plan.slot_offsets[i]))[0]
            if value != NULL:
                members.append(<object> value)
        return members
    if fastser_type(o) == fastser_slice_type:
        return ((<object> o).start, (<object> o).stop, (<object> o).step)
    if fastser_type(o) == fastser_frozendict_type:
        return [*(<object> o).keys(), *(<object> o).values()]
    return <object> o


cdef uint64_t unfolded(Decoder* d, PyObject* o, Py_ssize_t depth) except 0:
    """How many objects hashing or comparing o meets, those that are shared counted each time.

    The interpreter's own hash functions recurse without a limit, and for as long as it takes: a
    frame must not send them into a tuple that contains itself, nor into 40 levels of tuples that
    hold one tuple twice.
    """
    cdef PyObject* t = fastser_type(o)
    cdef MemoEntry* entry
    cdef uint64_t size = 1
    cdef Py_ssize_t i
    cdef object member, members = None
    cdef ClassPlan plan = None
    if not holds_hashed(o, t):
        if d.allowed == NULL or not d.hashing.through_instances:
            return 1
        plan = known_plan(t)
        if plan is None or plan.kind != PLAN_FIELDS or plan.hashes_address:
            way = (<dict> d.allowed).get(<size_t> t)
            if way is None or not way.looks_inside:
                return 1
            plan = None
            members = way.parts_of(<object> o)
    if depth > d.max_depth or fastser_stack_short(d.stack_limit):
        bad(d, "a key that can be hashed", "a deeper one")
    entry = memo_entry(&d.hashing.sizes, o)
    if entry == NULL:
        raise MemoryError()
    if entry.value > 0:
        return entry.value
    if entry.value == 0 and (plan is not None or members is not None):
        return 1    # Python code knows a limit
    if entry.value == 0:
        bad(d, "a key that can be hashed", "one that contains itself")
    entry.value = 0    # on the path
    fastser_incref(o)  # or its address might come to stand for another
    if members is None and fastser_is_tuple(o):
        for i in range(fastser_tuple_size(o)):
            size += unfolded(d, fastser_tuple_items(o)[i], depth + 1)
            size = min(size, d.hashing.left + 1)
    else:
        for member in hashed_members(o, plan) if members is None else members:
            size += unfolded(d, <PyObject*> member, depth + 1)
            size = min(size, d.hashing.left + 1)
    entry = memo_entry(&d.hashing.sizes, o)
    if entry == NULL:
        raise MemoryError()
    entry.value = <Py_ssize_t> size
    return size


cdef int check_shared(Decoder* d, PyObject* key) except -1:
    cdef uint64_t size
    hashing_begin(d)
    d.hashing.through_instances = 1
    size = unfolded(d, key, 0)
    if size > d.hashing.left:
        return bad(d, "keys that can be hashed in reasonable time", "keys that hold others again and again")
    d.hashing.left -= size
    if d.hashing.reopened.count and leads_to_open(d, key):
        return bad(d, "a key that is complete", "one that leads back to itself")
    return 0


cdef bint is_open(Decoder* d, uint64_t index) noexcept:
    """Whether a number belongs to a tuple that is still being filled."""
    cdef OpenTuples* tuples = d.open
    while tuples != NULL:
        if <uint64_t> tuples.first <= index < <uint64_t> (tuples.first + tuples.count):
            return True
        tuples = tuples.next
    return False


cdef bint leads_to_open(Decoder* d, PyObject* o) except -1:
    """Whether a key (unfolded without complaint) holds a tuple that is still being filled."""
    cdef Py_ssize_t i
    cdef MemoEntry* entry
    cdef object member
    if fastser_is_tuple(o):
        entry = memo_entry(&d.hashing.reopened, o)
        if entry == NULL:
            raise MemoryError()
        if entry.value >= 0 and is_open(d, entry.value):
            return True
        for i in range(fastser_tuple_size(o)):
            if leads_to_open(d, fastser_tuple_items(o)[i]):
                return True
    elif holds_hashed(o, fastser_type(o)):
        for member in hashed_members(o, None):
            if leads_to_open(d, <PyObject*> member):
                return True
    return False


cdef int note_open(Decoder* d, uint64_t index) except -1:
    """Remember a tuple that is referred to while it is being filled."""
    cdef MemoEntry* entry
    if is_open(d, index) and fastser_tuple_size(d.refs[index]):
        hashing_begin(d)
        entry = memo_entry(&d.hashing.reopened, d.refs[index])
        if entry == NULL:
            raise MemoryError()
        entry.value = <Py_ssize_t> index
    return 0


cdef int check_reopened(Decoder* d) except -1:
    """A tuple may contain itself through a list or dict, never through tuples alone: nothing else could make one."""
    cdef Memo* reopened = &d.hashing.reopened
    cdef size_t i
    if reopened.count:
        sizes_clear(d.hashing)
        d.hashing.through_instances = 0
        for i in range(reopened.mask + 1):
            if reopened.entries[i].key != NULL and reopened.entries[i].value >= 0:
                unfolded(d, <PyObject*> reopened.entries[i].key, 0)
    return 0
